//! Values from paths and queries, as types: what makes no sense is answered 400, with words that say why.

use ringway::Server;
use ringway::service::{Error, Html, Json, Request, Service};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Most letters of an answer.
const LETTERS_MAX: usize = 10_000;

const PAGE: &str = include_str!("page.html");

fn main() -> ExitCode {
    let strings = Service::new("query", |app| {
        app.get("/", || Html(PAGE));
        app.get("/reverse/{text}", |request: &Request<'_>| {
            let text: String = request.param("text")?;
            Ok::<_, Error>(text.chars().rev().collect::<String>())
        });
        app.get("/repeat", repeat);
        app.get("/letters", |request: &Request<'_>| {
            let text: String = request.query("text")?;
            let mut letters: BTreeMap<char, usize> = BTreeMap::new();
            text.chars().for_each(|letter| *letters.entry(letter).or_default() += 1);
            Ok::<_, Error>(Json(letters))
        });
        Ok(())
    });
    Server::new().service("/", strings).run()
}

/// A text several times; `times` may be left away, and `between` may be given several times or never.
fn repeat(request: &Request<'_>) -> Result<String, Error> {
    let text: String = request.query("text")?;
    let times: usize = request.query_opt("times")?.unwrap_or(2);
    let between: Vec<_> = request.query_fields().all("between").collect();
    let between = between.concat();
    if (text.len() + between.len()).saturating_mul(times) > LETTERS_MAX {
        return Err(Error::bad_request(format!(
            "times is too large: at most {LETTERS_MAX} letters are sent"
        )));
    }
    Ok(vec![text; times].join(&between))
}
