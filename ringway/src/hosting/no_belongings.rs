//! What a library has beside its settings, where the program is built without sessions.

use crate::config::settings;
use crate::service::library::LibraryOptions;

/// How a library is used that these settings describe.
///
/// # Errors
/// Words: it is to have sessions.
pub fn library_options(settings: &settings::Service) -> Result<LibraryOptions, String> {
    if settings.sessions.is_some() {
        return Err("its sessions: this program was built without any".to_owned());
    }
    Ok(LibraryOptions {
        name: settings.name.to_string(),
        files: settings.files.as_ref().map(|files| files.as_path().to_owned()),
        ..LibraryOptions::default()
    })
}
