//! Who may do what: limits of requests, rules, authentication.

use super::AssemblyError;
use super::plan::{RoutePlan, StagePlan};
use crate::config::settings::{self, AuthKind, Config, RuleAction, Site, User};
use crate::config::values::Cidr;
use crate::web::auth::AuthOptions;
use crate::web::auth::certificates::Certificates;
use crate::web::auth::password::PasswordHash;
use crate::web::auth::tokens::Tokens;
use crate::web::auth::users::{UserTable, Users};
use crate::web::field_edits::FieldEdits;
use crate::web::limit::{RequestLimit, RequestLimitOptions};
use crate::web::pattern::Pattern;
use crate::web::rules::addresses::AddressSet;
use crate::web::rules::glob::Glob;
use crate::web::rules::referer::ForeignReferer;
use crate::web::rules::{Action, FieldCondition, FieldTest, Rule, Rules};
use ringway_pace::TokenRate;
use std::sync::Arc;

pub(super) fn request_limit(limit: &settings::RateLimit) -> Arc<RequestLimit> {
    let rate = TokenRate::new(limit.rate.requests, limit.rate.seconds * 1000, limit.burst);
    let exempt = networks(&limit.except);
    Arc::new(RequestLimit::new(RequestLimitOptions { exempt, ..RequestLimitOptions::new(rate) }))
}

fn networks(list: &[Cidr]) -> AddressSet {
    list.iter().map(|cidr| cidr.network()).collect()
}

/// The stage of these rules; `of` is the site or route that has them.
pub(super) fn rules(rules: &[settings::Rule], of: &str) -> Result<Option<StagePlan>, AssemblyError> {
    if rules.is_empty() {
        return Ok(None);
    }
    let cannot = |why| AssemblyError::new(format_args!("a rule of {of} cannot be followed"), why);
    let rules = rules.iter().map(rule).collect::<Result<Vec<_>, String>>().map_err(cannot)?;
    Ok(Some(StagePlan::Rules(Arc::new(Rules::new(rules)))))
}

fn rule(rule: &settings::Rule) -> Result<Rule, String> {
    let action = match rule.action {
        RuleAction::Allow => Action::Allow,
        RuleAction::Deny => Action::Forbid,
        RuleAction::Hide => Action::Hide,
        RuleAction::Close => Action::Close,
    };
    let of = |list: &[Cidr]| (!list.is_empty()).then(|| networks(list));
    let paths = rule.paths.iter().map(|path| Pattern::parse(path.as_str()));
    let mut fields = Vec::new();
    for (name, pattern) in &rule.headers {
        let test = FieldTest::Like(Glob::parse(pattern.as_str()).map_err(|error| error.to_string())?);
        fields.push(FieldCondition { name: name.as_str().into(), test });
    }
    let absent = |name: &crate::config::values::HeaderName| FieldCondition {
        name: name.as_str().into(),
        test: FieldTest::Absent,
    };
    fields.extend(rule.headers_missing.iter().map(absent));
    Ok(Rule {
        from: of(&rule.from),
        not_from: of(&rule.not_from),
        paths: paths.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
        methods: rule.methods.iter().map(|method| method.as_str().into()).collect(),
        fields,
        foreign_referer: rule
            .foreign_pages
            .as_ref()
            .map(|pages| ForeignReferer::new(pages.except.iter().map(ToString::to_string), pages.missing)),
        ..Rule::new(rule.name.as_ref().map_or("", |name| name.as_str()), action)
    })
}

/// What a client must show; `None` when nothing.
pub(super) fn auth(
    auth: Option<&settings::Auth>,
    config: &Config,
) -> Result<Option<Arc<AuthOptions>>, AssemblyError> {
    let Some(auth) = auth else { return Ok(None) };
    let cannot = |why: &dyn std::fmt::Display| AssemblyError::new("users cannot be let in", why);
    let mut options = AuthOptions::new(auth.realm.as_str());
    let is_meant = |user: &&User| auth.users.is_empty() || auth.users.contains(&user.name);
    let users = || config.user.iter().filter(is_meant);
    match auth.kind {
        AuthKind::None => return Ok(None),
        AuthKind::Basic => {
            options.users = Some(match &auth.users_file {
                Some(path) => Users::open(path.as_path()).map_err(|error| cannot(&error))?,
                // All of them: who is known and not meant is told so.
                None => Users::fixed(table(&config.user).map_err(|error| cannot(&error))?),
            });
            let names = auth.users.iter().map(|name| name.as_str().into());
            options.allowed = (!auth.users.is_empty()).then(|| names.collect());
        }
        AuthKind::Bearer => {
            let lines: String = users()
                .flat_map(|user| user.tokens.iter().map(move |token| format!("{}:{token}\n", user.name)))
                .collect();
            let wrong = |errors: Vec<crate::web::auth::LineError>| match errors.first() {
                Some(error) => cannot(error),
                None => cannot(&"a token cannot be read"),
            };
            options.tokens = Some(Arc::new(Tokens::parse(&lines).map_err(wrong)?));
        }
        AuthKind::ClientCertificate if auth.users.is_empty() => {
            options.certificates = Some(Certificates::any())
        }
        AuthKind::ClientCertificate => {
            let fingerprints: Vec<&str> =
                users().flat_map(|user| user.certificates.iter().map(String::as_str)).collect();
            options.certificates = Some(Certificates::these(&[], &fingerprints).map_err(|why| cannot(&why))?);
        }
    }
    Ok(Some(Arc::new(options)))
}

fn table(users: &[User]) -> Result<UserTable, String> {
    let mut hashes = std::collections::HashMap::new();
    for user in users {
        let Some(text) = &user.password else { continue };
        let hash =
            PasswordHash::parse(text).map_err(|why| format!("the password of {}: {why}", user.name))?;
        hashes.insert(user.name.as_str().into(), hash);
    }
    Ok(UserTable::new(hashes))
}

/// Puts the site's authentication where it belongs: before everything, or, when a route has another one, into every other
/// route and into one for the rest.
pub(super) fn share_out(
    auth: Option<Arc<AuthOptions>>,
    site: &Site,
    stages: &mut Vec<StagePlan>,
    routes: &mut Vec<RoutePlan>,
) -> Result<(), AssemblyError> {
    let Some(auth) = auth.map(StagePlan::Auth) else { return Ok(()) };
    if site.route.iter().all(|route| route.auth.is_none()) {
        stages.push(auth);
        return Ok(());
    }
    for (route, plan) in site.route.iter().zip(routes.iter_mut()) {
        if route.auth.is_none() {
            plan.stages.push(auth.clone());
        }
    }
    if site.route.iter().all(|route| route.path.as_str() != EVERYTHING) {
        let pattern =
            Pattern::parse(EVERYTHING).map_err(|why| AssemblyError::new("a site cannot be closed", why))?;
        let edits = FieldEdits::default();
        routes.push(RoutePlan { pattern, stages: vec![auth], handlers: Vec::new(), edits });
    }
    Ok(())
}

/// The route for what no other route is for.
const EVERYTHING: &str = "/**";
