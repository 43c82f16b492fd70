//! A script that runs, as the worker sees it.

use super::desk::{self, Ends};
use super::ear::Ear;
use super::failure::Failure;
use super::handler::Shared;
use super::upward::{Input, Upward};
use ringway_engine::ring::Slice;
use ringway_engine::{Sleep, Stream};
use ringway_http::cgi::AnswerScan;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A script that was asked for, until its answer is complete. Dropping it ends the script.
pub(super) struct Run {
    pub(super) ear: Ear,
    output: Stream,
    upward: Upward,
    /// Wakes when the script has been silent for too long.
    silence: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Run({})", self.ear.name)
    }
}

impl Run {
    /// Asks for a script.
    ///
    /// # Errors
    /// Nobody can be asked.
    pub(super) async fn start(
        shared: Rc<Shared>,
        name: Box<str>,
        order: &[u8],
        body: Option<Input>,
    ) -> Result<Self, Failure> {
        let asked = desk::ask(&shared.starter, &shared.worker, order, body.is_some()).await;
        let Ends { control, output, input } = asked.map_err(Failure::Asking)?;
        let ear = Ear::new(shared, name, control);
        Ok(Self { ear, output, upward: Upward::new(body, input), silence: None })
    }

    /// Waits for the head of the answer, the empty line that ends it included. What follows it is read next.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn head(&mut self) -> Result<Slice, Failure> {
        let (mut scan, mut have) = (AnswerScan::new(), 0);
        loop {
            let next = poll_fn(|context| {
                self.poll_with(context, |output, context| output.poll_read_beyond(context, have))
            });
            let Some(mut slice) = next.await? else {
                // The starter may have had more to say than the output.
                self.ear.wait_for_end().await?;
                return Err(if self.ear.is_overdue {
                    Failure::Overdue
                } else {
                    Failure::NoHead(self.ear.ending)
                });
            };
            let limits = &self.ear.shared.options.limits;
            if let Some(end) = scan.find(&slice, limits).map_err(Failure::Head)? {
                let head = slice.split_to(end);
                if !slice.is_empty() {
                    self.output.unread(slice);
                }
                return Ok(head);
            }
            have = slice.len();
            self.output.unread(slice);
        }
    }

    /// The next bytes of the output, `None` at its end; carries what the client sends, and listens to the starter.
    ///
    /// # Errors
    /// Why nothing more will come.
    pub(super) fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Slice>, Failure>> {
        self.poll_with(context, Stream::poll_read)
    }

    /// Carries what the client sends, and listens to the starter, while nobody takes the output.
    pub(super) fn go_on(&mut self, context: &mut Context<'_>) {
        // What is wrong is told when the output is asked for.
        let _told_later = self.ear.poll(context).is_ok() && self.upward.poll(context).is_ok();
    }

    fn poll_with(
        &mut self,
        context: &mut Context<'_>,
        read: impl FnOnce(&Stream, &mut Context<'_>) -> Poll<io::Result<Option<Slice>>>,
    ) -> Poll<Result<Option<Slice>, Failure>> {
        // Before the output: the starter says first that it ends a script, then the output ends.
        self.ear.poll(context)?;
        if self.upward.poll(context)? {
            // It listens.
            self.silence = None;
        }
        match read(&self.output, context) {
            Poll::Ready(Ok(Some(slice))) => {
                self.silence = None;
                Poll::Ready(Ok(Some(slice)))
            }
            // A script that was ended with something of its input unread breaks its output.
            Poll::Ready(Ok(None) | Err(_)) if self.ear.is_overdue => Poll::Ready(Err(Failure::Overdue)),
            Poll::Ready(Ok(None) | Err(_)) => Poll::Ready(Ok(None)),
            Poll::Pending => self.poll_silence(context),
        }
    }

    /// A script that says nothing for too long is given up.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Slice>, Failure>> {
        let shared = &self.ear.shared;
        let silence = self.silence.get_or_insert_with(|| {
            Box::pin(shared.worker.sleep_until(shared.worker.now_ms() + shared.options.silence_ms_max))
        });
        silence.as_mut().poll(context).map(|()| Err(Failure::Silent))
    }
}
