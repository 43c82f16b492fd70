//! An application of axum's, as it would run on hyper: Ringway calls it on its own workers.

use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use axum::{Json, Router};
use ringway::Server;
use ringway::service::Service;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Longest nap, in milliseconds.
const NAP_MS_MAX: u64 = 5_000;

/// Most notes that are kept.
const NOTES_MAX: usize = 100;

type Notes = Arc<Mutex<Vec<Note>>>;

#[derive(Clone, Serialize, Deserialize)]
struct Note {
    text: String,
}

#[derive(Deserialize)]
struct Nap {
    ms: u64,
}

fn main() -> ExitCode {
    let router = Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/notes", get(notes))
        .route("/notes", post(add))
        .route("/nap", get(nap))
        .with_state(Notes::default());
    Server::new().service("/", Service::tower("axum", router)).run()
}

async fn notes(State(notes): State<Notes>) -> Json<Vec<Note>> {
    Json(notes.lock().await.clone())
}

async fn add(State(notes): State<Notes>, Json(note): Json<Note>) -> Json<usize> {
    let mut notes = notes.lock().await;
    notes.push(note);
    let surplus = notes.len().saturating_sub(NOTES_MAX);
    notes.drain(..surplus);
    Json(notes.len())
}

/// tokio's timers are there, too.
async fn nap(Query(nap): Query<Nap>) -> impl IntoResponse {
    tokio::time::sleep(Duration::from_millis(nap.ms.min(NAP_MS_MAX))).await;
    "well rested\n"
}
