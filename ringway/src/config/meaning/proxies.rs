//! Proxies: upstreams that are there, hosts and paths that make sense, fields that are the proxy's own.

use super::Judge;
use crate::config::settings::{Proxy, Route, UpstreamProtocol};
use crate::config::tree::Node;
use ringway_http::head::Authority;

/// Fields of requests that the proxy writes itself, besides those of every connection.
const OWN: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
    "via",
];

impl Judge<'_> {
    pub(super) fn proxy(&mut self, route: &Route, node: &Node) {
        let Some(proxy) = &route.proxy else { return };
        let node = node.under("proxy");
        let speaks = [UpstreamProtocol::Http, UpstreamProtocol::H2];
        self.upstream_reference(proxy.upstream.as_str(), node.place_of("upstream"), &speaks);
        if let Some(host) =
            proxy.host.as_ref().filter(|host| Authority::parse(host.as_str().as_bytes()).is_err())
        {
            let hint = "write a name or an address, and a port if it needs one";
            self.error_with_hint(node.place_of("host"), format!("{:?} is no host", host.as_str()), hint);
        }
        for (key, path) in [("strip", &proxy.strip), ("prefix", &proxy.prefix)] {
            if let Some(path) = path.as_ref().filter(|path| path.as_str().ends_with('/')) {
                let hint = match path.as_str().trim_end_matches('/') {
                    "" => "leave it out".to_owned(),
                    path => format!("write \"{path}\""),
                };
                self.error_with_hint(
                    node.place_of(key),
                    format!("`{key}` is segments without a slash at their end"),
                    hint,
                );
            }
        }
        if let Some(strip) = &proxy.strip
            && route.path.wildcards() <= 1
            && !is_below(route.path.as_str(), strip.as_str())
        {
            let hint = "paths that do not begin with it stay as they are";
            self.warning(node.place_of("strip"), format!("no path of this route begins with {strip}"), hint);
        }
        self.request_fields(proxy, node);
    }

    fn request_fields(&mut self, proxy: &Proxy, node: &Node) {
        let (headers, node) = (&proxy.request_headers, node.under("request_headers"));
        let of = |key: &'static str, name: &str| node.under(key).key_place_of(name);
        let set = headers.set.keys().map(|name| (name.as_str(), of("set", name.as_str())));
        let add = headers.add.keys().map(|name| (name.as_str(), of("add", name.as_str())));
        let remove =
            headers.remove.iter().enumerate().map(|(at, name)| (name.as_str(), node.place_in("remove", at)));
        let is_own = |name: &str| {
            let name = name.to_ascii_lowercase();
            OWN.contains(&name.as_str()) || name.starts_with("x-forwarded-")
        };
        let wrong: Vec<_> = set.chain(add).chain(remove).filter(|(name, _)| is_own(name)).collect();
        for (name, place) in wrong {
            let hint = match name.to_ascii_lowercase().as_str() {
                "host" => "write `host` in `proxy`",
                "via" => "write `via = false` to leave it out",
                "forwarded" => "write `forwarded = false` to leave it out",
                name if name.starts_with("x-forwarded-") => "write `x_forwarded = false` to leave them out",
                _ => "it belongs to a single connection",
            };
            self.error_with_hint(
                place,
                format!("the field `{name}` is the proxy's own and cannot be edited"),
                hint,
            );
        }
    }
}

/// Whether paths of a pattern can begin with the segments of `prefix`.
fn is_below(pattern: &str, prefix: &str) -> bool {
    let pattern = pattern.strip_suffix("/**").unwrap_or(pattern);
    let begins = |path: &str, with: &str| {
        path.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    pattern.contains('*') || begins(pattern, prefix) || begins(prefix, pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_above_or_below_what_is_stripped() {
        for (pattern, prefix, expected) in [
            ("/api/**", "/api", true),
            ("/api/v1/**", "/api", true),
            ("/**", "/api", true),
            ("/api/**", "/api/v1", true),
            ("/apis/**", "/api", false),
            ("/other", "/api", false),
            ("/*/a", "/api", true),
        ] {
            assert_eq!(is_below(pattern, prefix), expected, "{pattern} {prefix}");
        }
    }
}
