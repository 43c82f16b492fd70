//! Files: aliases, lists of things to try, cache rules, listings, users' directories.

use crate::stand::{files, on_each_driver, route, says};
use ringway_engine::WorkerHandle;
use ringway_testkit::Scratch;
use ringway_web::cache_rules::{CacheRule, CacheRules};
use ringway_web::file_cache::CacheLimits;
use ringway_web::file_store::FileStore;
use ringway_web::listing::Theme;
use ringway_web::load::LoadOptions;
use ringway_web::pattern::Pattern;
use ringway_web::root::{OpenRoot, RootOptions};
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use ringway_web::static_files::{FilesOptions, StaticFiles};
use ringway_web::user_dirs::{Account, UserDirs, UserDirsOptions, Users};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::sync::Arc;

#[test]
fn an_alias_serves_its_root_under_a_prefix() {
    let place = Scratch::new("alias");
    place.file("pub/a.txt", b"a");
    place.file("pub/sub/b.txt", b"b");
    place.file("pub/.env", b"secret");
    place.file("secret.txt", b"secret");
    let root = place.path().join("pub");
    let build = move |worker: &WorkerHandle| {
        let load = LoadOptions { listing: true, theme: Theme::Compact, ..LoadOptions::default() };
        let mut site = Site::new("site");
        site.routes.add(route("/files/**", files(worker, &root, "/files", &[], load))).unwrap();
        Sites::new(site)
    };
    on_each_driver(build, |stand| {
        assert_eq!(stand.get("a", "/files/a.txt").body, b"a");
        assert_eq!(stand.get("a", "/files/sub/../a.txt").body, b"a");
        let slash = stand.get("a", "/files?x=1");
        assert_eq!((slash.status, slash.field("location")), (301, Some("/files/?x=1")));
        let slash = stand.get("a", "/files/sub");
        assert_eq!((slash.status, slash.field("location")), (301, Some("/files/sub/")));
        let listing = String::from_utf8(stand.get("a", "/files/sub/").body).unwrap();
        assert!(
            listing.contains("<title>/files/sub/</title>") && listing.contains("href=\"b.txt\""),
            "{listing}"
        );
        assert!(listing.contains("<a href=\"/files/\">files</a>"), "{listing}");
        for target in [
            "/a.txt",
            "/filesa.txt",
            "/files/../secret.txt",
            "/files/.env",
            "/files/x",
            "/files/%2e%2e/secret.txt",
        ] {
            assert_eq!(stand.get("a", target).status, 404, "{target}");
        }
        let put = stand.ask("PUT /files/a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!((put.status, put.field("allow")), (405, Some("GET, HEAD, OPTIONS")));
    });
}

#[test]
fn lists_of_things_are_tried_in_order() {
    let place = Scratch::new("tries");
    place.file("index.html", b"app");
    place.file("a.txt", b"a");
    place.file("dir/index.html", b"dir");
    place.file("empty/.keep", b"");
    place.file("page.html", b"page");
    let root = place.path().to_owned();
    let build = move |worker: &WorkerHandle| {
        let site =
            |name, tries| Site::with_handler(name, files(worker, &root, "", tries, LoadOptions::default()));
        let mut sites = Sites::new(site("app", &["{path}", "/index.html", "=404"]));
        sites.add(site("strict", &["{path}", "{path}/", "{path}.html", "=410"]), &["strict"]).unwrap();
        sites.add(site("front", &["{path}", "/index.html?path={path}"]), &["front"]).unwrap();
        sites.add(site("lost", &["{path}", "/lost.html"]), &["lost"]).unwrap();
        let mut post = site("post", &["{path}", "/program"]);
        post.routes.add(route("/program", says("program"))).unwrap();
        sites.add(post, &["post"]).unwrap();
        sites
    };
    on_each_driver(build, |stand| {
        for (host, target, status, body) in [
            ("app", "/a.txt", 200, "a"),
            ("app", "/", 200, "app"),
            ("app", "/some/view", 200, "app"),
            ("app", "/dir", 200, "app"),
            ("app", "/.env", 200, "app"),
            ("strict", "/page", 200, "page"),
            ("strict", "/dir/", 200, "dir"),
            ("front", "/anything", 200, "app"),
        ] {
            let answer = stand.get(host, target);
            assert_eq!((answer.status, &*answer.body), (status, body.as_bytes()), "{host} {target}");
        }
        for (host, target, status) in [
            ("strict", "/none", 410),
            ("strict", "/empty/", 410),
            ("lost", "/none", 404),
            ("lost", "/lost.html", 404),
        ] {
            assert_eq!(stand.get(host, target).status, status, "{host} {target}");
        }
        // What the list sends elsewhere goes there whatever the method; files have an answer to GET and HEAD only.
        let post = |host: &str, target: &str| {
            let head = format!("POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nhi");
            stand.ask(&head)
        };
        for (host, target, status, body) in [
            ("post", "/a.txt", 405, ""),
            ("post", "/dir", 200, "program"),
            ("post", "/none", 200, "program"),
            ("strict", "/none", 405, ""),
        ] {
            let answer = post(host, target);
            assert_eq!(answer.status, status, "{host} {target}");
            assert!(answer.body.starts_with(body.as_bytes()), "{host} {target}");
        }
        assert_eq!(stand.get("post", "/a.txt").body, b"a");
        let slash = stand.get("strict", "/dir");
        assert_eq!((slash.status, slash.field("location")), (301, Some("/dir/")));
    });
}

#[test]
fn caches_are_told_what_the_rules_say() {
    let place = Scratch::new("caching");
    place.file("app.css", b"css");
    place.file("i.png", b"png");
    place.file("index.html", b"html");
    let root = place.path().to_owned();
    let build = move |worker: &WorkerHandle| {
        let mut caching = CacheRules::new(b"/s");
        let rule = |paths: &str, types: &[&str], control: &str, expires_s| CacheRule {
            paths: (!paths.is_empty()).then(|| Pattern::parse(paths).unwrap()),
            types: types.iter().map(|one| Box::from(*one)).collect(),
            control: control.into(),
            expires_s,
        };
        caching.add(rule("/s/*.html", &[], "no-cache", 0)).unwrap();
        caching.add(rule("", &["text/css"], "public, max-age=3600", 3600)).unwrap();
        let load = LoadOptions { caching, ..LoadOptions::default() };
        let mut site = Site::new("site");
        site.routes.add(route("/s/**", files(worker, &root, "/s", &[], load))).unwrap();
        Sites::new(site)
    };
    on_each_driver(build, |stand| {
        assert_eq!(stand.get("a", "/s/").field("cache-control"), Some("no-cache"));
        assert_eq!(stand.get("a", "/s/i.png").field("cache-control"), None);
        let css = stand.get("a", "/s/app.css");
        assert_eq!(css.field("cache-control"), Some("public, max-age=3600"));
        let seconds = |field: &str| ringway_http::date::parse(css.field(field).unwrap().as_bytes()).unwrap();
        assert_eq!(seconds("expires"), seconds("date") + 3600);
        let etag = css.field("etag").unwrap();
        let again =
            stand.ask(&format!("GET /s/app.css HTTP/1.1\r\nHost: a\r\nIf-None-Match: {etag}\r\n\r\n"));
        assert_eq!((again.status, again.field("cache-control")), (304, Some("public, max-age=3600")));
        assert!(again.field("expires").is_some());
    });
}

#[test]
fn many_who_ask_for_one_thing_that_is_not_kept_are_all_answered() {
    const CLIENTS: usize = 64;
    let place = Scratch::new("crowd");
    place.file("a.txt", b"a");
    let root = place.path().to_owned();
    let build = move |worker: &WorkerHandle| {
        // Without openat2 every look-up is the pool's, and nothing is kept.
        let root =
            OpenRoot::open(&root, RootOptions { openat2: false, ..RootOptions::default() }).expect("there");
        let store =
            FileStore::of(worker, CacheLimits { entries_max: 0, absent_max: 0, ..CacheLimits::default() });
        let load = Arc::new(LoadOptions::default());
        let files =
            StaticFiles::new(&root, load, FilesOptions::default(), &store).expect("there are numbers left");
        Sites::new(Site::with_handler("site", files))
    };
    on_each_driver(build, |stand| {
        for (target, status) in [("/a.txt", 200), ("/missing", 404)] {
            let mut clients: Vec<_> = (0..CLIENTS).map(|_| stand.client()).collect();
            for client in &mut clients {
                client
                    .send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
                    .expect("it is open");
            }
            for client in &mut clients {
                assert_eq!(client.answer(false).expect("an answer").status, status, "{target}");
            }
        }
    });
}

#[test]
fn directories_of_users_are_theirs() {
    let place = Scratch::new("homes");
    place.file("ann/public_html/index.html", b"ann");
    place.file("ann/public_html/sub/x", b"x");
    place.file("ann/secret", b"secret");
    place.file("bob/www/index.html", b"bob");
    place.file("dan/file", b"");
    symlink("../secret", place.path().join("ann/public_html/out")).expect("a link");
    // A user may not have another directory served in place of his own.
    symlink("www", place.path().join("bob/public_html")).expect("a link");
    let mut uid = std::fs::metadata(place.path()).expect("there").uid();
    if uid == 0 {
        // The tests run as the administrator, whose files are not served: somebody else owns the homes then.
        uid = 4_000;
        for owned in ["ann/public_html", "bob/www"] {
            chown(place.path().join(owned), Some(uid), None).expect("root may");
        }
    }
    place.file("eve/public_html/index.html", b"eve");
    let home = |name: &str, uid| Account { name: name.into(), uid, home: place.path().join(name) };
    // What is in eve's home belongs to somebody else.
    let accounts = [home("ann", uid), home("bob", uid), home("eve", uid + 1), home("dan", uid)];
    let named = Users::Named(["ann", "bob", "eve", "dan"].map(str::to_owned).to_vec());
    let load = Arc::new(LoadOptions::default());
    let options = UserDirsOptions::new(&accounts, &named, "public_html", RootOptions::default(), load);
    let options = Arc::new(options.expect("there are such users"));
    let build = move |worker: &WorkerHandle| {
        let store = FileStore::of(worker, CacheLimits::default());
        Sites::new(Site::with_handler("site", UserDirs::new(Arc::clone(&options), &store)))
    };
    on_each_driver(build, |stand| {
        for _ in 0..2 {
            assert_eq!(stand.get("a", "/~ann/").body, b"ann");
            assert_eq!(stand.get("a", "/~ann/sub/x").body, b"x");
            let slash = stand.get("a", "/~ann");
            assert_eq!((slash.status, slash.field("location")), (301, Some("/~ann/")));
            assert_eq!(stand.get("a", "/~ann/out").status, 403);
            for target in
                ["/~bob/", "/~dan/", "/~eve/", "/~nobody/", "/~ann/../secret", "/~/", "/~ann/../~bob/"]
            {
                assert_eq!(stand.get("a", target).status, 404, "{target}");
            }
        }
    });
}
