//! Access: users, authentication, rules.

use super::Judge;
use crate::config::report::Finding;
use crate::config::settings::{Auth, AuthKind, ClientCertificateMode, Rule, User};
use crate::config::source::Place;
use crate::config::suggest;
use crate::config::tree::Node;
use crate::web::auth::password::PasswordHash;

/// Hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

impl Judge<'_> {
    pub(super) fn access(&mut self) {
        let (config, tree) = (self.config, self.tree);
        let users = config.user.iter().enumerate();
        self.duplicates(
            "the user",
            users.map(|(index, user)| (user.name.as_str(), tree.item("user", index).place_of("name"))),
        );
        for (index, user) in config.user.iter().enumerate() {
            self.user(user, tree.item("user", index));
        }
        for (index, site) in config.site.iter().enumerate() {
            let node = tree.item("site", index);
            self.auth(site.auth.as_ref(), node);
            self.rules(&site.rule, node);
            for (number, route) in site.route.iter().enumerate() {
                let node = node.item("route", number);
                self.auth(route.auth.as_ref(), node);
                self.rules(&route.rule, node);
            }
        }
    }

    fn user(&mut self, user: &User, node: &Node) {
        let has_nothing = user.password.is_none() && user.tokens.is_empty() && user.certificates.is_empty();
        if has_nothing && !node.is_damaged {
            let message = format!("the user `{}` has no way to show who they are", user.name);
            self.error_with_hint(node.place, message, "write `password`, `tokens` or `certificates`");
        }
        if let Some(Err(reason)) = user.password.as_ref().map(|hash| PasswordHash::parse(hash)) {
            let (message, _) = reason.split_once("; ").unwrap_or((reason, ""));
            let hint = "`ringway passwd` makes one; passwords themselves are not written here";
            self.error_with_hint(node.place_of("password"), message, hint);
        }
        for (key, digests) in [("tokens", &user.tokens), ("certificates", &user.certificates)] {
            for (at, digest) in digests.iter().enumerate() {
                let is_digest =
                    digest.len() == SHA256_DIGITS && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
                if !is_digest {
                    let place = node.place_in(key, at);
                    self.error_with_hint(
                        place,
                        "this is no SHA-256 in hexadecimal",
                        format!("it has {SHA256_DIGITS} digits"),
                    );
                }
            }
        }
    }

    /// `node` is the table that has an `auth`.
    pub(super) fn auth(&mut self, auth: Option<&Auth>, node: &Node) {
        let Some(auth) = auth else { return };
        let node = node.under("auth");
        // Who is in a file is not known here.
        let known = if auth.users_file.is_some() { &[][..] } else { &auth.users };
        for (at, name) in known.iter().enumerate() {
            self.auth_user(auth.kind, name.as_str(), node.place_in("users", at));
        }
        if auth.users_file.is_some() && auth.kind != AuthKind::Basic {
            self.error(
                node.key_place_of("users_file"),
                "`users_file` holds passwords, and these are for the kind \"basic\"",
            );
        }
        let can = self.config.user.iter().any(|user| has_what(user, auth.kind)) || auth.users_file.is_some();
        if !can
            && auth.users.is_empty()
            && auth.kind != AuthKind::None
            && !node.is_damaged
            && self.written.users.is_empty()
        {
            let hint = "write [[user]], or `users_file`";
            self.error_with_hint(node.place, "nobody could come in: there are no users", hint);
        }
        let asks = self.config.tls.client_certificates.mode != ClientCertificateMode::None;
        if auth.kind == AuthKind::ClientCertificate && !asks {
            let hint = "write `mode = \"optional\"` in [tls.client_certificates]";
            self.error_with_hint(node.place_of("kind"), "clients are not asked for certificates", hint);
        }
    }

    fn auth_user(&mut self, kind: AuthKind, name: &str, place: Place) {
        let Some(user) = self.config.user.iter().find(|user| user.name.as_str() == name) else {
            if !self.written.users.contains(name) {
                let known = self.config.user.iter().map(|user| user.name.as_str());
                let hint = suggest::did_you_mean(name, known);
                self.findings
                    .push(Finding::error(place, format!("there is no user `{name}`")).maybe_hint(hint));
            }
            return;
        };
        if !has_what(user, kind) && kind != AuthKind::None {
            let lacks = match kind {
                AuthKind::Basic => "password",
                AuthKind::Bearer => "token",
                _ => "certificate",
            };
            self.error(place, format!("the user `{name}` has no {lacks}"));
        }
    }

    fn rules(&mut self, rules: &[Rule], node: &Node) {
        for (at, rule) in rules.iter().enumerate() {
            let place = node.item("rule", at).place;
            let is_damaged = node.item("rule", at).is_damaged;
            if has_no_condition(rule) && at + 1 != rules.len() && !is_damaged {
                self.warning(
                    place,
                    "this rule always decides, and more rules follow it",
                    "they are never asked",
                );
            }
        }
    }
}

fn has_what(user: &User, kind: AuthKind) -> bool {
    match kind {
        AuthKind::Basic => user.password.is_some(),
        AuthKind::Bearer => !user.tokens.is_empty(),
        AuthKind::ClientCertificate => !user.certificates.is_empty(),
        AuthKind::None => true,
    }
}

fn has_no_condition(rule: &Rule) -> bool {
    let by_address = !rule.from.is_empty() || !rule.not_from.is_empty();
    let by_request = !rule.paths.is_empty() || !rule.methods.is_empty();
    let by_fields =
        !rule.headers.is_empty() || !rule.headers_missing.is_empty() || rule.foreign_pages.is_some();
    !(by_address || by_request || by_fields)
}
