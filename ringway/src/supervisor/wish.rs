//! What others want of a supervisor, and what came of it.

use super::signals::Waker;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::mpsc::{Sender, SyncSender, sync_channel};
use std::time::Duration;

/// Most wishes that wait.
pub(super) const WISHES_MAX: usize = 64;

/// How long somebody waits for what came of a wish.
const PATIENCE: Duration = Duration::from_secs(300);

/// What somebody wants.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Want {
    /// The configuration read anew.
    Reload,
    /// The program's new file executed.
    Upgrade,
    /// What lies at a path of the rules was replaced.
    Renew(String),
    /// Log files opened anew.
    ReopenLogs,
    /// The end, when what is under way is finished.
    Stop,
    /// What the supervisor knows.
    Status,
    /// A command of the console that the server process answers.
    Console(Value),
}

/// A wish, and who waits for what comes of it.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) want: Want,
    pub(super) answer: Option<Sender<Outcome>>,
}

/// What came of a wish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether it was done.
    pub ok: bool,
    /// What was done, or why not: sentences.
    pub text: String,
    /// For machines.
    #[serde(default)]
    pub data: Value,
}

/// Talks to a supervisor from another thread.
#[derive(Clone, Debug)]
pub struct Handle {
    wishes: SyncSender<Wish>,
    waker: Waker,
}

impl Wish {
    pub(super) fn of_nobody(want: Want) -> Self {
        Self { want, answer: None }
    }

    /// Tells who waits.
    pub(super) fn end(&self, outcome: Outcome) {
        if let Some(answer) = &self.answer {
            let _nobody_waits_any_more = answer.send(outcome);
        }
    }
}

impl Outcome {
    /// For people: a sentence, or several lines as they are.
    #[must_use]
    pub fn shown(&self) -> String {
        let text = self.text.trim_end();
        if text.contains('\n') || text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
    }

    pub(super) fn done(text: impl Into<String>) -> Self {
        Self { ok: true, text: text.into(), data: Value::Null }
    }

    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self { ok: false, text: text.into(), data: Value::Null }
    }
}

impl Handle {
    pub(super) fn new(waker: Waker) -> (Self, std::sync::mpsc::Receiver<Wish>) {
        let (wishes, taken) = sync_channel(WISHES_MAX);
        (Self { wishes, waker }, taken)
    }

    /// Has the configuration read anew, and waits for what comes of it.
    #[must_use]
    pub fn reload(&self) -> Outcome {
        self.wish(Want::Reload)
    }

    /// Has the program's new file executed. What came of it is known to who asks the new program.
    #[must_use]
    pub fn upgrade(&self) -> Outcome {
        self.wish(Want::Upgrade)
    }

    /// Has log files opened anew.
    #[must_use]
    pub fn reopen_logs(&self) -> Outcome {
        self.wish(Want::ReopenLogs)
    }

    /// Has everything stopped when it has finished what is under way.
    #[must_use]
    pub fn stop(&self) -> Outcome {
        self.wish(Want::Stop)
    }

    /// What the supervisor knows: its number, the server processes, the last reload or upgrade.
    #[must_use]
    pub fn status(&self) -> Outcome {
        self.wish(Want::Status)
    }

    /// Passes a request of the console on to the server process; its answer is in `data`.
    #[must_use]
    pub fn ask_server(&self, request: Value) -> Outcome {
        self.wish(Want::Console(request))
    }

    fn wish(&self, want: Want) -> Outcome {
        let (answer, outcome) = std::sync::mpsc::channel();
        if self.wishes.try_send(Wish { want, answer: Some(answer) }).is_err() {
            return Outcome::failed("too much is asked at once");
        }
        self.waker.wake();
        outcome.recv_timeout(PATIENCE).unwrap_or_else(|_gone| Outcome::failed("no answer came"))
    }
}
