//! Rules: who may ask for what, by address, path, method, fields and the page that a request comes from.
//!
//! Rules are asked in their order and the first whose conditions all hold decides; when none does, the request goes on. A
//! rule sees the path as files are looked up by it: decoded, without dot segments, so that no spelling gets around it.

pub mod addresses;
pub mod glob;
pub mod referer;

use crate::exchange::Exchange;
use crate::log::errors::{ErrorLog, Level};
use crate::pattern::Pattern;
use crate::pipeline::{RequestStage, Verdict};
use crate::rules::addresses::AddressSet;
use crate::rules::glob::Glob;
use crate::rules::referer::ForeignReferer;
use ringway_http::head::Request;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use std::net::IpAddr;
use std::sync::Arc;

/// What a rule does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on, and no later rule is asked.
    Allow,
    /// It is answered 403.
    Forbid,
    /// It is answered 404, as if there were nothing.
    Hide,
    /// The connection is closed without an answer.
    Close,
}

/// What must hold of one field of a request.
#[derive(Clone, Debug)]
pub enum FieldTest {
    /// It was sent.
    Present,
    /// It was not.
    Absent,
    /// It was sent, and one of its lines has such a value.
    Like(Glob),
}

/// A condition on a field.
#[derive(Clone, Debug)]
pub struct FieldCondition {
    /// The field's name, in any case.
    pub name: Box<str>,
    /// What must hold of it.
    pub test: FieldTest,
}

/// A rule. A condition that is not set (`None`, or an empty list) holds always.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What the log calls it; the number of the rule, from 1 on, when it has no name.
    pub name: Box<str>,
    /// What happens when all conditions hold.
    pub action: Action,
    /// The client's address is one of these. Clients on a Unix socket have none, and the condition does not hold.
    pub from: Option<AddressSet>,
    /// The client's address is none of these; holds for clients that have none.
    pub not_from: Option<AddressSet>,
    /// The path is like one of these.
    pub paths: Vec<Pattern>,
    /// The method is one of these, spelt as it is sent.
    pub methods: Vec<Box<str>>,
    /// All of these hold.
    pub fields: Vec<FieldCondition>,
    /// The request comes from a page of somebody else.
    pub foreign_referer: Option<ForeignReferer>,
}

impl Rule {
    /// A rule without conditions.
    #[must_use]
    pub fn new(name: &str, action: Action) -> Self {
        Self {
            name: name.into(),
            action,
            from: None,
            not_from: None,
            paths: Vec::new(),
            methods: Vec::new(),
            fields: Vec::new(),
            foreign_referer: None,
        }
    }

    /// Whether all conditions hold.
    #[must_use]
    pub fn holds(&self, facts: &Facts<'_, '_>) -> bool {
        let Facts { address, path, request } = *facts;
        self.from.as_ref().is_none_or(|set| address.is_some_and(|address| set.contains(address)))
            && !self.not_from.as_ref().is_some_and(|set| address.is_some_and(|address| set.contains(address)))
            && (self.methods.is_empty()
                || self.methods.iter().any(|method| **method == *request.method().as_str()))
            && (self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.matches(path).is_some()))
            && self.fields.iter().all(|condition| condition.holds(request))
            && self.foreign_referer.as_ref().is_none_or(|foreign| foreign.holds(request))
    }
}

impl FieldCondition {
    fn holds(&self, request: &Request<'_>) -> bool {
        let mut lines =
            request.fields().filter(|field| field.name.eq_ignore_ascii_case(self.name.as_bytes()));
        match &self.test {
            FieldTest::Present => lines.next().is_some(),
            FieldTest::Absent => lines.next().is_none(),
            FieldTest::Like(glob) => lines.any(|field| glob.matches(field.value)),
        }
    }
}

/// What rules judge by.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a, 'b> {
    /// The client's address, where it has one and [`Rules::wants_address`].
    pub address: Option<IpAddr>,
    /// The request's path, normalised.
    pub path: &'a [u8],
    /// The request.
    pub request: &'a Request<'b>,
}

/// Rules in their order.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Box<[Rule]>,
    wants_address: bool,
}

impl Rules {
    /// These rules; those without a name get their number for one.
    #[must_use]
    pub fn new(mut rules: Vec<Rule>) -> Self {
        for (index, rule) in rules.iter_mut().enumerate().filter(|(_, rule)| rule.name.is_empty()) {
            rule.name = (index + 1).to_string().into();
        }
        let wants_address = rules.iter().any(|rule| rule.from.is_some() || rule.not_from.is_some());
        Self { rules: rules.into(), wants_address }
    }

    /// Whether any rule asks for the client's address; finding it out costs a system call.
    #[must_use]
    pub const fn wants_address(&self) -> bool {
        self.wants_address
    }

    /// The rule that decides; `None` when no rule is about such a request, which may go on then.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_, '_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.holds(facts))
    }
}

/// The stage that has rules decide; a site's, or a route's.
#[derive(Debug)]
pub struct RulesStage {
    rules: Arc<Rules>,
    log: Option<ErrorLog>,
}

