//! Sessions of a service's requests: found by their cookie, kept before the answer is sent, told to browsers.

use crate::server::{Stand, on_each_driver, text};
use crate::stand::Place;
use ringway_service::session::{SessionOptions, Sessions};
use ringway_service::sqlite::{Sqlite, SqliteOptions};
use ringway_service::{Error, OwnedRequest, Service, Status};
use ringway_testkit::Answer;

fn members(sessions: Sessions) -> Service {
    Service::new("members", move |app| {
        app.sessions(&sessions);
        app.get("/", |request: OwnedRequest| async move {
            let session = request.session().await?;
            Ok::<_, Error>(session.user().unwrap_or_else(|| "nobody".to_owned()))
        });
        app.get("/form", |request: OwnedRequest| async move {
            Ok::<_, Error>(request.session().await?.csrf_token()?)
        });
        app.post("/login", |request: OwnedRequest| async move {
            let session = request.session().await?;
            if !session.is_csrf_token(&request.query::<String>("token")?) {
                return Err(Error::of(Status::FORBIDDEN));
            }
            session.log_in(&request.query::<String>("name")?)?;
            Ok("welcome")
        });
        app.post("/logout", |request: OwnedRequest| async move {
            request.session().await?.log_out();
            Ok::<_, Error>("bye")
        });
        app.get("/too-much", |request: OwnedRequest| async move {
            request.session().await?.set("v", &"x".repeat(20_000))?;
            Ok::<_, Error>("never")
        });
        Ok(())
    })
}

/// What a browser sends of what it was told to keep.
fn cookie(answer: &Answer) -> String {
    let set = answer.field("set-cookie").expect("a cookie");
    format!("Cookie: a=b; {}\r\n", set.split(';').next().expect("a pair"))
}

fn log_in_and_out(stand: Stand) {
    let plain = stand.get("/");
    assert_eq!((text(&plain).as_str(), plain.field("set-cookie")), ("nobody", None));
    let form = stand.get("/form");
    let (first, token) = (cookie(&form), text(&form));
    let foreign = stand.ask(&format!("POST /login?name=ada&token={token} HTTP/1.1"), "", "");
    assert_eq!((foreign.status, foreign.field("set-cookie")), (403, None), "another browser's form");
    let welcome = stand.ask(&format!("POST /login?name=ada&token={token} HTTP/1.1"), &first, "");
    assert_eq!((welcome.status, text(&welcome).as_str()), (200, "welcome"));
    let second = cookie(&welcome);
    assert_ne!(first, second);
    let who = |cookie: &str| text(&stand.ask("GET / HTTP/1.1", cookie, ""));
    assert_eq!((who(&first), who(&second)), ("nobody".to_owned(), "ada".to_owned()));
    assert_eq!(stand.ask("GET /too-much HTTP/1.1", &second, "").status, 500);
    let bye = stand.ask("POST /logout HTTP/1.1", &second, "");
    assert!(bye.field("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
    assert_eq!(who(&second), "nobody");
    stand.stop();
}

#[test]
fn requests_have_sessions_in_memory() {
    on_each_driver(|| members(Sessions::memory(SessionOptions::default())), log_in_and_out);
}

#[test]
fn requests_have_sessions_in_sqlite() {
    let place = Place::new("requests");
    let database = Sqlite::open(place.path().join("s.db"), &SqliteOptions::default(), &[]).expect("it opens");
    let make = || members(Sessions::sqlite(&database, SessionOptions::default()).expect("a table"));
    on_each_driver(make, log_in_and_out);
}

#[test]
fn a_service_without_sessions_says_so_in_its_log() {
    on_each_driver(
        || {
            Service::new("plain", |app| {
                app.get("/", |request: OwnedRequest| async move {
                    request.session().await.map(|session| session.user().unwrap_or_default())
                });
                Ok(())
            })
        },
        |stand| {
            assert_eq!(stand.get("/").status, 500);
            stand.stop();
        },
    );
}

#[cfg(feature = "redis")]
#[test]
fn a_service_answers_while_its_sessions_cannot_be_reached() {
    use ringway_service::redis::{Redis, RedisOptions};
    let server = std::cell::RefCell::new(crate::daemon::Daemon::redis("degraded"));
    let quick = RedisOptions { retry_ms_min: 5, retry_ms_max: 20, ..RedisOptions::default() };
    let redis = Redis::new(&server.borrow().url(), quick).expect("a URL");
    let make = || members(Sessions::redis(&redis, "s:", SessionOptions::default()));
    on_each_driver(make, |stand| {
        let form = stand.get("/form");
        let (first, token) = (cookie(&form), text(&form));
        let welcome = stand.ask(&format!("POST /login?name=ada&token={token} HTTP/1.1"), &first, "");
        let second = cookie(&welcome);
        let who = || stand.ask("GET / HTTP/1.1", &second, "");
        assert_eq!(text(&who()), "ada");
        server.borrow_mut().kill();
        let refused = std::iter::repeat_with(who).take(10_000).find(|answer| answer.status == 503);
        assert!(refused.is_some(), "nobody hears that it is degraded");
        server.borrow_mut().again();
        let found = std::iter::repeat_with(who).take(10_000).find(|answer| answer.status == 200);
        assert_eq!(found.map(|answer| text(&answer)).as_deref(), Some("ada"));
        stand.stop();
    });
}
