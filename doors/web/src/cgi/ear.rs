//! What the starter says of a script: how it goes, how it ended, and what it wrote to its standard error.

use super::failure::Failure;
use super::handler::Shared;
use ringway_engine::Stream;
use ringway_http::cgi::order::{Notice, RELEASE};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// How long a script that has written all it has to say is waited for, so that its end is known: milliseconds. One that
/// closes its output and lives on costs its client so much.
const ENDING_MS_MAX: u64 = 200;

/// Bytes of a line of standard error that are kept until the line ends.
const LINE_BYTES_MAX: usize = 2048;

/// How a script has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

/// Listens to the starter. Dropping it ends the script, unless it was released.
pub(super) struct Ear {
    pub(super) shared: Rc<Shared>,
    /// What was asked for, for the log.
    pub(super) name: Box<str>,
    /// The starter's stream about the script; `None` when that has ended.
    control: Option<Stream>,
    /// What the starter has said as far as it is no whole notice.
    unread: Vec<u8>,
    /// The beginning of a line of standard error.
    line: Vec<u8>,
    pub(super) ending: Option<Ending>,
    pub(super) is_overdue: bool,
}

impl Ear {
    pub(super) fn new(shared: Rc<Shared>, name: Box<str>, control: Stream) -> Self {
        let (unread, line) = (Vec::new(), Vec::new());
        Self { shared, name, control: Some(control), unread, line, ending: None, is_overdue: false }
    }

    /// Takes what the starter has said. The waker is used when it says more.
    ///
    /// # Errors
    /// It has not started the script, or is gone.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        while let Some(control) = &self.control {
            match control.poll_read(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(Some(slice))) => self.unread.extend_from_slice(&slice),
                Poll::Ready(Ok(None) | Err(_)) => {
                    self.control = None;
                    self.say_line();
                    break;
                }
            }
            self.take()?;
        }
        // The last it says is how the script has ended.
        if self.is_lost() { Err(Failure::Lost) } else { Ok(()) }
    }

    /// Waits a moment for the script to end, whose output has.
    ///
    /// # Errors
    /// As [`Ear::poll`].
    pub(super) async fn wait_for_end(&mut self) -> Result<(), Failure> {
        let worker = self.shared.worker.clone();
        let mut sleep = pin!(worker.sleep_until(worker.now_ms() + ENDING_MS_MAX));
        poll_fn(|context| match self.poll_end(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => sleep.as_mut().poll(context).map(Ok),
        })
        .await
    }

    /// How many milliseconds the end of a script is waited for.
    pub(super) const fn ending_ms_max() -> u64 {
        ENDING_MS_MAX
    }

    /// Ready when it is known how the script has ended.
    ///
    /// # Errors
    /// As [`Ear::poll`].
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match self.poll(context) {
            Ok(()) if self.ending.is_none() => Poll::Pending,
            outcome => Poll::Ready(outcome),
        }
    }

    /// Whether nobody is left to say how the script ends.
    fn is_lost(&self) -> bool {
        self.control.is_none() && self.ending.is_none()
    }

    /// Lets the script come to its own end: its answer is complete. What it still says is heard meanwhile.
    pub(super) fn release(mut self) {
        let Some(control) = &mut self.control else { return };
        let Ok(word) = control.slice_of(&[RELEASE]) else { return };
        control.send(word);
        let worker = self.shared.worker.clone();
        worker.spawn(async move {
            poll_fn(|context| match self.poll(context) {
                Ok(()) if self.control.is_some() => Poll::Pending,
                Ok(()) | Err(_) => Poll::Ready(()),
            })
            .await;
        });
    }

    fn take(&mut self) -> Result<(), Failure> {
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Some((notice, length)) = Notice::read(rest).map_err(|_no_notice| Failure::Lost)? {
            match notice {
                Notice::Started => {}
                Notice::Refused(why, text) => return Err(Failure::Refused(why, text.into())),
                Notice::Said(text) => self.say(text),
                Notice::Ended(code) => self.ending = Some(Ending::Code(code)),
                Notice::Killed(signal) => self.ending = Some(Ending::Signal(signal)),
                Notice::Overdue => self.is_overdue = true,
            }
            rest = &rest[length..];
        }
        self.unread.extend_from_slice(rest);
        Ok(())
    }

    /// What the script has written to its standard error goes to the log by lines.
    fn say(&mut self, text: &[u8]) {
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            let content = part.strip_suffix(b"\n").unwrap_or(part);
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&content[..content.len().min(room)]);
            if content.len() < part.len() {
                self.say_line();
            }
        }
    }

    fn say_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            let text = String::from_utf8_lossy(&line);
            self.shared.log.warn("cgi", format_args!("{} says: {}", self.name, text.trim_end()));
        }
    }
}
