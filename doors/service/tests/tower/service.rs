//! Tower services as services of Ringway: their place, counters, log and limits.

use crate::stand::{Stand, drivers, eventually};
use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, Uri};
use axum::routing::{any, get, post};
use ringway_service::Service;
use ringway_service::tower::Tower;
use std::time::Duration;

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/uri/{*rest}", any(|uri: Uri| async move { uri.to_string() }))
        .route("/teapot", get(|| async { StatusCode::IM_A_TEAPOT }))
        .route("/bad", get(|| async { StatusCode::BAD_GATEWAY }))
        .route("/panic", get(panics))
        .route("/waits", get(std::future::pending::<()>))
        .route(
            "/body",
            post(|request: Request| async move {
                axum::body::to_bytes(request.into_body(), usize::MAX)
                    .await
                    .map_or(0, |bytes| bytes.len())
                    .to_string()
            }),
        )
}

#[expect(clippy::panic, reason = "what happens then is tested")]
async fn panics() {
    panic!("on purpose")
}

#[test]
fn what_it_does_is_counted_and_logged() {
    for driver in drivers() {
        let service = Service::tower("shop", router());
        let stand = Stand::of(driver, &service, "");
        let statuses =
            ["/", "/uri/a", "/teapot", "/nowhere", "/bad", "/panic"].map(|path| stand.get(path).status);
        assert_eq!(statuses, [200, 200, 418, 404, 502, 500]);
        let totals = service.stats().totals();
        assert_eq!((totals.requests, totals.refused, totals.errors, totals.panics), (6, 2, 2, 1));
        let mut client = stand.client();
        client.send(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is open");
        eventually("it is under way", || service.stats().totals().in_flight == 1);
        drop(client);
        eventually("it is not any more", || service.stats().totals().in_flight == 0);
        let lines = service.log().since(0);
        assert_eq!(lines.len(), 1);
        assert_eq!(&*lines[0].text, "a handler panicked: on purpose");
        stand.stop();
    }
}

#[test]
fn it_may_stand_below_a_path_beside_other_routes() {
    let service = Service::new("both", |app| {
        app.get("/own", || "own");
        app.group("/v1", |app| {
            app.tower("/axum/", &Tower::new(router())).expect("a path");
        });
        Ok(())
    });
    for driver in drivers() {
        let stand = Stand::of(driver, &service, "/app");
        assert_eq!(stand.get("/app/own").body, b"own");
        assert_eq!(stand.get("/app/v1/axum").body, b"hello");
        assert_eq!(stand.get("/app/v1/axum/").body, b"hello");
        assert_eq!(stand.get("/app/v1/axum/uri/x%20y?z").body, b"/uri/x%20y?z");
        assert_eq!(stand.get("/app/v1/axumuri/x").status, 404);
        assert_eq!(stand.get("/app/other").status, 404);
        stand.stop();
    }
    let wrong = Service::new("wrong", |app| app.tower("/{id}", &Tower::new(router())).map(|_| ()));
    let error = Stand::refused(&wrong);
    assert!(error.contains("/{id}"), "{error}");
}

#[test]
fn limits_of_bodies_and_answers_are_its_own() {
    let tower = Tower::new(router()).body_limit(10).answer_limit(Duration::from_millis(30));
    let service = Service::tower("limited", tower);
    for driver in drivers() {
        let stand = Stand::of(driver, &service, "");
        let body = |len: usize| {
            let text = "x".repeat(len);
            let request = format!("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{text}");
            stand.ask(&request).status
        };
        assert_eq!((body(10), body(11)), (200, 413));
        assert_eq!(stand.get("/waits").status, 503);
        stand.stop();
    }
    assert_eq!(service.stats().totals().late, drivers().len() as u64);
}
