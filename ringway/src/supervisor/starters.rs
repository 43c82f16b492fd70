//! Who starts the scripts of server processes: begun with each, renewed should it die, and seen to its end.

use super::generation::{Generation, Phase};
use super::plan::Plan;
use super::supervise::Supervisor;
use crate::starter::Process;
use crate::voice::say;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long a starter has to end its scripts when its server process has ended.
const LAST_MAX: Duration = Duration::from_secs(5);

/// A starter whose server process has ended.
#[derive(Debug)]
pub(super) struct Leftover {
    process: Process,
    deadline: Instant,
}

/// Starts a starter where the plan has scripts; the second is the server process's end.
///
/// # Errors
/// A sentence.
pub(super) fn start(plan: &Plan) -> Result<(Option<Process>, Option<OwnedFd>), String> {
    if plan.scripts.is_empty() {
        return Ok((None, None));
    }
    let started = Process::start(plan.scripts.clone());
    let (process, end) = started.map_err(|error| format!("cannot start who starts scripts: {error}"))?;
    Ok((Some(process), Some(end)))
}

impl Supervisor {
    /// Starts starters again that have died, and lets those go whose server process has.
    pub(super) fn look_after_starters(&mut self) {
        for generation in &mut self.generations {
            renew(generation);
        }
        let now = Instant::now();
        self.leftover_starters.retain(|leftover| {
            if leftover.deadline <= now {
                leftover.process.kill();
            }
            !leftover.process.has_ended()
        });
    }

    /// A server process has ended: its starter is ending its scripts.
    pub(super) fn leave_starter(&mut self, generation: &mut Generation) {
        let starter = generation.starter.take().into_iter();
        let deadline = Instant::now() + LAST_MAX;
        self.leftover_starters.extend(starter.map(|process| Leftover { process, deadline }));
    }

    /// When the next starter is ended that does not end by itself.
    pub(super) fn starters_deadline(&self) -> Option<Instant> {
        self.leftover_starters.iter().map(|leftover| leftover.deadline).min()
    }
}

fn renew(generation: &mut Generation) {
    let number = generation.number;
    let is_draining = generation.phase == Phase::Draining;
    let Some(starter) = generation.starter.as_mut().filter(|starter| starter.has_ended()) else { return };
    say!("ringway: who starts the scripts of server process {number} has died.");
    match starter.renew() {
        Ok(true) => {}
        // Of another program: its server process drains, and starts no more.
        Ok(false) => generation.starter = None,
        Err(error) => {
            say!("ringway: it cannot be started again: {error}.");
            generation.starter = None;
            // Another server process gets another one.
            if !is_draining {
                generation.kill();
            }
        }
    }
}
