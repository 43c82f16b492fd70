//! Rules and request limits: who gets what, and what the log says of the others.

use crate::stand::{on_each_driver, route, says};
use ringway_pace::TokenRate;
use ringway_web::limit::{RequestLimit, RequestLimitOptions, RequestLimitStage};
use ringway_web::pattern::Pattern;
use ringway_web::pipeline::{Served, ServedStage};
use ringway_web::rules::glob::Glob;
use ringway_web::rules::referer::ForeignReferer;
use ringway_web::rules::{Action, FieldCondition, FieldTest, Rule, Rules, RulesStage};
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::sync::{Arc, Mutex};

/// A status, and the rule that refused.
type Refused = (u16, Option<String>);

/// Which rule refused, for each request.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Refused>>>);

impl ServedStage for Told {
    fn served(&self, served: &Served<'_>) {
        self.0.lock().expect("not poisoned").push((served.status, served.rule.map(str::to_owned)));
    }

    fn wants_details(&self) -> bool {
        false
    }
}

fn rules() -> Rules {
    let paths = |pattern: &str| vec![Pattern::parse(pattern).expect("a pattern")];
    let loopback = || Some(["127.0.0.0/8".parse().expect("a network")].into_iter().collect());
    let agent = FieldTest::Like(Glob::parse("*bot*").expect("a pattern"));
    Rules::new(vec![
        Rule { paths: paths("/open/**"), ..Rule::new("open", Action::Allow) },
        Rule { from: loopback(), paths: paths("/private/**"), ..Rule::new("", Action::Hide) },
        Rule { not_from: loopback(), ..Rule::new("", Action::Forbid) },
        Rule { methods: vec!["TRACE".into()], ..Rule::new("", Action::Close) },
        Rule {
            fields: vec![FieldCondition { name: "User-Agent".into(), test: agent }],
            ..Rule::new("bots", Action::Forbid)
        },
        Rule {
            paths: paths("/**/*.png"),
            foreign_referer: Some(ForeignReferer::new([], false)),
            ..Rule::new("hot links", Action::Forbid)
        },
    ])
}

#[test]
fn rules_decide_in_their_order_and_the_log_names_them() {
    let told = Told::default();
    let (rules, stage_told) = (Arc::new(rules()), told.clone());
    let build = move |_: &_| {
        let mut site = Site::with_handler("default", says("here"));
        site.stages.push(Box::new(RulesStage::new(Arc::clone(&rules), None)));
        site.served.push(Box::new(stage_told.clone()));
        Sites::new(site)
    };
    on_each_driver(build, |stand| {
        told.0.lock().expect("not poisoned").clear();
        let status = |target: &str, fields: &str| {
            stand.ask(&format!("GET {target} HTTP/1.1\r\nHost: www.example.org\r\n{fields}\r\n")).status
        };
        assert_eq!(status("/", ""), 200);
        assert_eq!(status("/private/x", ""), 404);
        assert_eq!(status("/x/..%2fprivate/./%78", ""), 400, "no spelling gets around it");
        assert_eq!(status("/a/../%70rivate//x", ""), 404);
        assert_eq!(status("/open/../private", ""), 404);
        assert_eq!(status("/open/x", "User-Agent: a bot\r\n"), 200);
        assert_eq!(status("/", "User-Agent: a BOT\r\n"), 403);
        assert_eq!(status("/a/b.png", "Referer: https://www.example.org/page\r\n"), 200);
        assert_eq!(status("/a/b.png", ""), 200);
        assert_eq!(status("/a/b.png", "Referer: https://evil.example/\r\n"), 403);
        let mut client = stand.client();
        client.send(b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
        assert!(client.answer(false).is_err(), "closed without an answer");
        let told = told.0.lock().expect("not poisoned");
        let named: Vec<_> =
            told.iter().filter_map(|(status, rule)| Some((*status, rule.as_deref()?))).collect();
        let expected = [(404, "2"), (404, "2"), (404, "2"), (403, "bots"), (403, "hot links")];
        assert_eq!(named, expected);
    });
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again() {
    let build = |_: &_| {
        // A count of its own for each server; slow enough that none comes back while the test runs.
        let rate = TokenRate::new(1, 86_400_000, 3);
        let limit = Arc::new(RequestLimit::new(RequestLimitOptions::new(rate)));
        let mut site = Site::with_handler("default", says("free"));
        let mut limited = route("/limited/**", says("limited"));
        limited.stages.push(Box::new(RequestLimitStage::new(limit)));
        site.routes.add(limited).expect("one");
        Sites::new(site)
    };
    on_each_driver(build, |stand| {
        for number in 0..5 {
            let answer = stand.get("a", "/limited/x");
            assert_eq!(answer.status, if number < 3 { 200 } else { 429 });
            if number >= 3 {
                let seconds: u32 = answer.field("Retry-After").expect("when").parse().expect("seconds");
                assert!((86_000..=86_400).contains(&seconds), "{seconds}");
            }
            assert_eq!(stand.get("a", "/free").status, 200);
        }
    });
}
