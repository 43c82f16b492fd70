//! The faces over HTTP (health, metrics, dashboard) as stages of every site on their endpoints, before the site's own: a site's rules are for its visitors.

use super::{AssemblyError, Kept, access};
use crate::config::settings::Config;
use crate::config::values::Label;
use crate::engine::WorkerHandle;
use crate::faces::dashboard::{Dashboard, Guard, Live};
use crate::faces::health::Health;
use crate::faces::metrics::Metrics;
use crate::faces::{Desk, FaceStage};
use crate::web::auth::gate::Gate;
use crate::web::auth::{Auth, AuthOptions};
use crate::web::log::errors::ErrorLog;
use crate::web::pipeline::RequestStage;
use crate::web::rules::addresses::AddressSet;
use std::io;
use std::sync::Arc;

/// What the faces of a configuration are made from.
#[derive(Debug)]
pub(super) struct FacesPlan {
    desk: Desk,
    live: Live,
    health: Option<(Vec<Label>, String, String)>,
    metrics: Option<(Vec<Label>, String, AddressSet)>,
    dashboard: Option<(Vec<Label>, String, Arc<AuthOptions>)>,
}

impl FacesPlan {
    /// Plans the faces of `config`.
    pub(super) fn new(config: &Config, kept: &Kept) -> Result<Self, AssemblyError> {
        let (health, metrics, dashboard) = (&config.health, &config.metrics, &config.dashboard);
        let auth = access::auth(dashboard.auth.as_ref(), config)?;
        // Without somebody to let in there is no dashboard; `check` says so.
        let dashboard = auth.filter(|_| dashboard.enabled).map(|auth| {
            let path = format!("{}/", dashboard.path.as_str().trim_end_matches('/'));
            (dashboard.endpoints.clone(), path, auth)
        });
        let exactly = |path: &str| path.to_owned();
        Ok(Self {
            desk: kept.desk.clone(),
            live: kept.live.clone(),
            health: health.enabled.then(|| {
                (health.endpoints.clone(), exactly(health.live.as_str()), exactly(health.ready.as_str()))
            }),
            metrics: metrics.enabled.then(|| {
                let allow = metrics.allow.iter().map(|cidr| cidr.network()).collect();
                (metrics.endpoints.clone(), exactly(metrics.path.as_str()), allow)
            }),
            dashboard,
        })
    }

    /// The stages of every site on an endpoint.
    pub(super) fn stages(
        &self,
        endpoint: &Label,
        worker: &WorkerHandle,
        gate: &Gate,
        log: &ErrorLog,
    ) -> io::Result<Vec<Box<dyn RequestStage>>> {
        let is_here = |endpoints: &[Label]| endpoints.is_empty() || endpoints.contains(endpoint);
        let mut stages: Vec<Box<dyn RequestStage>> = Vec::new();
        if let Some((_, live, ready)) = self.health.as_ref().filter(|(here, ..)| is_here(here)) {
            stages.push(Box::new(FaceStage(Health::new(self.desk.clone(), live, ready))));
        }
        if let Some((_, path, allow)) = self.metrics.as_ref().filter(|(here, ..)| is_here(here)) {
            stages.push(Box::new(FaceStage(Metrics::new(self.desk.clone(), path, allow.clone()))));
        }
        if let Some((_, path, auth)) = self.dashboard.as_ref().filter(|(here, ..)| is_here(here)) {
            let auth = Auth::new(Arc::clone(auth), gate.clone(), Some(log.clone()))?;
            stages.push(Box::new(Guard::new(path, auth)));
            stages.push(Box::new(FaceStage(Dashboard::new(self.live.clone(), worker, path))));
        }
        Ok(stages)
    }
}
