//! What services are set up with: groups, checks, mounts, files, configuration, timers, exits, a place below a path.

use crate::stand::{PATIENCE, Stand, eventually, on_each_driver, text};
use ringway_engine::ring::DriverChoice;
use ringway_engine::{Server, ServerOptions};
use ringway_service::{
    ConfigSection, Error, Interest, OwnedRequest, Placement, Request, Response, Service, SetupError, Status,
    Watched, inbox,
};
use serde::Deserialize;
use std::cell::Cell;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn scoped() -> Service {
    let inner = Service::new("inner", |app| {
        app.get("/", || "inner");
        app.get("/{x}", |request: &Request<'_>| request.param::<String>("x"));
        Ok(())
    });
    Service::new("outer", move |app| {
        let count = Rc::new(Cell::new(0));
        app.get("/", || "outer");
        app.group("/api/{version}", |app| {
            app.check(|request| match request.field("X-Key") {
                Some("open") => Ok(()),
                _ => Err((Status::UNAUTHORIZED, "no key\n")),
            });
            app.get("/count", move |request: &Request<'_>| {
                count.set(count.get() + 1);
                Ok::<_, Error>(format!("v{} {}", request.param::<u8>("version")?, count.get()))
            });
        });
        app.mount("/inner", &inner)?;
        app.any("/echo/{*rest}", |request: &Request<'_>| {
            let rest = String::from_utf8_lossy(request.param_bytes("rest").unwrap_or_default()).into_owned();
            format!("{} {rest} {}", request.method().as_str(), request.route())
        });
        Ok(())
    })
}

#[test]
fn groups_checks_and_mounts_hold_within_themselves() {
    on_each_driver(scoped, |stand| {
        assert_eq!(stand.get("/api/1/count").status, 401);
        let ask = |path: &str| stand.ask(&format!("GET {path} HTTP/1.1"), "X-Key: open\r\n", "");
        assert_eq!([text(&ask("/api/1/count")), text(&ask("/api/2/count"))], ["v1 1", "v2 2"]);
        assert_eq!(ask("/api/x/count").status, 400);
        assert_eq!(
            [text(&stand.get("/")), text(&stand.get("/inner/")), text(&stand.get("/inner/y"))],
            ["outer", "inner", "y"]
        );
        assert_eq!(stand.get("/inner").status, 404);
        let purge = stand.ask("PURGE /echo/a/b HTTP/1.1", "", "");
        assert_eq!(text(&purge), "PURGE a/b /echo/{*rest}");
        let totals = stand.stop().stats().totals();
        let row = totals.routes.iter().find(|row| &*row.pattern == "/api/{version}/count").expect("a row");
        assert_eq!((&*row.method, row.requests, row.errors), ("GET", 4, 0));
    });
}

#[test]
fn a_service_below_a_path_sees_the_rest_of_it() {
    let stand = Stand::start(DriverChoice::Epoll, scoped(), "/app", 1);
    let moved = stand.get("/app?a=1");
    assert_eq!((moved.status, moved.field("location")), (308, Some("/app/?a=1")));
    assert_eq!(text(&stand.get("/app/")), "outer");
    assert_eq!(text(&stand.get("/app/inner/z")), "z");
    for path in ["/", "/application/", "/api/1/count"] {
        assert_eq!(stand.get(path).status, 404, "{path}");
    }
    stand.stop();
}

/// A directory that is removed at the end.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringway-service-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("sub")).expect("a directory");
        std::fs::write(path.join("a.txt"), "0123456789").expect("a file");
        std::fs::write(path.join("large.bin"), vec![b'x'; 300_000]).expect("a file");
        std::fs::write(path.join(".secret"), "no").expect("a file");
        Self(path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_come_by_route_and_from_handlers() {
    let files = Files::new("files");
    let place = files.0.clone();
    let make = move || {
        let place = place.clone();
        Service::new("files", move |app| {
            app.files("/static", &place)?;
            let directory = app.directory(&place)?;
            app.get("/download/{name}", move |request: &Request<'_>| {
                let name: String = request.param("name")?;
                let named = format!("attachment; filename=\"{name}\"");
                Ok::<_, Error>(directory.file(&name).with_field("Content-Disposition", &named))
            });
            Ok(())
        })
    };
    on_each_driver(make, |stand| {
        assert_eq!(text(&stand.get("/static/a.txt")), "0123456789");
        assert_eq!(stand.get("/static/sub").status, 301);
        for path in ["/static/none", "/static/.secret", "/download/.secret", "/download/none", "/static"] {
            assert_eq!(stand.get(path).status, 404, "{path}");
        }
        let part = stand.ask("GET /download/a.txt HTTP/1.1", "Range: bytes=2-4\r\n", "");
        assert_eq!((part.status, text(&part)), (206, "234".to_owned()));
        assert_eq!(part.field("content-disposition"), Some("attachment; filename=\"a.txt\""));
        let whole = stand.get("/download/large.bin");
        assert_eq!((whole.status, whole.body.len()), (200, 300_000));
        let tag = whole.field("etag").expect("a tag").to_owned();
        let again = stand.ask("GET /download/large.bin HTTP/1.1", &format!("If-None-Match: {tag}\r\n"), "");
        assert_eq!((again.status, again.body.len()), (304, 0));
        stand.stop();
    });
}

