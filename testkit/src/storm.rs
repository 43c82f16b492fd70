//! A storm of short connections, some of them reset in the middle of their request.

use crate::seed::{Rng, Seed};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A storm's dimensions.
#[derive(Clone, Debug)]
pub struct Storm {
    /// Connections to make in all.
    pub connections: usize,
    /// Threads that make them.
    pub threads: usize,
    /// What each sends; it should ask the server to close.
    pub request: Vec<u8>,
    /// How many of 1000 are reset after a random part of the request.
    pub reset_per_mille: u16,
    /// When the storm gives up.
    pub time_max: Duration,
    /// Where randomness comes from.
    pub seed: u64,
}

/// What became of a storm's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StormReport {
    /// Sent everything and read something up to the end of the stream.
    pub answered: usize,
    /// Reset by us on purpose.
    pub reset: usize,
    /// Not made, reset by the server, or ended without an answer.
    pub failed: usize,
}

/// Makes the storm and waits for its end.
///
/// # Panics
/// When a thread cannot be made.
#[must_use]
pub fn storm(address: SocketAddr, storm: &Storm) -> StormReport {
    let deadline = Instant::now() + storm.time_max;
    let left = AtomicUsize::new(storm.connections);
    let seed = Seed::fixed(storm.seed);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..storm.threads.max(1))
            .map(|index| {
                let rng = Rng::new(seed.value().wrapping_add(index as u64));
                let left = &left;
                scope.spawn(move || blow(address, storm, rng, left, deadline))
            })
            .collect();
        let reports = workers.into_iter().map(|worker| worker.join().expect("a storm's thread is sound"));
        reports.fold(StormReport::default(), |sum, part| StormReport {
            answered: sum.answered + part.answered,
            reset: sum.reset + part.reset,
            failed: sum.failed + part.failed,
        })
    })
}

fn blow(
    address: SocketAddr,
    storm: &Storm,
    mut rng: Rng,
    left: &AtomicUsize,
    deadline: Instant,
) -> StormReport {
    let mut report = StormReport::default();
    let take = |left: usize| left.checked_sub(1);
    while Instant::now() < deadline && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
        let cut = rng.chance(storm.reset_per_mille).then(|| rng.below(storm.request.len()));
        match gust(address, &storm.request, cut, deadline) {
            Ok(true) if cut.is_none() => report.answered += 1,
            Ok(_) if cut.is_some() => report.reset += 1,
            Ok(_) | Err(_) => report.failed += 1,
        }
    }
    report
}

/// One connection; says whether there was an answer. With `cut`, it is reset after that many bytes.
fn gust(address: SocketAddr, request: &[u8], cut: Option<usize>, deadline: Instant) -> io::Result<bool> {
    let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut stream = TcpStream::connect_timeout(&address, left())?;
    stream.set_write_timeout(Some(left()))?;
    if let Some(bytes) = cut {
        stream.write_all(&request[..bytes])?;
        ringway_ring::socket::set_abort_on_close(stream.as_fd())?;
        return Ok(false);
    }
    stream.write_all(request)?;
    stream.set_read_timeout(Some(left()))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(!answer.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn every_connection_is_accounted_for() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let connections = 60;
        let server = std::thread::spawn(move || {
            for stream in listener.incoming().take(connections) {
                let Ok(mut stream) = stream else { continue };
                let mut request = [0; 4];
                if stream.read_exact(&mut request).is_ok() {
                    stream.write_all(b"yes").expect("the client waits");
                }
            }
        });
        let wanted = Storm {
            connections,
            threads: 3,
            request: b"ask!".to_vec(),
            reset_per_mille: 500,
            time_max: Duration::from_secs(10),
            seed: 3,
        };
        let report = storm(address, &wanted);
        server.join().expect("no panic");
        assert_eq!((report.answered + report.reset, report.failed), (connections, 0), "{report:?}");
        assert!(report.answered > 0 && report.reset > 0, "{report:?}");
    }
}
