//! Routes: what each does, and that it does one thing.

use super::Judge;
use crate::config::settings::{Headers, Route, Site};
use crate::config::tree::Node;
use crate::web::template::Template;

/// Statuses that send a client elsewhere (RFC 9110, section 15.4).
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

impl Judge<'_> {
    pub(super) fn routes(&mut self) {
        let (config, tree) = (self.config, self.tree);
        for (index, site) in config.site.iter().enumerate() {
            let site_node = tree.item("site", index);
            let paths = site.route.iter().enumerate();
            self.duplicates(
                "the route",
                paths.map(|(at, route)| (route.path.as_str(), site_node.item("route", at).place_of("path"))),
            );
            for (number, route) in site.route.iter().enumerate() {
                let node = site_node.item("route", number);
                self.actions(site, route, node);
                self.cgi(site, route, node);
                self.fastcgi(site, route, node);
                self.service_of(route, node);
                self.redirect(route, node);
                self.wildcards(route, node);
                self.proxy(route, node);
                self.index(route.index.as_deref().unwrap_or_default(), node);
                self.tries(route.r#try.as_deref().unwrap_or_default(), node);
                self.headers(&route.headers, node);
            }
        }
    }

    /// A route does one thing, or changes how files are served.
    fn actions(&mut self, site: &Site, route: &Route, node: &Node) {
        let actions = [
            ("root", route.root.is_some()),
            ("alias", route.alias.is_some()),
            ("redirect", route.redirect.is_some()),
            ("rewrite", route.rewrite.is_some()),
            ("respond", route.respond.is_some()),
            ("cgi", route.cgi.is_some()),
            ("fastcgi", route.fastcgi.is_some()),
            ("proxy", route.proxy.is_some()),
            ("service", route.service.is_some()),
        ];
        let done: Vec<&str> = actions.iter().filter(|(_, is_set)| *is_set).map(|(key, _)| *key).collect();
        if let [first, second, ..] = done[..]
            // The files below it are run or sent.
            && !(matches!(first, "root" | "alias") && second == "fastcgi")
        {
            let message = format!("a route does one thing, and this one has `{first}` and `{second}`");
            self.error(node.key_place_of(second), message);
        }
        let of_files = [
            ("index", route.index.is_some()),
            ("listing", route.listing.is_some()),
            ("try", route.r#try.is_some()),
            ("cache_control", route.cache_control.is_some()),
        ];
        let answers = done
            .iter()
            .copied()
            .find(|key| matches!(*key, "redirect" | "rewrite" | "respond" | "cgi" | "proxy" | "service"));
        for (key, _) in of_files.iter().filter(|(_, is_set)| *is_set) {
            if let Some(other) = answers {
                self.error(
                    node.key_place_of(key),
                    format!("`{key}` is about files, and this route has `{other}`"),
                );
            } else if site.root.is_none() && done.is_empty() && !node.is_damaged {
                let hint = "write `root` for the site, or `root` or `alias` here";
                self.error_with_hint(
                    node.key_place_of(key),
                    format!("`{key}` is about files, and there is no `root`"),
                    hint,
                );
            }
        }
        if done.is_empty()
            && of_files.iter().all(|(_, is_set)| !is_set)
            && changes_nothing(route)
            && !node.is_damaged
        {
            let hint = "write `root`, `alias`, `redirect`, `rewrite`, `respond`, `cgi`, `fastcgi`, `proxy`, `service`, `try`, or `headers`, `auth`, [[site.route.rule]], `cache_control`";
            self.error_with_hint(node.place, "this route does nothing", hint);
        }
        if route.alias.is_some() && !route.path.as_str().ends_with("/**") {
            let hint = format!("write `path = \"{}/**\"`", route.path.as_str().trim_end_matches('/'));
            self.error_with_hint(node.place_of("path"), "`alias` needs a path that ends with `/**`", hint);
        }
    }

    fn redirect(&mut self, route: &Route, node: &Node) {
        let Some(status) = route.status else { return };
        let place = node.place_of("status");
        if route.redirect.is_none() && !node.is_damaged {
            let hint = "for an answer write `respond = { status = ... }`";
            self.error_with_hint(place, "`status` belongs to a `redirect`, and there is none", hint);
        } else if !REDIRECTS.contains(&status) {
            self.error_with_hint(
                place,
                format!("{status} sends no client elsewhere"),
                "there are 301, 302, 303, 307 and 308",
            );
        }
    }

    /// `{2}` needs two wildcards.
    fn wildcards(&mut self, route: &Route, node: &Node) {
        let targets = [
            ("redirect", route.redirect.as_ref().map(|target| target.as_str())),
            ("rewrite", route.rewrite.as_ref().map(|target| target.as_str())),
        ];
        for (key, target) in targets {
            let wanted = Template::parse(target.unwrap_or("")).map_or(0, |template| template.wildcards());
            let have = route.path.wildcards();
            if wanted > have {
                let wildcards = if have == 1 { "wildcard" } else { "wildcards" };
                let message =
                    format!("{{{wanted}}} stands for nothing: `{}` has {have} {wildcards}", route.path);
                self.error(node.place_of(key), message);
            }
        }
    }
}

fn changes_nothing(route: &Route) -> bool {
    let is_open = route.auth.is_none() && route.rate_limit.is_none();
    is_open && route.dav.is_none() && route.rule.is_empty() && route.headers == Headers::default()
}
