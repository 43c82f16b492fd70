//! Asks for every target once before a load, to learn what its answers are like and that the server is there.

use super::answer::{Answer, Memo, Reader};
use super::client::Fact;
use super::plan::{Plan, Target};
use crate::refusal::Refusal;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Most bytes of an answer that are read to learn its length.
const PROBE_BYTES_MAX: u64 = 64 << 30;

/// What each target's answers must be like, and how large a whole one is.
pub(super) struct Learnt {
    pub(super) facts: Vec<Fact>,
    /// Bytes of the largest answer, head included.
    pub(super) largest_bytes: u64,
}

/// Learns what the plan does not say itself.
///
/// # Errors
/// Refuses when the server cannot be reached, an answer cannot be read, or one is not as the plan says.
pub(super) fn learn(plan: &Plan, address: SocketAddr) -> Result<Learnt, Refusal> {
    let mut learnt = Learnt { facts: Vec::new(), largest_bytes: 0 };
    let mut connection = None;
    for target in &plan.targets {
        let (answer, bytes) = ask(plan, target, address, &mut connection)?;
        learnt.facts.push(judge(target, answer)?);
        learnt.largest_bytes = learnt.largest_bytes.max(bytes);
    }
    Ok(learnt)
}

/// An answer that is not as expected makes every later one wrong: it is refused here.
fn judge(target: &Target, answer: Answer) -> Result<Fact, Refusal> {
    let name = target.name();
    let Answer { status, length, .. } = answer;
    match target.expect.status {
        Some(expected) if expected != status => {
            return Err(Refusal::new(format!(
                "{name} is answered with status {status} instead of {expected}"
            )));
        }
        None if !(200..300).contains(&status) => {
            let hint = format!("say --expect-status {status} if that is meant");
            return Err(Refusal::new(format!("{name} is answered with status {status}; {hint}")));
        }
        _ => {}
    }
    if let Some(expected) = target.expect.length.filter(|expected| *expected != length) {
        return Err(Refusal::new(format!("{name} has a body of {length} bytes instead of {expected}")));
    }
    Ok(Fact { name, is_head: target.is_head, status, length })
}

fn ask(
    plan: &Plan,
    target: &Target,
    address: SocketAddr,
    connection: &mut Option<TcpStream>,
) -> Result<(Answer, u64), Refusal> {
    let is_old = connection.is_some();
    let first = attempt(plan, target, address, connection);
    // A kept connection may have been closed by a server that does not keep it for long.
    let found = match first {
        Err(_closed) if is_old => attempt(plan, target, address, connection),
        found => found,
    };
    found.map_err(|error| Refusal::new(format!("{} at {address} cannot be asked: {error}", target.name())))
}

fn attempt(
    plan: &Plan,
    target: &Target,
    address: SocketAddr,
    connection: &mut Option<TcpStream>,
) -> io::Result<(Answer, u64)> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => TcpStream::connect_timeout(&address, plan.timeout)?,
    };
    stream.set_read_timeout(Some(plan.timeout))?;
    stream.set_write_timeout(Some(plan.timeout))?;
    stream.write_all(&plan.request(target, false))?;
    let (mut reader, mut memo) = (Reader::default(), Memo::default());
    let (mut buffer, mut filled, mut total) = (vec![0; 64 * 1024], 0, 0_u64);
    loop {
        let count = match stream.read(&mut buffer[filled..]) {
            // With a time limit no read is gone on with by itself after a signal (signal(7)).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let text = format!("no answer within {} ms", plan.timeout.as_millis());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            read => read?,
        };
        if count == 0 {
            let answer = reader.end().ok_or(io::ErrorKind::UnexpectedEof)?;
            return Ok((answer, total));
        }
        (filled, total) = (filled + count, total + count as u64);
        let read = reader
            .read(&buffer[..filled], target.is_head, &mut memo)
            .map_err(|broken| io::Error::new(io::ErrorKind::InvalidData, broken.reason()))?;
        if let Some(answer) = read.answer {
            *connection = answer.keep_alive.then_some(stream);
            return Ok((answer, total));
        }
        if total > PROBE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer does not end"));
        }
        buffer.copy_within(read.consumed..filled, 0);
        filled -= read.consumed;
    }
}
