//! Servers to be measured: running ones by URL and process, or commands that the lab starts and ends.

use super::url::Url;
use crate::measure::process::{Pid, Reading, Started, Tree};
use crate::refusal::Refusal;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

/// What stands for the port in a command.
const PORT: &str = "{port}";

/// What stands in a command for a second port, where the server speaks TLS.
const SECURE_PORT: &str = "{secure-port}";

/// What stands in a command for a port of datagrams.
const UDP_PORT: &str = "{udp-port}";

/// How long a started server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server as it is named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// Its name in tables.
    pub name: String,
    /// Where it is.
    pub place: Place,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It runs: `URL@PID`.
    Running {
        /// What is asked for.
        url: String,
        /// Its process.
        pid: Pid,
    },
    /// A command with `{port}` in it, for the shell.
    Command(String),
}

impl FromStr for ServerSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<ServerSpec, String> {
        let wrong = || format!("{text:?} must read NAME=URL@PID, or NAME=COMMAND with {PORT} in it");
        let (name, place) = text.split_once('=').ok_or_else(wrong)?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(wrong());
        }
        let place = if place.starts_with("http://") {
            let (url, pid) = place.rsplit_once('@').ok_or_else(wrong)?;
            let pid = pid.parse().ok().filter(|pid| *pid > 0).ok_or_else(wrong)?;
            Url::parse(url).map_err(|refusal| refusal.to_string())?;
            Place::Running { url: url.to_owned(), pid }
        } else if place.contains(PORT) || place.contains(UDP_PORT) {
            Place::Command(place.to_owned())
        } else {
            return Err(wrong());
        };
        Ok(ServerSpec { name: name.to_owned(), place })
    }
}

/// A server that is there. Dropping it ends it if the lab started it.
#[derive(Debug)]
pub struct Served {
    /// Its name in tables.
    pub name: String,
    /// What is asked for.
    pub url: String,
    /// Where it speaks TLS, if its command names a port for that.
    pub secure: Option<SocketAddr>,
    /// Where it takes datagrams, if its command names a port for that.
    pub datagrams: Option<SocketAddr>,
    tree: Tree,
    _started: Option<Started>,
}

impl Served {
    /// Attaches to a running server, or starts it on `cores` (empty: any) with a free port of the loopback; `path` is what
    /// a started one is asked for.
    ///
    /// # Errors
    /// Refuses when there is no such process, or the command does not come to listen.
    pub fn begin(spec: &ServerSpec, path: &str, cores: &[usize]) -> Result<Served, Refusal> {
        let name = spec.name.clone();
        match &spec.place {
            Place::Running { url, pid } => {
                let tree = Tree::attach(*pid)?;
                Ok(Served { name, url: url.clone(), secure: None, datagrams: None, tree, _started: None })
            }
            Place::Command(command) => {
                let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
                let port = || free_port().map_err(Refusal::because("no free port"));
                let address = loopback(port()?);
                let secure = if command.contains(SECURE_PORT) { Some(loopback(port()?)) } else { None };
                let datagrams = if command.contains(UDP_PORT) {
                    Some(free_udp_port().map(loopback).map_err(Refusal::because("no free port"))?)
                } else {
                    None
                };
                let has_streams = command.contains(PORT);
                let mut command = command.replace(PORT, &address.port().to_string());
                if let Some(secure) = secure {
                    command = command.replace(SECURE_PORT, &secure.port().to_string());
                }
                if let Some(datagrams) = datagrams {
                    command = command.replace(UDP_PORT, &datagrams.port().to_string());
                }
                let mut shell = Command::new("/bin/sh");
                shell.arg("-c").arg(format!("exec {command}"));
                shell.stdout(Stdio::null()).stderr(Stdio::null());
                let mut started = Started::launch(shell, cores)?;
                for address in [has_streams.then_some(address), secure].into_iter().flatten() {
                    started
                        .wait_for_port(address, PATIENCE)
                        .map_err(|refusal| Refusal::new(format!("{name}: {refusal}")))?;
                }
                if let Some(datagrams) = datagrams {
                    started
                        .wait_for_datagram_port(datagrams.port(), PATIENCE)
                        .map_err(|refusal| Refusal::new(format!("{name}: {refusal}")))?;
                }
                let tree = Tree::attach(started.pid())?;
                let url = format!("http://{address}{path}");
                Ok(Served { name, url, secure, datagrams, tree, _started: Some(started) })
            }
        }
    }

    /// CPU time and memory of the server and its children.
    pub fn read(&mut self) -> Reading {
        self.tree.read()
    }

    /// Memory in KiB with shared pages divided among those who share them; `None` where we may not look.
    pub fn proportional_kib(&mut self) -> Option<u64> {
        self.tree.proportional_kib()
    }
}

/// A port of the loopback that nobody listens on now.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A port of the loopback where nobody takes datagrams now.
fn free_udp_port() -> std::io::Result<u16> {
    Ok(std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_running_or_to_be_started() {
        let running = "a=http://127.0.0.1:80/b?c=d@77".parse::<ServerSpec>().expect("a server");
        assert_eq!(running.place, Place::Running { url: "http://127.0.0.1:80/b?c=d".to_owned(), pid: 77 });
        let command = "b=server --listen=127.0.0.1:{port}".parse::<ServerSpec>().expect("a server");
        assert_eq!(command.place, Place::Command("server --listen=127.0.0.1:{port}".to_owned()));
        for bad in [
            "",
            "a",
            "=http://h/@1",
            "a=http://h/",
            "a=http://h/@0",
            "a=http://h/@x",
            "a=server",
            "a b=x {port}",
        ] {
            assert!(bad.parse::<ServerSpec>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_command_that_does_not_listen_is_refused_with_its_name() {
        let spec = "broken=false {port}".parse::<ServerSpec>().expect("a server");
        let refusal = Served::begin(&spec, "/", &[]).expect_err("it ends at once").to_string();
        assert!(refusal.starts_with("broken: ") && refusal.contains("ended before it listened"), "{refusal}");
    }
}
