//! The dashboard in a headless Chromium: that its script is let run by the page's own policy, and that there is something to see.
//!
//! Pictures are kept in the folder that `RINGWAY_PICTURES` names, for those who want to look at them.

use crate::stand::eventually;
use crate::upstreams::Backends;
use ringway::engine::ring::DriverChoice;
use ringway_testkit::Scratch;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the page is looked at, in milliseconds.
const LOOK_MS: u64 = 3_000;

/// How long a browser may take to start, look and end.
const BROWSER_PATIENCE: Duration = Duration::from_secs(60);

/// A browser on its way; it does not outlive the test.
struct Browser(Child);

impl Browser {
    fn ended_well(&mut self) -> bool {
        let until = Instant::now() + BROWSER_PATIENCE;
        loop {
            match self.0.try_wait().expect("it is ours") {
                Some(status) => return status.success(),
                None if Instant::now() > until => return false,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended_already = self.0.wait();
    }
}

#[test]
fn a_browser_follows_the_figures() {
    let asked =
        Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !asked.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: there is no Chromium (Debian's package chromium)");
        return;
    }
    let backends = Backends::start();
    let stand = backends.stand(DriverChoice::Epoll);
    eventually("there is something to see", || {
        backends.group.backends()[0].figures().answers.requests() > 20
    });
    let scratch = Scratch::new("browser");
    let folder =
        std::env::var_os("RINGWAY_PICTURES").map_or_else(|| scratch.path().to_owned(), PathBuf::from);
    for (name, size, scheme) in
        [("light", "1280,1000", 1), ("dark", "1280,1000", 0), ("phone", "500,1400", 1)]
    {
        let picture = folder.join(format!("dashboard-{name}.png"));
        let child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
            .arg(format!("--user-data-dir={}", scratch.path().join(name).display()))
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .arg(format!("--window-size={size}"))
            .arg(format!("--timeout={LOOK_MS}"))
            .arg(format!("--screenshot={}", picture.display()))
            .arg(format!("http://admin:secret@{}/ringway/", stand.address()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let mut browser = Browser(child);
        // Only the script asks for the figures: the page's policy lets it run.
        eventually("the page follows the figures", || stand.live.viewers() == 1);
        assert!(browser.ended_well(), "{name}");
        let bytes = std::fs::metadata(&picture).expect("a picture").len();
        assert!(bytes > 20_000, "{name}: {bytes} bytes are an empty page");
        drop(browser);
        eventually("the browser has gone", || stand.live.viewers() == 0);
    }
    stand.stop();
}
