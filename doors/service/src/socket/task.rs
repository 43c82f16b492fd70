//! Sockets in asynchronous functions: a task of its own reads and writes, at its own pace.

use super::core::{Nudge, SendError, Socket};
use super::handler::{Closed, SocketHandler};
use ringway_engine::WorkerHandle;
use ringway_engine::heap::{LocalFuture, local_future};
use ringway_ws::code::CloseCode;
use ringway_ws::decoder::{Message, Owned};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Messages that wait for a task; then the peer does.
const MESSAGES_MAX: usize = 16;

/// Bytes of them.
const MESSAGES_BYTES_MAX: usize = 64 * 1024;

/// What the task has for the socket.
enum Order {
    Send(Owned),
    Ping(Box<[u8]>),
    Close(CloseCode, Box<str>),
}

/// What connection and task share.
#[derive(Default)]
struct Shared {
    messages: VecDeque<Owned>,
    messages_bytes: usize,
    /// The socket was told to wait.
    is_full: bool,
    orders: VecDeque<Order>,
    orders_bytes: usize,
    orders_bytes_max: usize,
    closed: Option<(u16, Box<str>)>,
    /// The handle was dropped.
    is_abandoned: bool,
    /// The socket wants to know when the task waits for the next message.
    is_awaited: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    nudge: Option<Nudge>,
    worker: Option<WorkerHandle>,
}

impl Shared {
    fn wake_all(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    fn nudge(&self) {
        if let Some(nudge) = &self.nudge {
            nudge.nudge();
        }
    }
}

/// A socket in a task. Dropping it closes the socket with 1000.
pub struct AsyncSocket {
    shared: Rc<RefCell<Shared>>,
}

impl AsyncSocket {
    /// Waits for the next message; `None` when the socket has ended: [`AsyncSocket::closed`] says how.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Owned> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// See [`AsyncSocket::next`].
    pub fn poll_next(&mut self, context: &Context<'_>) -> Poll<Option<Owned>> {
        let mut shared = self.shared.borrow_mut();
        if let Some(message) = shared.messages.pop_front() {
            shared.messages_bytes -= bytes_of(&message);
            if shared.is_full && shared.messages.len() <= MESSAGES_MAX / 2 {
                shared.is_full = false;
                shared.nudge();
            }
            return Poll::Ready(Some(message));
        }
        if shared.closed.is_some() {
            return Poll::Ready(None);
        }
        shared.reader = Some(context.waker().clone());
        if std::mem::take(&mut shared.is_awaited) {
            shared.nudge();
        }
        Poll::Pending
    }

    /// Sends a message; waits while too much of what was sent before waits.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    ///
    /// # Cancellation
    /// A dropped future has sent nothing, or everything.
    pub async fn send(&mut self, message: Message<'_>) -> Result<(), SendError> {
        poll_fn(|context| self.poll_room(context)).await?;
        self.order(Order::Send(owned(message)), message.as_bytes().len());
        Ok(())
    }

    /// Sends a text: see [`AsyncSocket::send`].
    ///
    /// # Errors
    /// As [`AsyncSocket::send`].
    pub async fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.send(Message::Text(text)).await
    }

    /// Sends bytes: see [`AsyncSocket::send`].
    ///
    /// # Errors
    /// As [`AsyncSocket::send`].
    pub async fn send_binary(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.send(Message::Binary(bytes)).await
    }

    /// Asks the peer for a sign of life.
    pub fn ping(&mut self, payload: &[u8]) {
        self.order(Order::Ping(payload.into()), payload.len());
    }

    /// Closes: what was sent before goes out first, and what the peer has sent can still be read.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.order(Order::Close(code, reason.into()), reason.len());
    }

    /// How the socket has ended: code and reason; `None` while it has not.
    #[must_use]
    pub fn closed(&self) -> Option<(u16, String)> {
        let shared = self.shared.borrow();
        shared.closed.as_ref().map(|(code, reason)| (*code, reason.to_string()))
    }

    /// The worker it lives on, to spawn and to sleep with.
    #[must_use]
    pub fn worker(&self) -> Option<WorkerHandle> {
        self.shared.borrow().worker.clone()
    }

    fn poll_room(&self, context: &Context<'_>) -> Poll<Result<(), SendError>> {
        let mut shared = self.shared.borrow_mut();
        if shared.closed.is_some() {
            return Poll::Ready(Err(SendError::Closed));
        }
        if shared.orders.is_empty() || shared.orders_bytes < shared.orders_bytes_max {
            return Poll::Ready(Ok(()));
        }
        shared.writer = Some(context.waker().clone());
        Poll::Pending
    }

    fn order(&self, order: Order, bytes: usize) {
        let mut shared = self.shared.borrow_mut();
        if shared.closed.is_some() {
            return;
        }
        let is_first = shared.orders.is_empty();
        shared.orders.push_back(order);
        shared.orders_bytes += bytes;
        if is_first {
            shared.nudge();
        }
    }
}

