//! What a long run says while it runs: a line that renews itself on a terminal, plain lines elsewhere, on standard error.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A terminal's line is renewed at most this often.
const RENEWAL: Duration = Duration::from_millis(100);

/// A voice for the human who waits. It can be shared between threads.
#[derive(Debug)]
pub struct Progress {
    voice: Voice,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    Silent,
    Lines,
    Terminal,
}

#[derive(Debug)]
struct State {
    started: Instant,
    shown: Option<Instant>,
    line_open: bool,
}

impl Progress {
    /// Speaks on standard error: one renewed line on a terminal, a line a stage elsewhere.
    #[must_use]
    pub fn on_stderr() -> Progress {
        let terminal = std::io::stderr().is_terminal();
        Progress::with(if terminal { Voice::Terminal } else { Voice::Lines })
    }

    /// Says nothing; for `--quiet` and tests.
    #[must_use]
    pub fn silent() -> Progress {
        Progress::with(Voice::Silent)
    }

    fn with(voice: Voice) -> Progress {
        Progress {
            voice,
            state: Mutex::new(State { started: Instant::now(), shown: None, line_open: false }),
        }
    }

    /// A new stage begins, such as `"round 2 of 3: nginx, case d100"`.
    pub fn stage(&self, what: &str) {
        let mut state = self.lock();
        state.started = Instant::now();
        match self.voice {
            Voice::Silent => {}
            Voice::Lines => say(&format!("{what}\n")),
            Voice::Terminal => self.renew(&mut state, what),
        }
    }

    /// `done` of `total` pieces of the stage are done. Cheap enough for every few milliseconds; quiet where there is no
    /// terminal.
    pub fn step(&self, what: &str, done: u64, total: u64) {
        if self.voice != Voice::Terminal {
            return;
        }
        let mut state = self.lock();
        if state.shown.is_some_and(|shown| shown.elapsed() < RENEWAL) {
            return;
        }
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100).min(100);
        let seconds = state.started.elapsed().as_secs();
        self.renew(&mut state, &format!("{what}  {percent} %  {seconds} s"));
    }

    /// The run is over: leaves a clean line for what is printed next.
    pub fn finish(&self) {
        let mut state = self.lock();
        if state.line_open {
            say("\r\x1b[K");
            state.line_open = false;
        }
    }

    fn renew(&self, state: &mut State, line: &str) {
        say(&format!("\r\x1b[K{line}"));
        state.shown = Some(Instant::now());
        state.line_open = true;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Progress that nobody can read any more is no reason to stop measuring.
fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _unread = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[test]
fn a_step_of_nothing_is_all_of_it() {
    let progress = Progress::with(Voice::Terminal);
    progress.step("nothing", 0, 0);
    assert!(progress.lock().line_open);
    progress.finish();
    assert!(!progress.lock().line_open);
}
