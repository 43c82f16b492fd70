//! Bodies both ways: forms, JSON, uploads, and answers that are made while they are sent.

use crate::stand::{eventually, on_each_driver, send, text};
use ringway_service::{
    BodySender, Error, Event, EventSender, FormLimits, Json, OwnedRequest, Request, Response, Service,
};
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug, Deserialize, Serialize)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Clone, Default)]
struct Hands {
    bodies: Arc<Mutex<Vec<BodySender>>>,
    events: Arc<Mutex<Vec<EventSender>>>,
}

fn service(hands: &Hands) -> Service {
    let hands = hands.clone();
    Service::new("bodies", move |app| {
        app.post("/json", |mut request: OwnedRequest| async move {
            let point: Point = request.json(1000).await?;
            Ok::<_, Error>(Json(Point { x: point.y, y: point.x }))
        });
        app.post("/form", |mut request: OwnedRequest| async move {
            let point: Point = request.form(1000).await?;
            Ok::<_, Error>(format!("{} {}", point.x, point.y))
        });
        app.get("/query", |request: &Request<'_>| request.query_as::<Point>().map(Json));
        app.group("", |app| {
            app.body_limit(10);
            app.post("/limited", |mut request: OwnedRequest| async move { request.bytes(1000).await });
        });
        app.post("/twice", |mut request: OwnedRequest| async move {
            let first = request.text(10).await?;
            request.text(10).await.map(|second| first + &second)
        });
        let bodies = Arc::clone(&hands.bodies);
        app.get("/channel", move |_: &Request<'_>| {
            let (sender, answer) = Response::channel(None, 1000);
            bodies.lock().expect("no panic").push(sender);
            answer
        });
        app.group("", |app| {
            app.body_limit(1_000_000);
            app.post("/upload", upload);
        });
        let events = Arc::clone(&hands.events);
        app.get("/events", move |request: &Request<'_>| {
            let (sender, answer) = Response::events(request.worker());
            events.lock().expect("no panic").push(sender);
            answer
        });
        Ok(())
    })
}

/// Says what is in a form; the file `saved` goes to where the query says.
async fn upload(mut request: OwnedRequest) -> Result<String, Error> {
    let place = request.query_opt::<PathBuf>("to")?;
    let mut form = request.multipart(FormLimits { parts_max: 4, ..FormLimits::default() }).await?;
    let mut said = String::new();
    while let Some(mut part) = form.next_part().await? {
        let (name, file) = (part.name(), part.file_name().unwrap_or_default());
        said += &match (&*name, &place) {
            ("skipped", _) => format!("{name};"),
            ("saved", Some(place)) => format!("{name} {file} {};", part.save_as(place).await?),
            _ => format!("{name} {file} {};", part.text(100).await?),
        };
    }
    Ok(said)
}

fn on_each(test: impl Fn(crate::stand::Stand, Hands)) {
    let hands: Mutex<Option<Hands>> = Mutex::new(None);
    let make = || {
        let fresh = Hands::default();
        let service = service(&fresh);
        *hands.lock().expect("no panic") = Some(fresh);
        service
    };
    on_each_driver(make, |stand| {
        let hands = hands.lock().expect("no panic").take().expect("made with the service");
        test(stand, hands);
    });
}

/// Waits until a handler has put something into the tests' hands.
fn taken<T>(hands: &Mutex<Vec<T>>) -> T {
    eventually("a handler ran", || !hands.lock().expect("no panic").is_empty());
    hands.lock().expect("no panic").pop().expect("it is there")
}

