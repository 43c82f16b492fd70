//! Who looks after the backends of an upstream: one worker probes those that are down, asks those that are to be asked, and
//! looks names up again.

use crate::upstream::backend::{Backend, now_ms};
use crate::upstream::connect;
use crate::upstream::group::Group;
use crate::upstream::notify::Notify;
use crate::upstream::options::{Check, Origin, Speaks};
use crate::upstream::question::Question;
use ringway_engine::WorkerHandle;
use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// Milliseconds that a probe without a check of its own may take.
const REACH_MS: u64 = 2_000;

/// Milliseconds until a name that could not be looked up is looked up again, at most.
const RESOLVE_RETRY_MS: u64 = 5_000;

/// The group is kept as long as this lives.
struct Claim(Weak<Group>);

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(group) = self.0.upgrade() {
            group.is_kept.store(false, Ordering::Release);
        }
    }
}

/// Has the calling worker look after the backends of `group`, unless one does already.
pub(super) fn keep(group: &Arc<Group>, worker: &WorkerHandle) {
    if group.is_kept.swap(true, Ordering::AcqRel) {
        return;
    }
    let claim = Rc::new(Claim(Arc::downgrade(group)));
    for (place, backend) in group.backends().iter().enumerate() {
        let told = Arc::new(Notify::default());
        backend.watch(&told);
        group.add_keeper(&told);
        worker.spawn(watch(Rc::clone(&claim), place, told, worker.clone()));
    }
    let has_names = group.backends().iter().any(|backend| matches!(backend.origin(), Origin::Named(..)));
    if has_names {
        let told = Arc::new(Notify::default());
        group.add_keeper(&told);
        worker.spawn(resolve(claim, told, worker.clone()));
    }
}

/// Probes a backend whenever that is due, until the group is gone.
async fn watch(claim: Rc<Claim>, place: usize, told: Arc<Notify>, worker: WorkerHandle) {
    loop {
        let due_ms = {
            let Some(group) = claim.0.upgrade() else { return };
            group.backends()[place].next_probe_ms(&group.rules)
        };
        let now_ms = now_ms();
        match due_ms {
            Some(due_ms) if due_ms <= now_ms => {
                let Some(group) = claim.0.upgrade() else { return };
                probe(&group, &group.backends()[place], &worker).await;
            }
            // Both clocks count milliseconds, from different beginnings.
            Some(due_ms) => {
                let until_ms = worker.now_ms().saturating_add(due_ms - now_ms);
                told.wait(Some(worker.sleep_until(until_ms))).await;
            }
            None => told.wait(None).await,
        }
    }
}

/// One probe of a backend, and what follows from it.
async fn probe(group: &Group, backend: &Backend, worker: &WorkerHandle) {
    let outcome = match &group.options().check {
        Some(check) => ask(group, backend, check, worker).await,
        None => {
            let until_ms = worker.now_ms().saturating_add(REACH_MS);
            connect::reach(worker, backend, until_ms).await.map_err(|error| explained(&error))
        }
    };
    let change = backend.probed(&group.rules, outcome.as_ref().err().map(String::as_str));
    group.note(backend, change);
}

/// Asks a backend how it is.
async fn ask(group: &Group, backend: &Backend, check: &Check, worker: &WorkerHandle) -> Result<(), String> {
    let until_ms = worker.now_ms().saturating_add(check.timeout_ms);
    let failed = |error: io::Error| explained(&error);
    let mut stream = connect::open(worker, group, backend, None, until_ms).await.map_err(failed)?;
    let Some(mut question) = Question::new(group.speaks(), check, backend.name()) else { return Ok(()) };
    stream.set_deadline(until_ms);
    let bytes = stream.slice_of(question.bytes()).map_err(failed)?;
    stream.send(bytes);
    loop {
        match stream.read().await {
            Ok(Some(bytes)) => {
                if let Some(verdict) = question.feed(&bytes) {
                    return verdict;
                }
            }
            Ok(None) => return Err(question.ended()),
            // All its processes have connections of ours, so nobody looks at this one.
            Err(error) if error.kind() == io::ErrorKind::TimedOut && is_taken_up(group, backend) => {
                return Ok(());
            }
            Err(error) => return Err(explained(&error)),
        }
    }
}

/// Whether a backend has enough to do that it need not answer questions. A process of a FastCGI server serves one connection.
fn is_taken_up(group: &Group, backend: &Backend) -> bool {
    group.speaks() == Speaks::FastCgi && backend.connections() > 0
}

fn explained(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "it does not answer in time".to_owned(),
        _ => error.to_string(),
    }
}

/// Looks the names of a group's backends up, again and again, until the group is gone.
async fn resolve(claim: Rc<Claim>, told: Arc<Notify>, worker: WorkerHandle) {
    loop {
        let pause_ms = {
            let Some(group) = claim.0.upgrade() else { return };
            look_all_up(&group, &worker).await
        };
        // Nobody tells it anything but that the group is gone.
        told.wait(Some(worker.sleep_until(worker.now_ms().saturating_add(pause_ms)))).await;
    }
}

/// Looks the names up; milliseconds until the next time.
async fn look_all_up(group: &Group, worker: &WorkerHandle) -> u64 {
    let mut pause_ms = group.options().resolve_ms;
    for backend in group.backends() {
        match connect::look_up(worker, backend).await {
            Ok(false) => {}
            Ok(true) => group.say_notice(format_args!("{} has other addresses", group.named(backend))),
            Err(error) => {
                pause_ms = pause_ms.min(RESOLVE_RETRY_MS);
                group.say_failed(backend, &error);
            }
        }
    }
    pause_ms
}
