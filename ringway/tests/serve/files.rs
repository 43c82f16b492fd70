//! Files in full, under conditions, and in ranges.

use crate::server::{Driver, Server, Setup, age, pattern};
use ringway_testkit::{Answer, Scratch};

on_both_drivers!(
    whole_files_come_as_they_are,
    a_fresh_file_has_a_weak_tag,
    conditions_have_their_order,
    ranges_of_small_and_large_files,
    several_ranges_come_in_parts,
    a_range_may_depend_on_the_file,
    siblings_are_offered_and_said,
);

const SMALL: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const LARGE_BYTES: usize = 5_000_000;

fn site() -> Scratch {
    let scratch = Scratch::new("files");
    for (name, contents) in [
        ("small.txt", SMALL),
        ("empty.css", b""),
        ("page.html", b"<p>"),
        ("archive.tar.gz", b"gz"),
        ("UPPER.TXT", b"x"),
        ("noname", b"x"),
    ] {
        age(&scratch.file(name, contents));
    }
    age(&scratch.file("middle.txt", &pattern(10_000)));
    age(&scratch.file("large.bin", &pattern(LARGE_BYTES)));
    scratch
}

fn whole_files_come_as_they_are(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    for (target, content_type, contents) in [
        ("/small.txt", "text/plain; charset=utf-8", SMALL),
        ("/small.txt?query=1", "text/plain; charset=utf-8", SMALL),
        ("/empty.css", "text/css; charset=utf-8", b""),
        ("/page.html", "text/html; charset=utf-8", b"<p>"),
        ("/archive.tar.gz", "application/gzip", b"gz"),
        ("/UPPER.TXT", "text/plain; charset=utf-8", b"x"),
        ("/noname", "application/octet-stream", b"x"),
        ("/large.bin", "application/octet-stream", &pattern(LARGE_BYTES)),
    ] {
        let answer = server.get(target);
        let head = server.ask("HEAD", target, "");
        assert!(answer.body == contents, "{target}: {} bytes", answer.body.len());
        for answer in [&answer, &head] {
            assert_eq!(answer.status, 200, "{target}");
            assert_eq!(answer.field("content-length"), Some(contents.len().to_string().as_str()), "{target}");
            assert_eq!(answer.field("content-type"), Some(content_type), "{target}");
            assert_eq!(answer.field("last-modified"), Some("Sun, 13 Sep 2020 12:26:40 GMT"), "{target}");
            assert!(
                answer.field("etag").is_some_and(|tag| tag.starts_with('"') && tag.ends_with('"')),
                "{target}"
            );
            assert_eq!(answer.field("accept-ranges"), Some("bytes"), "{target}");
            assert!(answer.field("date").is_some_and(|date| date.ends_with(" GMT")), "{target}");
            assert_eq!(
                (answer.field("connection"), answer.field("content-encoding")),
                (None, None),
                "{target}"
            );
        }
        assert_eq!(answer.field("etag"), head.field("etag"));
    }
    assert_eq!(server.get("/none.txt").status, 404);
    assert_eq!(server.get("/small.txt/").status, 404);
    assert_eq!(server.get("/small.txt/more").status, 404);
    server.stop().cleanly();
}

fn a_fresh_file_has_a_weak_tag(driver: Driver) {
    let site = Scratch::new("weak");
    let server = Setup::new(driver, site.path()).start();
    site.file("new.txt", b"new");
    let answer = server.get("/new.txt");
    let tag = answer.field("etag").expect("a tag");
    // Slow machines may need two seconds for these two lines; the file has settled then.
    assert!(tag.starts_with("W/\"") || tag.starts_with('"'), "{tag}");
    let strong = crate::server::eventually("the tag becomes strong", || {
        let answer = server.get("/new.txt");
        answer.field("etag").filter(|tag| tag.starts_with('"')).map(str::to_owned)
    });
    assert_eq!(strong, tag.trim_start_matches("W/"), "only its strength changes");
}

