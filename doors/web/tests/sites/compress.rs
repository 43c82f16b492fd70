//! Files compressed when they are asked for: once, for those who want it, and never at the cost of the rest.

use crate::stand::{Stand, files, on_each_driver};
use ringway_engine::WorkerHandle;
use ringway_testkit::{Answer, Scratch};
use ringway_web::compress::{Compression, CompressionLimit, CompressionOptions};
use ringway_web::load::LoadOptions;
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

fn age(path: &Path, seconds: u64) {
    let file = std::fs::File::options().write(true).open(path).expect("ours");
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).expect("ours");
}

fn text(len: usize) -> Vec<u8> {
    b"body { color: black; background: white }\n".iter().copied().cycle().take(len).collect()
}

fn site() -> Scratch {
    let folder = Scratch::new("compress");
    age(&folder.file("style.css", &text(40_000)), 100);
    age(&folder.file("small.css", &text(500)), 100);
    age(&folder.file("large.css", &text(2_000_000)), 100);
    age(&folder.file("image.png", &text(40_000)), 100);
    age(&folder.file("both.css", &text(40_000)), 100);
    age(&folder.file("both.css.gz", b"prepared"), 100);
    let noise = std::iter::successors(Some(1_u64), |n| {
        Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1))
    });
    let noise: Vec<u8> =
        noise.flat_map(|n| (n >> 32).to_le_bytes().into_iter().take(4)).take(40_000).collect();
    age(&folder.file("noise.txt", &noise), 100);
    folder
}

/// Sites of one folder that count in `limit`; a limit of its own for each server.
fn build(
    folder: &Path,
    most: usize,
    shown: &Arc<Mutex<CompressionLimit>>,
) -> impl Fn(&WorkerHandle) -> Sites + use<> {
    let (folder, shown) = (folder.to_owned(), Arc::clone(shown));
    move |worker| {
        let limit = CompressionLimit::new(most);
        *shown.lock().expect("not poisoned") = limit.clone();
        let compression = Compression::new(CompressionOptions::default(), limit);
        let load = LoadOptions { compression: Some(Arc::new(compression)), ..LoadOptions::default() };
        Sites::new(Site::with_handler("default", files(worker, &folder, "", &[], load)))
    }
}

fn ask(stand: &Stand, method: &str, target: &str, fields: &str) -> Answer {
    stand.ask(&format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).expect("gzip");
    out
}

#[test]
fn who_accepts_a_coding_gets_it_and_a_tag_of_its_own() {
    let (folder, shown) = (site(), Arc::new(Mutex::default()));
    on_each_driver(build(folder.path(), 4, &shown), |stand| {
        let made = || shown.lock().expect("not poisoned").made();
        let plain = ask(stand, "GET", "/style.css", "");
        assert_eq!((plain.field("Vary"), plain.field("Content-Encoding")), (Some("Accept-Encoding"), None));
        let mut tags = vec![plain.field("ETag").expect("a tag").to_owned()];
        for coding in ["gzip", "br", "zstd"] {
            let fields = format!("Accept-Encoding: {coding}\r\n");
            let answer = ask(stand, "GET", "/style.css", &fields);
            assert_eq!((answer.status, answer.field("Content-Encoding")), (200, Some(coding)));
            assert_eq!(answer.field("Vary"), Some("Accept-Encoding"));
            assert_eq!(answer.field("Content-Type"), plain.field("Content-Type"));
            assert_eq!(answer.field("Last-Modified"), plain.field("Last-Modified"));
            assert!(answer.body.len() < 1000, "{coding} {}", answer.body.len());
            if coding == "gzip" {
                assert_eq!(gunzip(&answer.body), text(40_000));
            }
            let head = ask(stand, "HEAD", "/style.css", &fields);
            assert_eq!(head.field("Content-Length"), answer.field("Content-Length"));
            let tag = answer.field("ETag").expect("a tag").to_owned();
            assert!(!tag.starts_with("W/") && !tags.contains(&tag), "{tag}");
            let again = ask(stand, "GET", "/style.css", &format!("{fields}If-None-Match: {tag}\r\n"));
            assert_eq!((again.status, again.field("ETag")), (304, Some(&*tag)));
            tags.push(tag);
        }
        assert_eq!(made(), 3, "each is made once");
        // The one most wanted, and none that is not.
        let quality = ask(stand, "GET", "/style.css", "Accept-Encoding: br;q=0.1, gzip;q=0.9, zstd;q=0\r\n");
        assert_eq!(quality.field("Content-Encoding"), Some("gzip"));
        let none = ask(stand, "GET", "/style.css", "Accept-Encoding: gzip;q=0, deflate\r\n");
        assert_eq!((none.field("Content-Encoding"), &none.body), (None, &text(40_000)));
    });
}

