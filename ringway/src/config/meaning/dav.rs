//! WebDAV: what it needs, and that not everybody may write.

use super::Judge;
use crate::config::settings::{Auth, AuthKind, Dav};
use crate::config::tree::Node;

impl Judge<'_> {
    pub(super) fn dav(&mut self) {
        let (config, tree) = (self.config, self.tree);
        for (index, site) in config.site.iter().enumerate() {
            let node = tree.item("site", index);
            if let Some(dav) = &site.dav {
                self.dav_root(site.root.is_some(), node);
                self.dav_is_closed(dav, site.auth.as_ref(), node);
            }
            for (number, route) in site.route.iter().enumerate() {
                let node = node.item("route", number);
                let Some(dav) = &route.dav else { continue };
                let answers = [
                    ("redirect", route.redirect.is_some()),
                    ("rewrite", route.rewrite.is_some()),
                    ("respond", route.respond.is_some()),
                ];
                if let Some((other, _)) = answers.iter().find(|(_, is_set)| *is_set) {
                    let message = format!("`dav` is about files, and this route has `{other}`");
                    self.error(node.key_place_of("dav"), message);
                    continue;
                }
                let has_root = [&route.root, &route.alias, &site.root].iter().any(|root| root.is_some());
                self.dav_root(has_root, node);
                self.dav_is_closed(dav, route.auth.as_ref().or(site.auth.as_ref()), node);
            }
        }
    }

    fn dav_root(&mut self, has_root: bool, node: &Node) {
        if !has_root && !node.is_damaged {
            let hint = "write `root`: the directory whose files clients change";
            self.error_with_hint(
                node.key_place_of("dav"),
                "`dav` is about files, and there is no `root`",
                hint,
            );
        }
    }

    fn dav_is_closed(&mut self, dav: &Dav, auth: Option<&Auth>, node: &Node) {
        let is_open = auth.is_none_or(|auth| auth.kind == AuthKind::None);
        if is_open && !dav.anonymous && node.entry("auth").is_none_or(|_| auth.is_some()) {
            let hint = "write `auth`; or, if really everybody may, `anonymous = true` in `dav`";
            self.error_with_hint(
                node.key_place_of("dav"),
                "anybody could change and remove files here",
                hint,
            );
        }
    }
}
