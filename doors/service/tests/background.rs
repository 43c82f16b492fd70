//! The background runtime from its first user to the end of the program, in a process of its own.
#![cfg(feature = "tower")]

use ringway_service::background::{
    BLOCKING_THREADS_MAX, Options, OptionsError, configure, handle, shut_down,
};
use std::io;
use std::sync::mpsc;
use std::time::Duration;

// One test, because there is one runtime in a process and it ends for good.
#[test]
fn it_is_started_once_and_ends_without_waiting_for_ever() {
    assert_eq!(configure(Options { threads: 0, ..Options::default() }), Err(OptionsError::Threads));
    let many = Options { blocking_threads_max: BLOCKING_THREADS_MAX + 1, ..Options::default() };
    assert_eq!(configure(many), Err(OptionsError::Threads));
    assert_eq!(configure(Options { threads: 2, ..Options::default() }), Ok(()));
    let background = handle().expect("a thread");
    assert_eq!(configure(Options::default()), Err(OptionsError::Started));
    assert_eq!(handle().expect("the same").tokio().id(), background.tokio().id());
    assert_eq!(background.tokio().metrics().num_workers(), 2);

    let (said, heard) = mpsc::channel();
    let slept = {
        let _entered = background.enter();
        let said = said.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            said.send(std::thread::current().name().map(str::to_owned)).expect("it listens");
        })
    };
    let name = heard.recv_timeout(Duration::from_secs(10)).expect("it woke up");
    assert_eq!(name.as_deref(), Some("ringway-tokio"));
    drop(slept);

    // What blocks for ever and what waits for ever do not keep the program.
    let (never, blocks) = mpsc::channel::<()>();
    let began = said.clone();
    background.tokio().spawn_blocking(move || {
        began.send(None).expect("it listens");
        blocks.recv().is_err()
    });
    background.tokio().spawn(std::future::pending::<()>());
    assert_eq!(heard.recv_timeout(Duration::from_secs(10)), Ok(None));
    shut_down(Duration::from_millis(20));
    assert_eq!(handle().expect_err("it is over").kind(), io::ErrorKind::BrokenPipe);
    shut_down(Duration::ZERO);
    drop(never);
}
