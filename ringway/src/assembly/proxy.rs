//! Proxies: what is configured of routes that servers behind this one answer, as the web door takes it.

use super::AssemblyError;
use super::site::edits;
use super::upstream::Upstreams;
use crate::config::settings::{self, ForwardedField};
use crate::web::proxy::ProxyOptions;
use crate::web::rules::addresses::AddressSet;
use crate::web::trust::Trust;
use crate::web::upstream::Group;
use ringway_http::forwarded::ChainField;
use ringway_http::target;
use std::sync::Arc;

/// A route that an upstream answers.
#[derive(Debug)]
pub(super) struct ProxyPlan {
    pub(super) options: Arc<ProxyOptions>,
    pub(super) group: Arc<Group>,
}

/// Plans what a route's `proxy` says.
pub(super) fn plan(proxy: &settings::Proxy, upstreams: &Upstreams) -> Result<ProxyPlan, AssemblyError> {
    let group = upstreams.find(proxy.upstream.as_str())?;
    let cannot = |why: &dyn std::fmt::Display| {
        AssemblyError::new(format_args!("requests cannot be passed on to {}", proxy.upstream), why)
    };
    let strip = proxy.strip.as_ref().map_or("", |path| path.as_str());
    let prefix = proxy.prefix.as_ref().map_or("", |path| path.as_str());
    let mut escaped = vec![0; prefix.len() * 3];
    let prefix = target::encode(prefix.as_bytes(), &mut escaped).map_err(|why| cannot(&why))?;
    let mut options = ProxyOptions {
        host: proxy.host.as_ref().map(|host| host.as_str().into()),
        strip: strip.into(),
        prefix: String::from_utf8_lossy(prefix).into(),
        edits: edits(&proxy.request_headers).map_err(|why| cannot(&why))?,
        x_forwarded: proxy.x_forwarded,
        forwarded: proxy.forwarded,
        via: proxy.via,
        upgrades: proxy.upgrade.iter().map(|name| name.as_str().to_ascii_lowercase().into()).collect(),
        upgrade_idle_ms: proxy.upgrade_idle.ms(),
        total_ms: proxy.timeout.ms(),
        body_bytes_max: proxy.body_size.map(|size| size.bytes()),
        ..ProxyOptions::default()
    };
    if !proxy.request_id {
        options.id_field = Box::default();
    }
    options.reply.head_bytes_max = u32::try_from(proxy.head_size.bytes()).unwrap_or(u32::MAX);
    Ok(ProxyPlan { options: Arc::new(options), group })
}

/// The proxies that an endpoint believes in whom requests came from, if it does.
pub(super) fn trust(endpoint: &settings::Endpoint) -> Option<Trust> {
    let field = match endpoint.forwarded? {
        ForwardedField::XForwardedFor => ChainField::XForwardedFor,
        ForwardedField::Forwarded => ChainField::Forwarded,
    };
    let proxies: AddressSet = endpoint.trusted.iter().map(|network| network.network()).collect();
    Some(Trust { proxies, field })
}
