//! A chat: rooms, history in SQLite, who is there, who types; pages that connect again find what they missed.

mod history;
mod presence;
mod visitor;

use history::History;
use presence::Presence;
use ringway::Server;
use ringway::service::socket::{GroupOptions, Groups, SocketOptions};
use ringway::service::{App, Html, Response, Service, SetupError};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use visitor::Visitor;

/// Most bytes of what a page says at once; a message of 2000 letters fits.
const SAID_BYTES_MAX: u32 = 16 * 1024;

/// What all workers share.
#[derive(Clone)]
struct Chat {
    history: History,
    /// A room's sockets, by its name.
    rooms: Groups,
    presence: Arc<Presence>,
}

fn main() -> ExitCode {
    let shared = Mutex::new(None);
    let chat = Service::new("chat", move |app| set_up(app, &shared));
    Server::new().service("/", chat).run()
}

/// Runs once on each worker; the first one opens the database.
fn set_up(app: &mut App, shared: &Mutex<Option<Chat>>) -> Result<(), SetupError> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.is_none() {
        let history = History::open(&app.data()?.join("chat.db"))?;
        *shared =
            Some(Chat { history, rooms: Groups::new(GroupOptions::default()), presence: Arc::default() });
    }
    let Some(chat) = shared.clone() else { return Ok(()) };
    app.get("/", || Html(include_str!("chat.html")));
    app.get("/chat.css", || Response::text(include_str!("chat.css")).with_type("text/css; charset=utf-8"));
    app.get("/chat.js", || {
        Response::text(include_str!("chat.js")).with_type("text/javascript; charset=utf-8")
    });
    let options = SocketOptions {
        message_bytes_max: SAID_BYTES_MAX,
        frame_bytes_max: SAID_BYTES_MAX,
        ..SocketOptions::default()
    };
    let (chat, worker) = (Rc::new(chat), app.worker().clone());
    app.socket("/ws", options, move |request| Visitor::new(request, &chat, &worker));
    Ok(())
}
