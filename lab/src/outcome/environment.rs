//! The machine and the program that a result was measured with, recorded with every run.

use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::measure::cores;

/// Where and with what a result was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// The kernel's release and version.
    pub kernel: String,
    /// The processor's model.
    pub cpu: String,
    /// Cores of the machine, and the ones this process may run on.
    pub cores: String,
    /// Physical memory in MiB.
    pub memory_mib: u64,
    /// The git revision that the lab was built from, if it was built in a checkout.
    pub revision: Option<String>,
    /// Ringway's driver here, and why when it is not io_uring.
    pub driver: String,
    /// When the run started, in UTC (RFC 3339).
    pub date: String,
}

impl Environment {
    /// Asks the machine.
    #[must_use]
    pub fn read() -> Environment {
        let uname = rustix::system::uname();
        Environment {
            kernel: format!(
                "{} {} {}",
                uname.sysname().to_string_lossy(),
                uname.release().to_string_lossy(),
                uname.machine().to_string_lossy()
            ),
            cpu: cpu_model(),
            cores: format!("{} online, {:?} allowed", cores::online(), cores::allowed()),
            memory_mib: memory_mib(),
            revision: Some(env!("LAB_REVISION").to_owned()).filter(|revision| !revision.is_empty()),
            driver: driver(),
            date: rfc3339(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
        }
    }

    /// Names and values in the order in which they are shown.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        vec![
            ("kernel", self.kernel.clone()),
            ("cpu", self.cpu.clone()),
            ("cores", self.cores.clone()),
            ("memory", format!("{} MiB", self.memory_mib)),
            ("driver", self.driver.clone()),
            ("revision", self.revision.clone().unwrap_or_else(|| "unknown".to_owned())),
            ("date", self.date.clone()),
        ]
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "kernel": self.kernel, "cpu": self.cpu, "cores": self.cores, "memory_mib": self.memory_mib,
            "driver": self.driver, "revision": self.revision, "date": self.date,
        })
    }
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    value("model name").or_else(|| value("CPU part")).unwrap_or_else(|| "unknown".to_owned())
}

fn memory_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.strip_prefix("MemTotal:").and_then(|rest| rest.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn driver() -> String {
    match ringway_ring::probe() {
        Ok(features) => format!("uring ({features})"),
        Err(error) => format!("epoll (io_uring is not used: {error})"),
    }
}

/// A point in time, given in seconds since 1970, as `2026-01-02T03:04:05Z`.
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of a day since 1970, counted in years that begin in March, as leap days come last in them.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[test]
fn dates_know_leap_days() {
    assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
    assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
    assert_eq!(rfc3339(951_868_799), "2000-02-29T23:59:59Z");
    assert_eq!(rfc3339(4_107_542_400), "2100-03-01T00:00:00Z");
}

#[test]
fn this_machine_can_be_described() {
    let environment = Environment::read();
    assert!(environment.kernel.starts_with("Linux "), "{}", environment.kernel);
    assert!(environment.memory_mib > 0);
    assert!(environment.driver.starts_with("uring") || environment.driver.starts_with("epoll"));
}
