//! What an endpoint tells of what went wrong: few lines, however many peers go wrong.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines that an endpoint tells in a second at most, on all workers.
pub const LINES_PER_S_MAX: u32 = 10;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A peer's doing: a limit was reached, a protocol broken.
    Info,
    /// Something of our own: a handler panicked, there was no memory.
    Error,
}

/// What is done with a line.
type Tell = dyn Fn(Level, &str) + Send + Sync;

/// Takes an endpoint's lines. Cheap to clone; clones share their rate.
#[derive(Clone, Default)]
pub struct Log {
    inside: Option<Arc<Inside>>,
}

struct Inside {
    tell: Box<Tell>,
    /// The second that is counted, and the lines in it.
    told: AtomicU64,
}

impl Log {
    /// Gives every line to `tell`, which must not block.
    #[must_use]
    pub fn new(tell: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Self { inside: Some(Arc::new(Inside { tell: Box::new(tell), told: AtomicU64::new(0) })) }
    }

    /// Tells a line of an endpoint; false when there were too many and it was left out.
    pub(crate) fn tell(&self, level: Level, name: &str, now_ms: u64, text: &dyn Fn() -> String) -> bool {
        let Some(inside) = &self.inside else { return true };
        let may = inside.may_tell(now_ms / 1_000);
        if may {
            (inside.tell)(level, &format!("endpoint {name}: {}", text()));
        }
        may
    }
}

impl Inside {
    fn may_tell(&self, second: u64) -> bool {
        let next = |told: u64| {
            let (of, lines) = (told >> 8, told & 0xff);
            match of == (second & (u64::MAX >> 8)) {
                true if lines >= u64::from(LINES_PER_S_MAX) => None,
                true => Some(told + 1),
                false => Some(second << 8 | 1),
            }
        };
        self.told.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("is_told", &self.inside.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_lock::Mutex;

    #[test]
    fn many_lines_of_one_second_are_left_out() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let log = Log::new(move |level, line| kept.lock().expect("no panic").push((level, line.to_owned())));
        let told = (0..25).filter(|_| log.tell(Level::Info, "a", 500, &|| "x".to_owned())).count();
        assert_eq!(told, 10);
        assert!(log.tell(Level::Error, "a", 1_000, &|| "y".to_owned()), "a new second");
        let lines = lines.lock().expect("no panic");
        assert_eq!((lines.len(), &*lines[10].1), (11, "endpoint a: y"));
    }
}
