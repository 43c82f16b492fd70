//! Which site answers.

use crate::stand::{files, on_each_driver, says};
use ringway_engine::WorkerHandle;
use ringway_testkit::Scratch;
use ringway_web::load::LoadOptions;
use ringway_web::site::Site;
use ringway_web::sites::Sites;

fn sites(_worker: &WorkerHandle) -> Sites {
    let mut sites = Sites::new(Site::with_handler("default", says("default")));
    sites.add(Site::with_handler("org", says("org")), &["example.org", "*.example.org"]).expect("free");
    sites.add(Site::with_handler("www", says("www")), &["www.example.org", "::1"]).expect("free");
    sites
}

#[test]
fn requests_find_the_site_they_ask_for() {
    on_each_driver(sites, |stand| {
        for (host, wanted) in [
            ("example.org", "org"),
            ("EXAMPLE.ORG:8080", "org"),
            ("a.b.example.org.", "org"),
            ("www.example.org", "www"),
            ("[0::1]:80", "www"),
            ("127.0.0.1", "default"),
            ("example.com", "default"),
        ] {
            assert_eq!(stand.get(host, "/").body, wanted.as_bytes(), "{host}");
        }
        // The target's authority counts, not the field.
        assert_eq!(stand.get("example.com", "http://www.example.org/x").body, b"www");
        assert_eq!(stand.ask("GET / HTTP/1.0\r\n\r\n").body, b"default");
    });
}

#[test]
fn requests_of_one_connection_may_be_for_different_sites() {
    on_each_driver(sites, |stand| {
        let mut client = stand.client();
        let heads = ["example.org", "www.example.org", "x"]
            .map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.send(heads.concat().as_bytes()).expect("it is open");
        let bodies = client.answers(3).expect("in order").into_iter().map(|answer| answer.body);
        assert_eq!(bodies.collect::<Vec<_>>(), [&b"org"[..], b"www", b"default"]);
    });
}

#[test]
fn a_thousand_sites_share_what_a_worker_has() {
    const SITES: usize = 1_000;
    let place = Scratch::new("thousand");
    for number in 0..SITES {
        place.file(&format!("{}/index.html", number % 10), (number % 10).to_string().as_bytes());
    }
    let root = place.path().to_owned();
    let build = move |worker: &WorkerHandle| {
        let mut sites = Sites::new(Site::with_handler("default", says("default")));
        for number in 0..SITES {
            let root = root.join((number % 10).to_string());
            let name = format!("site-{number}.example.org");
            let handler = files(worker, &root, "", &[], LoadOptions::default());
            let names = [name.clone(), format!("*.{name}")];
            sites.add(Site::with_handler(&name, handler), &names).expect("free");
        }
        sites
    };
    on_each_driver(build, |stand| {
        let mut client = stand.client();
        for number in (0..SITES).step_by(7).chain([SITES - 1]) {
            for prefix in ["", "www.", "a.b."] {
                let head = format!("GET / HTTP/1.1\r\nHost: {prefix}site-{number}.EXAMPLE.org\r\n\r\n");
                client.send(head.as_bytes()).expect("it is open");
                let body = client.answer(false).expect("an answer").body;
                assert_eq!(body, (number % 10).to_string().as_bytes(), "{prefix}{number}");
            }
        }
        assert_eq!(stand.get("site-1000.example.org", "/").body, b"default");
    });
}

#[test]
fn the_server_as_a_whole_has_options_and_odd_paths_are_refused() {
    on_each_driver(sites, |stand| {
        let answer = stand.ask("OPTIONS * HTTP/1.1\r\nHost: example.org\r\n\r\n");
        assert_eq!((answer.status, answer.field("allow")), (204, Some("GET, HEAD, OPTIONS")));
        for target in ["/%", "/%2f", "/a/../..", "/%00", "/\\"] {
            assert_eq!(stand.get("example.org", target).status, 400, "{target}");
        }
    });
}
