//! Flags of `http load`, and the plan that they mean.

use super::plan::{Expect, Plan, Target};
use super::targets;
use crate::refusal::Refusal;
use ringway_engine::WaitMode;
use ringway_engine::ring::DriverChoice;
use std::path::PathBuf;
use std::time::Duration;

/// How long a load is measured unless it is told how long or how often.
const DURATION_S_DEFAULT: f64 = 10.0;

/// Longest duration, in seconds: a week.
const DURATION_S_MAX: f64 = 604_800.0;

/// Flags of `http load`.
#[derive(clap::Args, Clone, Debug)]
pub struct LoadArguments {
    /// What to ask for: `http://host[:port]/path`.
    #[arg(required_unless_present = "urls", conflicts_with = "urls")]
    pub url: Option<String>,
    /// Ask for the URLs in FILE, one a line: `URL [weight=N | rate=N] [status=N] [length=N]`; `#` begins a comment.
    #[arg(long, value_name = "FILE")]
    pub urls: Option<PathBuf>,
    /// Connections kept busy; with a rate: at hand.
    #[arg(long, short, default_value_t = 64, value_name = "N")]
    pub connections: usize,
    /// Measure for so many seconds [default: 10, or until --requests are done].
    #[arg(long, short, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<f64>,
    /// Measure so many requests.
    #[arg(long, short = 'n', value_name = "N")]
    pub requests: Option<u64>,
    /// Run for so many seconds before measuring.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = seconds)]
    pub warm_up: f64,
    /// Send so many requests a second, each at its time whether or not the server keeps up (open loop); latencies count
    /// from that time. Otherwise each connection asks again when it is answered (closed loop).
    #[arg(long, short, value_name = "N")]
    pub rate: Option<f64>,
    /// Requests sent together on a connection, the next ones when all are answered; with a rate: requests that may be
    /// unanswered on one connection.
    #[arg(long, short, default_value_t = 1, value_name = "DEPTH")]
    pub pipeline: u32,
    /// A connection for each request; latencies then count from the beginning of the connection.
    #[arg(long, conflicts_with = "requests_per_connection")]
    pub close: bool,
    /// A new connection after so many requests; browsers rarely do more than 25.
    #[arg(long, value_name = "N")]
    pub requests_per_connection: Option<u32>,
    /// Worker threads, each with its share of the connections.
    #[arg(long, short, default_value_t = 1, value_name = "N")]
    pub threads: usize,
    /// Keep the workers on these cores, one each in turn: `1` or `0,2,3`.
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    pub cpu: Vec<usize>,
    /// How the client drives its sockets.
    #[arg(long, default_value = "auto", value_name = "auto|uring|epoll", value_parser = driver)]
    pub driver: DriverChoice,
    /// How the client waits: asleep, without sleep, or both in turn.
    #[arg(long, default_value = "event", value_name = "event|polled|adaptive")]
    pub wait: WaitMode,
    /// Add `Name: value` to every request; may be repeated.
    #[arg(long, short = 'H', value_name = "FIELD")]
    pub header: Vec<String>,
    /// Ask with HEAD instead of GET.
    #[arg(long)]
    pub head: bool,
    /// The status of every right answer [default: that of the first answer, if it is 2xx].
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(100..=999))]
    pub expect_status: Option<u16>,
    /// Bytes in the body of every right answer [default: as many as in the first].
    #[arg(long, value_name = "BYTES")]
    pub expect_length: Option<u64>,
    /// How long an answer may take, in milliseconds.
    #[arg(long, default_value_t = 10_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub timeout_ms: u64,
    /// Report CPU time and memory of this server process too, its children included.
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
}

impl LoadArguments {
    /// The plan that the flags mean.
    ///
    /// # Errors
    /// Refuses a URL or a file of URLs that cannot be read.
    pub fn plan(&self) -> Result<Plan, Refusal> {
        let mut targets = match (&self.urls, &self.url) {
            (Some(file), _) => targets::read(file)?,
            (None, Some(url)) => vec![Target::get(url)?],
            (None, None) => return Err(Refusal::new("a load needs a URL, or --urls FILE")),
        };
        for target in &mut targets {
            let Expect { status, length } = target.expect;
            target.expect =
                Expect { status: status.or(self.expect_status), length: length.or(self.expect_length) };
            target.is_head = self.head;
        }
        let duration = self.duration.or(self.requests.is_none().then_some(DURATION_S_DEFAULT));
        Ok(Plan {
            targets,
            headers: self.header.clone(),
            connections: self.connections,
            pipeline: self.pipeline,
            rate: self.rate,
            requests_per_connection: if self.close { Some(1) } else { self.requests_per_connection },
            duration: duration.map(Duration::from_secs_f64),
            requests: self.requests,
            warm_up: Duration::from_secs_f64(self.warm_up),
            timeout: Duration::from_millis(self.timeout_ms),
            workers: self.threads,
            cores: self.cpu.clone(),
            driver: self.driver,
            wait: self.wait,
        })
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=DURATION_S_MAX).contains(&seconds) => Ok(seconds),
        _ => Err(format!("{text:?} is no number of seconds from 0 to {DURATION_S_MAX}")),
    }
}

fn driver(text: &str) -> Result<DriverChoice, String> {
    match text {
        "auto" => Ok(DriverChoice::Auto),
        "uring" => Ok(DriverChoice::Uring),
        "epoll" => Ok(DriverChoice::Epoll),
        _ => Err(format!("{text:?} is no driver; there are auto, uring and epoll")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArguments,
    }

    fn plan(flags: &str) -> Result<Plan, String> {
        let words = std::iter::once("load").chain(flags.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.load.plan().map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn flags_become_a_plan() {
        let plain = plan("http://h/a").expect("a plan");
        assert_eq!(
            (plain.connections, plain.pipeline, plain.duration),
            (64, 1, Some(Duration::from_secs(10)))
        );
        assert!(!plain.is_open_loop());
        let all = plan(
            "http://h/a -c 10 -n 500 --warm-up 0 -r 100.5 -p 4 --close -t 2 --cpu 0,1 --driver epoll --wait polled -H A:b \
             --head --expect-status 404 --expect-length 7 --timeout-ms 5",
        )
        .expect("a plan");
        assert_eq!(
            (all.connections, all.requests, all.duration, all.rate),
            (10, Some(500), None, Some(100.5))
        );
        assert_eq!((all.requests_per_connection, all.workers, &all.cores[..]), (Some(1), 2, &[0, 1][..]));
        assert_eq!((all.driver, all.wait), (DriverChoice::Epoll, WaitMode::Polled));
        assert_eq!(all.targets[0].expect, Expect { status: Some(404), length: Some(7) });
        assert!(all.targets[0].is_head && all.is_open_loop());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for flags in [
            "",
            "ftp://h/",
            "http://h/ --urls f",
            "http://h/ --close --requests-per-connection 3",
            "http://h/ -d -1",
            "http://h/ -d never",
            "http://h/ --driver kqueue",
            "http://h/ --wait asleep",
            "http://h/ --expect-status 42",
            "--urls /no/such/file",
        ] {
            assert!(plan(flags).is_err(), "{flags}");
        }
    }
}
