//! The services that are linked into a program, by their names.

use crate::service::Service;
use std::sync::{Arc, OnceLock};

/// What a program has linked in, said once at its start. Configurations name services of this list.
static LINKED: OnceLock<Directory> = OnceLock::new();

/// Services by their names. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<Vec<Service>>);

impl Directory {
    /// Services under their names. One that is there twice counts once.
    ///
    /// # Errors
    /// A sentence: two have the same name.
    pub fn new(services: impl IntoIterator<Item = Service>) -> Result<Self, String> {
        let mut known: Vec<Service> = Vec::new();
        for service in services {
            match known.iter().find(|other| other.name() == service.name()) {
                None => known.push(service),
                Some(other) if other.is(&service) => {}
                Some(_) => return Err(format!("there are two services called {:?}.", service.name())),
            }
        }
        Ok(Self(Arc::new(known)))
    }

    /// The service of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Service> {
        self.0.iter().find(|service| service.name() == name)
    }

    /// All names, in the order of the program.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Service::name)
    }
}

/// Says which services are linked into this program, for all configurations it reads. Only the first call counts.
pub fn link(services: Directory) {
    let _said_before = LINKED.set(services);
}

/// The services that are linked into this program; none where nobody has said.
#[must_use]
pub fn directory() -> Directory {
    LINKED.get().cloned().unwrap_or_default()
}
