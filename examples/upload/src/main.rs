//! Files from a form, written piece by piece as they come, and given back under their names.

mod files;

use files::Files;
use ringway::Server;
use ringway::service::{
    App, Error, FormLimits, OwnedRequest, Request, Response, Service, SetupError, Status,
};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

/// Longest form, in bytes: all files of it together.
const FORM_BYTES_MAX: u64 = 1 << 30;

/// Most letters of a file's name; more are cut off.
const NAME_LETTERS_MAX: usize = 100;

const PAGE: &str = include_str!("page.html");

fn main() -> ExitCode {
    let shared = Mutex::new(None);
    let upload = Service::new("upload", move |app| set_up(app, &shared));
    Server::new().service("/", upload).run()
}

/// Runs once on each worker; the first one opens the database.
fn set_up(app: &mut App, shared: &Mutex<Option<Files>>) -> Result<(), SetupError> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.is_none() {
        *shared = Some(Files::open(app.data()?)?);
    }
    let Some(files) = shared.clone().map(Rc::new) else { return Ok(()) };
    let directory = app.directory(files.folder())?;
    let state = Rc::clone(&files);
    app.get("/", move |_: OwnedRequest| page(Rc::clone(&state)));
    app.body_limit(FORM_BYTES_MAX);
    let state = Rc::clone(&files);
    app.post("/", move |request: OwnedRequest| keep(request, Rc::clone(&state)));
    app.get("/files/{id}/{name}", move |request: &Request<'_>| {
        // The number alone says which file it is, and a browser shall keep it, not show it: it may be anything.
        let id: i64 = request.param("id")?;
        let answer = directory.file(&id.to_string());
        Ok::<_, Error>(
            answer
                .with_field("Content-Disposition", "attachment")
                .with_field("X-Content-Type-Options", "nosniff"),
        )
    });
    Ok(())
}

/// Keeps the files of a form.
async fn keep(mut request: OwnedRequest, files: Rc<Files>) -> Result<Response, Error> {
    let mut form = request.multipart(FormLimits::default()).await?;
    let mut count = 0;
    while let Some(mut part) = form.next_part().await? {
        let Some(name) = part.file_name().filter(|name| !name.is_empty()) else { continue };
        // Some clients say where the file was, too.
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let name: String =
            name.chars().filter(|letter| !letter.is_control()).take(NAME_LETTERS_MAX).collect();
        let id = files.begin(&name).await?;
        let bytes = part.save_as(&files.folder().join(id.to_string())).await?;
        // Shown from now on. One whose client left on the way has no length, and is never shown.
        files.finish(id, bytes).await?;
        count += 1;
    }
    match count {
        0 => Err(Error::new(Status::UNPROCESSABLE_CONTENT, "there is no file in this form")),
        _ => Ok(Response::redirect("/")),
    }
}

async fn page(files: Rc<Files>) -> Result<Response, Error> {
    let mut rows = String::new();
    for file in files.all().await? {
        let (name, link) = (escaped(&file.name), encoded(&file.name));
        rows.push_str(&format!(
            "<tr><td><a href=\"files/{}/{link}\">{name}</a></td><td>{}</td></tr>\n",
            file.id,
            size(file.bytes)
        ));
    }
    Ok(Response::html(PAGE.replacen("@FILES@", &rows, 1)).with_field("Cache-Control", "no-store"))
}

/// A size as people read it.
fn size(bytes: i64) -> String {
    const UNITS: [&str; 4] = ["bytes", "KiB", "MiB", "GiB"];
    let (mut tenths, mut unit) = (bytes.saturating_mul(10), 0);
    while tenths >= 10_240 && unit < UNITS.len() - 1 {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    match unit {
        0 => format!("{bytes} bytes"),
        unit => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
    }
}

/// Text that a browser shows and does not obey, in elements and in quoted attributes.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// Text as a segment of a path: what is not plain is written as its bytes.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => encoded.push(char::from(byte)),
            // A segment of dots alone would lead elsewhere.
            b'.' if text.contains(|letter: char| letter.is_alphanumeric()) => encoded.push('.'),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
