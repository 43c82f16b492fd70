//! Sites: names, roots, routes, fields, pages.

use crate::served::{ENDPOINT, Served, drivers, files};

#[test]
fn sites_are_found_by_name() {
    let folder = files(
        "run-names",
        &[("a/index.html", "a"), ("b/index.html", "b"), ("c/index.html", "c"), ("d/x", "d")],
    );
    let text = format!(
        "{ENDPOINT}\n[[site]]\nnames = [\"a.example\"]\nroot = \"a\"\n[[site]]\nnames = [\"*.b.example\", \"b.example\"]\n\
         root = \"b\"\n[[site]]\nnames = [\"*\", \"c.example\"]\nroot = \"c\"\n"
    );
    for driver in drivers() {
        let served = Served::new(&text, folder.path(), driver);
        for (host, wanted) in [
            ("a.example", "a"),
            ("A.example:80", "a"),
            ("x.b.example", "b"),
            ("c.example", "c"),
            ("nobody", "c"),
        ] {
            assert_eq!(served.get(host, "/"), (200, wanted.to_owned()), "{host}");
        }
    }
}

#[test]
fn a_name_of_nobody_is_not_found_when_no_site_is_for_all() {
    let folder = files("run-nobody", &[("index.html", "a")]);
    let text = format!("{ENDPOINT}\n[[site]]\nnames = [\"a.example\"]\nroot = \".\"\n");
    let served = Served::new(&text, folder.path(), drivers()[0]);
    assert_eq!(served.get("a.example", "/").0, 200);
    assert_eq!(served.get("b.example", "/").0, 404);
}

#[test]
fn sites_are_on_their_endpoints_only() {
    let folder = files("run-endpoints", &[("a/index.html", "a"), ("b/index.html", "b")]);
    let text = "[log.access]\nformat = \"off\"\n[[endpoint]]\nname = \"one\"\nlisten = [\"127.0.0.1:0\"]\n[[endpoint]]\n\
                name = \"two\"\nlisten = [\"127.0.0.1:0\", \"unix:two.sock\"]\n[[site]]\nnames = [\"*\"]\nroot = \"a\"\n\
                endpoints = [\"one\"]\n[[site]]\nnames = [\"*\"]\nroot = \"b\"\nendpoints = [\"two\"]\n";
    let socket = folder.path().join("two.sock");
    let text = text.replace("unix:two.sock", &format!("unix:{}", socket.display()));
    let served = Served::new(&text, folder.path(), drivers()[0]);
    assert_eq!(served.get("x", "/").1, "a");
    let mut client = ringway_testkit::Client::connect(served.addresses[1]).expect("it listens");
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is taken");
    assert_eq!(client.answer(false).expect("an answer").body, b"b");
    assert!(std::os::unix::net::UnixStream::connect(socket).is_ok());
}

const ROUTES: &str = r#"
[[site]]
names = ["*"]
root = "www"
try = ["{path}", "{path}.html", "=404"]
error_pages = { 404 = "pages/404.html" }
headers = { set = { "X-Site" = "yes" }, remove = ["Last-Modified"] }
cache = [{ path = "/assets/**", control = "public, max-age=60" }, { types = ["text/html"], control = "no-cache" }]

[[site.route]]
path = "/old/*"
redirect = "/new/{1}?{query}"
status = 301

[[site.route]]
path = "/go"
redirect = "https://{host}/"

[[site.route]]
path = "/app/**"
rewrite = "/app.html"

[[site.route]]
path = "/ping"
respond = { status = 203, body = "pong", media_type = "text/x-ping" }
headers = { add = { "X-Route" = "ping" } }

[[site.route]]
path = "/files/**"
alias = "other"
listing = { enabled = true }
index = []
try = []

[[site.route]]
path = "/kept/**"
cache_control = "max-age=5"
"#;

#[test]
fn routes_do_what_they_say() {
    let folder = files(
        "run-routes",
        &[
            ("www/index.html", "index"),
            ("www/app.html", "app"),
            ("www/page.html", "page"),
            ("www/assets/a.css", "css"),
            ("www/kept/x.txt", "x"),
            ("other/one.txt", "one"),
            ("pages/404.html", "gone"),
        ],
    );
    for driver in drivers() {
        let served = Served::new(&format!("{ENDPOINT}{ROUTES}"), folder.path(), driver);
        let moved = served.ask("h.example", "/old/x?a=b", "");
        assert_eq!((moved.status, moved.field("location")), (301, Some("/new/x?a=b")));
        let gone = served.ask("h.example:8080", "/go", "");
        assert_eq!((gone.status, gone.field("location")), (302, Some("https://h.example/")));
        assert_eq!(served.get("x", "/app/deep/link"), (200, "app".to_owned()));
        let ping = served.ask("x", "/ping", "");
        assert_eq!(
            (ping.status, &ping.body[..], ping.field("content-type")),
            (203, &b"pong"[..], Some("text/x-ping"))
        );
        assert_eq!((ping.field("x-route"), ping.field("x-site")), (Some("ping"), Some("yes")));
        assert_eq!(served.get("x", "/page"), (200, "page".to_owned()));
        assert_eq!(served.get("x", "/nothing"), (404, "gone".to_owned()));
        assert_eq!(served.get("x", "/files/one.txt"), (200, "one".to_owned()));
        assert!(served.get("x", "/files/").1.contains("one.txt"));
        let css = served.ask("x", "/assets/a.css", "");
        assert_eq!(
            (css.field("cache-control"), css.field("last-modified")),
            (Some("public, max-age=60"), None)
        );
        assert_eq!(served.ask("x", "/page", "").field("cache-control"), Some("no-cache"));
        assert_eq!(served.ask("x", "/kept/x.txt", "").field("cache-control"), Some("max-age=5"));
    }
}

#[test]
fn settings_of_the_server_reach_answers() {
    let folder = files("run-server", &[("www/a.md", "a"), ("www/b.weird", "b"), ("www/.x", "")]);
    let text = format!(
        "{ENDPOINT}[server]\nserver_field = \"off\"\n[mime]\ndefault_type = \"text/x-default\"\ntypes = {{ md = \"text/markdown\" }}\n\
         [limits]\nhead_size = \"1 KiB\"\nline_size = \"1 KiB\"\nrequests = 2\n[[site]]\nnames = [\"*\"]\nroot = \"www\"\ncharset = \"iso-8859-1\"\n"
    );
    let served = Served::new(&text, folder.path(), drivers()[0]);
    let markdown = served.ask("x", "/a.md", "");
    assert_eq!(markdown.field("content-type"), Some("text/markdown; charset=iso-8859-1"));
    assert_eq!(markdown.field("server"), None);
    assert_eq!(
        served.ask("x", "/b.weird", "").field("content-type"),
        Some("text/x-default; charset=iso-8859-1")
    );
    assert_eq!(served.ask("x", "/a.md", &format!("X: {}\r\n", "x".repeat(1100))).status, 431);
    let mut client = served.client();
    client.send(&b"GET /a.md HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2)).expect("it is taken");
    let answers = client.answers(2).expect("two answers");
    assert_eq!((answers[0].field("connection"), answers[1].field("connection")), (None, Some("close")));
}
