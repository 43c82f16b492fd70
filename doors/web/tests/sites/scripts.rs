//! Scripts among files: which requests run one, and that none is ever sent.

use crate::stand::{Stand, on_each_driver, route};
use ringway_engine::WorkerHandle;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use ringway_testkit::Scratch;
use ringway_web::exchange::Exchange;
use ringway_web::file_cache::CacheLimits;
use ringway_web::file_store::FileStore;
use ringway_web::load::LoadOptions;
use ringway_web::pipeline::Handled;
use ringway_web::root::{OpenRoot, RootOptions};
use ringway_web::scripts::{Endings, RunScripts, Script};
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use ringway_web::static_files::{FilesOptions, StaticFiles};
use ringway_web::tries::Tries;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// Says what it was asked to run.
struct Say;

impl RunScripts for Say {
    fn runs(&self, name: &[u8]) -> bool {
        Endings::php().is_script(name)
    }

    fn run(&self, exchange: &mut Exchange<'_>, script: &Script<'_>) -> Result<Handled, EncodeError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let body = format!(
            "{} {}|{}|{}?{}",
            exchange.request.method(),
            text(script.prefix),
            text(script.name),
            text(script.path_info),
            text(exchange.query.unwrap_or_default()),
        );
        exchange.text(Status::OK, b"", body.into_bytes()).map(Handled::Answer)
    }
}

fn scripts(worker: &WorkerHandle, root: &Path, prefix: &str, tries: &[&str], runs: bool) -> StaticFiles {
    let load = LoadOptions {
        index: vec!["index.php".to_owned(), "index.html".to_owned()],
        scripts: Some(Arc::new(Endings::of_all(&[".php", ".py"]).expect("it can be had"))),
        ..LoadOptions::default()
    };
    let root = OpenRoot::open(root, RootOptions::default()).expect("it can be had");
    let tries = Tries::parse(tries).expect("it can be had");
    let options = FilesOptions { prefix: prefix.as_bytes().into(), tries, ..FilesOptions::default() };
    let store = FileStore::of(worker, CacheLimits::default());
    let load = Arc::new(load);
    match runs {
        true => StaticFiles::with_scripts(&root, load, options, &store, Rc::new(Say)).expect("it can be had"),
        false => StaticFiles::new(&root, load, options, &store).expect("it can be had"),
    }
}

fn place() -> Scratch {
    let place = Scratch::new("scripts");
    for name in [
        "index.php",
        "a.php",
        "UP.PHP",
        "b.py",
        "page.html",
        "upload/evil.jpg",
        "wp-admin/index.php",
        "wp-admin/admin.php",
        "plain/index.html",
        ".hidden.php",
        "dir.php/inside.html",
        "x.php.txt",
    ] {
        let is_script =
            Path::new(name).extension().is_some_and(|end| end == "php" || end == "PHP" || end == "py");
        let text = if is_script { "secret" } else { "text" };
        place.file(name, format!("{text} of {name}").as_bytes());
    }
    place
}

/// Asks for each and compares what is said; `404` and the like stand for a status.
fn expect(stand: &Stand, cases: &[(&str, &str)]) {
    for (target, wanted) in cases {
        let answer = stand.get("a", target);
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        match wanted.parse::<u16>() {
            Ok(status) => assert_eq!(answer.status, status, "{target}: {body}"),
            Err(_words) => assert_eq!((answer.status, body.as_str()), (200, *wanted), "{target}"),
        }
        assert!(!body.contains("secret"), "{target} gave the {body}");
    }
}

