//! Routes, redirects, rewrites, fixed answers, field edits and error pages.

use crate::stand::{files, on_each_driver, route, says};
use ringway_testkit::Scratch;
use ringway_web::clock::ServerField;
use ringway_web::error_page::ErrorPages;
use ringway_web::load::LoadOptions;
use ringway_web::pattern::Pattern;
use ringway_web::redirect::Redirect;
use ringway_web::respond::Respond;
use ringway_web::rewrite::Rewrite;
use ringway_web::routes::Route;
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::sync::Arc;

#[test]
fn routes_answer_before_the_site_and_redirects_keep_what_was_asked() {
    let build = |_worker: &_| {
        let mut site = Site::with_handler("site", says("site"));
        for route in [
            route("/exact", says("exact")),
            route("/old/**", Redirect::new(301, "https://{host}:8443/new/{1}?{query}").unwrap()),
            route("/u/*/f/**", Redirect::new(308, "/~{1}/{2}").unwrap()),
            route("/*.php", Redirect::new(302, "/scripts{path}").unwrap()),
            route("/gone", Respond::new(410, "text/html", b"<p>gone"[..].into()).unwrap()),
            route("/nothing", Respond::new(204, "text/plain", b""[..].into()).unwrap()),
            Route::new(Pattern::parse("/bare/**").unwrap()),
        ] {
            site.routes.add(route).unwrap();
        }
        Sites::new(site)
    };
    on_each_driver(build, |stand| {
        for (target, body) in [("/", "site"), ("/exact", "exact"), ("/exact/", "site"), ("/bare/x", "site")] {
            assert_eq!(stand.get("a", target).body, body.as_bytes(), "{target}");
        }
        for (target, status, location) in [
            ("/old/x%20y?q=%31", 301, "https://example.org:8443/new/x%20y?q=%31"),
            ("/old", 301, "https://example.org:8443/new/"),
            ("/u/ann/f/a/b?x", 308, "/~ann/a/b"),
            ("/u/%0d%0aX:y/f/", 404, ""),
            ("/a.php", 302, "/scripts/a.php"),
        ] {
            let answer = stand.get("example.org", target);
            assert_eq!(
                (answer.status, answer.field("location").unwrap_or("")),
                (status, location),
                "{target}"
            );
        }
        // An address without a host is none.
        assert_eq!(stand.ask("GET /old/x HTTP/1.0\r\n\r\n").status, 400);
        assert_eq!(stand.ask("GET /a.php HTTP/1.0\r\n\r\n").field("location"), Some("/scripts/a.php"));
        let gone = stand.get("a", "/gone");
        assert_eq!(
            (gone.status, gone.field("content-type"), &*gone.body),
            (410, Some("text/html"), &b"<p>gone"[..])
        );
        let head = stand.ask("HEAD /gone HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((head.status, head.field("content-length")), (410, Some("7")));
        let nothing = stand.ask("POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!((nothing.status, nothing.field("content-length")), (204, None));
    });
}

#[test]
fn rewrites_lead_to_other_routes_and_never_in_circles() {
    let build = |_worker: &_| {
        let mut site = Site::new("site");
        for route in [
            route("/blog/*", Rewrite::new("/articles/{1}?from=blog&{query}").unwrap()),
            route("/articles/**", Redirect::new(307, "{path}?{query}").unwrap()),
            route("/ping", Rewrite::new("/pong").unwrap()),
            route("/pong", Rewrite::new("/ping").unwrap()),
            route("/self", Rewrite::new("/self").unwrap()),
            route("/grow/**", Rewrite::new("{path}/x").unwrap()),
            route("/up/*", Rewrite::new("/{1}").unwrap()),
            route("/odd/*", Rewrite::new("/a/.{1}").unwrap()),
            route("/...", says("dots")),
        ] {
            site.routes.add(route).unwrap();
        }
        Sites::new(site)
    };
    on_each_driver(build, |stand| {
        let location = |target| stand.get("a", target).field("location").map(str::to_owned);
        assert_eq!(location("/blog/a%20b?x=1").as_deref(), Some("/articles/a%20b?from=blog&x=1"));
        assert_eq!(location("/blog/a").as_deref(), Some("/articles/a?from=blog&"));
        assert_eq!(stand.get("a", "/ping").status, 500);
        assert_eq!(stand.get("a", "/grow/a").status, 500);
        assert_eq!(stand.get("a", "/self").status, 404);
        assert_eq!(stand.get("a", "/up/...").body, b"dots");
        // What would become `..` is no path.
        assert_eq!(stand.get("a", "/odd/.").status, 404);
        assert_eq!(stand.get("a", "/odd/%2e").status, 404);
        assert_eq!(stand.get("a", "/odd/..x").status, 404);
    });
}

#[test]
fn heads_are_edited_and_what_frames_them_stays() {
    let root = Scratch::new("edits");
    root.file("index.html", b"home");
    root.file("in/index.html", b"in");
    let path = root.path().to_owned();
    let build = move |worker: &_| {
        let mut site = Site::with_handler("site", files(worker, &path, "", &[], LoadOptions::default()));
        site.server = ServerField::Version;
        site.edits.set("Strict-Transport-Security", "max-age=63072000").unwrap();
        site.edits.remove("Accept-Ranges").unwrap();
        let mut pages = ErrorPages::default();
        pages.set(404, "text/html; charset=utf-8", b"<h1>own page"[..].into()).unwrap();
        site.pages = Arc::new(pages);
        let mut inner = Route::new(Pattern::parse("/in/**").unwrap());
        inner.edits.remove("strict-transport-security").unwrap();
        inner.edits.remove("Server").unwrap();
        inner.edits.set("ETag", "\"mine\"").unwrap();
        inner.edits.add("X-In", "1").unwrap();
        inner.edits.add("X-In", "2").unwrap();
        site.routes.add(inner).unwrap();
        let mut sites = Sites::new(site);
        let mut quiet = Site::new("quiet");
        quiet.server = ServerField::Absent;
        sites.add(quiet, &["quiet"]).unwrap();
        sites
    };
    on_each_driver(build, |stand| {
        let count = |head: &str, name: &str| {
            head.lines().filter(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:"))).count()
        };
        let home = stand.get("a", "/");
        assert_eq!(home.body, b"home");
        assert_eq!(home.field("strict-transport-security"), Some("max-age=63072000"));
        assert_eq!(home.field("accept-ranges"), None);
        assert!(home.field("server").is_some_and(|server| server.starts_with("Ringway/")), "{}", home.head);
        let inner = stand.get("a", "/in/");
        assert_eq!(inner.body, b"in");
        assert_eq!((inner.field("server"), inner.field("strict-transport-security")), (None, None));
        assert_eq!((count(&inner.head, "etag"), inner.field("etag")), (1, Some("\"mine\"")));
        assert_eq!((count(&inner.head, "x-in"), count(&inner.head, "date")), (2, 1));
        let missing = stand.get("a", "/missing");
        assert_eq!((missing.status, &*missing.body), (404, &b"<h1>own page"[..]));
        assert_eq!(missing.field("content-length"), Some("12"));
        assert_eq!(missing.field("strict-transport-security"), Some("max-age=63072000"));
        let head = stand.ask("HEAD /missing HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((head.status, head.field("content-length")), (404, Some("12")));
        let refused = stand.ask("GET /\r\n\r\n");
        assert_eq!(refused.status, 400);
        assert_eq!(refused.field("strict-transport-security"), Some("max-age=63072000"));
        assert_eq!(stand.get("quiet", "/").field("server"), None);
    });
}
