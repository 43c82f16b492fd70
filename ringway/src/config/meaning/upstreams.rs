//! Upstreams: names that are there twice, backends without sense, questions that nobody could answer.

use super::{Judge, all};
use crate::config::report::Finding;
use crate::config::settings::{Upstream, UpstreamBackend, UpstreamProtocol};
use crate::config::source::Place;
use crate::config::suggest;
use crate::config::tree::Node;
use crate::web::upstream::Origin;

impl Judge<'_> {
    pub(super) fn upstreams(&mut self) {
        let (config, tree) = (self.config, self.tree);
        let names = config.upstream.iter().enumerate();
        self.duplicates(
            "the upstream",
            names.map(|(index, upstream)| {
                (upstream.name.as_str(), tree.item("upstream", index).place_of("name"))
            }),
        );
        for (index, upstream) in config.upstream.iter().enumerate() {
            self.upstream(upstream, tree.item("upstream", index));
        }
    }

    fn upstream(&mut self, upstream: &Upstream, node: &Node) {
        let addresses: Vec<String> =
            upstream.backend.iter().map(|backend| backend.address.to_string()).collect();
        let places = addresses.iter().enumerate();
        self.duplicates(
            "the backend",
            places.map(|(at, address)| (address.as_str(), node.item("backend", at).place_of("address"))),
        );
        if !upstream.backend.is_empty()
            && upstream.backend.iter().all(|backend| backend.backup)
            && !node.is_damaged
        {
            let hint = "one at least needs `backup = false`";
            let place = node.item("backend", 0).place_of("backup");
            self.error_with_hint(place, "every backend of this upstream is a backup, and of none", hint);
        }
        if let Some(health) = upstream.health.as_ref().filter(|_| upstream.protocol != UpstreamProtocol::Http)
        {
            let node = node.under("health");
            for (key, is_set) in [("path", health.path.is_some()), ("host", health.host.is_some())] {
                if is_set {
                    self.error_with_hint(
                        node.key_place_of(key),
                        format!(
                            "`{key}` is about questions in HTTP/1.1, and this upstream speaks something else"
                        ),
                        "leave it out: it is asked in its own way",
                    );
                }
            }
        }
        if upstream.tls.as_ref().is_some_and(|tls| !tls.verify && tls.ca.is_some()) {
            self.error(node.under("tls").key_place_of("ca"), "`ca` has no use with `verify = false`");
        }
        self.nameless(upstream, node);
        if upstream.proxy_protocol.is_some() && upstream.protocol == UpstreamProtocol::H2 {
            let hint = "use the protocol \"http\", or send `X-Forwarded-For` instead";
            self.error_with_hint(
                node.key_place_of("proxy_protocol"),
                "a connection of HTTP/2 carries requests of many clients, and PROXY protocol tells of one",
                hint,
            );
        }
        if upstream.try_timeout.ms() > upstream.read_timeout.ms() {
            let hint = "an answer that takes longer than `read_timeout` is given up anyway";
            self.error_with_hint(
                node.place_of("try_timeout"),
                "`try_timeout` is longer than `read_timeout`",
                hint,
            );
        }
    }

    /// Certificates are checked for a name, and a Unix socket has none.
    fn nameless(&mut self, upstream: &Upstream, node: &Node) {
        let is_checked = upstream.tls.as_ref().is_some_and(|tls| tls.verify && tls.server_name.is_none());
        let is_unix = |backend: &UpstreamBackend| matches!(backend.address.origin(), Origin::Unix(_));
        if let Some(at) = upstream.backend.iter().position(is_unix).filter(|_| is_checked) {
            let place = node.item("backend", at).place_of("address");
            let message = "this backend has no name that its certificate could be for";
            self.error_with_hint(place, message, "write `server_name` in `tls`");
        }
    }

    /// The upstream that a route names at `place` is there and speaks one of `protocols`.
    pub(super) fn upstream_reference(&mut self, name: &str, place: Place, protocols: &[UpstreamProtocol]) {
        let Some(upstream) = self.config.upstream.iter().find(|upstream| upstream.name.as_str() == name)
        else {
            if !self.written.upstreams.contains(name) {
                let known: Vec<&str> =
                    self.config.upstream.iter().map(|upstream| upstream.name.as_str()).collect();
                let hint = suggest::did_you_mean(name, known.iter().copied()).or_else(|| all(&known));
                let hint = hint
                    .or_else(|| Some("write [[upstream]] with a name and [[upstream.backend]]".to_owned()));
                self.findings
                    .push(Finding::error(place, format!("there is no upstream `{name}`")).maybe_hint(hint));
            }
            return;
        };
        if !protocols.contains(&upstream.protocol) {
            let speaks = match upstream.protocol {
                UpstreamProtocol::Http => "HTTP/1.1",
                UpstreamProtocol::H2 => "HTTP/2",
                UpstreamProtocol::Fastcgi => "FastCGI",
            };
            let hint = "change the upstream's `protocol`, or use another kind of route";
            self.error_with_hint(
                place,
                format!("the upstream `{name}` speaks {speaks}, which this route does not"),
                hint,
            );
        }
    }
}
