//! Where a service comes from: the program itself, or a shared library that may be replaced while it runs.

use super::Directory;
#[cfg(feature = "libraries")]
use super::belongings::library_options;
#[cfg(feature = "libraries")]
use crate::config::section;
use crate::config::settings;
#[cfg(feature = "libraries")]
use crate::config::values::FilePath;
#[cfg(feature = "libraries")]
use crate::service::library::Library;
use crate::service::{Service, ServiceTotals};
#[cfg(feature = "libraries")]
use ringway_lock::Mutex;
#[cfg(feature = "libraries")]
#[cfg(feature = "libraries")]
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

/// Where a service comes from. Clones are the same.
#[derive(Clone)]
pub(super) enum Source {
    /// The program's own service of that name.
    Linked(String),
    /// A shared library, and what it was loaded from.
    #[cfg(feature = "libraries")]
    Library(Library, Arc<Mutex<Loaded>>),
}

/// What a library was loaded from.
#[cfg(feature = "libraries")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loaded {
    path: PathBuf,
    /// Device, inode, bytes, and when it was changed: of the content and of the entry.
    stamp: Option<[i64; 7]>,
    /// Its section of the configuration.
    config: String,
    /// What it has beside: another library is made where these are others.
    sessions: Option<settings::ServiceSessions>,
    files: Option<PathBuf>,
    data: Option<PathBuf>,
}

impl Source {
    /// The source of a service, and the service.
    ///
    /// # Errors
    /// Words: there is no such service or library.
    pub(super) fn open(
        settings: &settings::Service,
        directory: &Directory,
    ) -> Result<(Self, Service), String> {
        let name = settings.name.as_str();
        if settings.library.is_some() {
            return Self::load(settings);
        }
        let linked = linked(settings);
        let found = directory.find(linked);
        let found = found.ok_or_else(|| format!("no service {linked:?} is linked into this program"))?;
        let service = if found.name() == name { found.clone() } else { found.renamed(name) };
        Ok((Self::Linked(linked.to_owned()), service))
    }

    #[cfg(feature = "libraries")]
    fn load(settings: &settings::Service) -> Result<(Self, Service), String> {
        let loaded = Loaded::of(settings);
        let options = library_options(settings)?;
        let library = Library::load_with(&loaded.path, &loaded.config, options);
        let library = library.map_err(|error| error.to_string())?;
        let service = library.service();
        Ok((Self::Library(library, Arc::new(Mutex::new(loaded))), service))
    }

    #[cfg(not(feature = "libraries"))]
    fn load(_settings: &settings::Service) -> Result<(Self, Service), String> {
        Err("this program was built without shared libraries".to_owned())
    }

    /// Whether what these settings want can be had of this one.
    pub(super) fn may_become(&self, settings: &settings::Service) -> bool {
        match self {
            Self::Linked(name) => settings.library.is_none() && linked(settings) == name,
            #[cfg(feature = "libraries")]
            Self::Library(_, loaded) => {
                let loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
                settings.library.is_some() && loaded.has(settings)
            }
        }
    }

    /// Has a library replaced that is another one by now, or has other settings. Requests that have begun end where they began.
    ///
    /// # Errors
    /// Words: what is wrong with the new one. The old one stays.
    pub(super) fn renew(&self, settings: &settings::Service) -> Result<(), String> {
        match self {
            Self::Linked(_) => {
                let _nothing_to_load = settings;
                Ok(())
            }
            #[cfg(feature = "libraries")]
            Self::Library(library, loaded) => {
                let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Loaded::of(settings);
                if *loaded != now {
                    library.replace(&now.path, &now.config).map_err(|error| error.to_string())?;
                    *loaded = now;
                }
                Ok(())
            }
        }
    }

    /// What it is, for operators.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Linked(_) => "linked".to_owned(),
            #[cfg(feature = "libraries")]
            Self::Library(library, _) => {
                let (name, version) = library.identity();
                format!("{name} {version} ({})", library.path().display())
            }
        }
    }

    /// Its routes: method and pattern.
    pub(super) fn routes(&self, totals: &ServiceTotals) -> Vec<String> {
        match self {
            Self::Linked(_) => {
                totals.routes.iter().map(|route| format!("{} {}", route.method, route.pattern)).collect()
            }
            #[cfg(feature = "libraries")]
            Self::Library(library, _) => {
                library.routes().iter().map(|(method, pattern)| format!("{method} {pattern}")).collect()
            }
        }
    }
}

/// Which of the program's services is meant.
fn linked(settings: &settings::Service) -> &str {
    settings.linked.as_ref().unwrap_or(&settings.name).as_str()
}

#[cfg(feature = "libraries")]
impl Loaded {
    fn of(settings: &settings::Service) -> Self {
        let path = settings.library.as_ref().map_or(Path::new(""), |library| library.as_path());
        let owned = |path: &FilePath| path.as_path().to_owned();
        Self {
            path: path.to_owned(),
            stamp: super::stamp::of(path),
            config: section::text(&settings.config),
            sessions: settings.sessions.clone(),
            files: settings.files.as_ref().map(owned),
            data: settings.data.as_ref().map(owned),
        }
    }

    /// Whether it has what these settings want it to have beside.
    fn has(&self, settings: &settings::Service) -> bool {
        let wanted = Self::of(settings);
        let is_at_home = wanted.sessions.is_none() || self.data == wanted.data;
        self.sessions == wanted.sessions && self.files == wanted.files && is_at_home
    }
}
