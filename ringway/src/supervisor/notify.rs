//! systemd's notification protocol (`sd_notify(3)`): what the service manager is told.

use rustix::time::{ClockId, clock_gettime};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A service manager that listens, or none.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// The one that started this process, by its environment.
    pub(crate) fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let own = std::process::id().to_string();
        let is_ours = variable("WATCHDOG_PID").is_none_or(|process| process == own);
        let watchdog = variable("WATCHDOG_USEC").filter(|_| is_ours).and_then(|text| text.parse().ok());
        Self::new(variable("NOTIFY_SOCKET").as_deref(), watchdog.map(Duration::from_micros))
    }

    fn new(path: Option<&str>, watchdog: Option<Duration>) -> Self {
        let address = path.and_then(|path| match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok(),
            None => SocketAddr::from_pathname(path).ok(),
        });
        let socket = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        Self { socket, watchdog: watchdog.filter(|time| !time.is_zero()) }
    }

    /// How often it wants to hear that the server lives: half of the time after which it would act.
    pub(super) fn watchdog_interval(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).map(|time| time / 2)
    }

    /// The server serves; this process is the one to signal.
    pub(crate) fn ready(&self, status: &str) {
        let process = std::process::id();
        self.send(&format!("READY=1\nMAINPID={process}\nSTATUS={}", one_line(status)));
    }

    /// A reload or upgrade begins; [`Notify::ready`] ends it.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=Reloading"));
    }

    /// The end begins.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Finishing what is under way");
    }

    /// What is going on.
    pub(super) fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// The server lives.
    pub(super) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.socket {
            // Who does not listen does not want to know.
            let _nobody_listens = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_hears_it() {
        let name = format!("ringway-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("free");
        manager.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        let notify = Notify::new(Some(&format!("@{name}")), Some(Duration::from_secs(10)));
        let heard = || {
            let mut buffer = [0; 500];
            let bytes = manager.recv(&mut buffer).expect("it was told");
            String::from_utf8_lossy(&buffer[..bytes]).into_owned()
        };
        notify.ready("a\nb");
        assert_eq!(heard(), format!("READY=1\nMAINPID={}\nSTATUS=a b", std::process::id()));
        notify.reloading();
        let reloading = heard();
        let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(reloading.starts_with("RELOADING=1\n"));
        assert!(time.and_then(|time| time.parse::<u64>().ok()).is_some_and(|time| time > 1_000_000));
        notify.alive();
        assert_eq!(heard(), "WATCHDOG=1");
        assert_eq!(notify.watchdog_interval(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn without_a_service_manager_nothing_happens() {
        let nobody = Notify::new(None, Some(Duration::from_secs(1)));
        nobody.ready("all is well");
        assert_eq!(nobody.watchdog_interval(), None);
        Notify::new(Some("/nowhere/at/all"), None).stopping();
    }
}
