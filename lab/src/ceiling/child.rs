//! Servers as processes of their own: started with this very program, measured, and ended with whoever started them.

use crate::ceiling::serve::LISTENING;
use crate::measure::process::Tree;
use crate::refusal::Refusal;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

/// A server that runs as a process of its own. Dropping it ends it.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    /// Its threads' clocks, those of ended ones included.
    tree: Tree,
    /// Kept open, so that the server can say what it has to say.
    _stderr: BufReader<ChildStderr>,
}

impl ServerProcess {
    /// Starts this program with `arguments` on `core` and waits until it says where it listens.
    ///
    /// # Errors
    /// Refuses with the server's own words when it does not start.
    pub fn start(arguments: &[&str], core: usize) -> Result<ServerProcess, Refusal> {
        let program = std::env::current_exe().map_err(Refusal::because("cannot find this program"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .args(["--core", &core.to_string(), "--attached"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Refusal::because("cannot start a server"))?;
        let stderr = child.stderr.take().map(BufReader::new);
        let Some(mut stderr) = stderr else { return Err(Refusal::failed("a server has no standard error")) };
        let mut line = String::new();
        let read = stderr.read_line(&mut line);
        let address =
            line.strip_prefix(LISTENING).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let tree = Tree::attach(child.id());
        match (read, address, tree) {
            (Ok(_), Some(address), Ok(tree)) => Ok(ServerProcess { child, address, tree, _stderr: stderr }),
            _ => {
                let _ended_itself = child.kill();
                let _reaped = child.wait();
                let words = line.trim().trim_start_matches("ringway-lab: ");
                Err(Refusal::new(format!("the server `{}` did not start: {words}", arguments.join(" "))))
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU time that it has used.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn cpu(&mut self) -> Result<Duration, Refusal> {
        let reading = self.tree.read();
        if self.tree.root_is_alive() {
            return Ok(reading.cpu.total());
        }
        Err(Refusal::failed("the server died while it was measured"))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // What it counted is not wanted, and the kernel closes its connections.
        let _ended_itself = self.child.kill();
        let _reaped = self.child.wait();
    }
}
