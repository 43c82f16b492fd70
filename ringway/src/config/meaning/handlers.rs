//! Handlers of endpoints: that there are such, that framing and protocol fit them, and that nothing is set which is for sites.

use super::Judge;
use crate::config::settings::{Endpoint, EndpointProtocol, Framing, FramingKind, Limits, Site};
use crate::config::suggest;
use crate::config::tree::Node;
use crate::config::values::{HandlerSource, Listen};
use crate::engine::ring::socket::Address;
use std::net::IpAddr;

/// The handlers that are built in, and what they are spoken to over.
const BUILTIN: [(&str, EndpointProtocol); 10] = [
    ("echo", EndpointProtocol::Tcp),
    ("discard", EndpointProtocol::Tcp),
    ("generator", EndpointProtocol::Tcp),
    ("length-echo", EndpointProtocol::Tcp),
    ("chat", EndpointProtocol::Tcp),
    ("gateway", EndpointProtocol::Tcp),
    ("mail", EndpointProtocol::Tcp),
    ("policy", EndpointProtocol::Tcp),
    ("udp-echo", EndpointProtocol::Udp),
    ("multicast-relay", EndpointProtocol::Udp),
];

/// Settings that are for sites alone.
const OF_SITES: [&str; 3] = ["http2", "forwarded", "proxy_protocol"];

/// Settings that are for handlers alone.
const OF_HANDLERS: [&str; 9] =
    ["groups", "framing", "origins", "urgent", "trace", "blocking", "isolate", "connect", "config"];

/// Settings that are for streams alone.
const OF_STREAMS: [&str; 6] = ["framing", "origins", "urgent", "tls", "filters", "fast_open"];

