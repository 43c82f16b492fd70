//! What the developer is shown: the state of things, and those who wait for a change of it.

use super::ansi;
use super::course::Phase;
use ringway_lock::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

/// Most pages that follow at the same time.
pub(super) const VIEWERS_MAX: usize = 64;

/// The state of things.
#[derive(Clone, Debug)]
pub(super) struct Status {
    /// Counts the changes.
    pub(super) version: u64,
    /// What is going on.
    pub(super) phase: Phase,
    /// The number of the program that serves; 0 while none does.
    pub(super) running: u64,
    /// Counts the changes of files that pages are made of, where the program stayed the same.
    pub(super) pages: u64,
    /// What the compiler or the program says of it, with colours for terminals.
    pub(super) text: String,
}

/// Where it is shown. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Board(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    status: Status,
    name: String,
    viewers: HashMap<u64, Option<Waker>>,
    entered: u64,
}

/// Somebody who waits for changes.
#[derive(Debug)]
pub(super) struct Viewer {
    board: Board,
    number: u64,
    seen: Option<u64>,
}

impl Board {
    /// Of what is called so.
    pub(super) fn new(name: &str) -> Self {
        let status = Status { version: 1, phase: Phase::Building, running: 0, pages: 0, text: String::new() };
        let inner = Inner { status, name: name.to_owned(), viewers: HashMap::new(), entered: 0 };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// Changes the state, and tells those who wait.
    pub(super) fn change(&self, change: impl FnOnce(&mut Status)) {
        let mut inner = self.lock();
        change(&mut inner.status);
        inner.status.version += 1;
        let wakers: Vec<Waker> = inner.viewers.values_mut().filter_map(Option::take).collect();
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// One more who waits; `None` when there are enough.
    pub(super) fn enter(&self) -> Option<Viewer> {
        let mut inner = self.lock();
        if inner.viewers.len() >= VIEWERS_MAX {
            return None;
        }
        inner.entered += 1;
        let number = inner.entered;
        inner.viewers.insert(number, None);
        Some(Viewer { board: self.clone(), number, seen: None })
    }

    /// The page that stands in place of the program's, or over it. `script` is the base address of the script that follows.
    pub(super) fn page(&self, script: &str) -> String {
        let inner = self.lock();
        let status = &inner.status;
        let (title, sentence) = words(status.phase);
        let mut name = String::new();
        ansi::escape(&mut name, &inner.name);
        let mut html = String::new();
        let _infallible = write!(
            html,
            "<!doctype html>\n<html lang=\"en\" data-version=\"{}\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title} · {name}</title>\n\
             <style>{STYLE}</style>\n<main class=\"{}\">\n<p class=\"name\">{name}</p>\n<h1>{title}</h1>\n<p>{sentence}</p>\n",
            status.version,
            key(status.phase),
        );
        if !status.text.is_empty() {
            let _infallible = writeln!(html, "<pre>{}</pre>", ansi::to_html(&status.text));
        }
        let _infallible = writeln!(html, "</main>\n<script src=\"{script}reload.js\" async></script>");
        html
    }

    /// The same for those who have no browser.
    pub(super) fn plain(&self) -> String {
        let inner = self.lock();
        let (title, sentence) = words(inner.status.phase);
        format!("{title}. {sentence}\n\n{}", ansi::to_plain(&inner.status.text))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Viewer {
    /// The state as an event of an event stream, when it is not the one that was told last; else `waker` is used when it has changed.
    pub(super) fn event(&mut self, waker: &Waker) -> Option<String> {
        let mut inner = self.board.lock();
        if self.seen == Some(inner.status.version) {
            inner.viewers.insert(self.number, Some(waker.clone()));
            return None;
        }
        let Status { version, phase, running, pages, .. } = &inner.status;
        self.seen = Some(*version);
        let phase = key(*phase);
        Some(format!(
            "data: {{\"version\":{version},\"phase\":\"{phase}\",\"running\":{running},\"pages\":{pages}}}\n\n"
        ))
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.board.lock().viewers.remove(&self.number);
    }
}

const STYLE: &str = include_str!("page.css");

fn key(phase: Phase) -> &'static str {
    match phase {
        Phase::Building => "building",
        Phase::Broken => "broken",
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Crashed => "crashed",
        Phase::Ended => "ended",
    }
}

fn words(phase: Phase) -> (&'static str, &'static str) {
    match phase {
        Phase::Building => ("Building", "This page shows the program as soon as it serves."),
        Phase::Broken => ("It does not compile", "This page goes on by itself when it does."),
        Phase::Starting => ("Starting", "This page shows the program as soon as it serves."),
        Phase::Running => ("Running", "The program serves."),
        Phase::Crashed => (
            "The program has crashed",
            "It is started again in a moment, and built anew when its sources change.",
        ),
        Phase::Ended => ("The program has ended", "It is built and started again when its sources change."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_waits_is_told_of_every_change_once() {
        let board = Board::new("app");
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut viewer = board.enter().expect("there is room");
        let first = viewer.event(&waker).expect("the state");
        assert_eq!(first, "data: {\"version\":1,\"phase\":\"building\",\"running\":0,\"pages\":0}\n\n");
        assert_eq!(viewer.event(&waker), None);
        board.change(|status| status.running = 3);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(viewer.event(&waker).expect("a change").contains("\"running\":3"));
        board.change(|_| {});
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "nobody waited");
    }

    #[test]
    fn there_is_room_for_so_many() {
        let board = Board::new("app");
        let mut viewers: Vec<Viewer> = (0..VIEWERS_MAX).filter_map(|_| board.enter()).collect();
        assert!(board.enter().is_none());
        viewers.pop();
        assert!(board.enter().is_some());
    }

    #[test]
    fn the_page_shows_what_the_compiler_says_and_obeys_none_of_it() {
        let board = Board::new("a<b");
        board.change(|status| {
            (status.phase, status.text) = (Phase::Broken, "\x1b[1merror\x1b[0m: <script>".to_owned());
        });
        let page = board.page("http://127.0.0.1:1/x/0/");
        assert!(page.contains("<h1>It does not compile</h1>") && page.contains("a&lt;b"), "{page}");
        assert!(page.contains("<span class=\"b\">error</span>: &lt;script&gt;"), "{page}");
        assert!(
            page.contains("data-version=\"2\"") && page.contains("src=\"http://127.0.0.1:1/x/0/reload.js\"")
        );
        assert_eq!(
            board.plain(),
            "It does not compile. This page goes on by itself when it does.\n\nerror: <script>"
        );
    }
}
