//! What the faces for operators tell of a configuration: endpoints, sites, limits, governors by their names.

use super::governor::SiteScope;
use super::{Door, Kept};
use crate::config::settings::{Config, Limits, LogFormat, Site};
use crate::engine::ring::socket::Address;
use crate::running::{EndpointPost, ModulePost, Posts, SitePost};
use crate::web::log::errors::ErrorLog;
use crate::web::site_counters::SiteBook;
use crate::web::upstream::Group;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What there is to tell of a configuration that is served.
pub(super) struct Told<'a> {
    pub(super) config: &'a Config,
    pub(super) doors: &'a [Door],
    pub(super) places: &'a BTreeMap<String, usize>,
    /// Where the engine's endpoints listen, with the ports they got.
    pub(super) addresses: &'a [(usize, Address)],
    pub(super) books: &'a [Arc<SiteBook>],
    pub(super) scopes: &'a [SiteScope],
    pub(super) upstreams: &'a [Arc<Group>],
    #[cfg(feature = "services")]
    pub(super) services: &'a [Arc<crate::hosting::Hosted>],
    #[cfg(feature = "endpoints")]
    pub(super) handled: Handled<'a>,
    pub(super) kept: &'a Kept,
    pub(super) errors: &'a ErrorLog,
}

/// What there is to tell of endpoints with handlers.
#[cfg(feature = "endpoints")]
pub(super) struct Handled<'a> {
    pub(super) works: &'a [Arc<crate::handlers::Work>],
    pub(super) datagrams: &'a [super::handlers::DatagramDoor],
    /// Where datagrams are received, with the ports they got, by the keys of their doors.
    pub(super) received_at: &'a BTreeMap<String, std::net::SocketAddr>,
    pub(super) control: &'a crate::engine::Control,
}

impl Told<'_> {
    pub(super) fn posts(&self) -> Posts {
        let sites = self.config.site.iter().zip(self.books);
        Posts {
            endpoints: self.endpoints(),
            #[cfg(feature = "endpoints")]
            others: self.datagrams(),
            #[cfg(feature = "endpoints")]
            handlers: self.handlers(),
            sites: sites.map(|(site, book)| self.site(site, book)).collect(),
            upstreams: self.upstreams.to_vec(),
            #[cfg(feature = "services")]
            services: self.services.iter().map(|hosted| super::services::post(hosted, self.config)).collect(),
            limits: limits(&self.config.limits),
            modules: modules(self.config),
            // A value of strings and numbers always has a JSON form.
            config: serde_json::to_value(self.config).unwrap_or_default(),
            log_files: self.kept.logs.clone(),
            error_log: Some(self.errors.clone()),
        }
    }

    fn site(&self, site: &Site, book: &Arc<SiteBook>) -> SitePost {
        let name = site.names.first().map_or("site", |name| name.as_str());
        SitePost {
            name: name.to_owned(),
            hosts: site.names.iter().map(ToString::to_string).collect(),
            root: site.root.as_ref().map(ToString::to_string),
            scope: self.scopes.iter().find(|scope| scope.name == name).map(|scope| scope.number),
            book: Arc::clone(book),
        }
    }

    fn endpoints(&self) -> Vec<Option<EndpointPost>> {
        let count = self.addresses.iter().map(|(place, _)| place + 1).max().unwrap_or(0);
        let mut posts = vec![None; count];
        for door in self.doors {
            let Some(place) = self.places.get(&door.key) else { continue };
            let address = self.addresses.iter().find(|(other, _)| other == place);
            let configured = self.config.endpoint.iter().find(|endpoint| endpoint.name.as_str() == door.name);
            let handler = configured.and_then(|endpoint| endpoint.handler.as_ref()).map(ToString::to_string);
            let protocols = match (&handler, configured.is_some_and(|endpoint| endpoint.http2)) {
                (Some(handler), _) => handler,
                (None, true) => "http/1.1, h2",
                (None, false) => "http/1.1",
            };
            if let Some(post) = posts.get_mut(*place) {
                *post = Some(EndpointPost {
                    name: door.name.clone(),
                    address: address.map_or_else(|| door.key.clone(), |(_, address)| address.to_string()),
                    speaks: if door.is_tls { format!("{protocols} over TLS") } else { protocols.to_owned() },
                });
            }
        }
        posts
    }
}

#[cfg(feature = "endpoints")]
impl Told<'_> {
    /// Endpoints of datagrams, which have no place among the engine's others.
    fn datagrams(&self) -> Vec<EndpointPost> {
        let post = |door: &super::handlers::DatagramDoor| {
            let work = self.handled.works.iter().find(|work| work.name() == door.name);
            let address = self.handled.received_at.get(&door.key);
            EndpointPost {
                name: door.name.clone(),
                address: address.map_or_else(|| door.key.clone(), ToString::to_string),
                speaks: work.map(|work| format!("{} over udp", work.handler())).unwrap_or_default(),
            }
        };
        self.handled.datagrams.iter().map(post).collect()
    }

    fn handlers(&self) -> Vec<Arc<dyn crate::running::HandlerPost>> {
        let post = |work: &Arc<crate::handlers::Work>| {
            let own = self.doors.iter().filter(|door| door.name == work.name());
            let placed = own.filter_map(|door| Some((*self.places.get(&door.key)?, door.endpoint.clone())));
            let post = super::handlers::Post::new(
                work,
                self.kept,
                self.handled.control,
                placed,
                self.handled.datagrams,
            );
            Arc::new(post) as Arc<dyn crate::running::HandlerPost>
        };
        self.handled.works.iter().map(post).collect()
    }
}

/// Limits by their settings' names.
fn limits(limits: &Limits) -> Vec<(String, String)> {
    let json = serde_json::to_value(limits).unwrap_or_default();
    let shown = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    json.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), shown(value))).collect()
}

/// The parts that are in use, and by how many.
fn modules(config: &Config) -> Vec<ModulePost> {
    let count = |is_used: &dyn Fn(&Site) -> bool| config.site.iter().filter(|site| is_used(site)).count();
    let routed = |is_used: &dyn Fn(&crate::config::settings::Route) -> bool| {
        config.site.iter().flat_map(|site| &site.route).filter(|route| is_used(route)).count()
    };
    let is_logged = |site: &Site| match &site.access_log {
        Some(log) => log.format != LogFormat::Off,
        None => config.log.access.format != LogFormat::Off,
    };
    let uses = [
        ("tls", "transport", config.endpoint.iter().filter(|endpoint| endpoint.tls).count()),
        ("rate limit", "request", count(&|site| site.rate_limit.is_some() || config.rate_limit.is_some())),
        ("rules", "request", count(&|site| !site.rule.is_empty()) + routed(&|route| !route.rule.is_empty())),
        ("auth", "request", count(&|site| site.auth.is_some()) + routed(&|route| route.auth.is_some())),
        ("static files", "handler", count(&|site| site.root.is_some())),
        ("user directories", "handler", count(&|site| site.user_directories.enabled)),
        ("redirect", "handler", routed(&|route| route.redirect.is_some())),
        ("rewrite", "handler", routed(&|route| route.rewrite.is_some())),
        ("services", "handler", routed(&|route| route.service.is_some())),
        ("respond", "handler", routed(&|route| route.respond.is_some())),
        ("access log", "served", count(&is_logged)),
    ];
    let used = uses.into_iter().filter(|(_, _, uses)| *uses > 0);
    used.map(|(name, stage, uses)| ModulePost { name: name.to_owned(), stage, uses }).collect()
}
