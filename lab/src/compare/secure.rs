//! Loads over TLS, which `h2load` makes, and TLS connections that wait.

use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::idle::{self, Idle};
use super::made::Made;
use crate::http::Served;
use crate::http::url::Url;
use crate::measure::cores;
use crate::progress::Progress;
use crate::refusal::Refusal;
use crate::trusting;

/// What is asked of `h2load`.
#[derive(Clone, Debug)]
pub(super) struct Load<'a> {
    pub(super) path: &'a str,
    pub(super) connections: usize,
    pub(super) streams: Option<u32>,
    pub(super) seconds: f64,
    pub(super) warm_up: f64,
    pub(super) core: usize,
}

/// Makes a short load to learn the server's pace, then the measured one: as many requests as take the wanted time. The
/// handshakes are in it, one for some thousand requests.
///
/// # Errors
/// Refuses a server without a port for TLS, and a machine without `h2load`.
pub(super) fn load<C>(
    load: &Load<'_>,
    served: &mut Served,
    clocks: impl Fn(&mut Served) -> C,
    progress: &Progress,
) -> Result<(Made, C, C), Refusal> {
    let address = served.secure.ok_or_else(no_port)?;
    let url = format!("https://{address}{}", load.path);
    let seconds = load.warm_up.ceil().max(1.0);
    let warm = run(load, &url, Amount::Seconds(seconds))?;
    let pace = warm.answers as f64 / seconds;
    progress.stage(&format!("h2load: {pace:.0} requests a second expected"));
    let least = load.connections as f64 * f64::from(load.streams.unwrap_or(1)) * 4.0;
    let before = clocks(served);
    let made = run(load, &url, Amount::Requests((pace * load.seconds).max(least)))?;
    Ok((made, before, clocks(served)))
}

fn no_port() -> Refusal {
    Refusal::new("a case over TLS needs {secure-port} in the server's command")
}

#[derive(Clone, Copy)]
enum Amount {
    Seconds(f64),
    Requests(f64),
}

fn run(load: &Load<'_>, url: &str, amount: Amount) -> Result<Made, Refusal> {
    let mut command = Command::new("h2load");
    command.args(["--tls13-ciphers=TLS_AES_128_GCM_SHA256", "-t", "1"]);
    command.args(["-c", &load.connections.to_string(), "-m", &load.streams.unwrap_or(1).to_string()]);
    if load.streams.is_none() {
        command.arg("--h1");
    }
    match amount {
        // Whole seconds are all it takes.
        Amount::Seconds(seconds) => command.args(["-D", &format!("{:.0}", seconds.ceil())]),
        Amount::Requests(requests) => command.args(["-n", &format!("{requests:.0}")]),
    };
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let core = load.core;
    let missing = "cannot start h2load (Debian's package nghttp2-client)";
    // A child inherits the core of the thread that starts it.
    let ran = std::thread::spawn(move || -> Result<(String, Duration), Refusal> {
        cores::pin(core)?;
        let before = children();
        let mut child = command.spawn().map_err(Refusal::because(missing))?;
        let mut text = String::new();
        if let Some(mut out) = child.stdout.take() {
            out.read_to_string(&mut text).map_err(Refusal::because("cannot read what h2load says"))?;
        }
        child.wait().map_err(Refusal::because("cannot wait for h2load"))?;
        Ok((text, children().saturating_sub(before)))
    });
    let (text, cpu) = ran.join().map_err(|_panic| Refusal::failed("the thread of h2load died"))??;
    let (asked, answers) = counts(&text)
        .ok_or_else(|| Refusal::failed(format!("h2load said nothing that can be read:\n{text}")))?;
    if answers == 0 {
        return Err(Refusal::failed(format!("h2load got no answer from {url}")));
    }
    Ok(Made::new(answers, asked, cpu))
}

/// CPU time of the children that were waited for.
fn children() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        fields.split_ascii_whitespace().skip(13).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    crate::measure::process::tick().saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

/// Requests that were made, and those answered with 2xx.
fn counts(text: &str) -> Option<(u64, u64)> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let number = |text: &str| text.split_ascii_whitespace().next()?.parse().ok();
    Some((number(line("requests: ")?)?, number(line("status codes: ")?)?))
}

/// Opens `count` TLS connections one after the other, each of which asks once, and reads the server's memory with all open.
///
/// # Errors
/// When the server has no port for TLS, cannot be reached or does not answer.
pub(super) fn idle(served: &mut Served, count: usize, progress: &Progress) -> Result<Idle, Refusal> {
    let address = served.secure.ok_or_else(no_port)?;
    crate::http::load::raise_descriptors(count)?;
    let request = idle::request(&Url::parse(&served.url)?);
    let config = Arc::new(trusting::config()?);
    let before_kib = served.read().resident_kib;
    let mut open = Vec::with_capacity(count);
    for index in 0..count {
        let ask = || -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
            let socket = TcpStream::connect_timeout(&address, idle::PATIENCE)?;
            socket.set_read_timeout(Some(idle::PATIENCE))?;
            let name = ServerName::IpAddress(address.ip().into());
            let client = ClientConnection::new(Arc::clone(&config), name).map_err(std::io::Error::other)?;
            let mut stream = StreamOwned::new(client, socket);
            idle::ask(&mut stream, &request)?;
            Ok(stream)
        };
        let connection = ask()
            .map_err(|error| Refusal::failed(format!("idle connection {} of {count}: {error}", index + 1)))?;
        open.push(connection);
        progress.step("idle TLS connections", index as u64, count as u64);
    }
    let with_kib = served.read().resident_kib;
    Ok(Idle { connections: open.len(), before_kib, with_kib })
}

#[test]
fn what_h2load_says_is_read() {
    let text = "finished in 1.00s, 5000.00 req/s, 1.00MB/s\n\
                requests: 5000 total, 5000 started, 4990 done, 4990 succeeded, 10 failed, 10 errored, 0 timeout\n\
                status codes: 4980 2xx, 0 3xx, 10 4xx, 0 5xx\n";
    assert_eq!(counts(text), Some((5000, 4980)));
    assert_eq!(counts("nothing"), None);
}
