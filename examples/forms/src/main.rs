//! A guest book: a form that is checked on the server, and taken from this service's own pages only.

use ringway::Server;
use ringway::service::session::{SessionOptions, Sessions};
use ringway::service::{Error, OwnedRequest, Response, Service, Status};
use serde::Deserialize;
use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

/// Most bytes of a form.
const FORM_BYTES_MAX: usize = 16 * 1024;

/// Most letters of an entry, and of a name.
const TEXT_LETTERS_MAX: usize = 500;
const NAME_LETTERS_MAX: usize = 40;

/// Entries that are kept.
const ENTRIES_MAX: usize = 100;

const PAGE: &str = include_str!("page.html");

/// What the form brings.
#[derive(Deserialize)]
struct Form {
    name: String,
    text: String,
    token: String,
}

struct Entry {
    name: String,
    text: String,
}

/// What all workers share.
type Book = Arc<Mutex<VecDeque<Entry>>>;

fn main() -> ExitCode {
    let book = Book::default();
    let sessions = Sessions::memory(SessionOptions { is_secure: false, ..SessionOptions::default() });
    let guests = Service::new("forms", move |app| {
        app.sessions(&sessions);
        let shown = Arc::clone(&book);
        app.get("/", move |request: OwnedRequest| {
            let book = Arc::clone(&shown);
            async move { page(&request, &book, "", ("", "")).await }
        });
        let book = Arc::clone(&book);
        app.post("/", move |request: OwnedRequest| {
            let book = Arc::clone(&book);
            async move { add(request, &book).await }
        });
        Ok(())
    });
    Server::new().service("/", guests).run()
}

async fn add(mut request: OwnedRequest, book: &Book) -> Result<Response, Error> {
    let form: Form = request.form(FORM_BYTES_MAX).await?;
    let session = request.session().await?;
    if !session.is_csrf_token(&form.token) {
        // The browser was sent here by a page of somebody else's, or the form is older than the session.
        return Err(Error::new(Status::FORBIDDEN, "this form is not valid any more: load its page again"));
    }
    let (name, text) = (form.name.trim(), form.text.trim());
    if let Some(wrong) = wrong(name, text) {
        let page = page(&request, book, wrong, (name, text)).await?;
        return Ok(page.with_status(Status::UNPROCESSABLE_CONTENT));
    }
    let mut entries = book.lock().unwrap_or_else(PoisonError::into_inner);
    entries.push_front(Entry { name: name.to_owned(), text: text.to_owned() });
    entries.truncate(ENTRIES_MAX);
    // Seen with GET, so that loading the page again sends nothing twice.
    Ok(Response::redirect("/"))
}

fn wrong(name: &str, text: &str) -> Option<&'static str> {
    match (name.chars().count(), text.chars().count()) {
        (0, _) => Some("Say who you are."),
        (letters, _) if letters > NAME_LETTERS_MAX => Some("That name is too long."),
        (_, 0) => Some("Write something."),
        (_, letters) if letters > TEXT_LETTERS_MAX => Some("That is too long for this book."),
        _ => None,
    }
}

/// The page, with what was wrong, and with what was typed still in the form.
async fn page(
    request: &OwnedRequest,
    book: &Book,
    wrong: &str,
    typed: (&str, &str),
) -> Result<Response, Error> {
    let token = request.session().await?.csrf_token()?;
    let mut entries = String::new();
    for entry in book.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let (name, text) = (escaped(&entry.name), escaped(&entry.text));
        entries.push_str(&format!("<article><h2>{name}</h2><p>{text}</p></article>\n"));
    }
    let page = [
        ("@WRONG@", escaped(wrong)),
        ("@NAME@", escaped(typed.0)),
        ("@TEXT@", escaped(typed.1)),
        ("@TOKEN@", escaped(&token)),
        // The last one: what guests wrote is not looked into for the others.
        ("@ENTRIES@", entries),
    ];
    let page = page.iter().fold(PAGE.to_owned(), |page, (mark, value)| page.replacen(mark, value, 1));
    Ok(Response::html(page).with_field("Cache-Control", "no-store"))
}

/// Text that a browser shows and does not obey, in elements and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Marks of the page's own are made of these.
            '@' => escaped.push_str("&#64;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}