impl Judge<'_> {
    /// Judges who speaks on an endpoint.
    pub(super) fn handler(&mut self, endpoint: &Endpoint, node: &Node) {
        let Some(handler) = &endpoint.handler else { return self.without_handler(endpoint, node) };
        if !cfg!(feature = "endpoints") {
            let message = "this program was built without endpoints that have handlers";
            return self.error(node.place_of("handler"), message);
        }
        let spoken = endpoint.spoken();
        if spoken == EndpointProtocol::Http {
            let hint = "write `protocol = \"tcp\"` or `\"udp\"`, or leave `handler` out and write a [[site]]";
            let message = "a `handler` speaks a protocol of its own, and sites speak HTTP";
            return self.error_with_hint(node.place_of("protocol"), message, hint);
        }
        self.known_handler(handler, spoken, node);
        for key in OF_SITES.into_iter().filter(|key| node.entry(key).is_some()) {
            self.error(
                node.key_place_of(key),
                format!("`{key}` is for sites, and this endpoint has a `handler`"),
            );
        }
        if spoken == EndpointProtocol::Udp {
            self.datagrams(endpoint, node);
        }
        self.groups(endpoint, node);
        self.settings_of_handler(endpoint, node);
        if endpoint.blocking && handler.library().is_none() {
            let message = "`blocking` is for handlers in libraries; none that is built in waits";
            self.error(node.key_place_of("blocking"), message);
        }
        if let Some(framing) = &endpoint.framing {
            self.framing(framing, &endpoint.limits.over(&self.config.limits), node);
        }
        let has_sockets =
            |framing: &Framing| matches!(framing.kind, FramingKind::Websocket | FramingKind::Auto);
        if !endpoint.origins.is_empty() && !endpoint.framing.as_ref().is_some_and(has_sockets) {
            let message = "`origins` is for WebSockets, and framing is by nothing of these";
            self.error_with_hint(
                node.key_place_of("origins"),
                message,
                "write `framing = \"websocket\"` or `\"auto\"`",
            );
        }
        self.filters(endpoint, node);
    }

    fn without_handler(&mut self, endpoint: &Endpoint, node: &Node) {
        if node.is_damaged {
            return; // A handler may have been written, and told of.
        }
        if endpoint.spoken() != EndpointProtocol::Http {
            let message = "somebody must speak here, and this endpoint has no `handler`";
            self.error_with_hint(
                node.place_of("protocol"),
                message,
                "write `handler = \"builtin:echo\"`, or that of a library",
            );
        }
        for key in OF_HANDLERS.into_iter().filter(|key| node.entry(key).is_some()) {
            let message = format!("`{key}` is for handlers, and this endpoint has none");
            self.error(node.key_place_of(key), message);
        }
        self.filters(endpoint, node);
    }

    fn known_handler(&mut self, handler: &HandlerSource, spoken: EndpointProtocol, node: &Node) {
        let HandlerSource::Builtin(name) = handler else { return };
        match BUILTIN.iter().find(|(known, _)| known == name) {
            None => {
                let names = BUILTIN.map(|(name, _)| name);
                let there_are = || format!("there are {}", names.map(|name| format!("`{name}`")).join(", "));
                let hint = suggest::did_you_mean(name, names).unwrap_or_else(there_are);
                let message = format!("there is no handler `{name}` in this program");
                self.error_with_hint(node.place_of("handler"), message, hint);
            }
            Some((_, wanted)) if *wanted != spoken => {
                let wanted = if *wanted == EndpointProtocol::Udp { "udp" } else { "tcp" };
                let message = format!("the handler `{name}` speaks over {wanted}");
                self.error_with_hint(
                    node.place_of("protocol"),
                    message,
                    format!("write `protocol = \"{wanted}\"`"),
                );
            }
            Some(_) => {}
        }
    }

    /// What a handler that is built in says of its own settings.
    #[cfg(feature = "endpoints")]
    fn settings_of_handler(&mut self, endpoint: &Endpoint, node: &Node) {
        let is_known =
            |name: &str| BUILTIN.iter().any(|(known, spoken)| *known == name && *spoken == endpoint.spoken());
        let Some(HandlerSource::Builtin(name)) = endpoint.handler.as_ref() else { return };
        if is_known(name)
            && let Err(error) = crate::handlers::check(endpoint)
        {
            let place = if node.entry("config").is_some() {
                node.under("config").place
            } else {
                node.place_of("handler")
            };
            self.error(place, error);
        }
    }

    #[cfg(not(feature = "endpoints"))]
    fn settings_of_handler(&mut self, _endpoint: &Endpoint, _node: &Node) {}

    /// What streams have, and datagrams do not.
    fn datagrams(&mut self, endpoint: &Endpoint, node: &Node) {
        for (index, listen) in endpoint.listen.iter().enumerate() {
            let is_unix = |address: &Address| matches!(address, Address::Unix(_));
            if matches!(listen, Listen::At(_, addresses) if addresses.iter().any(is_unix)) {
                let message = "datagrams come to IP addresses, and this is a Unix socket";
                self.error(node.place_in("listen", index), message);
            }
        }
        for key in OF_STREAMS.into_iter().filter(|key| node.entry(key).is_some()) {
            let message = format!("`{key}` is for streams, and this endpoint has datagrams");
            self.error(node.key_place_of(key), message);
        }
    }

    fn framing(&mut self, framing: &Framing, limits: &Limits, node: &Node) {
        let own = node.under("framing");
        let of_kind = |key: &str| match key {
            "bytes" | "order" | "inclusive" => FramingKind::Length,
            "delimiter" => FramingKind::Delimiter,
            _ => FramingKind::Fixed,
        };
        for key in ["bytes", "order", "inclusive", "delimiter", "size"] {
            let wanted = of_kind(key);
            if own.entry(key).is_some() && framing.kind != wanted {
                let message = format!(
                    "`{key}` is for framing by `{}`, and this is by `{}`",
                    wanted.as_str(),
                    framing.kind.as_str()
                );
                self.error(own.key_place_of(key), message);
            } else if own.entry(key).is_none() && framing.kind == wanted && wanted != FramingKind::Length {
                let hint = if key == "size" {
                    "write `size = \"188 B\"`"
                } else {
                    "write `delimiter = \"\\r\\n.\\r\\n\"`"
                };
                let message = format!("framing by `{}` needs `{key}`", wanted.as_str());
                self.error_with_hint(own.place_of("kind"), message, hint);
            }
        }
        if framing.bytes.is_some_and(|bytes| ![1, 2, 4, 8].contains(&bytes)) {
            self.error(own.place_of("bytes"), "`bytes` is 1, 2, 4 or 8");
        }
        if framing.delimiter.as_ref().is_some_and(|delimiter| delimiter.is_empty() || delimiter.len() > 64) {
            self.error(own.place_of("delimiter"), "`delimiter` has 1 to 64 bytes");
        }
        if let Some(size) = framing.size.filter(|size| *size > limits.message_size) {
            let message = format!(
                "messages of {size} are larger than `message_size` lets any be, {}",
                limits.message_size
            );
            self.error_with_hint(
                own.place_of("size"),
                message,
                "write `limits = { message_size = ... }` in this endpoint",
            );
        }
    }

    #[cfg(feature = "endpoints")]
    fn filters(&mut self, endpoint: &Endpoint, node: &Node) {
        use crate::socket::filters::FilterSpec;
        let texts: Vec<String> = endpoint.filters.iter().map(ToString::to_string).collect();
        if let Err((index, error)) = FilterSpec::parse_all(&texts, std::path::Path::new("")) {
            self.error(node.place_in("filters", index), error.to_string());
        }
    }

    #[cfg(not(feature = "endpoints"))]
    fn filters(&mut self, _endpoint: &Endpoint, _node: &Node) {}

    /// Groups are of datagrams, and multicast.
    fn groups(&mut self, endpoint: &Endpoint, node: &Node) {
        for (index, group) in endpoint.groups.iter().enumerate() {
            let address = group.to_string().parse::<IpAddr>();
            if !address.is_ok_and(|address| address.is_multicast()) {
                let message = format!("{group} is no multicast group");
                self.error_with_hint(
                    node.place_in("groups", index),
                    message,
                    "write its address, such as \"239.1.2.3\"",
                );
            }
        }
        if !endpoint.groups.is_empty() && endpoint.spoken() != EndpointProtocol::Udp {
            self.error(
                node.key_place_of("groups"),
                "`groups` is for datagrams, and this endpoint has streams",
            );
        }
    }

    /// A site is on endpoints that speak HTTP.
    pub(super) fn endpoints_for_sites(&mut self, site: &Site, node: &Node) {
        self.http_endpoints(site.endpoints.iter().map(|name| name.as_str()), node, "endpoints");
    }

    /// Tells of each endpoint a list under `key` of `node` names that has a handler.
    pub(super) fn http_endpoints<'b>(
        &mut self,
        names: impl Iterator<Item = &'b str>,
        node: &Node,
        key: &str,
    ) {
        for (index, name) in names.enumerate() {
            let found = self.config.endpoint.iter().find(|endpoint| endpoint.name.as_str() == name);
            if found.is_some_and(|endpoint| !endpoint.is_http()) {
                let message = format!("the endpoint `{name}` has a `handler`, and speaks no HTTP");
                self.error(node.place_in(key, index), message);
            }
        }
    }
}
