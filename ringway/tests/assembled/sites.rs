//! Sites, routes and their answers, as the configuration has them.

use crate::stand::{Stand, config};
use ringway_testkit::Scratch;

const SITES: &str = r#"
[[site]]
names = ["example.org", "*.example.org"]
root = "www"
error_pages = { 404 = "pages/404.html" }

[site.listing]
enabled = true
theme = "plain"

[site.headers]
set = { "X-Site" = "org" }
remove = ["Accept-Ranges"]

[[site.cache]]
types = ["text/css"]
control = "max-age=60"
expires = "1m"

[[site.route]]
path = "/old/**"
redirect = "https://{host}/new/{1}?{query}"
status = 308

[[site.route]]
path = "/files/**"
alias = "pub"
[site.route.listing]
enabled = false

[[site.route]]
path = "/users/*/profile"
rewrite = "/profile.html?user={1}"

[[site.route]]
path = "/health"
respond = { status = 200, body = "well\n" }
headers = { set = { "Cache-Control" = "no-store" }, remove = ["X-Site"] }

[[site]]
names = ["app.example.org"]
root = "app"
try = ["{path}", "{path}/", "/index.html"]

[[site]]
names = ["*"]
[[site.route]]
path = "/**"
redirect = "http://example.org{path}"
"#;

fn place() -> Scratch {
    let place = Scratch::new("assembled");
    for (name, text) in [
        ("www/index.html", "home"),
        ("www/style.css", "css"),
        ("www/profile.html", "profile"),
        ("www/dir/x", ""),
        ("www/.env", "secret"),
        ("pub/a.txt", "a"),
        ("pub/sub/b.txt", "b"),
        ("app/index.html", "app"),
        ("app/main.js", "js"),
        ("app/docs/index.html", "docs"),
        ("pages/404.html", "own 404"),
    ] {
        place.file(name, text.as_bytes());
    }
    place
}

#[test]
fn what_is_configured_is_served() {
    let place = place();
    let stand = Stand::start(&config(place.path(), SITES));
    for (host, target, status, body) in [
        ("example.org", "/", 200, "home"),
        ("WWW.Example.org:80", "/", 200, "home"),
        ("example.org", "/files/a.txt", 200, "a"),
        ("example.org", "/files/sub/b.txt", 200, "b"),
        ("example.org", "/files/sub/", 404, "own 404"),
        ("example.org", "/users/ann/profile", 200, "profile"),
        ("example.org", "/users/ann/other", 404, "own 404"),
        ("example.org", "/health", 200, "well\n"),
        ("example.org", "/.env", 404, "own 404"),
        ("app.example.org", "/main.js", 200, "js"),
        ("app.example.org", "/any/view", 200, "app"),
        ("app.example.org", "/docs/", 200, "docs"),
    ] {
        let answer = stand.get(host, target);
        assert_eq!((answer.status, &*answer.body), (status, body.as_bytes()), "{host}{target}");
    }
    for (host, target, status, location) in [
        ("example.org", "/old/a%20b?c=d", 308, "https://example.org/new/a%20b?c=d"),
        ("example.org", "/files", 301, "/files/"),
        ("app.example.org", "/docs", 301, "/docs/"),
        ("example.com", "/x%20y", 302, "http://example.org/x%20y"),
    ] {
        let answer = stand.get(host, target);
        assert_eq!((answer.status, answer.field("location")), (status, Some(location)), "{host}{target}");
    }
    let css = stand.get("example.org", "/style.css");
    assert_eq!((css.field("cache-control"), css.field("x-site")), (Some("max-age=60"), Some("org")));
    assert!(css.field("expires").is_some() && css.field("accept-ranges").is_none(), "{}", css.head);
    let health = stand.get("example.org", "/health");
    assert_eq!((health.field("cache-control"), health.field("x-site")), (Some("no-store"), None));
    let listing = String::from_utf8(stand.get("example.org", "/dir/").body).expect("a page");
    assert!(listing.contains("href=\"x\"") && !listing.contains("<style>"), "{listing}");
    stand.stop();
}
