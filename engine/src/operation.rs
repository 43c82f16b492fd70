//! Operations of tasks: awaited, orphaned when nobody waits any more.

use crate::core::{Core, Waiter};
use crate::token::Token;
use crate::worker::{Abandoned, Local, WorkerHandle};
use ringway_ring::socket::{self, Address, RawAddress};
use ringway_ring::{Completion, Connect, Handle, Op};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A single-shot operation under way.
///
/// # Cancellation
/// Dropping it cancels the operation in the kernel; buffers and descriptors are kept until its last completion.
pub struct Operation {
    local: Rc<Local>,
    place: u32,
}

impl WorkerHandle {
    /// Starts a single-shot operation. Not during a turn.
    ///
    /// # Errors
    /// `WouldBlock` at the ring's limit of operations; `InvalidInput` for a multishot operation.
    pub fn operation(&self, op: Op) -> io::Result<Operation> {
        if op.is_multishot() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a task awaits single-shot operations"));
        }
        let core = &mut *self.local.core.borrow_mut();
        let place = core.free_waiters.pop().unwrap_or_else(|| {
            core.waiters.push(Waiter { id: None, result: None, waker: None });
            u32::try_from(core.waiters.len() - 1).unwrap_or(u32::MAX)
        });
        match core.ring.submit(op, Token::Waiter(place).bits()) {
            Ok(id) => {
                core.waiters[place as usize] = Waiter { id: Some(id), result: None, waker: None };
                Ok(Operation { local: Rc::clone(&self.local), place })
            }
            Err(_op) => {
                core.free_waiters.push(place);
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    /// Connects to `address`, giving up when the worker's clock reaches `until_ms`. With `fast_open`, the first data
    /// travels in the SYN where the kernel has a cookie for the peer (RFC 7413).
    ///
    /// # Errors
    /// What `socket(2)` and `connect(2)` say; `TimedOut`.
    pub async fn connect(&self, address: &Address, until_ms: u64, fast_open: bool) -> io::Result<Handle> {
        let raw = RawAddress::new(address)?;
        let fd = socket::stream_socket(&raw)?;
        if matches!(address, Address::Tcp(_)) {
            // What waits for more to fill a segment would wait for the peer's delayed acknowledgement.
            socket::set_nodelay(&fd)?;
        }
        if fast_open && matches!(address, Address::Tcp(_)) {
            // Refused where the kernel has no client side of it: then it is an ordinary connect.
            let _optional = socket::set_fast_open_connect(&fd);
        }
        let socket = Handle::new(fd);
        let mut operation = self.operation(Op::Connect(Connect::new(socket.clone(), raw)))?;
        let mut sleep = self.sleep_until(until_ms);
        let completion = std::future::poll_fn(|context| {
            if let Poll::Ready(completion) = Pin::new(&mut operation).poll(context) {
                return Poll::Ready(Some(completion));
            }
            Pin::new(&mut sleep).poll(context).map(|()| None)
        });
        match completion.await {
            Some(completion) => completion.result.map(|_| socket),
            None => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Future for Operation {
    type Output = Completion;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Completion> {
        let waker = context.waker().clone();
        // What is replaced is dropped after the core is released.
        let (polled, _replaced) = self.local.core.borrow_mut().poll_waiter(self.place, waker);
        polled
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // A protocol that drops an operation in its turn has the core: then the worker does this when the turn is over.
        match self.local.core.try_borrow_mut().map(|mut core| core.release_waiter(self.place)) {
            Ok(_released) => {}
            Err(_lent_out) => self.local.abandoned.borrow_mut().push(Abandoned::Operation(self.place)),
        }
    }
}

impl Core {
    /// The result, or a place for the waker; with it, what was there before.
    fn poll_waiter(&mut self, place: u32, waker: Waker) -> (Poll<Completion>, Option<Waker>) {
        let waiter = &mut self.waiters[place as usize];
        match waiter.result.take() {
            Some(completion) => {
                waiter.id = None;
                (Poll::Ready(completion), Some(waker))
            }
            None => (Poll::Pending, waiter.waker.replace(waker)),
        }
    }

    /// Nobody waits any more. What is returned is dropped when the core is not lent out.
    pub(crate) fn release_waiter(&mut self, place: u32) -> Waiter {
        let empty = Waiter { id: None, result: None, waker: None };
        let waiter = std::mem::replace(&mut self.waiters[place as usize], empty);
        self.free_waiters.push(place);
        if let Some(id) = waiter.id.filter(|_| waiter.result.is_none()) {
            self.ring.orphan(id);
        }
        waiter
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operation({})", self.place)
    }
}
