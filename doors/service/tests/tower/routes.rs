//! Routes, extractors, state and middleware, as an application of axum has them anywhere.

use crate::stand::{Stand, drivers, on_each_driver, with};
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Form, Json, MatchedPath, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use ringway_service::tower::Tower;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Deserialize, Serialize)]
struct Todo {
    title: String,
    done: bool,
}

#[derive(Deserialize)]
struct Page {
    page: u32,
}

async fn stamp(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert("x-stamp", "seen".parse().expect("a value"));
    response
}

fn router() -> Router {
    let visits = Arc::new(AtomicU32::new(0));
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/html", get(|| async { Html("<p>hello</p>") }))
        .route("/greet/{name}", get(|Path(name): Path<String>| async move { format!("hello {name}") }))
        .route("/page", get(|Query(page): Query<Page>| async move { page.page.to_string() }))
        .route("/todo", post(|Json(todo): Json<Todo>| async move { (StatusCode::CREATED, Json(todo)) }))
        .route("/form", post(|Form(todo): Form<Todo>| async move { format!("{} {}", todo.title, todo.done) }))
        .route("/uri", any(|uri: Uri| async move { uri.to_string() }))
        .route("/uri/{*rest}", any(|uri: Uri| async move { uri.to_string() }))
        .route("/matched/{x}", get(|path: MatchedPath| async move { path.as_str().to_owned() }))
        .route("/fields", get(fields))
        .route("/old", get(|| async { Redirect::permanent("/") }))
        .route("/method", any(|method: http::Method| async move { method.to_string() }))
        .route(
            "/visits",
            get(|State(visits): State<Arc<AtomicU32>>| async move {
                (visits.fetch_add(1, Ordering::Relaxed) + 1).to_string()
            }),
        )
        .with_state(visits)
        .layer(middleware::from_fn(stamp))
}

async fn fields(fields: HeaderMap) -> String {
    let mut text = String::new();
    for value in fields.get_all("x-many") {
        text += &format!("{} ", value.to_str().unwrap_or("?"));
    }
    text + &fields.len().to_string()
}

