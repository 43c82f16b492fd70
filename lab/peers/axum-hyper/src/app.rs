//! The application that is measured: the same on Ringway (`doors/service/examples/axum.rs`) and on hyper.

use axum::extract::{Json, Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Router, response::IntoResponse};
use redis_client::aio::MultiplexedConnection;
use redis_client::{AsyncCommands, Client, RedisError};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::OnceCell;

#[derive(Serialize)]
struct Message {
    message: &'static str,
    number: u32,
}

/// Routes that need nobody.
pub(crate) fn plain() -> Router {
    Router::new()
        .route("/", get(|| async { "Hello, World!" }))
        .route("/json", get(|| async { Json(Message { message: "Hello, World!", number: 42 }) }))
        .route("/greet/{name}", get(|Path(name): Path<String>| async move { format!("Hello, {name}!") }))
}

struct Counter {
    client: Client,
    connection: OnceCell<MultiplexedConnection>,
}

/// A route with one call of Redis: it counts its requests there.
///
/// # Errors
/// An address that is none.
pub(crate) fn counting(redis: &str) -> Result<Router, RedisError> {
    let counter = Arc::new(Counter { client: Client::open(redis)?, connection: OnceCell::new() });
    Ok(Router::new().route("/redis", get(count)).with_state(counter))
}

async fn count(State(counter): State<Arc<Counter>>) -> Result<String, impl IntoResponse> {
    let failed = |error: RedisError| (StatusCode::BAD_GATEWAY, error.to_string());
    let connect = || counter.client.get_multiplexed_async_connection();
    let mut connection = counter.connection.get_or_try_init(connect).await.map_err(failed)?.clone();
    let count: u64 = connection.incr("ringway:lab:count", 1).await.map_err(failed)?;
    Ok::<_, (StatusCode, String)>(count.to_string())
}
