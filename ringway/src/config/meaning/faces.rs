//! Faces: dashboard, metrics and health, their paths and who may see them.

use super::Judge;
use crate::config::settings::AuthKind;

impl Judge<'_> {
    pub(super) fn faces(&mut self) {
        let (config, tree) = (self.config, self.tree);
        let faces = [
            ("dashboard", &config.dashboard.endpoints),
            ("metrics", &config.metrics.endpoints),
            ("health", &config.health.endpoints),
        ];
        for (key, endpoints) in faces {
            let names = || endpoints.iter().map(|name| name.as_str());
            self.endpoint_references(names(), tree.under(key), "endpoints");
            self.http_endpoints(names(), tree.under(key), "endpoints");
        }
        let (dashboard, node) = (&config.dashboard, tree.under("dashboard"));
        self.auth(dashboard.auth.as_ref(), node);
        let is_open = dashboard.auth.as_ref().is_none_or(|auth| auth.kind == AuthKind::None);
        if dashboard.enabled && is_open && !node.is_damaged {
            let hint = "write `auth = { kind = \"basic\", users = [\"...\"] }`";
            self.error_with_hint(node.place_of("enabled"), "the dashboard would be open to everybody", hint);
        }
        let mut paths = Vec::new();
        if dashboard.enabled {
            paths.push((dashboard.path.as_str(), node.place_of("path")));
        }
        if config.metrics.enabled {
            paths.push((config.metrics.path.as_str(), tree.under("metrics").place_of("path")));
        }
        if config.health.enabled {
            let node = tree.under("health");
            paths.push((config.health.live.as_str(), node.place_of("live")));
            paths.push((config.health.ready.as_str(), node.place_of("ready")));
        }
        self.duplicates("the path", paths);
    }
}