impl Drop for AsyncSocket {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        shared.is_abandoned = true;
        shared.nudge();
    }
}

impl fmt::Debug for AsyncSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncSocket").field("closed", &self.closed()).finish_non_exhaustive()
    }
}

/// What runs a socket's task.
type Start = Box<dyn FnOnce(AsyncSocket) -> LocalFuture<()>>;

/// A handler that gives its socket to a task.
pub struct Spawned {
    start: Option<Start>,
    shared: Rc<RefCell<Shared>>,
}

/// A handler of an asynchronous function: it is run as a task of the socket's worker and ends when it likes; then the socket
/// closes with 1000. A panic in it does the same.
pub fn spawned<F>(run: impl FnOnce(AsyncSocket) -> F + 'static) -> Spawned
where
    F: Future<Output = ()> + 'static,
{
    Spawned { start: Some(Box::new(|socket| local_future(run(socket)))), shared: shared() }
}

/// A socket for a task that is there already, and the handler that belongs to it.
pub(super) fn pair() -> (Spawned, AsyncSocket) {
    let handler = Spawned { start: None, shared: shared() };
    let socket = AsyncSocket { shared: Rc::clone(&handler.shared) };
    (handler, socket)
}

fn shared() -> Rc<RefCell<Shared>> {
    Rc::new(RefCell::new(Shared { orders_bytes_max: MESSAGES_BYTES_MAX, ..Shared::default() }))
}

impl Spawned {
    /// Carries out what the task has asked for, as far as there is room.
    fn carry_out(&self, socket: &mut Socket<'_>) {
        let mut shared = self.shared.borrow_mut();
        while socket.waiting_bytes() <= MESSAGES_BYTES_MAX {
            let Some(order) = shared.orders.pop_front() else { break };
            match order {
                Order::Send(message) => {
                    shared.orders_bytes -= bytes_of(&message);
                    // What is closed takes nothing, and nobody waits for it any more.
                    let _closed = socket.send(borrowed(&message));
                }
                Order::Ping(payload) => {
                    shared.orders_bytes -= payload.len();
                    socket.ping(&payload);
                }
                Order::Close(code, reason) => {
                    shared.orders_bytes -= reason.len();
                    socket.close(code, &reason);
                }
            }
        }
        if !shared.orders.is_empty() {
            // The rest goes when this has gone.
            socket.call_when_sent();
        } else if shared.is_abandoned {
            socket.close(CloseCode::NORMAL, "");
        }
        if !shared.is_full {
            socket.resume();
        }
        if shared.orders_bytes < shared.orders_bytes_max
            && let Some(writer) = shared.writer.take()
        {
            writer.wake();
        }
    }
}

impl SocketHandler for Spawned {
    fn opened(&mut self, socket: &mut Socket<'_>) {
        let worker = socket.worker();
        {
            let mut shared = self.shared.borrow_mut();
            shared.nudge = Some(socket.nudge());
            shared.worker = Some(worker.clone());
        }
        let Some(start) = self.start.take() else {
            // Whoever has the other half may have asked for something already.
            self.carry_out(socket);
            return;
        };
        let handle = AsyncSocket { shared: Rc::clone(&self.shared) };
        worker.spawn(start(handle));
    }

    fn message(&mut self, socket: &mut Socket<'_>, message: Message<'_>) {
        let mut shared = self.shared.borrow_mut();
        if shared.is_abandoned {
            return;
        }
        shared.messages_bytes += message.as_bytes().len();
        shared.messages.push_back(owned(message));
        if shared.messages.len() >= MESSAGES_MAX || shared.messages_bytes >= MESSAGES_BYTES_MAX {
            shared.is_full = true;
            socket.pause();
        }
        if let Some(reader) = shared.reader.take() {
            reader.wake();
        }
    }

    fn nudged(&mut self, socket: &mut Socket<'_>) {
        self.carry_out(socket);
    }

    fn is_behind(&mut self) -> bool {
        let mut shared = self.shared.borrow_mut();
        // A task that waits for the next message has nothing more to say to those before.
        shared.is_awaited = !shared.is_abandoned && (shared.reader.is_none() || !shared.orders.is_empty());
        shared.is_awaited
    }

    fn closed(&mut self, closed: &Closed<'_>) {
        let mut shared = self.shared.borrow_mut();
        shared.closed = Some((closed.code, closed.reason.into()));
        shared.orders.clear();
        shared.wake_all();
    }
}

impl fmt::Debug for Spawned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawned")
    }
}

fn owned(message: Message<'_>) -> Owned {
    match message {
        Message::Text(text) => Owned::Text(text.to_owned()),
        Message::Binary(bytes) => Owned::Binary(bytes.to_vec()),
    }
}

fn borrowed(message: &Owned) -> Message<'_> {
    match message {
        Owned::Text(text) => Message::Text(text),
        Owned::Binary(bytes) => Message::Binary(bytes),
    }
}

fn bytes_of(message: &Owned) -> usize {
    borrowed(message).as_bytes().len()
}