#[test]
fn routes_and_extractors_answer_as_they_do_elsewhere() {
    on_each_driver(router, |stand| {
        let text = |path: &str| {
            let answer = stand.get(path);
            (answer.status, String::from_utf8(answer.body).expect("text"))
        };
        assert_eq!(text("/"), (200, "hello".into()));
        assert_eq!(text("/html"), (200, "<p>hello</p>".into()));
        assert_eq!(text("/greet/ann"), (200, "hello ann".into()));
        assert_eq!(text("/greet/J%C3%B6rg%20x"), (200, "hello Jörg x".into()));
        assert_eq!(text("/page?page=7"), (200, "7".into()));
        assert_eq!(text("/page?page=x").0, 400);
        assert_eq!(text("/matched/1"), (200, "/matched/{x}".into()));
        assert_eq!(text("/nowhere").0, 404);
        assert_eq!(text("/todo").0, 405);
        assert_eq!(stand.get("/todo").field("allow"), Some("POST"));
        assert_eq!(stand.get("/old").field("location"), Some("/"));
        assert_eq!(stand.get("/").field("x-stamp"), Some("seen"));
        assert_eq!(stand.get("/").field("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(stand.get("/").field("content-length"), Some("5"));
        for (count, _) in (1..=5).zip(0..) {
            assert_eq!(text("/visits"), (200, count.to_string()), "one state for all workers");
        }
        assert_eq!(stand.troubles(), [""; 0]);
    });
}

#[test]
fn what_an_application_sees_of_a_path_is_what_rules_have_seen() {
    on_each_driver(router, |stand| {
        for (sent, seen) in [
            ("/uri", "/uri"),
            ("/uri?a=b&c=%20d", "/uri?a=b&c=%20d"),
            ("/uri/a%20b", "/uri/a%20b"),
            ("/uri/a/../b?x", "/uri/b?x"),
            ("/uri//a/./b", "/uri/a/b"),
            ("/%75ri/a", "/uri/a"),
            ("http://other/uri/a?b", "/uri/a?b"),
        ] {
            let answer = stand.get(sent);
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            // Axum matches escapes as they are, so a route is not found by another spelling of its letters.
            let expected = if sent.starts_with("/%75") { (404, "") } else { (200, seen) };
            assert_eq!((answer.status, &*text), expected, "{sent}");
        }
    });
}

#[test]
fn fields_come_as_they_were_sent_and_methods_of_all_names() {
    on_each_driver(router, |stand| {
        let answer = stand.ask(
            "GET /fields HTTP/1.1\r\nHost: a\r\nX-Many: 1\r\nX-Other: 2\r\nx-many:  3 \r\nX-MANY: é\r\n\r\n",
        );
        assert_eq!(String::from_utf8_lossy(&answer.body), "1 3 ? 5");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE"] {
            let answer = stand.ask(&format!("{method} /method HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(String::from_utf8_lossy(&answer.body), method);
        }
        // More of them than a map has room for at first.
        let many: String = (0..80).map(|at| format!("X-{at}: {at}\r\n")).collect();
        let answer = stand.ask(&format!("GET /fields HTTP/1.1\r\nHost: a\r\n{many}\r\n"));
        assert_eq!(String::from_utf8_lossy(&answer.body), "81");
        let answer = stand.get("/fields");
        assert_eq!(String::from_utf8_lossy(&answer.body), "1", "nothing is left of the one before");
    });
}

#[test]
fn json_and_forms_are_read() {
    on_each_driver(router, |stand| {
        let post = |path: &str, content_type: &str, body: &str| {
            let len = body.len();
            let answer = stand.ask(&format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nContent-Length: {len}\r\n\r\n{body}"
            ));
            (answer.status, String::from_utf8(answer.body).expect("text"))
        };
        let todo = r#"{"title":"bread","done":false}"#;
        assert_eq!(post("/todo", "application/json", todo), (201, todo.into()));
        assert_eq!(post("/todo", "application/json", "{").0, 400);
        assert_eq!(post("/todo", "application/json", "{}").0, 422);
        assert_eq!(post("/todo", "text/plain", todo).0, 415);
        let form = "title=a+b%21&done=true";
        assert_eq!(post("/form", "application/x-www-form-urlencoded", form), (200, "a b! true".into()));
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_each_driver(router, |stand| {
        let mut client = stand.client();
        let requests: String =
            (0..50).map(|at| format!("GET /greet/{at} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
        client.send(requests.as_bytes()).expect("it is open");
        for (at, answer) in client.answers(50).expect("all of them").into_iter().enumerate() {
            assert_eq!(answer.body, format!("hello {at}").into_bytes());
        }
    });
}

#[test]
fn a_mounted_application_does_not_see_where() {
    for driver in drivers() {
        let stand = Stand::start(driver, Tower::new(router()), "/shop/", 1);
        for (sent, seen) in
            [("/shop/uri", "/uri"), ("/shop/uri/a%20b?c", "/uri/a%20b?c"), ("/shop/x/../uri/a", "/uri/a")]
        {
            assert_eq!(String::from_utf8_lossy(&stand.get(sent).body), seen, "{sent}");
        }
        assert_eq!(stand.get("/shop").body, b"hello");
        stand.stop();
    }
}

#[test]
fn extensions_say_who_asks_where_the_application_wants_to_know() {
    let router = || {
        Router::new()
            .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
            .route("/secure", get(|Extension(secure): Extension<bool>| async move { secure.to_string() }))
    };
    let tower = move || {
        Tower::new(router()).extend(|facts, extensions| {
            if let Some(address) = facts.address() {
                extensions.insert(ConnectInfo(address));
            }
            extensions.insert(facts.session().is_some() || facts.user().is_some());
        })
    };
    with(tower, |stand| {
        let mut client = stand.client();
        let own = client.stream().local_addr().expect("it is connected").to_string();
        for _ in 0..2 {
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
            assert_eq!(client.answer(false).expect("an answer").body, own.as_bytes());
        }
        assert_eq!(stand.get("/secure").body, b"false");
    });
    // Without it an extractor says what is missing.
    on_each_driver(router, |stand| assert_eq!(stand.get("/").status, 500));
}

#[test]
fn any_service_of_requests_will_do() {
    let plain = tower::service_fn(|request: http::Request<ringway_service::tower::Body>| async move {
        let text = format!("{} {}", request.method(), request.uri());
        Ok::<_, std::convert::Infallible>(text.into_response())
    });
    for driver in drivers() {
        let stand = Stand::start(driver, Tower::new(plain), "", 1);
        assert_eq!(stand.get("/x?y").body, b"GET /x?y");
        stand.stop();
    }
}
