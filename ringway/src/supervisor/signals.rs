//! Signals, and other news for a supervisor that sleeps.

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What wakes a supervisor, and which signals came.
#[derive(Debug)]
pub(super) struct Signals {
    woken: UnixStream,
    waker: Waker,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    reopen: Arc<AtomicBool>,
    upgrade: Arc<AtomicBool>,
}

/// Wakes a supervisor from another thread.
#[derive(Clone, Debug)]
pub(super) struct Waker(Arc<UnixStream>);

impl Waker {
    pub(super) fn wake(&self) {
        // A full socket wakes as well.
        let _it_wakes_anyway = (&*self.0).write(&[0]);
    }
}

impl Signals {
    /// Begins to handle signals.
    ///
    /// # Errors
    /// No descriptors for a pair of sockets, or what `sigaction(2)` says.
    pub(super) fn new() -> io::Result<Self> {
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let signals = Self {
            stop: Arc::default(),
            reload: Arc::default(),
            reopen: Arc::default(),
            upgrade: Arc::default(),
            woken,
            waker: Waker(Arc::new(waker)),
        };
        let flags = [
            (SIGHUP, &signals.reload),
            (SIGUSR1, &signals.reopen),
            (SIGUSR2, &signals.upgrade),
            (SIGTERM, &signals.stop),
            (SIGINT, &signals.stop),
        ];
        for (signal, flag) in flags {
            signal_hook::flag::register(signal, Arc::clone(flag))?;
        }
        // Registered last, so that a flag is set before the wake-up for it.
        for signal in [SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGCHLD] {
            signal_hook::low_level::pipe::register(signal, signals.waker.0.try_clone()?)?;
        }
        Ok(signals)
    }

    /// For other threads.
    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Readable when there is news.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    /// Takes the wake-ups; what they were for is asked next.
    pub(super) fn clear(&self) {
        let mut buffer = [0; 256];
        while (&self.woken).read(&mut buffer).is_ok_and(|bytes| bytes == buffer.len()) {}
    }

    /// Whether the process was asked to stop since the last call.
    pub(super) fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::Relaxed)
    }

    /// Whether a reload was asked for since the last call.
    pub(super) fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::Relaxed)
    }

    /// Whether log files are to be opened anew.
    pub(super) fn take_reopen(&self) -> bool {
        self.reopen.swap(false, Ordering::Relaxed)
    }

    /// Whether an upgrade was asked for.
    pub(super) fn take_upgrade(&self) -> bool {
        self.upgrade.swap(false, Ordering::Relaxed)
    }
}