fn conditions_have_their_order(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let tag = server.get("/small.txt").field("etag").expect("a tag").to_owned();
    let (same, before, after) =
        ("Sun, 13 Sep 2020 12:26:40 GMT", "Sun, 13 Sep 2020 12:26:39 GMT", "Mon, 14 Sep 2020 12:26:40 GMT");
    for (fields, status) in [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: W/{tag}\r\n"), 304),
        (format!("If-None-Match: \"x\", {tag}\r\n"), 304),
        (format!("If-None-Match: \"x\"\r\nIf-None-Match: {tag}\r\n"), 304),
        ("If-None-Match: *\r\n".to_owned(), 304),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {after}\r\n"), 200),
        (format!("If-Modified-Since: {same}\r\n"), 304),
        (format!("If-Modified-Since: {after}\r\n"), 304),
        (format!("If-Modified-Since: {before}\r\n"), 200),
        ("If-Modified-Since: yesterday\r\n".to_owned(), 200),
        (format!("If-Match: {tag}\r\n"), 200),
        ("If-Match: *\r\n".to_owned(), 200),
        (format!("If-Match: W/{tag}\r\n"), 412),
        ("If-Match: \"x\"\r\n".to_owned(), 412),
        (format!("If-Unmodified-Since: {same}\r\n"), 200),
        (format!("If-Unmodified-Since: {before}\r\n"), 412),
        (format!("If-Match: {tag}\r\nIf-Unmodified-Since: {before}\r\n"), 200),
        (format!("If-Match: {tag}\r\nIf-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: {tag}\r\nRange: bytes=0-1\r\n"), 304),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = server.ask(method, "/small.txt", &fields);
            assert_eq!(answer.status, status, "{method} {fields:?}");
            if status == 304 {
                assert_eq!(answer.field("etag"), Some(tag.as_str()));
                assert_eq!(answer.field("content-type"), None, "nothing about a body that is not sent");
                assert!(answer.body.is_empty());
            }
        }
    }
    // The connection goes on behind an answer without body.
    let mut client = server.client();
    let not_modified = format!("GET /small.txt HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n");
    client
        .send(format!("{not_modified}GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
        .expect("it reads");
    let answers = client.answers(2).expect("two answers");
    assert_eq!((answers[0].status, answers[1].status), (304, 200));
    assert_eq!(answers[1].body, SMALL);
}

fn ranges_of_small_and_large_files(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let large = pattern(LARGE_BYTES);
    for (target, contents) in [("/small.txt", SMALL), ("/large.bin", &large[..])] {
        let len = contents.len();
        let part = |answer: &Answer, start: usize, end: usize| {
            assert_eq!(answer.status, 206, "{target} {start}-{end}");
            assert_eq!(
                answer.field("content-range"),
                Some(format!("bytes {start}-{}/{len}", end - 1).as_str())
            );
            assert!(answer.body == contents[start..end], "{target} {start}-{end}");
        };
        part(&server.ask("GET", target, "Range: bytes=0-0\r\n"), 0, 1);
        part(&server.ask("GET", target, "Range: bytes=3-9\r\n"), 3, 10);
        part(&server.ask("GET", target, "Range: bytes=30-\r\n"), 30, len);
        part(&server.ask("GET", target, "Range: bytes=-5\r\n"), len - 5, len);
        part(&server.ask("GET", target, "Range: BYTES=7-99999999999999999999\r\n"), 7, len);
        part(&server.ask("GET", target, "Range: bytes=-99999999999\r\n"), 0, len);
        for unsatisfiable in [format!("bytes={len}-"), "bytes=-0".to_owned(), "bytes=99999999999-".to_owned()]
        {
            let answer = server.ask("GET", target, &format!("Range: {unsatisfiable}\r\n"));
            assert_eq!(answer.status, 416, "{unsatisfiable}");
            assert_eq!(answer.field("content-range"), Some(format!("bytes */{len}").as_str()));
        }
        let many = format!("bytes={}", vec!["0-0"; 1000].join(","));
        for ignored in ["bytes=9-3", "bytes=a-b", "lines=1-2", "bytes=", "bytes 0-1", many.as_str()] {
            let answer = server.ask("GET", target, &format!("Range: {ignored}\r\n"));
            assert!(answer.status == 200 && answer.body == contents, "{ignored}: {}", answer.status);
        }
        let head = server.ask("HEAD", target, "Range: bytes=0-0\r\n");
        assert_eq!((head.status, head.field("content-range")), (200, None), "ranges are for GET");
    }
    assert_eq!(server.ask("GET", "/empty.css", "Range: bytes=0-\r\n").status, 416);
}

fn several_ranges_come_in_parts(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let large = pattern(LARGE_BYTES);
    let middle = pattern(10_000);
    for (target, contents, content_type) in [
        ("/middle.txt", &middle[..], "text/plain; charset=utf-8"),
        ("/large.bin", &large[..], "application/octet-stream"),
    ] {
        let answer = server.ask("GET", target, "Range: bytes=0-3, 1000-1999,-4\r\n");
        assert_eq!(answer.status, 206);
        let announced = answer.field("content-type").expect("a type");
        let boundary =
            announced.strip_prefix("multipart/byteranges; boundary=").expect("parts").trim_matches('"');
        let len = contents.len();
        let mut expected = Vec::new();
        for (start, end) in [(0, 4), (1000, 2000), (len - 4, len)] {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {start}-{}/{len}\r\n\r\n",
                end - 1
            );
            expected.extend_from_slice(head.as_bytes());
            expected.extend_from_slice(&contents[start..end]);
        }
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let got = String::from_utf8_lossy(&answer.body).into_owned();
        let without_first_line_end = &expected[2..];
        assert!(answer.body == expected || answer.body == without_first_line_end, "{got}");
    }
    let near = server.ask("GET", "/small.txt", "Range: bytes=0-3,10-19\r\n");
    assert_eq!(near.field("content-range"), Some("bytes 0-19/36"), "what lies close together comes as one");
    // Ranges over the whole of a large file, in parts that are files themselves.
    let answer = server.ask("GET", "/large.bin", "Range: bytes=0-2000000,2500000-4999999\r\n");
    assert_eq!(answer.status, 206);
    let at = |needle: &[u8]| answer.body.windows(64).position(|window| window == &needle[..64]);
    let (first, second) = (at(&large).expect("the first part"), at(&large[2_500_000..]).expect("the second"));
    assert!(answer.body[first..first + 2_000_001] == large[..=2_000_000]);
    assert!(answer.body[second..second + 2_500_000] == large[2_500_000..]);
}

