//! Endpoints: names, addresses that are listened on twice, limits that contradict each other.

use super::Judge;
use crate::config::report::Finding;
use crate::config::settings::{Endpoint, EndpointProtocol, Limits};
use crate::config::source::Place;
use crate::config::tree::Node;
use crate::config::values::Listen;
use crate::engine::ring::socket::Address;

impl Judge<'_> {
    pub(super) fn endpoints(&mut self) {
        let (config, tree) = (self.config, self.tree);
        if !self.written.has_endpoints {
            let hint = "write [[endpoint]] with a name and `listen = [\":80\"]`";
            self.error_with_hint(start(tree), "there is no [[endpoint]]: nothing would be listened on", hint);
        }
        let names = config.endpoint.iter().enumerate();
        self.duplicates(
            "the endpoint",
            names.map(|(index, endpoint)| {
                (endpoint.name.as_str(), tree.item("endpoint", index).place_of("name"))
            }),
        );
        self.listens();
        self.limits(&config.limits, tree.under("limits"));
        for (index, endpoint) in config.endpoint.iter().enumerate() {
            let node = tree.item("endpoint", index);
            self.limits(&endpoint.limits.over(&config.limits), node.under("limits"));
            if endpoint.tls && !self.written.has_certificates {
                let hint = "write [[certificate]] with `cert` and `key`, or with `acme = true` and `names`";
                self.error_with_hint(
                    node.place_of("tls"),
                    "this endpoint has TLS, and there is no [[certificate]]",
                    hint,
                );
            }
            self.handler(endpoint, node);
            self.unserved(endpoint, node);
            self.proxies(endpoint, node);
        }
        let cpus: Vec<String> = config.server.cpus.iter().map(ToString::to_string).collect();
        let server = tree.under("server");
        let places =
            cpus.iter().enumerate().map(|(index, cpu)| (cpu.as_str(), server.place_in("cpus", index)));
        self.duplicates("the core", places);
    }

    /// Judges who is believed to say whose a connection is.
    fn proxies(&mut self, endpoint: &Endpoint, node: &Node) {
        let is_unix = |address: &Address| matches!(address, Address::Unix(_));
        let needs_trust = endpoint.listen.iter().any(|listen| match listen {
            Listen::At(_, addresses) => !addresses.iter().all(is_unix),
            Listen::Named(..) | Listen::Passed(_) => true,
        });
        if endpoint.proxy_protocol && endpoint.trusted.is_empty() && needs_trust {
            let hint = "write `trusted = [\"10.0.0.0/8\"]` with the addresses of your proxies";
            let message = "nobody is trusted to say whose a connection is, so all would be refused";
            self.error_with_hint(node.place_of("proxy_protocol"), message, hint);
        }
        let is_told_by_filter = endpoint.filters.iter().any(|filter| filter.as_str() == "proxy-protocol");
        let believes = endpoint.proxy_protocol || is_told_by_filter || endpoint.forwarded.is_some();
        if endpoint.forwarded.is_some() && endpoint.trusted.is_empty() && !node.is_damaged {
            let hint = "write `trusted = [\"10.0.0.0/8\"]` with the addresses of your proxies";
            let message = "nobody is trusted to say whom a request came from";
            self.error_with_hint(node.place_of("forwarded"), message, hint);
        }
        if !believes && !endpoint.trusted.is_empty() {
            let message = "`trusted` has no effect without `proxy_protocol = true` or `forwarded`";
            self.warning(node.place_of("trusted"), message, "what its proxies say is not looked at");
        }
        let everybody = endpoint.trusted.iter().position(|network| network.network().bits() == 0);
        if let Some(number) = everybody.filter(|_| believes) {
            let message = "everybody is trusted to say whose a connection is";
            let note = "any client can claim any address, in rules, limits and logs";
            self.warning(node.place_in("trusted", number), message, note);
        }
    }

    /// Warns of an endpoint that no site is on; not when a site names an endpoint that does not exist, which may be this one.
    fn unserved(&mut self, endpoint: &Endpoint, node: &Node) {
        let sites = &self.config.site;
        let is_served =
            sites.iter().any(|site| site.endpoints.is_empty() || site.endpoints.contains(&endpoint.name));
        let mut named = sites.iter().flat_map(|site| &site.endpoints);
        let is_sure = named.all(|name| self.written.endpoints.contains(name.as_str()));
        let is_for_sites = endpoint.is_http() && endpoint.handler.is_none() && !node.is_damaged;
        if is_for_sites && !is_served && is_sure && !sites.is_empty() {
            let message = format!("no site is on the endpoint `{}`", endpoint.name);
            self.warning(node.place_of("name"), message, "it answers 404 to everything");
        }
    }

    fn listens(&mut self) {
        let mut seen: Vec<(Address, bool, Place)> = Vec::new();
        for (index, endpoint) in self.config.endpoint.iter().enumerate() {
            let is_udp = endpoint.spoken() == EndpointProtocol::Udp;
            for (number, listen) in endpoint.listen.iter().enumerate() {
                let place = self.tree.item("endpoint", index).place_in("listen", number);
                let Listen::At(written, addresses) = listen else { continue };
                let clash = addresses.iter().find_map(|address| {
                    let is_it = |other: &Address, of_udp: bool| of_udp == is_udp && is_same(address, other);
                    seen.iter().find(|(other, of_udp, _)| is_it(other, *of_udp)).map(|(.., first)| *first)
                });
                if let Some(first) = clash {
                    let finding = Finding::error(place, format!("`{written}` is listened on twice"));
                    self.findings.push(finding.other(first, "here for the first time"));
                }
                seen.extend(addresses.iter().map(|address| (address.clone(), is_udp, place)));
            }
        }
    }

    fn limits(&mut self, limits: &Limits, node: &Node) {
        let touches = |key: &str| node.entry(key).is_some();
        if limits.line_size > limits.head_size && (touches("line_size") || touches("head_size")) {
            let key = if touches("line_size") { "line_size" } else { "head_size" };
            let message = format!(
                "a request line of {} does not fit into a head of {}",
                limits.line_size, limits.head_size
            );
            self.error_with_hint(node.place_of(key), message, "`line_size` is at most `head_size`");
        }
    }
}

/// The beginning of the main file, for what is missing in it.
pub(super) fn start(tree: &Node) -> Place {
    Place { start: 0, end: 0, ..tree.place }
}

/// Whether one socket's address is part of the other's. Port 0 is another port each time.
fn is_same(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Tcp(one), Address::Tcp(other)) => {
            let is_family_same = one.is_ipv4() == other.is_ipv4();
            let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() == other.port()
                && one.port() != 0
                && is_family_same
                && (is_any || one.ip() == other.ip())
        }
        (Address::Unix(one), Address::Unix(other)) => one == other,
        _ => false,
    }
}
