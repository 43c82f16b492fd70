//! What a program does on each worker before anything of its own is there, and after: once a worker, however many of its services are.

use ringway_face::Hook;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The hook of a host, once it is known. Clones are made by `Arc`.
#[derive(Debug)]
pub(crate) struct Beginning {
    number: u64,
    hook: OnceLock<Hook>,
}

/// A worker on which the hook was called; with the last of these the worker ends for the program.
#[derive(Debug)]
pub(crate) struct Begun(Option<Hook>);

thread_local! {
    /// What has begun on this thread, by the numbers of hosts.
    static BEGUN: RefCell<Vec<(u64, Weak<Begun>)>> = const { RefCell::new(Vec::new()) };
}

impl Beginning {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { number: NEXT.fetch_add(1, Ordering::Relaxed), hook: OnceLock::new() }
    }

    /// Says what is called; whether that was not said before.
    pub(crate) fn set(&self, hook: Hook) -> bool {
        self.hook.set(hook).is_ok()
    }

    /// Begins on this thread, if that was not done. Whatever is the program's keeps what it gets.
    ///
    /// # Errors
    /// The program says that it cannot, as words.
    pub(crate) fn begin(&self) -> Result<Rc<Begun>, String> {
        let known = BEGUN.with_borrow(|all| {
            all.iter().find(|(number, _)| *number == self.number).and_then(|(_, begun)| begun.upgrade())
        });
        if let Some(begun) = known {
            return Ok(begun);
        }
        let hook = self.hook.get().copied();
        if let Some(hook) = hook {
            hook.start().map_err(|code| format!("the program's function for workers says {code}"))?;
        }
        let begun = Rc::new(Begun(hook));
        BEGUN.with_borrow_mut(|all| {
            all.retain(|(_, begun)| begun.strong_count() > 0);
            all.push((self.number, Rc::downgrade(&begun)));
        });
        Ok(begun)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(hook) = self.0.take() {
            hook.stop();
        }
    }
}
