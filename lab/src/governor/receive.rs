//! Receivers: clients that ask again whenever they have a whole answer, and a count of what all have read.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::source::request_of;
use crate::refusal::Refusal;

/// How often the count is read.
const EVERY: Duration = Duration::from_millis(10);

/// How long a client waits for a byte before it looks whether all is over.
const GLANCE: Duration = Duration::from_millis(100);

/// Stack of a client's thread, in bytes.
const STACK_BYTES: usize = 128 * 1024;

/// Runs the clients for so long. Returns the count at times since the beginning, in seconds, and what `look` finds in the end.
pub(super) fn run<T>(
    address: SocketAddr,
    clients: usize,
    answer_bytes: usize,
    time: Duration,
    look: impl Fn() -> T,
) -> Result<(Vec<(f64, u64)>, T), Refusal> {
    let (count, is_over, failure) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(None));
    let client = || {
        if let Err(error) = receive(address, answer_bytes, &count, &is_over)
            && let Ok(mut failure) = failure.lock()
        {
            failure.get_or_insert(error.to_string());
        }
    };
    let mut readings = vec![(0.0, 0)];
    let found = std::thread::scope(|scope| {
        let began = Instant::now();
        for _ in 0..clients {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            if let Err(error) = thread.spawn_scoped(scope, client) {
                is_over.store(true, Ordering::Relaxed);
                return Err(Refusal::new(format!("cannot start {clients} clients: {error}")));
            }
        }
        while began.elapsed() < time {
            std::thread::sleep(EVERY);
            readings.push((began.elapsed().as_secs_f64(), count.load(Ordering::Relaxed)));
        }
        let found = look();
        is_over.store(true, Ordering::Relaxed);
        Ok(found)
    })?;
    match failure.into_inner().ok().flatten() {
        Some(error) => Err(Refusal::failed(format!("a client failed: {error}"))),
        None => Ok((readings, found)),
    }
}

fn receive(
    address: SocketAddr,
    answer_bytes: usize,
    count: &AtomicU64,
    is_over: &AtomicBool,
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GLANCE))?;
    let (mut buffer, mut left) = (vec![0; 64 * 1024], 0);
    while !is_over.load(Ordering::Relaxed) {
        if left == 0 {
            stream.write_all(&[request_of(answer_bytes)])?;
            left = answer_bytes;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => {
                left = left.saturating_sub(bytes);
                count.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
