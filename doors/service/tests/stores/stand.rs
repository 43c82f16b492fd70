//! Workers that run what a test has for them, and directories that are gone with the test.

use ringway_engine::ring::{DriverChoice, RingOptions, probe};
use ringway_engine::{EndpointLimits, Outbound, Server, ServerOptions, WorkerHandle};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `work` on each of so many workers, and gives what came of it.
pub(crate) fn on_workers<T, F>(
    driver: DriverChoice,
    workers: usize,
    work: impl Fn(WorkerHandle) -> F + Send + Sync + 'static,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let (sender, outcomes) = channel();
    let sender = Mutex::new(sender);
    let options = ServerOptions {
        workers,
        ring: RingOptions { driver, ..RingOptions::default() },
        outbound: vec![Outbound::held(EndpointLimits::default())],
        on_start: Some(Arc::new(move |worker: &WorkerHandle| {
            let (sender, done) = (sender.lock().expect("no panic").clone(), work(worker.clone()));
            worker.spawn(async move {
                let _test_gave_up = sender.send(done.await);
            });
        })),
        ..ServerOptions::default()
    };
    let server = Server::start(&[], &options).expect("it starts");
    let outcomes = (0..workers).map(|_| outcomes.recv_timeout(PATIENCE).expect("it ends")).collect();
    server.drain(Duration::ZERO);
    assert_eq!(server.wait(PATIENCE).expect("no worker dies").panics, 0);
    outcomes
}

/// Runs `work` on a worker.
pub(crate) fn on_worker<T, F>(work: impl Fn(WorkerHandle) -> F + Send + Sync + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    on_workers(DriverChoice::default(), 1, work).remove(0)
}

/// Runs `work` on a worker with each driver that this kernel has.
#[allow(dead_code, reason = "stores on the network need it, and they may be off")]
pub(crate) fn on_each_driver<F>(work: impl Fn(WorkerHandle) -> F + Send + Sync + Clone + 'static)
where
    F: Future<Output = ()> + 'static,
{
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        if let (DriverChoice::Uring, Err(error)) = (driver, probe()) {
            eprintln!("SKIPPED on io_uring: {error}");
            continue;
        }
        on_workers(driver, 1, work.clone());
    }
}

/// A directory that is gone with the test.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringway-stores-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_dir_all(&self.0);
    }
}
