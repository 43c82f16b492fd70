//! A site's plan.

use super::access;
use super::dav;
use super::files::{FilesOf, pages};
use super::governor::SiteScope;
use super::logs::access_log;
use super::plan::{HandlerPlan, Services, SitePlan, StagePlan};
use super::routes;
use super::upstream::Upstreams;
use super::{AssemblyError, Kept};
use crate::config::settings::{self, Config, Site};
use crate::web::clock::ServerField;
use crate::web::field_edits::{EditError, FieldEdits};
use crate::web::limit::RequestLimit;
use crate::web::log::errors::ErrorLog;
use std::sync::Arc;

/// What the sites of a configuration have in common.
pub(super) struct Common<'a> {
    pub(super) config: &'a Config,
    pub(super) kept: &'a Kept,
    /// Servers behind this one, for routes that hand requests on.
    pub(super) upstreams: &'a Upstreams,
    /// Applications.
    #[cfg_attr(not(feature = "services"), expect(dead_code, reason = "there are none"))]
    pub(super) services: Services<'a>,
    #[cfg_attr(not(feature = "libraries"), expect(dead_code, reason = "nobody says anything"))]
    errors: &'a ErrorLog,
    pub(super) server: ServerField,
    /// The limit of requests over all sites.
    limit: Option<Arc<RequestLimit>>,
}

impl<'a> Common<'a> {
    pub(super) fn new(
        config: &'a Config,
        kept: &'a Kept,
        upstreams: &'a Upstreams,
        services: Services<'a>,
        errors: &'a ErrorLog,
    ) -> Result<Self, AssemblyError> {
        let server = match config.server.server_field {
            settings::ServerField::Name => ServerField::Name,
            settings::ServerField::Version => ServerField::Version,
            settings::ServerField::Off => ServerField::Absent,
        };
        let limit = config.rate_limit.as_ref().map(access::request_limit);
        Ok(Self { config, kept, upstreams, services, errors, server, limit })
    }

    /// Plans one site.
    pub(super) fn plan(&self, site: &Site) -> Result<SitePlan, AssemblyError> {
        let name = site.names.first().map_or("site", |name| name.as_str()).to_owned();
        let files = FilesOf::site(site, &self.config.mime, self.kept)?;
        let proofs = self.config.acme.as_ref().map(|_| StagePlan::Proofs(Arc::clone(&self.kept.shelf)));
        let mut stages: Vec<StagePlan> = proofs.into_iter().collect();
        stages.extend(self.limit.iter().cloned().map(StagePlan::Limit));
        stages.extend(site.rate_limit.as_ref().map(access::request_limit).map(StagePlan::Limit));
        stages.extend(access::rules(&site.rule, &name)?);
        let auth = access::auth(site.auth.as_ref(), self.config)?;
        let mut routes = routes::plan(site, &files, self)?;
        access::share_out(auth, site, &mut stages, &mut routes)?;
        let mut handlers: Vec<Arc<HandlerPlan>> = Vec::new();
        handlers.extend(files.user_dirs(site)?.map(HandlerPlan::UserDirs).map(Arc::new));
        handlers.extend(dav::handlers(files.handler(site)?, site.dav.as_ref()));
        #[cfg(feature = "libraries")]
        let hooks = super::hooks::plan(site, &name, self.kept, self.errors)?;
        let access = match &site.access_log {
            Some(log) => access_log(log, self.kept)?,
            None => access_log(&self.config.log.access, self.kept)?,
        };
        let scope = match &site.governor {
            Some(settings) => {
                let number = self.kept.number(&name)?;
                Some(SiteScope {
                    number,
                    #[cfg(feature = "console")]
                    name: name.clone(),
                    settings: settings.clone(),
                })
            }
            None => None,
        };
        Ok(SitePlan {
            book: self.kept.book(&name),
            is_counted: is_watched(self.config),
            scope,
            edits: edits(&site.headers).map_err(|why| AssemblyError::new(site_named(&name), why))?,
            pages: pages(site)?,
            name,
            names: site.names.clone(),
            endpoints: site.endpoints.clone(),
            stages,
            routes,
            handlers,
            #[cfg(feature = "libraries")]
            hooks,
            access,
            server: self.server,
        })
    }
}

/// Whether somebody could look at what is counted.
fn is_watched(config: &Config) -> bool {
    config.console.enabled || config.metrics.enabled || config.dashboard.enabled
}

pub(super) fn site_named(name: &str) -> String {
    format!("the site {name} cannot be served")
}

/// Edits of fields: first what is removed, then what is set, then what is added.
pub(super) fn edits(headers: &settings::Headers) -> Result<FieldEdits, EditError> {
    let mut edits = FieldEdits::default();
    headers.remove.iter().try_for_each(|name| edits.remove(name.as_str()))?;
    headers.set.iter().try_for_each(|(name, value)| edits.set(name.as_str(), value.as_str()))?;
    headers.add.iter().try_for_each(|(name, value)| edits.add(name.as_str(), value.as_str()))?;
    Ok(edits)
}