#[test]
fn what_is_not_worth_it_is_sent_as_it_is() {
    let (folder, shown) = (site(), Arc::new(Mutex::default()));
    on_each_driver(build(folder.path(), 4, &shown), |stand| {
        let all = "Accept-Encoding: gzip, br, zstd\r\n";
        for (target, varies) in
            [("/small.css", false), ("/large.css", false), ("/image.png", false), ("/noise.txt", true)]
        {
            for _ in 0..2 {
                let answer = ask(stand, "GET", target, all);
                assert_eq!((answer.status, answer.field("Content-Encoding")), (200, None), "{target}");
                assert_eq!(answer.field("Vary").is_some(), varies, "{target}");
            }
        }
        // What was prepared comes first, even where another coding would be liked as well.
        let prepared = ask(stand, "GET", "/both.css", "Accept-Encoding: gzip, br\r\n");
        assert_eq!(
            (prepared.field("Content-Encoding"), &prepared.body[..]),
            (Some("gzip"), &b"prepared"[..])
        );
        let other = ask(stand, "GET", "/both.css", "Accept-Encoding: br\r\n");
        assert_eq!(other.field("Content-Encoding"), Some("br"));
        assert_eq!(shown.lock().expect("not poisoned").made(), 1);
    });
}

#[test]
fn ranges_are_of_the_file_itself() {
    let (folder, shown) = (site(), Arc::new(Mutex::default()));
    on_each_driver(build(folder.path(), 4, &shown), |stand| {
        let fields = "Accept-Encoding: gzip\r\n";
        let coded = ask(stand, "GET", "/style.css", fields);
        assert_eq!((coded.field("Content-Encoding"), coded.field("Accept-Ranges")), (Some("gzip"), None));
        let part = ask(stand, "GET", "/style.css", &format!("{fields}Range: bytes=100-199\r\n"));
        assert_eq!((part.status, part.field("Content-Encoding")), (206, None));
        assert_eq!(part.body, text(40_000)[100..200]);
        // The rest of what was begun compressed is no rest of the file.
        let tag = coded.field("ETag").expect("a tag");
        let fields = format!("{fields}Range: bytes=100-199\r\nIf-Range: {tag}\r\n");
        let whole = ask(stand, "GET", "/style.css", &fields);
        assert_eq!((whole.status, whole.body.len()), (200, 40_000));
    });
}

#[test]
fn a_file_that_changes_is_made_anew_and_one_written_just_now_waits() {
    let (folder, shown) = (Scratch::new("compress-change"), Arc::new(Mutex::default()));
    let fields = "Accept-Encoding: gzip\r\n";
    on_each_driver(build(folder.path(), 4, &shown), |stand| {
        age(&folder.file("a.txt", &text(5000)), 100);
        let before = ask(stand, "GET", "/a.txt", fields);
        assert_eq!(gunzip(&before.body), text(5000));
        let changed = text(6000);
        let path = folder.file("new", &changed);
        age(&path, 50);
        std::fs::rename(&path, folder.path().join("a.txt")).expect("ours");
        let patience = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let after = ask(stand, "GET", "/a.txt", fields);
            if after.field("ETag") != before.field("ETag") {
                assert_eq!(gunzip(&after.body), changed);
                break;
            }
            assert!(std::time::Instant::now() < patience, "the change is not seen");
        }
        folder.file("b.txt", &text(5000));
        let fresh = ask(stand, "GET", "/b.txt", fields);
        assert_eq!((fresh.field("Content-Encoding"), fresh.field("Vary")), (None, Some("Accept-Encoding")));
    });
}

#[test]
fn without_room_for_it_files_are_sent_as_they_are() {
    let (folder, shown) = (site(), Arc::new(Mutex::default()));
    on_each_driver(build(folder.path(), 0, &shown), |stand| {
        let answer = ask(stand, "GET", "/style.css", "Accept-Encoding: gzip\r\n");
        assert_eq!((answer.status, answer.field("Content-Encoding")), (200, None));
        assert_eq!(answer.body, text(40_000));
        let shown = shown.lock().expect("not poisoned");
        assert_eq!((shown.made(), shown.refused()), (0, 1));
    });
}

#[test]
fn many_who_ask_at_once_have_it_made_once() {
    let (folder, shown) = (site(), Arc::new(Mutex::default()));
    on_each_driver(build(folder.path(), 64, &shown), |stand| {
        let mut clients: Vec<_> = (0..20).map(|_| stand.client()).collect();
        for client in &mut clients {
            let request = b"GET /style.css HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";
            client.send(request).expect("it is open");
        }
        for client in &mut clients {
            let answer = client.answer(false).expect("an answer");
            assert_eq!((answer.status, answer.field("Content-Encoding")), (200, Some("gzip")));
            assert_eq!(gunzip(&answer.body), text(40_000));
        }
        assert_eq!(shown.lock().expect("not poisoned").made(), 1);
    });
}
