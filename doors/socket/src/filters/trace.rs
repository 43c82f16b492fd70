//! A layer that tells what passes: how many bytes, or which.

use super::Voice;
use super::layer::{Layer, Out, Pieces};
use ringway_engine::Inbox;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Bytes of a piece that are shown.
const SHOWN_BYTES_MAX: usize = 64;

/// What is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceLevel {
    /// Nothing.
    Off,
    /// How many bytes.
    #[default]
    Sizes,
    /// The first bytes of each piece; where TLS keeps them from the wire, how many.
    Bytes,
    /// The first bytes of each piece, whatever keeps them from others.
    Secrets,
}

impl TraceLevel {
    /// The level of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "off" => Self::Off,
            "sizes" => Self::Sizes,
            "bytes" => Self::Bytes,
            "secrets" => Self::Secrets,
            _ => return None,
        })
    }
}

/// What a trace tells, to be switched from any thread while connections pass.
#[derive(Debug, Default)]
pub struct TraceSwitch(AtomicU8);

impl TraceSwitch {
    /// One that tells as much.
    #[must_use]
    pub fn new(level: TraceLevel) -> Arc<Self> {
        let switch = Self::default();
        switch.set(level);
        Arc::new(switch)
    }

    /// Tells as much from now on.
    pub fn set(&self, level: TraceLevel) {
        self.0.store(level as u8, Ordering::Relaxed);
    }

    /// How much it tells.
    #[must_use]
    pub fn level(&self) -> TraceLevel {
        match self.0.load(Ordering::Relaxed) {
            1 => TraceLevel::Sizes,
            2 => TraceLevel::Bytes,
            3 => TraceLevel::Secrets,
            _ => TraceLevel::Off,
        }
    }
}

/// A connection that is told of.
pub(crate) struct Trace {
    switch: Arc<TraceSwitch>,
    voice: Voice,
    peer: Option<SocketAddr>,
    number: u64,
    /// There is TLS between this and the wire.
    is_secret: bool,
    read_bytes: u64,
    written_bytes: u64,
}

impl Trace {
    pub(crate) fn new(
        switch: Arc<TraceSwitch>,
        voice: Voice,
        peer: Option<SocketAddr>,
        number: u64,
        is_secret: bool,
    ) -> Self {
        Self { switch, voice, peer, number, is_secret, read_bytes: 0, written_bytes: 0 }
    }

    fn tell(&self, what: &str, bytes: &[u8]) {
        let level = self.switch.level();
        if level == TraceLevel::Off || !self.voice.may_trace() {
            return;
        }
        let is_shown = level == TraceLevel::Secrets || (level == TraceLevel::Bytes && !self.is_secret);
        let mut line = format!("trace: {} {what} {}", Who(self), bytes.len());
        if is_shown && !bytes.is_empty() {
            let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
            let more = if shown.len() < bytes.len() { "..." } else { "" };
            line.push_str(&format!(": \"{}\"{more}", shown.escape_ascii()));
        }
        self.voice.trace(&line);
    }
}

/// A connection's number and peer.
struct Who<'a>(&'a Trace);

impl std::fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.peer {
            Some(peer) => write!(f, "connection {} of {peer}", self.0.number),
            None => write!(f, "connection {}", self.0.number),
        }
    }
}

impl Layer for Trace {
    fn begin(&mut self, _out: &mut Out<'_>) -> io::Result<()> {
        self.tell("has opened, bytes", b"");
        Ok(())
    }

    fn receive(&mut self, below: &mut Inbox, out: &mut Out<'_>) -> io::Result<()> {
        while let Some(piece) = below.take_first() {
            self.read_bytes += piece.len() as u64;
            self.tell("received, bytes", &piece);
            out.up.push(piece);
        }
        Ok(())
    }

    fn send(&mut self, above: &mut Pieces, out: &mut Out<'_>) -> io::Result<()> {
        while let Some(piece) = above.pop() {
            self.written_bytes += piece.len() as u64;
            self.tell("sent, bytes", &piece);
            out.down.push(piece);
        }
        Ok(())
    }

    fn ended(&mut self, _out: &mut Out<'_>) -> io::Result<()> {
        self.tell("has finished receiving, bytes", b"");
        Ok(())
    }

    fn finish(&mut self, _out: &mut Out<'_>) -> io::Result<()> {
        self.tell("has finished sending, bytes", b"");
        Ok(())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if self.switch.level() != TraceLevel::Off && self.voice.may_trace() {
            let (read, written) = (self.read_bytes, self.written_bytes);
            self.voice.trace(&format!("trace: {} is over: {read} bytes received, {written} sent", Who(self)));
        }
    }
}