impl RulesStage {
    /// A stage of these rules. What they refuse is told to `log` as information.
    #[must_use]
    pub const fn new(rules: Arc<Rules>, log: Option<ErrorLog>) -> Self {
        Self { rules, log }
    }

    fn tell(&self, rule: &Rule, facts: &Facts<'_, '_>) {
        let Some(log) = self.log.as_ref().filter(|log| log.wants(Level::Info)) else { return };
        let line = facts.request.line().escape_ascii();
        match facts.address {
            Some(address) => log.say(
                Level::Info,
                "rules",
                format_args!("rule {} refused \"{line}\" of {}", rule.name, address.to_canonical()),
            ),
            None => log.say(Level::Info, "rules", format_args!("rule {} refused \"{line}\"", rule.name)),
        }
    }
}

impl RequestStage for RulesStage {
    fn request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, EncodeError> {
        let address = if self.rules.wants_address() { exchange.peer().map(|peer| peer.ip()) } else { None };
        let facts = Facts { address, path: exchange.path, request: exchange.request };
        let Some(rule) = self.rules.decide(&facts) else { return Ok(Verdict::Pass) };
        let status = match rule.action {
            Action::Allow => return Ok(Verdict::Pass),
            Action::Forbid => Status::FORBIDDEN,
            Action::Hide => Status::NOT_FOUND,
            Action::Close => {
                self.tell(rule, &facts);
                return Ok(Verdict::Close);
            }
        };
        self.tell(rule, &facts);
        exchange.set_rule(&rule.name);
        exchange.error(status).map(Verdict::Answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::addresses::Network;
    use ringway_http::head::Limits;

    fn networks(texts: &[&str]) -> Option<AddressSet> {
        Some(texts.iter().map(|text| text.parse::<Network>().unwrap()).collect())
    }

    fn decide<'r>(
        rules: &'r Rules,
        address: Option<&str>,
        path: &str,
        lines: &str,
    ) -> Option<(&'r str, Action)> {
        let text = format!("{lines}\r\nHost: www.example.org:8080\r\n\r\n");
        let request = Request::parse(text.as_bytes(), &Limits::default()).unwrap();
        let address = address.map(|text| text.parse().unwrap());
        let rule = rules.decide(&Facts { address, path: path.as_bytes(), request: &request })?;
        Some((&rule.name, rule.action))
    }

    #[test]
    fn the_first_rule_whose_conditions_all_hold_decides() {
        let admin = || vec![Pattern::parse("/admin/**").unwrap()];
        let rules = Rules::new(vec![
            Rule { from: networks(&["192.0.2.0/24"]), paths: admin(), ..Rule::new("office", Action::Allow) },
            Rule { paths: admin(), ..Rule::new("", Action::Hide) },
            Rule {
                not_from: networks(&["0.0.0.0/0"]),
                methods: vec!["PUT".into()],
                ..Rule::new("", Action::Close)
            },
            Rule { from: networks(&["198.51.100.66"]), ..Rule::new("", Action::Forbid) },
        ]);
        assert!(rules.wants_address());
        let get = |address, path| decide(&rules, address, path, "GET / HTTP/1.1");
        assert_eq!(get(Some("192.0.2.1"), "/admin/x"), Some(("office", Action::Allow)));
        assert_eq!(get(Some("::ffff:192.0.2.1"), "/admin/x"), Some(("office", Action::Allow)));
        assert_eq!(get(Some("192.0.3.1"), "/admin/x"), Some(("2", Action::Hide)));
        assert_eq!(get(None, "/admin/x"), Some(("2", Action::Hide)));
        assert_eq!(get(Some("198.51.100.66"), "/"), Some(("4", Action::Forbid)));
        assert_eq!(get(None, "/"), None);
        let put = |address| decide(&rules, address, "/", "PUT / HTTP/1.1");
        assert_eq!(put(Some("2001:db8::1")), Some(("3", Action::Close)));
        assert_eq!(put(None), Some(("3", Action::Close)));
        assert_eq!(put(Some("192.0.2.1")), None);
        assert!(!Rules::new(vec![Rule::new("all", Action::Allow)]).wants_address());
    }

    #[test]
    fn fields_are_tested_on_every_line_they_came_on() {
        let field = |name: &str, test| FieldCondition { name: name.into(), test };
        let rules = Rules::new(vec![
            Rule {
                fields: vec![field("x-tool", FieldTest::Like(Glob::parse("*scan*").unwrap()))],
                ..Rule::new("scanner", Action::Forbid)
            },
            Rule {
                fields: vec![field("user-agent", FieldTest::Absent), field("X-Two", FieldTest::Present)],
                ..Rule::new("nameless", Action::Close)
            },
        ]);
        let ask = |lines: &str| {
            decide(&rules, None, "/", &format!("GET / HTTP/1.1\r\n{lines}")).map(|(name, _)| name)
        };
        assert_eq!(ask("X-Tool: a\r\nx-tool: my SCANNER"), Some("scanner"));
        assert_eq!(ask("X-Tool: a\r\nUser-Agent: b"), None);
        assert_eq!(ask("X-Two:"), Some("nameless"));
        assert_eq!(ask("X-Two:\r\nUser-Agent:"), None);
    }
}
