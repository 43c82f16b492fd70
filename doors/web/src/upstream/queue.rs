//! The queue of those who wait until a backend has room: bounded, in order, for all workers of a process.

use ringway_lock::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Waker};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// Who has waited for longer comes before those whom a connection at hand would serve.
const FAIR: Duration = Duration::from_millis(20);

/// Who waits, in order. Whoever is called tries again, and stays where they are when others were quicker.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// How many wait: looked at without the lock. Together with the counts of connections it is in one total order, so that
    /// who makes room sees who waits, or who waits sees the room.
    waiting: AtomicUsize,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    next: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    worker: ThreadId,
    since: Instant,
    /// It is on its way to look.
    is_called: bool,
    waker: Option<Waker>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Takes a place at the end; `None` when `most` wait already.
    pub(super) fn join(self: &Arc<Self>, most: usize) -> Option<Place> {
        let mut list = self.lock();
        if list.waiting.len() >= most {
            return None;
        }
        let number = list.next;
        list.next += 1;
        let worker = std::thread::current().id();
        let since = Instant::now();
        list.waiting.push_back(Waiting { number, worker, since, is_called: false, waker: None });
        self.waiting.store(list.waiting.len(), Ordering::SeqCst);
        drop(list);
        Some(Place { queue: Arc::clone(self), number })
    }

    /// There is room for one more.
    pub(super) fn call_next(&self) {
        if self.is_empty() {
            return;
        }
        let waker = self.lock().call();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Something is different: all who wait shall look.
    pub(super) fn call_all(&self) {
        if self.is_empty() {
            return;
        }
        let called: Vec<Waker> = {
            let mut list = self.lock();
            let call = |waiting: &mut Waiting| {
                waiting.is_called = true;
                waiting.waker.take()
            };
            list.waiting.iter_mut().filter_map(call).collect()
        };
        called.into_iter().for_each(Waker::wake);
    }

    /// Whether the next one who waits is of this thread, so that a connection of this thread serves them.
    pub(super) fn is_next_here(&self) -> bool {
        let list = self.lock();
        let next = list.waiting.iter().find(|waiting| !waiting.is_called);
        next.is_some_and(|next| next.worker == std::thread::current().id())
    }

    /// Calls somebody of this thread, for whom there is a connection at hand, unless others have waited for long. False when
    /// it is the turn of others: they need the room that the connection takes.
    pub(super) fn call_here(&self) -> bool {
        if self.is_empty() {
            return true;
        }
        let mut list = self.lock();
        let here = std::thread::current().id();
        let Some(first) = list.waiting.iter().find(|waiting| !waiting.is_called) else { return true };
        let is_due_elsewhere = first.worker != here && first.since.elapsed() >= FAIR;
        let own = list.waiting.iter_mut().find(|waiting| !waiting.is_called && waiting.worker == here);
        let Some(own) = own.filter(|_| !is_due_elsewhere) else { return false };
        own.is_called = true;
        let waker = own.waker.take();
        drop(list);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn call(&mut self) -> Option<Waker> {
        let next = self.waiting.iter_mut().find(|waiting| !waiting.is_called)?;
        next.is_called = true;
        next.waker.take()
    }
}

/// A place in the queue; left when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    queue: Arc<Queue>,
    number: u64,
}

impl Place {
    /// Waits to be called again. Whether it may look for room now, which it does not miss by looking after this: it was
    /// called, or all before it were and are on their way.
    pub(super) fn wait(&self, context: &Context<'_>) -> bool {
        let mut list = self.queue.lock();
        let is_first = list.waiting.iter().find(|waiting| !waiting.is_called).map(|first| first.number);
        let Some(own) = list.waiting.iter_mut().find(|waiting| waiting.number == self.number) else {
            return true;
        };
        let may_look = own.is_called || is_first == Some(self.number);
        own.is_called = false;
        own.waker = Some(context.waker().clone());
        may_look
    }

