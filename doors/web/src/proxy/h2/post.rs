//! The connections that a worker's requests to one backend share, and who waits for room on them.

use super::line::Line;
use super::timer::Timer;
use crate::upstream::{Flight, Group, Key, LeaseError, Upstream};
use ringway_engine::WorkerHandle;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

/// Most connections of one worker to one backend.
const LINES_MAX: usize = 8;

thread_local! {
    /// This worker's posts.
    static POSTS: RefCell<Vec<Rc<Post>>> = const { RefCell::new(Vec::new()) };
}

/// A backend as a worker's requests over HTTP/2 see it.
pub(super) struct Post {
    group: Weak<Group>,
    place: usize,
    lines: RefCell<Vec<Rc<Line>>>,
    /// Connections under way.
    connecting: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

/// What comes next for a request that wants a connection.
enum Next {
    Line(Rc<Line>),
    Connect(Connecting),
    Wait,
}

impl Post {
    /// The calling worker's post for the backend of a flight.
    pub(super) fn of(group: &Arc<Group>, place: usize) -> Rc<Self> {
        POSTS.with_borrow_mut(|posts| {
            let is_it = |post: &&Rc<Self>| post.place == place && post.group.as_ptr() == Arc::as_ptr(group);
            if let Some(post) = posts.iter().find(is_it) {
                return Rc::clone(post);
            }
            // Those of groups that no configuration has any more.
            posts.retain(|post| post.group.strong_count() > 0);
            let post = Rc::new(Self {
                group: Arc::downgrade(group),
                place,
                lines: RefCell::default(),
                connecting: Cell::new(0),
                waiting: RefCell::default(),
            });
            posts.push(Rc::clone(&post));
            post
        })
    }

    /// A connection with room for a request: one that is there, or a new one. At most until `timer` is due.
    ///
    /// # Errors
    /// As [`Upstream::connect`]; [`LeaseError::Busy`] when no room came in time.
    pub(super) async fn line(
        self: &Rc<Self>,
        upstream: &Upstream,
        flight: &mut Flight,
        head_bytes_max: u32,
        timer: &mut Timer,
        worker: &WorkerHandle,
    ) -> Result<Rc<Line>, LeaseError> {
        loop {
            let version = flight.backend().addresses_version();
            match self.next(version) {
                Next::Line(line) => return Ok(line),
                Next::Connect(connecting) => {
                    let line = self.connect(upstream, flight, version, head_bytes_max).await;
                    drop(connecting);
                    return line;
                }
                Next::Wait => {
                    let mut is_told = false;
                    let is_late = poll_fn(|context| {
                        if std::mem::replace(&mut is_told, true) {
                            return Poll::Ready(false);
                        }
                        self.waiting.borrow_mut().push(context.waker().clone());
                        if timer.poll(context, worker) { Poll::Ready(true) } else { Poll::Pending }
                    });
                    if is_late.await {
                        return Err(LeaseError::Busy(upstream.group().name().to_owned()));
                    }
                }
            }
        }
    }

    fn next(self: &Rc<Self>, version: u32) -> Next {
        let lines = self.lines.borrow();
        if let Some(line) = lines.iter().find(|line| line.has_vacancy(version)) {
            return Next::Line(Rc::clone(line));
        }
        // Those that only finish what they have begun make room for others.
        let living = lines.iter().filter(|line| !line.is_leaving(version)).count();
        if self.connecting.get() > 0 || living >= LINES_MAX {
            return Next::Wait;
        }
        self.connecting.set(self.connecting.get() + 1);
        Next::Connect(Connecting { post: Rc::clone(self) })
    }

    async fn connect(
        self: &Rc<Self>,
        upstream: &Upstream,
        flight: &mut Flight,
        version: u32,
        head_bytes_max: u32,
    ) -> Result<Rc<Line>, LeaseError> {
        let shared = upstream.connect(flight, &Key::default()).await?;
        let options = upstream.group().options();
        let is_secure = options.encryption.is_some();
        let idle_ms_max = options.idle_ms_max;
        let line = Line::start(shared, is_secure, head_bytes_max, version, self, idle_ms_max);
        self.lines.borrow_mut().push(Rc::clone(&line));
        Ok(line)
    }

    /// A connection is at its end.
    pub(super) fn forget(&self, line: &Line) {
        self.lines.borrow_mut().retain(|other| !std::ptr::eq(&raw const **other, line));
        self.vacated();
    }

    /// There may be room for those who wait.
    pub(super) fn vacated(&self) {
        // Each looks again, and waits again.
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

/// A connection under way. Dropped, it is not any more, and those who wait for it look again.
struct Connecting {
    post: Rc<Post>,
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.post.connecting.set(self.post.connecting.get() - 1);
        self.post.vacated();
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("place", &self.place).finish_non_exhaustive()
    }
}
