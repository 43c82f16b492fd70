//! Directories: index files, redirects, listings.

use crate::server::{Driver, Setup, eventually};
use ringway_testkit::Scratch;
use serde_json::Value;

on_both_drivers!(
    an_index_file_stands_for_its_directory,
    a_directory_without_slash_is_sent_to_the_one_with,
    listings_for_people_and_programs,
    a_listing_shows_what_is_there_now,
    without_listing_there_is_nothing,
);

fn an_index_file_stands_for_its_directory(driver: Driver) {
    let site = Scratch::new("index");
    site.file("index.html", b"home");
    site.file("sub/index.html", b"sub");
    site.file("other/start.htm", b"start");
    let server = Setup::new(driver, site.path()).start();
    assert_eq!(server.get("/").body, b"home");
    assert_eq!(server.get("/sub/").body, b"sub");
    assert_eq!(server.get("/sub/").field("content-type"), Some("text/html; charset=utf-8"));
    assert!(String::from_utf8_lossy(&server.get("/other/").body).contains("start.htm"), "a listing");
    let chosen =
        Setup::new(driver, site.path()).with(&["--index", "start.htm", "--index", "index.html"]).start();
    assert_eq!(chosen.get("/other/").body, b"start");
    assert_eq!(chosen.get("/sub/").body, b"sub");
}

fn a_directory_without_slash_is_sent_to_the_one_with(driver: Driver) {
    let site = Scratch::new("redirect");
    site.file("a b/c/index.html", b"c");
    let server = Setup::new(driver, site.path()).start();
    let long = "x".repeat(3000);
    for (target, location) in [
        ("/a%20b", "/a%20b/".to_owned()),
        ("/a%20b/c", "/a%20b/c/".to_owned()),
        ("/a%20b?x=1&y=%2f", "/a%20b/?x=1&y=%2f".to_owned()),
        ("//a%20b//c", "/a%20b/c/".to_owned()),
        ("/a%20b/../a%20b/c", "/a%20b/c/".to_owned()),
        (&format!("/a%20b?{long}"), format!("/a%20b/?{long}")),
    ] {
        // Twice: looked up, then from the cache.
        for _ in 0..2 {
            let answer = server.get(target);
            assert_eq!((answer.status, answer.field("location")), (301, Some(location.as_str())), "{target}");
            assert!(answer.body.is_empty());
        }
    }
    // Heads that differ in length, many in one batch.
    let mut client = server.client();
    let request = |bytes: usize| format!("GET /a%20b?{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(bytes));
    let lengths = (0..40).map(|number| number * 97 % 3500);
    client.send(lengths.clone().map(request).collect::<String>().as_bytes()).expect("it reads");
    for bytes in lengths {
        let answer = client.answer(false).expect("an answer");
        let location = format!("/a%20b/?{}", "y".repeat(bytes));
        assert_eq!((answer.status, answer.field("location")), (301, Some(location.as_str())));
    }
    // The longest query there can be, of bytes that all need an escape.
    let quotes = "\"".repeat(8000);
    let answer = server.get(&format!("/a%20b?{quotes}"));
    assert_eq!(answer.status, 301);
    assert_eq!(answer.field("location").map(str::len), Some("/a%20b/?".len() + 3 * quotes.len()));
}

fn listings_for_people_and_programs(driver: Driver) {
    let site = Scratch::new("listing");
    site.file("b.txt", b"12345");
    site.file("a <&\"' é.txt", b"1");
    site.file("dir/inside", b"");
    site.file(".hidden", b"");
    site.file(".well-known/x", b"");
    let server = Setup::new(driver, site.path()).start();
    let page = server.get("/");
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.field("vary"), Some("Accept"));
    let text = String::from_utf8(page.body).expect("UTF-8");
    assert!(text.contains("href=\"dir/\"") && text.contains("b.txt"), "{text}");
    assert!(!text.contains(".hidden") && !text.contains("a <&"), "{text}");
    for (target, fields) in [("/?format=json", ""), ("/", "Accept: application/json\r\n")] {
        let answer = server.ask("GET", target, fields);
        assert_eq!(answer.field("content-type"), Some("application/json"));
        let listed: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let names: Vec<_> = listed.as_array().expect("an array").iter().map(|entry| &entry["name"]).collect();
        assert_eq!(names, [".well-known", "dir", "a <&\"' é.txt", "b.txt"]);
        assert_eq!((&listed[3]["type"], &listed[3]["size"]), (&"file".into(), &5.into()));
        assert_eq!((&listed[1]["type"], &listed[1]["size"]), (&"directory".into(), &Value::Null));
    }
    let sorted = server.get("/?format=json&sort=size&order=desc");
    let sorted: Value = serde_json::from_slice(&sorted.body).expect("JSON");
    assert_eq!(sorted[2]["name"], "b.txt");
    let head = server.ask("HEAD", "/", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.field("content-length").is_some_and(|length| length == text.len().to_string()));
    // A body in memory that is larger than the largest slice.
    for number in 0..2000 {
        site.file(&format!("many/{number:04}-with-a-name-that-is-not-short"), b"");
    }
    let many = server.get("/many/?format=json");
    let many: Value = serde_json::from_slice(&many.body).expect("JSON");
    assert_eq!(many.as_array().map(Vec::len), Some(2000));
}

fn a_listing_shows_what_is_there_now(driver: Driver) {
    let site = Scratch::new("listing-now");
    let server = Setup::new(driver, site.path()).start();
    let shows = |name: &str| String::from_utf8_lossy(&server.get("/").body).contains(name);
    assert!(!shows("new.txt"));
    let new = site.file("new.txt", b"");
    assert!(shows("new.txt"));
    std::fs::remove_file(new).expect("ours");
    assert!(!shows("new.txt"));
    site.file("index.html", b"now an index");
    eventually("the index is found", || (server.get("/").body == b"now an index").then_some(()));
}

fn without_listing_there_is_nothing(driver: Driver) {
    let site = Scratch::new("no-listing");
    site.file("dir/file.txt", b"x");
    let server = Setup::new(driver, site.path()).with(&["--no-listing"]).start();
    for target in ["/", "/dir/", "/dir/?format=json"] {
        assert_eq!(server.get(target).status, 404, "{target}");
    }
    assert_eq!(server.get("/dir/file.txt").status, 200);
    assert_eq!(server.get("/dir").status, 301);
}