#[test]
fn values_come_out_of_bodies_or_the_client_is_told_why_not() {
    on_each(|stand, _| {
        let post = |path: &str, kind: &str, body: &str| {
            stand.ask(&format!("POST {path} HTTP/1.1"), &format!("Content-Type: {kind}\r\n"), body)
        };
        assert_eq!(
            text(&post("/json", "application/json; charset=utf-8", r#"{"x":1,"y":2}"#)),
            r#"{"x":2,"y":1}"#
        );
        assert_eq!(text(&post("/form", "application/x-www-form-urlencoded", "y=%2B3&x=-4")), "-4 3");
        assert_eq!(text(&stand.get("/query?x=1&y=2")), r#"{"x":1,"y":2}"#);
        let long = format!("{{\"x\":{}}}", "1".repeat(1000));
        let cases = [
            ("/json", "text/plain", "{}", 415, "application/json is wanted"),
            ("/json", "application/json", r#"{"x":1}"#, 400, "missing field `y`"),
            ("/json", "application/json", r#"{"x":1,"#, 400, "line 1 column"),
            ("/json", "application/json", &long, 413, "longer than 1000 bytes"),
            ("/form", "application/x-www-form-urlencoded", "x=1&y=b", 400, "invalid digit"),
            ("/form", "multipart/form-data", "x=1&y=2", 415, "is wanted here"),
            ("/limited", "a/b", "01234567890", 413, "limit"),
            ("/twice", "a/b", "abc", 500, ""),
        ];
        for (path, kind, body, status, why) in cases {
            let answer = post(path, kind, body);
            assert_eq!(answer.status, status, "{path} {body}");
            assert!(text(&answer).contains(why), "{path} {body}: {}", text(&answer));
        }
        assert_eq!(text(&post("/limited", "a/b", "0123456789")), "0123456789");
        let nothing = stand.ask("POST /json HTTP/1.1", "", "");
        assert_eq!((nothing.status, text(&nothing).contains("no Content-Type")), (415, true));
        let answer = stand.get("/query?x=1");
        assert!(answer.status == 400 && text(&answer).contains("missing field `y`"), "{}", text(&answer));
        let service = stand.stop();
        let is_told = service.log().since(0).iter().any(|line| line.text.contains("taken before"));
        assert!(is_told, "a handler's own mistake is in the log");
    });
}

#[cfg(feature = "sessions")]
#[test]
fn a_form_with_a_token_is_its_sessions_own() {
    use ringway_service::session::{SessionOptions, Sessions};
    let make = || {
        let sessions = Sessions::memory(SessionOptions::default());
        Service::new("tokens", move |app| {
            app.sessions(&sessions);
            app.get("/", |request: OwnedRequest| async move {
                Ok::<_, Error>(request.session().await?.token_field()?)
            });
            app.post("/", |mut request: OwnedRequest| async move {
                request.form_with_token::<Point>(1000).await.map(Json)
            });
            Ok(())
        })
    };
    on_each_driver(make, |stand| {
        let page = |stand: &crate::stand::Stand| {
            let answer = stand.get("/");
            let cookie =
                answer.field("set-cookie").expect("a session").split(';').next().expect("a pair").to_owned();
            let field = text(&answer);
            let token = field.split("value=\"").nth(1).expect("a value").trim_end_matches("\">").to_owned();
            (cookie, token)
        };
        let ((own, token), (other, _)) = (page(&stand), page(&stand));
        let post = |cookie: &str, body: &str| {
            let fields = format!("Cookie: {cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\n");
            stand.ask("POST / HTTP/1.1", &fields, body)
        };
        let good = post(&own, &format!("x=1&csrf_token={token}&y=2"));
        assert_eq!((good.status, text(&good)), (200, r#"{"x":1,"y":2}"#.to_owned()));
        for (cookie, body) in [(&*other, format!("x=1&y=2&csrf_token={token}")), (&own, "x=1&y=2".to_owned())]
        {
            assert_eq!(post(cookie, &body).status, 403);
        }
        assert_eq!(post(&own, &format!("x=1&csrf_token={token}")).status, 400);
        stand.stop();
    });
}

/// A form of these parts: name, name of the file, data.
fn form(parts: &[(&str, &str, &str)]) -> String {
    let part = |(name, file, data): &(&str, &str, &str)| {
        let file = if file.is_empty() { String::new() } else { format!("; filename=\"{file}\"") };
        format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{data}\r\n")
    };
    parts.iter().map(part).collect::<String>() + "--xyz--\r\n"
}

#[test]
fn uploads_go_to_memory_and_files() {
    on_each(|stand, _| {
        let place = std::env::temp_dir().join(format!("ringway-upload-{}", std::process::id()));
        let to = format!("?to={}", place.display());
        let kind = "Content-Type: multipart/form-data; boundary=xyz\r\n";
        let upload =
            |query: &str, body: &str| stand.ask(&format!("POST /upload{query} HTTP/1.1"), kind, body);
        let large = "0123456789".repeat(30_000);
        let parts =
            [("a", "", "one"), ("skipped", "", "two"), ("saved", "../x.txt", &large), ("b", "", "four")];
        let answer = upload(&to, &form(&parts));
        assert_eq!(text(&answer), "a  one;skipped;saved ../x.txt 300000;b  four;");
        assert!(std::fs::read_to_string(&place).expect("it was saved") == large);
        let again = upload(&to, &form(&parts));
        assert_eq!(again.status, 500, "a file that is there is not written over");
        std::fs::remove_file(&place).expect("still there");
        // One that is cut off, and one beyond its limits, leave nothing behind.
        let cut = form(&[("saved", "y", &large)]);
        for (body, status) in
            [(&cut[..200_000], 400), (&*form(&[("saved", "y", &"x".repeat(1_000_001))]), 413)]
        {
            assert_eq!(upload(&to, body).status, status);
            eventually("nothing is left", || !place.exists());
        }
        assert_eq!(upload("", &form(&[("a", "", &"x".repeat(101))])).status, 413);
        assert_eq!(upload("", &form(&[("a", "", ""); 5])).status, 413);
        assert_eq!(
            stand.ask("POST /upload HTTP/1.1", "Content-Type: multipart/form-data\r\n", "x").status,
            400
        );
        assert_eq!(stand.ask("POST /upload HTTP/1.1", "", "x").status, 415);
        stand.stop();
    });
}

#[test]
fn bodies_from_other_threads_keep_to_their_reader() {
    on_each(|stand, hands| {
        let mut client = stand.client();
        send(&mut client, "GET /channel HTTP/1.1", "", "");
        let sender = taken(&hands.bodies);
        let sending = std::thread::spawn(move || {
            for at in 0..1000_u32 {
                sender.send_within(format!("{at:0>100}"), Duration::from_secs(20)).expect("it is read");
            }
            sender.finish();
        });
        let answer = client.answer(false).expect("an answer");
        sending.join().expect("no panic");
        let expected: String = (0..1000).map(|at| format!("{at:0>100}")).collect();
        assert!(text(&answer) == expected, "{} bytes", answer.body.len());
        // The connection goes on; a body that is dropped in the middle is not whole.
        send(&mut client, "GET /channel HTTP/1.1", "", "");
        let sender = taken(&hands.bodies);
        sender.try_send("half").expect("room");
        drop(sender);
        let error = client.answer(false).expect_err("no end comes");
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof), "{error}");
        // Whoever makes a body learns that its reader has left.
        let mut client = stand.client();
        send(&mut client, "GET /channel HTTP/1.1", "", "");
        let sender = taken(&hands.bodies);
        drop(client);
        eventually("the sender hears of it", || sender.is_gone());
        eventually("nothing is under way", || stand.service.stats().totals().in_flight == 0);
        stand.stop();
    });
}

#[test]
fn events_arrive_one_by_one_and_end_with_the_server() {
    on_each(|stand, hands| {
        let mut client = stand.client();
        send(&mut client, "GET /events HTTP/1.1", "", "");
        let sender = taken(&hands.events);
        let mut stream = client.stream();
        let mut read = String::new();
        let mut until = |end: &str| {
            let mut memory = [0; 1024];
            while !read.contains(end) {
                let count = stream.read(&mut memory).expect("it is open");
                assert!(count > 0, "{read}");
                read.push_str(&String::from_utf8_lossy(&memory[..count]));
            }
            read.clone()
        };
        sender.send(&Event::data("one").id("1")).expect("room");
        let head = until("id: 1\n\n");
        assert!(head.contains("Content-Type: text/event-stream\r\n"), "{head}");
        let twin = sender.clone();
        drop(sender);
        twin.send(&Event::data("two")).expect("room");
        until("data: two\n\n");
        // One that reads nothing has a bounded queue.
        let mut sleeper = stand.client();
        send(&mut sleeper, "GET /events HTTP/1.1", "", "");
        let slow = taken(&hands.events);
        let event = Event::data(&"x".repeat(4000));
        eventually("its queue is full", || slow.send(&event).is_err());
        assert!(!slow.is_gone());
        let service = stand.service.clone();
        assert_eq!(service.stats().totals().in_flight, 2);
        drop(sleeper);
        eventually("it has left", || slow.is_gone());
        // A client that sees the end leaves, and the server need not wait for it.
        let reading = std::thread::spawn(move || client.until_end().map(|rest| rest.len()));
        stand.stop();
        assert!(twin.is_gone(), "the server has ended it");
        assert_eq!(reading.join().expect("no panic").ok(), Some(b"0\r\n\r\n".len()));
    });
}
