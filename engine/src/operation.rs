//! Operations of tasks: awaited, orphaned when nobody waits any more.

use crate::core::{Core, Waiter};
use crate::token::Token;
use crate::worker::{Local, WorkerHandle};
use ringway_ring::socket::{self, Address, RawAddress};
use ringway_ring::{Completion, Connect, Handle, Op};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

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
        let core: &mut Core = &mut self.local.core.borrow_mut();
        let waiter = &mut core.waiters[self.place as usize];
        match waiter.result.take() {
            Some(completion) => {
                waiter.id = None;
                Poll::Ready(completion)
            }
            None => {
                waiter.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // While the core is lent out nobody drops an operation: turns do not poll futures. Should it happen after all,
        // the place is kept rather than shared.
        let Ok(mut core) = self.local.core.try_borrow_mut() else { return };
        let waiter = &mut core.waiters[self.place as usize];
        let id = waiter.id.take().filter(|_| waiter.result.is_none());
        *waiter = Waiter { id: None, result: None, waker: None };
        core.free_waiters.push(self.place);
        if let Some(id) = id {
            core.ring.orphan(id);
        }
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operation({})", self.place)
    }
}