#[test]
fn a_front_controller_gets_what_is_no_file() {
    let place = place();
    let root = place.path().to_owned();
    let build = move |worker: &WorkerHandle| {
        let mut site = Site::new("site");
        let tries = ["{path}", "{path}/", "/index.php"];
        site.routes.add(route("/**", scripts(worker, &root, "", &tries, true))).unwrap();
        Sites::new(site)
    };
    on_each_driver(build, |stand| {
        expect(
            stand,
            &[
                ("/", "GET |index.php|?"),
                ("/a.php?x=%31", "GET |a.php|?x=%31"),
                ("/a.php/info/more?x", "GET |a.php|/info/more?x"),
                ("/a.php/b.php", "GET |a.php|/b.php?"),
                ("/a.php/.x", "GET |a.php|/.x?"),
                ("/2024/11/hello/?p=1", "GET |index.php|?p=1"),
                ("/none.php", "GET |index.php|?"),
                ("/none.php/x?y", "GET |index.php|?y"),
                ("/page.html", "text of page.html"),
                ("/wp-admin/", "GET |wp-admin/index.php|?"),
                ("/wp-admin", "301"),
                ("/wp-admin/admin.php", "GET |wp-admin/admin.php|?"),
                ("/plain/", "text of plain/index.html"),
                // The image is no directory, so nothing is in it; and it is nobody's script.
                ("/upload/evil.jpg", "text of upload/evil.jpg"),
                ("/upload/evil.jpg/x.php", "GET |index.php|?"),
                ("/upload/evil.jpg/x.php/y", "GET |index.php|?"),
                ("/UP.PHP", "GET |UP.PHP|?"),
                ("/.hidden.php", "GET |index.php|?"),
                ("/dir.php", "GET |index.php|?"),
                ("/dir.php/inside.html", "GET |index.php|?"),
                ("/x.php.txt", "text of x.php.txt"),
                // Nobody here runs it, and it is not sent.
                ("/b.py", "404"),
                ("/a.php%00.jpg", "400"),
            ],
        );
        let post = |target: &str| {
            stand.ask(&format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"))
        };
        for (target, status, body) in [
            ("/a.php", 200, "POST |a.php|?"),
            ("/none/at/all", 200, "POST |index.php|?"),
            ("/wp-admin/", 200, "POST |wp-admin/index.php|?"),
        ] {
            let answer = post(target);
            assert_eq!((answer.status, &*answer.body), (status, body.as_bytes()), "{target}");
        }
        assert_eq!(post("/page.html").status, 405);
    });
}

#[test]
fn without_a_front_controller_what_is_not_there_is_not_found() {
    let place = place();
    let root = place.path().to_owned();
    let build = move |worker: &WorkerHandle| {
        let mut site = Site::new("site");
        site.routes.add(route("/app/**", scripts(worker, &root, "/app", &[], true))).unwrap();
        site.handlers.push(Box::new(scripts(worker, &root, "", &[], false)));
        Sites::new(site)
    };
    on_each_driver(build, |stand| {
        expect(
            stand,
            &[
                ("/app/a.php/info", "GET /app|a.php|/info?"),
                ("/app/", "GET /app|index.php|?"),
                ("/app/none.php", "404"),
                ("/app/none.php/info", "404"),
                ("/app/upload/evil.jpg/x.php", "404"),
                ("/app/dir.php/inside.html", "404"),
                ("/app/.hidden.php", "404"),
                ("/app/page.html", "text of page.html"),
                // The site's own files: nobody runs what is a script, and nobody sends it.
                ("/a.php", "404"),
                ("/a.php/x", "404"),
                ("/", "404"),
                ("/wp-admin/", "404"),
                ("/plain/", "text of plain/index.html"),
            ],
        );
        let post = "POST /app/page.html HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(stand.ask(post).status, 405);
    });
}

#[test]
fn a_route_by_its_ending_gets_indexes_and_the_last_of_what_is_tried() {
    let place = place();
    let root = place.path().to_owned();
    let build = move |worker: &WorkerHandle| {
        let mut site = Site::new("site");
        site.routes.add(route("/**/*.php", scripts(worker, &root, "", &["{path}", "=404"], true))).unwrap();
        let tries = ["{path}", "{path}/", "/index.php"];
        site.handlers.push(Box::new(scripts(worker, &root, "", &tries, false)));
        Sites::new(site)
    };
    on_each_driver(build, |stand| {
        expect(
            stand,
            &[
                ("/", "GET |index.php|?"),
                ("/wp-admin/?x", "GET |wp-admin/index.php|?x"),
                ("/some/post", "GET |index.php|?"),
                ("/a.php", "GET |a.php|?"),
                ("/none.php", "404"),
                ("/upload/evil.jpg/x.php", "404"),
                ("/page.html", "text of page.html"),
            ],
        );
    });
}
