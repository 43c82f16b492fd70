//! FastCGI: upstreams that speak it, endings, parameters, and files to run.

use super::Judge;
use crate::config::settings::{FastCgi, Route, Site, UpstreamProtocol};
use crate::config::tree::Node;
use crate::web::scripts::Endings;

impl Judge<'_> {
    /// What a route says of FastCGI.
    pub(super) fn fastcgi(&mut self, site: &Site, route: &Route, node: &Node) {
        let Some(fastcgi) = &route.fastcgi else { return };
        let node_of = node.under("fastcgi");
        let name = fastcgi.upstream.as_str();
        self.upstream_reference(name, node_of.place_of("upstream"), &[UpstreamProtocol::Fastcgi]);
        if !fastcgi.endings.is_empty()
            && let Err(error) = Endings::parse(&fastcgi.endings)
        {
            let message = error.to_string();
            let (message, hint) = message.split_once("; ").unwrap_or((&message, "write [\".php\"]"));
            self.error_with_hint(node_of.place_of("endings"), message, hint);
        }
        for param in fastcgi.params.keys().filter(|name| !is_parameter(name)) {
            let hint = "write it in capitals, such as \"APP_ENV\"";
            let place = node_of.under("params").key_place_of(param);
            self.error_with_hint(place, format!("{param:?} is no name of a parameter"), hint);
        }
        if route.dav.is_some() {
            let hint = "have clients change the files at a route of their own";
            self.error_with_hint(
                node.key_place_of("dav"),
                "a route does one thing, and this one has `dav` and `fastcgi`",
                hint,
            );
        }
        match fastcgi.script {
            Some(_) => self.one_script(route, node),
            None => self.files_to_run(fastcgi, site, route, node),
        }
        let dirs = fastcgi.send_file.iter().enumerate();
        self.duplicates(
            "the path",
            dirs.map(|(at, dir)| (dir.path.as_str(), node_of.item("send_file", at).place_of("path"))),
        );
    }

    /// One program has all requests of the route: there are no files.
    fn one_script(&mut self, route: &Route, node: &Node) {
        let of_files = [
            ("root", route.root.is_some()),
            ("alias", route.alias.is_some()),
            ("index", route.index.is_some()),
            ("listing", route.listing.is_some()),
            ("try", route.r#try.is_some()),
            ("cache_control", route.cache_control.is_some()),
        ];
        for (key, _) in of_files.iter().filter(|(_, is_set)| *is_set) {
            self.error_with_hint(
                node.key_place_of(key),
                format!("`{key}` is about files, and this route has one `script` for all requests"),
                "leave `script` out: then the route's files are run, or sent",
            );
        }
        let path = route.path.as_str();
        if path.contains('*') && path.strip_suffix("/**").is_none_or(|front| front.contains('*')) {
            let hint = "write a directory, such as \"/app/**\"";
            self.error_with_hint(
                node.place_of("path"),
                "`script` needs a path that ends with `/**` and has no other `*`",
                hint,
            );
        }
    }

    fn files_to_run(&mut self, fastcgi: &FastCgi, site: &Site, route: &Route, node: &Node) {
        let has_root = route.root.is_some() || route.alias.is_some() || site.root.is_some();
        if !has_root && !node.is_damaged && !fastcgi.endings.is_empty() {
            let hint = "write `root` for the site, or `root` or `alias` here, or a `script` for all requests";
            self.error_with_hint(
                node.key_place_of("fastcgi"),
                "`fastcgi` runs files, and there is no `root`",
                hint,
            );
        }
    }
}

/// Whether programs can have a parameter of that name.
fn is_parameter(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=64).contains(&name.len())
        && name.bytes().all(is_part)
        && !name.starts_with(|first: char| first.is_ascii_digit())
}