#[test]
fn timers_tasks_and_exits_live_as_long_as_the_service() {
    let ticks = Arc::new(AtomicU32::new(0));
    let (counted, exits) = (Arc::clone(&ticks), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&exits);
    let make = move || {
        let (counted, told) = (Arc::clone(&counted), Arc::clone(&told));
        Service::new("timers", move |app| {
            let (every, after) = (Arc::clone(&counted), Arc::clone(&counted));
            app.every(Duration::from_millis(2), move || {
                every.fetch_add(1, Ordering::Relaxed);
            });
            app.after(Duration::from_millis(1), move || {
                after.fetch_add(1000, Ordering::Relaxed);
            });
            for name in ["first", "second"] {
                let told = Arc::clone(&told);
                app.on_exit(move || told.lock().expect("no panic").push(name));
            }
            app.get("/blocking", |request: OwnedRequest| async move {
                let worker = request.worker().clone();
                let there = worker.blocking(std::thread::current).await?;
                Ok::<_, Error>(there.name().unwrap_or_default().to_owned())
            });
            app.get("/engine", |request: OwnedRequest| async move {
                let worker = request.worker().clone();
                let began_on_turn = worker.handle().is_in_turn();
                worker.off_turn().await;
                let has_memory = worker.handle().slices().get(1).is_some();
                format!("{began_on_turn} {has_memory} {}", worker.handle().is_in_turn())
            });
            app.get("/timeout", |request: OwnedRequest| async move {
                let worker = request.worker().clone();
                let never = std::future::pending::<()>();
                format!("{:?}", worker.timeout(Duration::from_millis(2), never).await)
            });
            Ok(())
        })
    };
    on_each_driver(make, |stand| {
        ticks.store(0, Ordering::Relaxed);
        assert_eq!(text(&stand.get("/blocking")), "ringway-pool");
        assert_eq!(text(&stand.get("/timeout")), "None");
        assert_eq!(text(&stand.get("/engine")), "true true false");
        eventually("both timers run", || {
            let ticks = ticks.load(Ordering::Relaxed);
            ticks > 1000 && ticks % 1000 >= 3
        });
        stand.stop();
        assert_eq!(std::mem::take(&mut *exits.lock().expect("no panic")), ["second", "first"]);
    });
}

#[test]
fn other_threads_and_descriptors_speak_to_a_worker() {
    let (told, heard) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
    let (noted, kept) = (Arc::clone(&told), Arc::clone(&heard));
    let make = move || {
        let (told, heard) = (Arc::clone(&noted), Arc::clone(&kept));
        Service::new("told", move |app| {
            let (sender, mut receiver) = inbox::channel::<&'static str>(4);
            let (mut reading, writing) = std::io::pipe()?;
            let watched = Watched::from(OwnedFd::from(reading.try_clone()?));
            *heard.lock().expect("no panic") = Some((sender, writing));
            let told = Arc::clone(&told);
            let noted = Arc::clone(&told);
            app.worker().spawn(async move {
                while let Some(word) = receiver.next().await {
                    told.lock().expect("no panic").push(word.to_owned());
                }
                told.lock().expect("no panic").push("no sender".to_owned());
            });
            let worker = app.worker().clone();
            app.worker().spawn(async move {
                worker.ready(&watched, Interest::Readable).await.expect("a pipe can be watched");
                let mut word = [0; 4];
                let count = reading.read(&mut word).expect("it is ready");
                noted.lock().expect("no panic").push(String::from_utf8_lossy(&word[..count]).into_owned());
            });
            app.get("/", || "hello");
            Ok(())
        })
    };
    on_each_driver(make, |stand| {
        assert_eq!(text(&stand.get("/")), "hello");
        let (sender, mut pipe) = heard.lock().expect("no panic").take().expect("it was set up");
        let has = |word: &str| told.lock().expect("no panic").iter().any(|told| told == word);
        sender.send("one").expect("room");
        eventually("the word arrives", || has("one"));
        pipe.write_all(b"two").expect("somebody reads");
        eventually("the descriptor is read", || has("two"));
        drop(sender);
        eventually("the end is seen", || has("no sender"));
        stand.stop();
        told.lock().expect("no panic").clear();
    });
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    colour: String,
    mail: Option<Mail>,
}

