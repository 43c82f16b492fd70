//! A server without descriptors left pauses, and serves what waited when there are some again. The server runs in a child
//! process with a small limit of its own.

mod stand;

use ringway_engine::ring::DriverChoice;
use stand::echo::TurnEcho;
use stand::{Stand, connect, exchange, on_each_driver};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

/// What the child may have open.
const DESCRIPTORS: usize = 40;

/// Connections that come at once.
const CONNECTIONS: usize = 100;

/// Tells the child which driver to use.
const DRIVER: &str = "RINGWAY_TEST_DRIVER";

/// Begins the child's lines for us: its address, and in the end its counters.
const LINE: &str = "child says: ";

fn child(driver: DriverChoice) -> Child {
    let program = std::env::current_exe().expect("this test is a program");
    let script = format!("ulimit -n {DESCRIPTORS} && exec \"$0\" --exact the_child --ignored --nocapture");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(program);
    command.env(DRIVER, if driver == DriverChoice::Epoll { "epoll" } else { "uring" });
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("there is a shell")
}

/// The next line that the child has for us.
fn line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(output.read_line(&mut line).expect("text"), 0, "the child ended without a word");
        // The test harness may have begun the line.
        if let Some((_, said)) = line.split_once(LINE) {
            return said.trim_end().to_owned();
        }
    }
}

#[test]
fn a_server_without_descriptors_pauses_and_recovers() {
    on_each_driver(|driver| {
        let mut child = child(driver);
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let address = line(&mut output).parse().expect("an address");
        let streams: Vec<_> =
            (0..CONNECTIONS).map(|_| connect(address).expect("the kernel queues it")).collect();
        // They are accepted in order; each that goes makes room for one that waits.
        for mut stream in streams {
            exchange(&mut stream, 100, 100);
        }
        exchange(&mut connect(address).expect("listening"), 1_000, 100);
        drop(child.stdin.take());
        let said = line(&mut output);
        let mut numbers = said.split(' ').map(|number| number.parse::<u64>().expect("a number"));
        let (accepted, failures) = (numbers.next(), numbers.next().expect("two numbers"));
        assert_eq!(accepted, Some(CONNECTIONS as u64 + 1));
        assert!(failures > 0, "the limit was never reached");
        assert!(failures < 1_000, "{failures} failures: that is no pause");
        assert!(child.wait().expect("our child").success());
    });
}

#[test]
#[ignore = "a part of the test above, in a process of its own"]
fn the_child() {
    let driver = match std::env::var(DRIVER).as_deref() {
        Ok("uring") => DriverChoice::Uring,
        Ok("epoll") => DriverChoice::Epoll,
        // Somebody runs all ignored tests.
        _ => return,
    };
    let stand = Stand::start(driver, |_| TurnEcho::default());
    println!("{LINE}{}", stand.address());
    let _until_the_parent_closes_it = std::io::stdin().read_to_end(&mut Vec::new());
    stand.until_resting();
    let totals = stand.stop();
    println!("{LINE}{} {}", totals.accepted, totals.accept_failures);
}
