//! Requests that the bandwidth governor or a limit has no room for now: they wait for their turn, or are told to come back.

use crate::answer::{self, Common};
use crate::clock::Persistence;
use crate::exchange::Course;
use crate::execution::{Asked, Shared};
use crate::limit::retry_after;
use crate::output::{NoMemory, Output, Sink};
use crate::pipeline::Plan;
use ringway_engine::{Conn, GovernedRead};
use ringway_http::head::Request;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;

/// When a client that came beyond the limit of connections may try again, in seconds.
pub(crate) const BUSY_RETRY_S: u32 = 5;

/// What the governor knows connections by.
pub(crate) trait Governed {
    /// As [`Conn::set_scope`].
    fn set_scope(&mut self, site: u16);

    /// As [`Conn::governed_read`]: without waiting.
    fn governed_read(&mut self) -> GovernedRead;
}

impl Governed for Conn<'_> {
    fn set_scope(&mut self, site: u16) {
        Conn::set_scope(self, site);
    }

    fn governed_read(&mut self) -> GovernedRead {
        Conn::governed_read(self)
    }
}

#[cfg(feature = "h2")]
impl Governed for ringway_engine::Stream {
    fn set_scope(&mut self, site: u16) {
        ringway_engine::Stream::set_scope(self, site);
    }

    fn governed_read(&mut self) -> GovernedRead {
        self.try_governed_read()
    }
}

impl Shared {
    /// Whether a request may begin now, under the scope of its site.
    #[inline]
    pub(crate) fn may_begin(&self, conn: &mut impl Governed, request: &Request<'_>) -> GovernedRead {
        if self.sites.has_scopes() {
            let number = self.sites.find(request.host().map(|host| host.name()));
            conn.set_scope(self.sites.get(number).scope);
        }
        conn.governed_read()
    }

    /// Answers 503 and says when to come back. Does not ask the site's stages: nothing of the request was looked at.
    pub(crate) fn refuse_for_now(
        &self,
        sink: &mut impl Sink,
        output: &mut Output,
        asked: Option<&Asked<'_>>,
        kept: Persistence,
        retry_after_s: u32,
    ) -> Result<(), NoMemory> {
        let memory = output.room(sink)?;
        let refusal = self.refusal_for_now(asked, kept, retry_after_s, memory);
        let (plan, course) = refusal.map_err(|_full| NoMemory)?;
        let (status, body_bytes) = (plan.status.code(), plan.body_len);
        output.add(sink, plan.into())?;
        self.tell_served(asked, &course, sink, status, body_bytes);
        Ok(())
    }

    /// The same answer, its head in `memory`, and whose it is.
    pub(crate) fn refusal_for_now(
        &self,
        asked: Option<&Asked<'_>>,
        kept: Persistence,
        retry_after_s: u32,
        memory: &mut [u8],
    ) -> Result<(Plan, Course), EncodeError> {
        let request = asked.map(|asked| asked.request);
        let number = self.sites.find(request.and_then(Request::host).map(|host| host.name()));
        let course = Course { site: Some(number), ..Course::default() };
        let site = self.sites.get(number);
        let fields = retry_after(u64::from(retry_after_s) * 1_000);
        let clock = self.clock.borrow();
        let lines = clock.lines(site.server, kept);
        let common =
            Common { fields: lines, closing: lines, now_s: clock.unix_s(), pages: Some(&site.pages) };
        let plan = answer::error_with(request, Status::SERVICE_UNAVAILABLE, &fields, common, memory)?;
        Ok((plan, course))
    }
}
