//! A layer that slows connections down: so many bytes a second in each direction.

use super::layer::{Layer, Out, Pieces, Wants};
use ringway_engine::Inbox;
use std::io;
use std::time::Instant;

/// Nanoseconds of a second.
const NS_PER_S: u128 = 1_000_000_000;

/// What may pass at once after a rest, in milliseconds of the rate.
const BURST_MS: u64 = 100;

/// The longest time between two pieces, in milliseconds.
const PAUSE_MS_MAX: u64 = 1_000;

/// A connection's rate.
pub(crate) struct Flow {
    reading: Bucket,
    writing: Bucket,
    started: Instant,
    has_read_more: bool,
    has_more_to_write: bool,
}

impl Flow {
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        Self {
            reading: Bucket::new(bytes_per_s),
            writing: Bucket::new(bytes_per_s),
            started: Instant::now(),
            has_read_more: false,
            has_more_to_write: false,
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Layer for Flow {
    fn receive(&mut self, below: &mut Inbox, out: &mut Out<'_>) -> io::Result<()> {
        let now_ns = self.now_ns();
        self.has_read_more = false;
        while let Some(mut piece) = below.take_first() {
            let count = self.reading.take(piece.len(), now_ns);
            out.up.push(piece.split_to(count));
            if !piece.is_empty() {
                below.unread(piece);
                self.has_read_more = true;
                break;
            }
        }
        Ok(())
    }

    fn send(&mut self, above: &mut Pieces, out: &mut Out<'_>) -> io::Result<()> {
        let now_ns = self.now_ns();
        self.has_more_to_write = false;
        while let Some(mut piece) = above.pop() {
            let count = self.writing.take(piece.len(), now_ns);
            out.down.push(piece.split_to(count));
            if !piece.is_empty() {
                above.unpop(piece);
                self.has_more_to_write = true;
                break;
            }
        }
        Ok(())
    }

    fn wants(&mut self) -> Wants {
        let now_ns = self.now_ns();
        let until = |is_waiting: bool, bucket: &Bucket| if is_waiting { bucket.until_ms(now_ns) } else { 0 };
        let read_ms = until(self.has_read_more, &self.reading);
        let write_ms = until(self.has_more_to_write, &self.writing);
        let after_ms = [read_ms, write_ms].into_iter().filter(|ms| *ms > 0).min().unwrap_or(0);
        Wants { read: read_ms == 0, write: write_ms == 0, after_ms }
    }
}

/// What may pass, by when the last bytes that did will have been due.
struct Bucket {
    bytes_per_s: u64,
    due_ns: u64,
}

impl Bucket {
    fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s: bytes_per_s.max(1), due_ns: 0 }
    }

    fn ns_of(&self, bytes: u64) -> u64 {
        u64::try_from(u128::from(bytes) * NS_PER_S / u128::from(self.bytes_per_s)).unwrap_or(u64::MAX)
    }

    /// How many of so many bytes may pass now.
    fn take(&mut self, bytes: usize, now_ns: u64) -> usize {
        let earliest = now_ns.saturating_sub(BURST_MS * 1_000_000);
        self.due_ns = self.due_ns.max(earliest);
        let room_ns = now_ns.saturating_sub(self.due_ns);
        let room = u128::from(room_ns) * u128::from(self.bytes_per_s) / NS_PER_S;
        let count = usize::try_from(room).unwrap_or(usize::MAX).min(bytes);
        self.due_ns += self.ns_of(count as u64);
        count
    }

    /// How long until a piece worth it may pass, in milliseconds; 0: now.
    fn until_ms(&self, now_ns: u64) -> u32 {
        // A twentieth of a second's bytes, and one at least.
        let worth_ns = self.ns_of((self.bytes_per_s / 20).max(1));
        let at_ns = self.due_ns.saturating_add(worth_ns);
        let wait_ms = at_ns.saturating_sub(now_ns).div_ceil(1_000_000);
        u32::try_from(wait_ms.min(PAUSE_MS_MAX)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_passes_than_the_rate_and_one_burst() {
        let mut bucket = Bucket::new(10_000);
        let mut passed = 0;
        for ms in 0..2_000_u64 {
            passed += bucket.take(1 << 20, ms * 1_000_000);
        }
        assert!((19_900..=21_000).contains(&passed), "{passed}");
        assert_eq!(bucket.take(1, 1_999 * 1_000_000), 0);
        assert!((1..=51).contains(&bucket.until_ms(1_999 * 1_000_000)));
        assert_eq!(bucket.take(1 << 20, 60_000 * 1_000_000), 1_000, "a rest is worth one burst");
    }
}
