//! Services over real sockets, on both drivers: routes, handlers of every kind, and those that behave badly.

mod bodies;
mod misbehaving;
mod over_h2;
mod setup;
mod stand;

use ringway_service::cookie::SetCookie;
use ringway_service::{Error, Json, OwnedRequest, Request, Response, Service, Status, same_origin};
use stand::{on_each_driver, send, text};
use std::time::Duration;

fn greeter() -> Service {
    Service::new("greeter", |app| {
        app.get("/", || "hello");
        app.get("/greet/{name}", |request: &Request<'_>| {
            let name: String = request.param("name")?;
            Ok::<_, Error>(format!("Hello, {name}!"))
        });
        app.get("/sum", |request: &Request<'_>| {
            let sum = request.query::<i64>("a")? + request.query_opt::<i64>("b")?.unwrap_or(0);
            Ok::<_, Error>(Json(sum))
        });
        app.post("/shout", |mut request: OwnedRequest| async move {
            Ok::<_, Error>(request.text(100).await?.to_uppercase())
        });
        app.get("/slowly", |request: OwnedRequest| async move {
            request.worker().sleep(Duration::from_millis(5)).await;
            "at last"
        });
        app.delete("/things/{id}", |request: &Request<'_>| request.param::<u32>("id").map(|_id| ()));
        app.get("/large-head", || {
            (0..20).fold(Response::text("large"), |answer, at| {
                answer.with_field(&format!("X-{at}"), &"v".repeat(1000))
            })
        });
        app.get("/bad-field", || Response::text("x").with_field("X-Bad", "a\r\nSet-Cookie: b"));
        app.get("/cookies", |request: &Request<'_>| {
            let cookie = SetCookie::new("seen", request.cookie("seen").unwrap_or("never"));
            Response::text("x").with_cookie(&cookie)
        });
        app.get("/bad-cookie", || Response::text("x").with_cookie(&SetCookie::new("a", "b\r\nc: d")));
        app.group("/guarded", |app| {
            app.check(same_origin);
            app.post("/", || "changed");
        });
        app.get("/gone", || (Status::GONE, "no more"));
        Ok(())
    })
}

#[test]
fn handlers_answer_by_route_and_method() {
    on_each_driver(greeter, |stand| {
        let mut client = stand.client();
        for path in ["/", "/greet/W%C3%B6rld", "/sum?a=4&b=-7", "/slowly", "/"] {
            send(&mut client, &format!("GET {path} HTTP/1.1"), "", "");
        }
        send(&mut client, "POST /shout HTTP/1.1", "", "louder");
        send(&mut client, "DELETE /things/7 HTTP/1.1", "", "");
        let answers = client.answers(7).expect("in order");
        let texts: Vec<String> = answers.iter().map(text).collect();
        assert_eq!(texts, ["hello", "Hello, W\u{f6}rld!", "-3", "at last", "hello", "LOUDER", ""]);
        assert_eq!(answers[0].field("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answers[2].field("content-type"), Some("application/json"));
        assert_eq!((answers[6].status, answers[6].field("content-length")), (204, None));
        let head = stand.ask("HEAD / HTTP/1.1", "", "");
        assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, Some("5"), 0));
        drop(client);
        let totals = stand.stop().stats().totals();
        assert_eq!((totals.requests, totals.errors, totals.in_flight, totals.workers), (8, 0, 0, 0));
    });
}

#[test]
fn what_no_route_is_for_is_refused_by_what_is_wrong() {
    on_each_driver(greeter, |stand| {
        assert_eq!(stand.get("/none").status, 404);
        let wrong = stand.ask("PUT / HTTP/1.1", "", "x");
        assert_eq!((wrong.status, wrong.field("allow")), (405, Some("GET, HEAD, OPTIONS")));
        let options = stand.ask("OPTIONS /things/3 HTTP/1.1", "", "");
        assert_eq!((options.status, options.field("allow")), (204, Some("DELETE, OPTIONS")));
        let cases = [
            ("/sum", "\"a\" is missing"),
            ("/sum?a=x", "invalid digit"),
            ("/sum?a=1&b=99999999999999999999", "too large"),
            ("/greet/%ff", "UTF-8"),
        ];
        for (path, why) in cases {
            let answer = stand.get(path);
            assert_eq!(answer.status, 400, "{path}");
            assert!(text(&answer).contains(why), "{path}: {}", text(&answer));
        }
        assert_eq!(stand.ask("POST /shout HTTP/1.1", "", &"x".repeat(101)).status, 413);
        assert_eq!(stand.get("/gone").status, 410);
        let totals = stand.stop().stats().totals();
        assert_eq!((totals.requests, totals.refused, totals.errors), (8, 7, 0));
    });
}

#[test]
fn heads_have_room_or_are_errors() {
    on_each_driver(greeter, |stand| {
        let mut client = stand.client();
        for path in ["/large-head", "/bad-field", "/"] {
            send(&mut client, &format!("GET {path} HTTP/1.1"), "", "");
        }
        let answers = client.answers(3).expect("in order");
        assert_eq!((answers[0].status, text(&answers[0])), (200, "large".to_owned()));
        assert_eq!(answers[0].field("x-19").map(str::len), Some(1000));
        assert_eq!((answers[1].status, answers[1].field("set-cookie")), (500, None));
        assert_eq!(text(&answers[2]), "hello");
        drop(client);
        let service = stand.stop();
        assert_eq!(service.stats().totals().errors, 1);
        assert!(service.log().since(0).iter().any(|line| line.text.contains("GET /bad-field")));
    });
}

#[test]
fn cookies_come_and_go_and_other_sites_change_nothing() {
    on_each_driver(greeter, |stand| {
        let answer = stand.ask("GET /cookies HTTP/1.1", "Cookie: a=b; seen=often\r\n", "");
        assert!(
            answer.field("set-cookie").is_some_and(|cookie| cookie.starts_with("seen=often; ")),
            "{answer:?}"
        );
        let answer = stand.get("/bad-cookie");
        assert_eq!((answer.status, answer.field("set-cookie"), answer.field("c")), (500, None, None));
        let post = |fields: &str| stand.ask("POST /guarded/ HTTP/1.1", fields, "a=b").status;
        assert_eq!([post(""), post("Origin: http://a\r\n"), post("Origin: http://b\r\n")], [200, 200, 403]);
        stand.stop();
    });
}
