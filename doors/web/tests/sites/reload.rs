//! The change to other sites under open connections.

use crate::stand::{Build, files, on_each_driver, says};
use ringway_engine::WorkerHandle;
use ringway_testkit::Scratch;
use ringway_web::load::LoadOptions;
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn open_connections_go_on_with_other_sites() {
    let root = Scratch::new("reload");
    root.file("a.txt", b"a file");
    root.file("large.bin", &vec![b'x'; 8 << 20]);
    let (old_root, new_root) = (root.path().to_owned(), root.path().to_owned());
    let new: Build = Arc::new(move |worker: &WorkerHandle| {
        let mut sites = Sites::new(Site::with_handler("new", says("new")));
        let site = Site::with_handler("files", files(worker, &new_root, "", &[], LoadOptions::default()));
        sites.add(site, &["files"]).unwrap();
        sites
    });
    let build = move |worker: &WorkerHandle| {
        let mut sites = Sites::new(Site::with_handler("old", says("old")));
        let site = Site::with_handler("files", files(worker, &old_root, "", &[], LoadOptions::default()));
        sites.add(site, &["files"]).unwrap();
        sites
    };
    on_each_driver(build, |stand| {
        let get = |host: &str, target: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let (mut idle, mut halfway, mut download) = (stand.client(), stand.client(), stand.client());
        idle.send(get("a", "/").as_bytes()).unwrap();
        assert_eq!(idle.answer(false).unwrap().body, b"old");
        let head = get("a", "/");
        halfway.send(&head.as_bytes()[..20]).unwrap();
        download.send(get("files", "/large.bin").as_bytes()).unwrap();
        stand.swap(&new);
        // Workers change when they come to it.
        let until = Instant::now() + Duration::from_secs(10);
        while stand.get("a", "/").body != b"new" {
            assert!(Instant::now() < until, "it never changed");
        }
        halfway.send(&head.as_bytes()[20..]).unwrap();
        assert_eq!(halfway.answer(false).unwrap().body, b"new");
        idle.send([get("a", "/"), get("files", "/a.txt")].concat().as_bytes()).unwrap();
        let answers = idle.answers(2).unwrap();
        assert_eq!((&*answers[0].body, &*answers[1].body), (&b"new"[..], &b"a file"[..]));
        let whole = download.answer(false).unwrap();
        assert!(whole.body.len() == 8 << 20 && whole.body.iter().all(|byte| *byte == b'x'));
        download.send(get("a", "/").as_bytes()).unwrap();
        assert_eq!(download.answer(false).unwrap().body, b"new");
    });
}
