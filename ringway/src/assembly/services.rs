//! Services of a configuration: made once, kept over reloads that change nothing of theirs, and handed to routes.

use super::plan::HandlerPlan;
use super::{AssemblyError, Kept, Provisions, logs};
use crate::config::settings::{self, Config, Route};
use crate::hosting::{Hosted, ServicePost, Surroundings};
use crate::web::log::errors::ErrorLog;
use std::sync::Arc;

/// A route of a service.
#[derive(Debug)]
pub(super) struct ServicePlan {
    pub(super) hosted: Arc<Hosted>,
    /// The part of paths that leads to it, without slash at its end.
    pub(super) mount: Box<str>,
}

/// The services of `config`, in its order.
pub(super) fn hosted(
    config: &Config,
    kept: &Kept,
    provisions: &Provisions<'_>,
    errors: &ErrorLog,
) -> Result<Vec<Arc<Hosted>>, AssemblyError> {
    config.service.iter().map(|service| one(service, kept, provisions, errors)).collect()
}

fn one(
    service: &settings::Service,
    kept: &Kept,
    provisions: &Provisions<'_>,
    errors: &ErrorLog,
) -> Result<Arc<Hosted>, AssemblyError> {
    let cannot =
        |why: String| AssemblyError::new(format_args!("the service {} cannot be had", service.name), why);
    let log = match &service.log {
        Some(target) => logs::service_log(target, kept)?,
        None => errors.clone(),
    };
    let surroundings = Surroundings { log, services: &provisions.services };
    kept.services.hosted(service, &surroundings).map_err(cannot)
}

/// The handler of a route that names a service.
pub(super) fn plan(route: &Route, services: &[Arc<Hosted>]) -> Option<HandlerPlan> {
    let name = route.service.as_ref()?;
    let hosted = services.iter().find(|hosted| hosted.name() == name.as_str())?;
    let path = route.path.as_str();
    let mount = path.strip_suffix("/**").unwrap_or(path).into();
    Some(HandlerPlan::Service(ServicePlan { hosted: Arc::clone(hosted), mount }))
}

/// A service as operators see it.
#[cfg(feature = "console")]
pub(super) fn post(hosted: &Arc<Hosted>, config: &Config) -> ServicePost {
    let places = config.site.iter().flat_map(|site| {
        let name = site.names.first().map_or("site", |name| name.as_str());
        let routes = site
            .route
            .iter()
            .filter(|route| route.service.as_ref().is_some_and(|service| service.as_str() == hosted.name()));
        routes.map(move |route| format!("{name}{}", route.path))
    });
    ServicePost::new(Arc::clone(hosted), places.collect())
}