#[derive(Debug, Deserialize)]
struct Mail {
    port: u16,
}

/// What the set-up says of a section.
fn set_up(value: Option<serde_json::Value>) -> Result<String, String> {
    let said = Arc::new(Mutex::new(None));
    let heard = Arc::clone(&said);
    let service = Service::new("configured", move |app| {
        let settings: Settings = app.config()?;
        let port = settings.mail.map_or(0, |mail| mail.port);
        *heard.lock().expect("no panic") = Some(format!("{} {port}", settings.colour));
        Ok(())
    });
    let heard = Arc::new(Mutex::new(None));
    let errors = Arc::clone(&heard);
    let on_start = move |worker: &ringway_engine::WorkerHandle| {
        let config = value.clone().map(|value| {
            let explain = |place: &str, what: &str| format!("file.toml, {place}: {what}");
            Arc::new(ConfigSection { value, explain: Box::new(explain) })
        });
        let placement = Placement { config, ..Placement::default() };
        if let Err(error) = service.handler(worker, &placement) {
            *errors.lock().expect("no panic") = Some(error.to_string());
        }
    };
    let options =
        ServerOptions { workers: 1, on_start: Some(Arc::new(on_start)), ..ServerOptions::default() };
    let server = Server::start(&[], &options).expect("it starts");
    server.drain(PATIENCE);
    server.wait(PATIENCE).expect("no worker dies");
    let error = heard.lock().expect("no panic").take();
    let said = said.lock().expect("no panic").take();
    error.map_or_else(|| Ok(said.expect("one or the other")), Err)
}

#[test]
fn the_configuration_is_the_services_own_and_errors_say_where() {
    assert_eq!(set_up(None).as_deref(), Ok(" 0"));
    let good = serde_json::json!({"colour": "blue", "mail": {"port": 25}});
    assert_eq!(set_up(Some(good)).as_deref(), Ok("blue 25"));
    let error = set_up(Some(serde_json::json!({"mail": {"port": 70000}}))).expect_err("no port");
    assert!(error.starts_with("service configured: file.toml, mail.port: invalid value"), "{error}");
    let error = set_up(Some(serde_json::json!({"color": 1}))).expect_err("a typing error");
    assert!(error.contains("unknown field `color`"), "{error}");
}

type SetUp = fn(&mut ringway_service::App) -> Result<(), SetupError>;

#[test]
fn routes_that_cannot_be_fail_the_set_up() {
    let cases: [(&str, SetUp); 3] = [
        ("no segment", |app| {
            app.get("/a{b}", || "x");
            Ok(())
        }),
        ("two routes", |app| {
            app.get("/a", || "x").get("/a", || Response::text("y"));
            Ok(())
        }),
        ("the directory /nowhere/at/all", |app| app.files("/x", "/nowhere/at/all").map(|_| ())),
    ];
    for (what, setup) in cases {
        let service = Service::new("wrong", setup);
        let heard = Arc::new(Mutex::new(String::new()));
        let errors = Arc::clone(&heard);
        let on_start = move |worker: &ringway_engine::WorkerHandle| {
            let error = service.handler(worker, &Placement::default()).err().expect("it cannot be set up");
            *errors.lock().expect("no panic") = error.to_string();
        };
        let options =
            ServerOptions { workers: 1, on_start: Some(Arc::new(on_start)), ..ServerOptions::default() };
        let server = Server::start(&[], &options).expect("it starts");
        server.drain(PATIENCE);
        server.wait(PATIENCE).expect("no worker dies");
        let error = heard.lock().expect("no panic").clone();
        assert!(error.starts_with("service wrong: ") && error.contains(what), "{error}");
    }
}
