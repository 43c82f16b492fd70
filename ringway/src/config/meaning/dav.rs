//! WebDAV: what it needs, and that not everybody may write.

use super::Judge;
use crate::config::settings::{Auth, AuthKind, Dav, Site};
use crate::config::tree::Node;
use crate::config::values::FilePath;

impl Judge<'_> {
    pub(super) fn dav(&mut self) {
        let (config, tree) = (self.config, self.tree);
        for (index, site) in config.site.iter().enumerate() {
            let node = tree.item("site", index);
            if let Some(dav) = &site.dav {
                self.dav_root(site.root.is_some(), node);
                self.dav_runs_nothing(site, site.root.as_ref(), node);
                self.dav_is_closed(dav, site.auth.as_ref(), node);
            }
            for (number, route) in site.route.iter().enumerate() {
                let node = node.item("route", number);
                let Some(dav) = &route.dav else { continue };
                let answers = [
                    ("redirect", route.redirect.is_some()),
                    ("rewrite", route.rewrite.is_some()),
                    ("respond", route.respond.is_some()),
                    ("cgi", route.cgi.is_some()),
                    ("fastcgi", route.fastcgi.is_some()),
                    ("proxy", route.proxy.is_some()),
                ];
                if let Some((other, _)) = answers.iter().find(|(_, is_set)| *is_set) {
                    let message = format!("`dav` is about files, and this route has `{other}`");
                    self.error(node.key_place_of("dav"), message);
                    continue;
                }
                let root = route.root.as_ref().or(route.alias.as_ref()).or(site.root.as_ref());
                self.dav_root(root.is_some(), node);
                self.dav_runs_nothing(site, root, node);
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

    /// Who may put files where files are run may run what they like.
    fn dav_runs_nothing(&mut self, site: &Site, root: Option<&FilePath>, node: &Node) {
        let Some(root) = root.map(FilePath::as_path) else { return };
        let run = site.route.iter().filter_map(|route| match (&route.cgi, &route.fastcgi) {
            (Some(cgi), _) => cgi.root.as_ref().or(site.root.as_ref()),
            (_, Some(fastcgi)) if fastcgi.script.is_none() => {
                route.root.as_ref().or(route.alias.as_ref()).or(site.root.as_ref())
            }
            _ => None,
        });
        let is_met =
            |other: &FilePath| other.as_path().starts_with(root) || root.starts_with(other.as_path());
        if run.into_iter().any(is_met) {
            let hint = "give the files that clients change, or the scripts, a directory of their own";
            self.warning(
                node.key_place_of("dav"),
                "who may change files here may run programs: scripts of this site are in the same directory",
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