fn a_range_may_depend_on_the_file(driver: Driver) {
    let site = site();
    let server = Setup::new(driver, site.path()).start();
    let tag = server.get("/small.txt").field("etag").expect("a tag").to_owned();
    for (condition, status) in [
        (tag.as_str(), 206),
        ("\"other\"", 200),
        ("Sun, 13 Sep 2020 12:26:40 GMT", 206),
        ("Sun, 13 Sep 2020 12:26:41 GMT", 200),
        (&format!("W/{tag}"), 200),
    ] {
        let fields = format!("Range: bytes=1-2\r\nIf-Range: {condition}\r\n");
        let answer = server.ask("GET", "/small.txt", &fields);
        assert_eq!(answer.status, status, "{condition}");
        assert_eq!(answer.body.len(), if status == 206 { 2 } else { SMALL.len() });
    }
}

fn siblings_are_offered_and_said(driver: Driver) {
    let site = Scratch::new("siblings");
    for (name, contents) in [
        ("app.js", "plain"),
        ("app.js.br", "as brotli"),
        ("app.js.gz", "as gzip"),
        ("app.js.zst", "as zstd"),
        ("alone.js", "alone"),
        ("index.html", "home"),
        ("index.html.gz", "home as gzip"),
    ] {
        age(&site.file(name, contents.as_bytes()));
    }
    let server = Setup::new(driver, site.path()).start();
    let accepting = |target: &str, codings: &str| -> Answer {
        server.ask("GET", target, &format!("Accept-Encoding: {codings}\r\n"))
    };
    let mut tags = Vec::new();
    for (codings, coding, body) in [
        ("gzip", Some("gzip"), "as gzip"),
        ("br", Some("br"), "as brotli"),
        ("zstd", Some("zstd"), "as zstd"),
        ("gzip;q=0.5, br;q=0.9", Some("br"), "as brotli"),
        ("br;q=0, gzip", Some("gzip"), "as gzip"),
        ("deflate", None, "plain"),
        ("identity", None, "plain"),
        ("gzip;q=0", None, "plain"),
        ("", None, "plain"),
    ] {
        // Twice: loaded, then from the cache.
        for _ in 0..2 {
            let answer = accepting("/app.js", codings);
            assert_eq!((answer.status, answer.field("content-encoding")), (200, coding), "{codings}");
            assert_eq!(String::from_utf8_lossy(&answer.body), body, "{codings}");
            assert_eq!(answer.field("vary"), Some("Accept-Encoding"), "{codings}");
            assert_eq!(answer.field("content-type"), Some("text/javascript; charset=utf-8"), "{codings}");
            tags.push((coding, answer.field("etag").expect("a tag").to_owned()));
        }
    }
    for (coding, tag) in &tags {
        assert!(
            tags.iter().all(|(other, same)| (other == coding) == (same == tag)),
            "a tag for each representation"
        );
    }
    let alone = accepting("/alone.js", "gzip");
    assert_eq!((alone.field("vary"), alone.field("content-encoding")), (None, None));
    assert_eq!(accepting("/", "gzip").body, b"home as gzip");
    assert_eq!(
        server.get("/app.js.gz").field("content-encoding"),
        None,
        "asked for by name it is a file as any other"
    );
    sibling_conditions(&server);
    std::fs::remove_file(site.path().join("app.js.gz")).expect("ours");
    let gone = accepting("/app.js", "gzip");
    assert!(gone.status == 200 && (gone.body == b"plain" || gone.body == b"as gzip"), "{gone:?}");
}

fn sibling_conditions(server: &Server) {
    let gzip = "Accept-Encoding: gzip\r\n";
    let tag = server.ask("GET", "/app.js", gzip).field("etag").expect("a tag").to_owned();
    let same = server.ask("GET", "/app.js", &format!("{gzip}If-None-Match: {tag}\r\n"));
    assert_eq!((same.status, same.field("vary")), (304, Some("Accept-Encoding")));
    assert_eq!(server.ask("GET", "/app.js", &format!("If-None-Match: {tag}\r\n")).status, 200);
    let part = server.ask("GET", "/app.js", &format!("{gzip}Range: bytes=3-6\r\n"));
    assert_eq!((part.status, &part.body[..]), (206, &b"gzip"[..]));
    assert_eq!(part.field("content-encoding"), Some("gzip"));
}