    /// Leaves with the room that it waited for.
    pub(super) fn served(self) {
        self.leave();
        // It has left: dropping it finds nothing, and passes no call on.
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (was_called, queue) = (self.leave(), &self.queue);
        // The call may have been for room that this one did not take.
        if was_called {
            queue.call_next();
        }
    }
}

impl Place {
    fn leave(&self) -> bool {
        let mut list = self.queue.lock();
        let place = list.waiting.iter().position(|waiting| waiting.number == self.number);
        let left = place.and_then(|place| list.waiting.remove(place));
        self.queue.waiting.store(list.waiting.len(), Ordering::SeqCst);
        left.is_some_and(|left| left.is_called)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn waits(place: &Place) -> Arc<Flag> {
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let _may_look = place.wait(&Context::from_waker(&Waker::from(Arc::clone(&flag))));
        flag
    }

    fn is_called(flag: &Flag) -> bool {
        flag.0.load(Ordering::SeqCst)
    }

    #[test]
    fn the_first_is_called_first_and_who_leaves_passes_the_call_on() {
        let queue = Arc::new(Queue::default());
        let places: Vec<Place> = (0..3).filter_map(|_| queue.join(3)).collect();
        assert!(queue.join(3).is_none() && queue.len() == 3);
        let flags: Vec<_> = places.iter().map(waits).collect();
        queue.call_next();
        assert_eq!([0, 1, 2].map(|place| is_called(&flags[place])), [true, false, false]);
        let mut places = places.into_iter();
        drop(places.next());
        assert!(is_called(&flags[1]) && !is_called(&flags[2]));
        drop(places);
        assert!(queue.is_empty());
        queue.call_next();
    }

    #[test]
    fn who_finds_no_room_keeps_the_place() {
        let queue = Arc::new(Queue::default());
        let context = Context::from_waker(Waker::noop());
        let (first, second) = (queue.join(9).unwrap(), queue.join(9).unwrap());
        assert!(first.wait(&context) && !second.wait(&context));
        queue.call_next();
        assert!(first.wait(&context), "it was called");
        let (again, later) = (waits(&first), waits(&second));
        queue.call_next();
        assert!(is_called(&again) && !is_called(&later));
        queue.call_next();
        assert!(first.wait(&context) && second.wait(&context), "both were called, whoever looks first");
        queue.call_all();
        first.served();
        assert!(second.wait(&context));
    }

    #[test]
    fn who_is_served_passes_no_call_on() {
        let queue = Arc::new(Queue::default());
        let (first, second) = (queue.join(9).unwrap(), queue.join(9).unwrap());
        let (_, later) = (waits(&first), waits(&second));
        queue.call_next();
        first.served();
        assert!(!is_called(&later) && queue.len() == 1);
    }

    #[test]
    fn it_is_known_whose_connection_would_serve_the_next() {
        let queue = Arc::new(Queue::default());
        assert!(!queue.is_next_here());
        let theirs = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.join(9).unwrap()
        });
        let _theirs = theirs.join().unwrap();
        let _own = queue.join(9).unwrap();
        assert!(!queue.is_next_here());
        queue.call_next();
        assert!(queue.is_next_here(), "the first is on its way");
    }

    #[test]
    fn a_connection_at_hand_serves_those_here_until_others_have_waited_for_long() {
        let queue = Arc::new(Queue::default());
        assert!(queue.call_here(), "nobody waits");
        let theirs = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.join(9).unwrap()
        });
        let _theirs = theirs.join().unwrap();
        assert!(!queue.call_here(), "nobody waits here");
        let (first, second) = (queue.join(9).unwrap(), queue.join(9).unwrap());
        let (one, other) = (waits(&first), waits(&second));
        assert!(queue.call_here());
        assert!(is_called(&one) && !is_called(&other));
        for waiting in &mut queue.lock().waiting {
            waiting.since = waiting.since.checked_sub(FAIR).unwrap();
        }
        assert!(!queue.call_here(), "it is their turn");
        assert!(!is_called(&other));
    }
}
