//! What a program says: passed on to the terminal as it comes, its end kept for the page.

use ringway_lock::Mutex;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes of a program's last words that are kept.
pub(super) const KEPT_BYTES_MAX: usize = 16 * 1024;

/// How long the last words of a program that has ended are waited for; a process that it left behind may still hold the pipe.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(500);

/// The end of what a program says.
#[derive(Debug)]
pub(super) struct Tail {
    kept: Arc<Mutex<VecDeque<u8>>>,
    ended: Receiver<()>,
}

impl Tail {
    /// Passes what comes on to standard error.
    ///
    /// # Errors
    /// There can be no thread for it.
    pub(super) fn follow(pipe: impl Read + Send + 'static) -> io::Result<Self> {
        Self::passing_on(pipe, io::stderr())
    }

    fn passing_on(pipe: impl Read + Send + 'static, onto: impl Write + Send + 'static) -> io::Result<Self> {
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let (end, ended) = channel();
        let into = Arc::clone(&kept);
        thread::Builder::new().name("ringway-dev-says".to_owned()).spawn(move || {
            pass_on(pipe, onto, &into);
            let _nobody_waits = end.send(());
        })?;
        Ok(Self { kept, ended })
    }

    /// What was said last, when its program has ended.
    pub(super) fn last_words(&self) -> String {
        match self.ended.recv_timeout(LAST_WORDS_WITHIN) {
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn pass_on(mut pipe: impl Read, mut onto: impl Write, into: &Mutex<VecDeque<u8>>) {
    let mut buffer = [0; 4096];
    loop {
        let count = match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let _nobody_reads = onto.write_all(&buffer[..count]);
        let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&buffer[..count]);
        let surplus = kept.len().saturating_sub(KEPT_BYTES_MAX);
        kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let text = "a\n".repeat(KEPT_BYTES_MAX) + "the end";
        let tail = Tail::passing_on(io::Cursor::new(text.into_bytes()), io::sink()).expect("a thread");
        let words = tail.last_words();
        assert_eq!(words.len(), KEPT_BYTES_MAX);
        assert!(words.ends_with("the end"));
    }
}
