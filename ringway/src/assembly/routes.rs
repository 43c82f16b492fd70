//! The routes of a site.

use super::AssemblyError;
use super::access;
use super::dav;
use super::fastcgi;
use super::files::FilesOf;
use super::plan::{HandlerPlan, RoutePlan, StagePlan};
use super::proxy;
use super::site::{Common, edits};
use crate::config::settings::{Route, Site};
use crate::web::pattern::Pattern;
use crate::web::redirect::Redirect;
use crate::web::respond::Respond;
use crate::web::rewrite::Rewrite;
use std::sync::Arc;

/// The status of a redirect that says none.
const REDIRECT_STATUS: u16 = 302;

/// Plans the routes of a site, in their order.
pub(super) fn plan(
    site: &Site,
    files: &FilesOf,
    common: &Common<'_>,
) -> Result<Vec<RoutePlan>, AssemblyError> {
    site.route.iter().map(|route| plan_one(route, site, files, common)).collect()
}

fn plan_one(
    route: &Route,
    site: &Site,
    files: &FilesOf,
    common: &Common<'_>,
) -> Result<RoutePlan, AssemblyError> {
    let cannot = |why: &dyn std::fmt::Display| {
        AssemblyError::new(format_args!("the route {} cannot be served", route.path), why)
    };
    let mut stages: Vec<StagePlan> = Vec::new();
    stages.extend(route.rate_limit.as_ref().map(access::request_limit).map(StagePlan::Limit));
    stages.extend(access::rules(&route.rule, route.path.as_str())?);
    stages.extend(access::auth(route.auth.as_ref(), common.config)?.map(StagePlan::Auth));
    let handler = |plan| vec![Arc::new(plan)];
    let handlers = match (&route.redirect, &route.rewrite, &route.respond) {
        (Some(target), _, _) => {
            let redirect = Redirect::new(route.status.unwrap_or(REDIRECT_STATUS), target.as_str());
            handler(HandlerPlan::Redirect(redirect.map_err(|why| cannot(&why))?))
        }
        (_, Some(target), _) => {
            handler(HandlerPlan::Rewrite(Rewrite::new(target.as_str()).map_err(|why| cannot(&why))?))
        }
        (_, _, Some(respond)) => {
            let (media_type, body) = (respond.media_type.to_string(), respond.body.as_bytes());
            // Tried once here, so that no worker can fail at it.
            Respond::new(respond.status, &media_type, body.into()).map_err(|why| cannot(&why))?;
            handler(HandlerPlan::Respond { status: respond.status, media_type, body: body.into() })
        }
        #[cfg(feature = "cgi")]
        (None, None, None) if route.cgi.is_some() => {
            let cgi = route.cgi.as_ref().map(|cgi| super::cgi::plan(cgi, route, site, common.kept));
            cgi.transpose()?.map(HandlerPlan::Cgi).map(Arc::new).into_iter().collect()
        }
        #[cfg(not(feature = "cgi"))]
        (None, None, None) if route.cgi.is_some() => {
            return Err(cannot(&"this program was built without scripts"));
        }
        #[cfg(feature = "services")]
        (None, None, None) if route.service.is_some() => {
            let plan = super::services::plan(route, common.services);
            handler(plan.ok_or_else(|| cannot(&"there is no such service"))?)
        }
        #[cfg(not(feature = "services"))]
        (None, None, None) if route.service.is_some() => {
            return Err(cannot(&"this program was built without services"));
        }
        (None, None, None) if route.proxy.is_some() => {
            let proxy = route.proxy.as_ref().map(|proxy| proxy::plan(proxy, common.upstreams));
            proxy.transpose()?.map(HandlerPlan::Proxy).map(Arc::new).into_iter().collect()
        }
        (None, None, None) => match &route.fastcgi {
            Some(settings) => {
                let files = files.run(route, site)?;
                let plan =
                    fastcgi::plan(settings, route, files, common.upstreams, common.kept.spool.space())?;
                handler(HandlerPlan::FastCgi(plan))
            }
            None => dav::handlers(files.route(route, site)?, route.dav.as_ref()),
        },
    };
    Ok(RoutePlan {
        pattern: Pattern::parse(route.path.as_str()).map_err(|why| cannot(&why))?,
        stages,
        handlers,
        edits: edits(&route.headers).map_err(|why| cannot(&why))?,
    })
}
