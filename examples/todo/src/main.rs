//! A to-do list: a JSON API on SQLite, and a page that is told of changes, whoever makes them.

mod changes;
mod todos;

use changes::Changes;
use ringway::Server;
use ringway::service::{
    App, Error, Html, Json, OwnedRequest, Request, Response, Service, SetupError, Status,
};
use serde::Deserialize;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use todos::{Todo, Todos};

/// Most bytes of a body.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// Most letters of a title.
const TITLE_LETTERS_MAX: usize = 200;

/// A new one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    title: String,
}

/// What is to be changed of one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    title: Option<String>,
    done: Option<bool>,
}

/// What all workers share.
#[derive(Clone)]
struct List {
    todos: Todos,
    changes: Changes,
}

fn main() -> ExitCode {
    let shared = Mutex::new(None);
    let todo = Service::new("todo", move |app| set_up(app, &shared));
    Server::new().service("/", todo).run()
}

/// Runs once on each worker; the first one opens the database.
fn set_up(app: &mut App, shared: &Mutex<Option<List>>) -> Result<(), SetupError> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.is_none() {
        let todos = Todos::open(&app.data()?.join("todo.db"))?;
        *shared = Some(List { todos, changes: Changes::default() });
    }
    let Some(list) = shared.clone().map(Rc::new) else { return Ok(()) };
    app.get("/", || Html(include_str!("todo.html")));
    app.group("/api", |app| {
        let state = Rc::clone(&list);
        app.get("/todos", move |_: OwnedRequest| all(Rc::clone(&state)));
        let state = Rc::clone(&list);
        app.post("/todos", move |request: OwnedRequest| add(request, Rc::clone(&state)));
        let state = Rc::clone(&list);
        app.delete("/todos", move |_: OwnedRequest| clear(Rc::clone(&state)));
        let state = Rc::clone(&list);
        app.patch("/todos/{id}", move |request: OwnedRequest| change(request, Rc::clone(&state)));
        let state = Rc::clone(&list);
        app.delete("/todos/{id}", move |request: OwnedRequest| remove(request, Rc::clone(&state)));
        app.get("/changes", move |request: &Request<'_>| list.changes.follow(request.worker()));
    });
    Ok(())
}

async fn all(list: Rc<List>) -> Result<Json<Vec<Todo>>, Error> {
    Ok(Json(list.todos.all().await?))
}

async fn add(mut request: OwnedRequest, list: Rc<List>) -> Result<Response, Error> {
    let new: New = request.json(BODY_BYTES_MAX).await?;
    let todo = list.todos.add(&checked(&new.title)?).await?;
    list.changes.tell();
    let location = format!("/api/todos/{}", todo.id);
    Ok(Response::json(&todo).with_status(Status::CREATED).with_field("Location", &location))
}

async fn change(mut request: OwnedRequest, list: Rc<List>) -> Result<Json<Todo>, Error> {
    let id = request.param("id")?;
    let change: Change = request.json(BODY_BYTES_MAX).await?;
    let title = change.title.as_deref().map(checked).transpose()?;
    let changed = list.todos.change(id, title, change.done).await?.ok_or_else(Error::not_found)?;
    list.changes.tell();
    Ok(Json(changed))
}

async fn remove(request: OwnedRequest, list: Rc<List>) -> Result<(), Error> {
    if !list.todos.remove(request.param("id")?).await? {
        return Err(Error::not_found());
    }
    list.changes.tell();
    Ok(())
}

/// Removes those that are done.
async fn clear(list: Rc<List>) -> Result<(), Error> {
    list.todos.clear().await?;
    list.changes.tell();
    Ok(())
}

fn checked(title: &str) -> Result<String, Error> {
    let title = title.trim();
    match title.chars().count() {
        0 => Err(Error::bad_request("title: say what is to be done")),
        letters if letters > TITLE_LETTERS_MAX => {
            Err(Error::bad_request(format!("title: at most {TITLE_LETTERS_MAX} letters")))
        }
        _ => Ok(title.to_owned()),
    }
}
