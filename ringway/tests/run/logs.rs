//! Logs of a confined server process: written, opened anew, rotated, where it may write and nowhere else.

use crate::stand::{Stand, eventually, get, on_both_drivers};
use ringway_testkit::Client;
use rustix::process::Signal;

fn logged(name: &str, driver: &str, settings: &str) -> Stand {
    let mut stand = Stand::new(name, driver);
    std::fs::create_dir(stand.at("log")).unwrap();
    stand.log = format!("path = \"log/access.log\"\n{settings}");
    stand.write();
    stand
}

fn lines(stand: &Stand, name: &str) -> usize {
    std::fs::read_to_string(stand.at(name)).unwrap_or_default().lines().count()
}

#[test]
fn a_log_that_was_moved_is_opened_anew() {
    on_both_drivers(|driver| {
        let stand = logged(&format!("run-reopen-{driver}"), driver, "");
        let running = stand.start();
        running.get("/");
        eventually("a line", || (lines(&stand, "log/access.log") == 1).then_some(()));
        std::fs::rename(stand.at("log/access.log"), stand.at("log/moved.log")).unwrap();
        running.signal(Signal::USR1);
        eventually("a new file", || stand.at("log/access.log").exists().then_some(()));
        running.get("/");
        eventually("a line in it", || (lines(&stand, "log/access.log") == 1).then_some(()));
        assert_eq!(lines(&stand, "log/moved.log"), 1);
        running.stop();
    });
}

#[test]
fn a_log_is_rotated_within_the_sandbox() {
    on_both_drivers(|driver| {
        let settings = "rotate_size = \"64 KiB\"\nrotate_keep = 2\n";
        let stand = logged(&format!("run-rotate-{driver}"), driver, settings);
        let running = stand.start();
        let mut client = Client::connect(running.address()).unwrap();
        eventually("old files", || {
            (0..50).for_each(|_| assert_eq!(get(&mut client, "/").status, 200));
            stand.at("log/access.log.2").exists().then_some(())
        });
        drop(client);
        running.stop();
    });
}
