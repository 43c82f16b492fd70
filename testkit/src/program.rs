//! A server as a process of its own: started, found by the address that it tells, and ended.

use crate::Client;
use rustix::process::{Pid, Signal};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a server may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs. It does not outlive the test.
#[derive(Debug)]
pub struct Program {
    child: Child,
    said: Arc<Mutex<String>>,
    address: SocketAddr,
}

impl Program {
    /// Starts it, and waits until it tells on standard error where it serves: `http://127.0.0.1:PORT/`, or with `https`.
    ///
    /// # Errors
    /// It cannot be run, ends before it serves, or tells nothing in time.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let said = Arc::new(Mutex::new(String::new()));
        let (pipe, into) = (child.stderr.take(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in BufReader::new(pipe?).lines().map_while(Result::ok) {
                eprintln!("  program: {line}");
                let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
                into.push_str(&line);
                into.push('\n');
            }
            Some(())
        });
        let mut program = Self { child, said, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        program.address = program.find_address()?;
        Ok(program)
    }

    /// Starts a program on the façade with `services` (TOML) as one site of its own: with all that a configuration brings, such as
    /// a server process that is confined. The configuration lies in `directory`.
    ///
    /// # Errors
    /// As [`Program::start`], and what writing the file says.
    pub fn configured(command: &mut Command, directory: &Path, services: &str) -> io::Result<Self> {
        let file = directory.join("server.toml");
        let text = format!(
            "[server]\nworkers = 2\n[console]\nenabled = false\n[[endpoint]]\nname = \"web\"\nlisten = [\"127.0.0.1:0\"]\n{services}"
        );
        std::fs::write(&file, text)?;
        Self::start(command.arg("--config").arg(file))
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection to it.
    ///
    /// # Errors
    /// What `connect(2)` says.
    pub fn client(&self) -> io::Result<Client> {
        Client::connect(self.address)
    }

    /// Asks it to end as a service manager does, and waits for that.
    ///
    /// # Errors
    /// `TimedOut` when it does not end.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.wait()
    }

    /// Ends it at once, as a machine that fails does.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn kill(mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    fn find_address(&mut self) -> io::Result<SocketAddr> {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = self.said();
            let found = said
                .split("://127.0.0.1:")
                .nth(1)
                .and_then(|rest| rest.split('/').next()?.parse::<u16>().ok());
            if let Some(port) = found {
                return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("it has ended: {status}; it said: {}", self.said())));
            }
            if Instant::now() > until {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no address in: {said}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "it does not end"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
