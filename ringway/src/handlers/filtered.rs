//! Filters of endpoints: loaded once, and kept as long as nothing of theirs is another.

use super::source::{Stamp, level_of};
use crate::config::settings;
use crate::config::values::Cidr;
use crate::socket::filters::{FilterOptions, FilterSpec, Filters};
use crate::web::log::errors::ErrorLog;
use crate::web::rules::addresses::AddressSet;
use ringway_lock::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError};

/// The filters of all endpoints that configurations have had, by the endpoints' names. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct KeptFilters {
    all: Arc<Mutex<BTreeMap<String, Kept>>>,
    /// Where lines go now.
    log: Arc<RwLock<Option<ErrorLog>>>,
}

struct Kept {
    texts: Vec<String>,
    trusted: Vec<Cidr>,
    stamp: Stamp,
    filters: Filters,
}

impl KeptFilters {
    /// The filters of an endpoint, where it has some.
    ///
    /// # Errors
    /// What is wrong with a library, as words.
    pub(crate) fn of(
        &self,
        endpoint: &settings::Endpoint,
        log: &ErrorLog,
    ) -> Result<Option<Filters>, String> {
        *self.log.write().unwrap_or_else(PoisonError::into_inner) = Some(log.clone());
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let name = endpoint.name.as_str();
        if endpoint.filters.is_empty() {
            all.remove(name);
            return Ok(None);
        }
        let texts: Vec<String> = endpoint.filters.iter().map(ToString::to_string).collect();
        let (trusted, stamp) = (endpoint.trusted.clone(), Stamp::of(endpoint));
        let is_same = |kept: &&Kept| kept.texts == texts && kept.trusted == trusted && kept.stamp == stamp;
        if let Some(kept) = all.get(name).filter(is_same) {
            return Ok(Some(kept.filters.clone()));
        }
        let specs = FilterSpec::parse_all(&texts, Path::new("")).map_err(|(_, error)| error.to_string())?;
        let filters = Filters::load(&specs, self.options(endpoint)).map_err(|error| error.to_string())?;
        all.insert(name.to_owned(), Kept { texts, trusted, stamp, filters: filters.clone() });
        Ok(Some(filters))
    }

    fn options(&self, endpoint: &settings::Endpoint) -> FilterOptions {
        let (log, name) = (Arc::clone(&self.log), endpoint.name.to_string());
        let trusted: AddressSet = endpoint.trusted.iter().map(|network| network.network()).collect();
        FilterOptions {
            endpoint: endpoint.name.to_string(),
            listener: Arc::new(move |level, line| {
                let level = level_of(level);
                let log = log.read().unwrap_or_else(PoisonError::into_inner);
                log.iter().for_each(|log| log.say(level, "filter", format_args!("{name}: {line}")));
            }),
            // Whoever reaches a Unix socket is on this machine.
            trusts: Arc::new(move |peer: Option<SocketAddr>| {
                peer.is_none_or(|peer| trusted.contains(peer.ip()))
            }),
        }
    }
}

impl fmt::Debug for KeptFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptFilters")
    }
}
