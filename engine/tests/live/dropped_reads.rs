//! The dropped-read test: reads that are given up while they wait lose no byte, whatever is read next.

use crate::stand::{PATIENCE, Stand, eventually, is_slow, on_each_driver};
use ringway_engine::ring::Slice;
use ringway_engine::{Conn, Events, Protocol, Stream, Turn};
use ringway_testkit::{Rng, Seed};
use std::future::Future;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

/// What a client sends last; every message before it is the number of its predecessor plus one.
const LAST: u64 = u64::MAX;

/// Reads a client's numbers while giving most reads up; answers with how many there were.
struct Dropper {
    seed: u64,
    drops: Arc<AtomicU64>,
}

impl Protocol for Dropper {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        assert!(events.has(Events::OPENED), "the task keeps the connection: {events:?}");
        let stream = conn.detach();
        let reader = Reader { stream, rng: Rng::new(self.seed), offset: 0, message: [0; 8], next: 0 };
        let drops = Arc::clone(&self.drops);
        Turn::task(async move {
            match reader.read_all(&drops).await {
                Ok(()) => Turn::Linger,
                Err(error) => panic!("the numbers do not come whole: {error}"),
            }
        })
    }
}

struct Reader {
    stream: Stream,
    rng: Rng,
    /// Bytes read so far.
    offset: u64,
    /// The message that is being put together.
    message: [u8; 8],
    next: u64,
}

impl Reader {
    async fn read_all(mut self, drops: &AtomicU64) -> io::Result<()> {
        loop {
            // Half of the reads are waited for: the client's pace sets how many are given up meanwhile.
            let patience = if self.rng.chance(500) { 0 } else { self.rng.below(4) };
            let read = match self.rng.below(4) {
                0 => {
                    let read = attempts(self.stream.read(), patience).await.transpose()?;
                    read.map(|read| read.ok_or(io::ErrorKind::UnexpectedEof)).transpose()?
                }
                1 => self.read_some_exactly(8, patience).await?,
                2 => {
                    let bytes = self.rng.between(1, 40);
                    self.read_some_exactly(bytes, patience).await?
                }
                _ => {
                    let read = attempts(self.stream.read_beyond(0), patience).await.transpose()?;
                    read.map(|read| read.ok_or(io::ErrorKind::UnexpectedEof)).transpose()?
                }
            };
            let Some(mut bytes) = read else {
                drops.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            if self.rng.chance(300) && bytes.len() > 1 {
                let used = bytes.split_to(self.rng.between(1, bytes.len()));
                self.stream.unread(bytes);
                bytes = used;
            }
            if self.take(&bytes) {
                return self.answer().await;
            }
        }
    }

    /// An exact read of any size; near the end of the stream it may ask for more than will come.
    async fn read_some_exactly(&mut self, bytes: usize, patience: usize) -> io::Result<Option<Slice>> {
        match attempts(self.stream.read_exact(bytes), patience).await {
            Some(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                // What arrived can still be read.
                let rest = self.stream.read().await?;
                rest.ok_or(io::ErrorKind::UnexpectedEof).map(Some).map_err(io::Error::from)
            }
            read => read.transpose(),
        }
    }

    /// Checks bytes against the sequence; true after the last message.
    fn take(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            let place = usize::try_from(self.offset % 8).expect("below 8");
            self.message[place] = byte;
            self.offset += 1;
            if place == 7 {
                match u64::from_be_bytes(self.message) {
                    LAST => return true,
                    found => assert_eq!(found, self.next, "a byte is lost, doubled or out of place"),
                }
                self.next += 1;
            }
        }
        false
    }

    async fn answer(mut self) -> io::Result<()> {
        let answer = self.stream.slice_of(&self.next.to_be_bytes())?;
        self.stream.write(answer).await?;
        self.stream.flush().await
    }
}

/// Polls `future` once, and up to `patience` times more when it is woken, then gives it up.
async fn attempts<T>(future: impl Future<Output = T>, patience: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut left = patience;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if left == 0 => {
            // Others have their turn before the next read.
            context.waker().wake_by_ref();
            Poll::Ready(None)
        }
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Sends numbers in random pieces until the server has given up enough reads; says how many.
fn send_numbers(stream: &mut impl Write, rng: &mut Rng, is_enough: impl Fn() -> bool) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    let mut count = 0_u64;
    let mut waiting = Vec::new();
    while !is_enough() {
        assert!(Instant::now() < deadline, "too few reads were given up");
        for _ in 0..rng.between(1, 6) {
            waiting.extend_from_slice(&count.to_be_bytes());
            count += 1;
        }
        while !waiting.is_empty() {
            let piece = rng.between(1, waiting.len());
            stream.write_all(&waiting[..piece]).expect("the server reads");
            waiting.drain(..piece);
        }
        // Reads must find nothing most of the time.
        if rng.chance(700) {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    stream.write_all(&LAST.to_be_bytes()).expect("the server reads");
    count
}

#[test]
fn lose_nothing_and_leave_nothing_behind() {
    let drops_wanted = if is_slow() { 100_000 } else { 30_000 };
    let seed = Seed::take();
    on_each_driver(|driver| {
        let drops = Arc::new(AtomicU64::new(0));
        let (shared, value) = (Arc::clone(&drops), seed.value());
        let stand = Stand::start(driver, move |_| Dropper { seed: value, drops: Arc::clone(&shared) });
        stand.until_resting();
        let memory = stand.totals().memory_bytes;
        let address = stand.address();
        std::thread::scope(|scope| {
            for client in 0..4 {
                let drops = &drops;
                scope.spawn(move || {
                    let mut rng = Rng::new(value.wrapping_add(client));
                    let mut stream = crate::stand::connect(address).expect("the server listens");
                    let is_enough = || drops.load(Ordering::Relaxed) >= drops_wanted;
                    let count = send_numbers(&mut stream, &mut rng, is_enough);
                    stream.shutdown(Shutdown::Write).expect("open");
                    let mut answer = [0; 8];
                    stream.read_exact(&mut answer).expect("the server answers");
                    assert_eq!(u64::from_be_bytes(answer), count, "every number arrived");
                });
            }
        });
        stand.until_resting();
        eventually("memory comes back", || {
            let now = stand.totals().memory_bytes;
            // One empty block of each of the four classes may be kept for the next burst.
            if now <= memory + 4 * 128 * 1024 { Ok(()) } else { Err(now) }
        });
        let totals = stand.stop();
        assert!(drops.load(Ordering::Relaxed) >= drops_wanted);
        assert_eq!(totals.panics, 0);
    });
}
