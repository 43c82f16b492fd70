//! A server that is killed: nothing that it acknowledged is lost.

use crate::sessions::Browser;
use crate::stand::{Place, on_worker};
use ringway_service::session::{SessionOptions, Sessions};
use ringway_service::sqlite::{Sqlite, SqliteOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the process that is to be killed finds its database.
const PLACE: &str = "RINGWAY_KILLED_DATABASE";

/// Acknowledged sessions until it is killed.
const ACKNOWLEDGED: usize = 200;

fn sessions(path: &Path) -> Sessions {
    let database = Sqlite::open(path, &SqliteOptions::default(), &[]).expect("it opens");
    Sessions::sqlite(&database, SessionOptions::default()).expect("a table")
}

/// Makes sessions, several at once, and says of each that it is kept.
fn live_until_killed(path: &Path) {
    let sessions = sessions(path);
    on_worker(move |worker| {
        for task in 0..8 {
            let mut browser = Browser::new(&sessions, &worker);
            worker.spawn(async move {
                for number in 0.. {
                    browser.cookie = None;
                    let session = browser.request().await;
                    session.log_in(&format!("user {task} {number}")).expect("room");
                    browser.answer(&session).await;
                    let line =
                        format!("kept {} user {task} {number}\n", browser.cookie.as_deref().expect("new"));
                    std::io::stderr().write_all(line.as_bytes()).expect("the test reads");
                }
            });
        }
        std::future::pending::<()>()
    });
}

#[test]
fn what_was_acknowledged_is_there_when_the_server_was_killed() {
    if let Some(path) = std::env::var_os(PLACE) {
        live_until_killed(Path::new(&path));
        return;
    }
    let place = Place::new("killed");
    let path = place.path().join("sessions.db");
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "killed::what_was_acknowledged_is_there_when_the_server_was_killed", "--nocapture"])
        .env(PLACE, &path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let kept = lines.map_while(Result::ok).filter_map(|line| {
        let (cookie, user) = line.strip_prefix("kept ")?.split_once(' ')?;
        Some((cookie.to_owned(), user.to_owned()))
    });
    let mut kept = kept;
    let mut acknowledged: Vec<(String, String)> = kept.by_ref().take(ACKNOWLEDGED).collect();
    child.kill().expect("it runs");
    // What it said before it died is acknowledged, too.
    acknowledged.extend(kept);
    child.wait().expect("it is dead");
    assert!(acknowledged.len() >= ACKNOWLEDGED, "only {}", acknowledged.len());
    let sessions = sessions(&path);
    on_worker(move |worker| {
        let (sessions, acknowledged) = (sessions.clone(), acknowledged.clone());
        async move {
            let mut browser = Browser::new(&sessions, &worker);
            for (cookie, user) in acknowledged {
                browser.cookie = Some(cookie);
                assert_eq!(browser.request().await.user(), Some(user));
            }
        }
    });
}
