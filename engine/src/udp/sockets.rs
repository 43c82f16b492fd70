//! A worker's UDP sockets: reception kept going, answers flushed, waited for and bounded.

use crate::core::Core;
use crate::counters::Counters;
use crate::token::Token;
use ringway_ring::socket::{self, SendBatch, Sent};
use ringway_ring::{Batch, Completion, Datagrams, Handle, Interest, Op, OpId, Payload, Ring};
use std::collections::VecDeque;
use std::io;

/// Without the feature all that datagrams need is dead code.
const HAS_UDP: bool = cfg!(feature = "udp");

/// How long a reception that ended with an error rests before it is tried again, in milliseconds.
const RETRY_PAUSE_MS: u64 = 50;

/// All UDP sockets of a worker.
#[derive(Default)]
pub(crate) struct Side {
    sockets: Vec<UdpSocket>,
    news: VecDeque<(usize, News)>,
}

/// What a handler is to hear of, or its socket to do.
pub(crate) enum News {
    Batch(Batch),
    Error(io::Error),
    /// There is something to send, and perhaps room for it.
    Flush,
}

/// What a socket's news needs.
pub(crate) struct Next {
    /// The socket's place.
    pub(crate) place: usize,
    /// That of its endpoint.
    pub(crate) endpoint: usize,
    pub(crate) news: News,
    pub(crate) out: SendBatch,
    pub(crate) socket: Handle,
    /// Sending may be tried: nobody waits for room.
    pub(crate) may_send: bool,
}

/// One socket of a worker.
pub(crate) struct UdpSocket {
    /// The place of its endpoint.
    endpoint: usize,
    socket: Handle,
    /// The operation while it is not under way.
    idle: Option<Box<Datagrams>>,
    receiving: Option<OpId>,
    retry_at_ms: Option<u64>,
    /// `None` while it is lent out.
    out: Option<SendBatch>,
    /// Waits until the socket takes more.
    room: Option<OpId>,
    is_flushing: bool,
    /// What the kernel and the ring had counted when we looked last.
    dropped: u32,
    out_of_buffers: u64,
}

impl UdpSocket {
    /// `datagrams` is `None` for one that only sends.
    pub(super) fn new(
        endpoint: usize,
        socket: Handle,
        datagrams: Option<Box<Datagrams>>,
        out: SendBatch,
    ) -> Self {
        Self {
            endpoint,
            socket,
            idle: datagrams,
            receiving: None,
            retry_at_ms: None,
            out: Some(out),
            room: None,
            is_flushing: false,
            dropped: 0,
            out_of_buffers: 0,
        }
    }

    fn note_dropped(&mut self, dropped: u32, counters: &Counters) {
        counters.datagrams_dropped.add(u64::from(dropped.wrapping_sub(self.dropped)));
        self.dropped = dropped;
    }

    fn note_out_of_buffers(&mut self, out_of_buffers: u64, counters: &Counters) {
        counters.datagram_buffers_out.add(out_of_buffers.saturating_sub(self.out_of_buffers));
        self.out_of_buffers = out_of_buffers;
    }

    /// Counts a batch.
    fn note_batch(&mut self, batch: &Batch, ring: &Ring, counters: &Counters) {
        counters.datagrams_received.add(batch.len() as u64);
        counters.datagram_bytes_received.add(batch.payload_bytes() as u64);
        counters.datagrams_truncated.add(batch.truncated() as u64);
        if let Some(dropped) = batch.last().and_then(|datagram| datagram.dropped()) {
            self.note_dropped(dropped, counters);
        }
        if let Some(now) = self.receiving.and_then(|id| ring.datagram_counters(id)) {
            self.note_out_of_buffers(now.out_of_buffers, counters);
        }
    }
}

impl Side {
    pub(crate) fn new(sockets: Vec<UdpSocket>) -> Self {
        Self { sockets, news: VecDeque::new() }
    }

    /// The next news with what it needs.
    pub(crate) fn next(&mut self) -> Option<Next> {
        loop {
            let (place, news) = self.news.pop_front()?;
            let Some(socket) = self.sockets.get_mut(place) else { continue };
            socket.is_flushing &= !matches!(news, News::Flush);
            let Some(out) = socket.out.take() else { continue };
            return Some(Next {
                place,
                endpoint: socket.endpoint,
                news,
                out,
                socket: socket.socket.clone(),
                may_send: socket.room.is_none(),
            });
        }
    }

    pub(crate) fn has_news(&self) -> bool {
        HAS_UDP && !self.news.is_empty()
    }

    /// How many news there are.
    pub(crate) fn news(&self) -> usize {
        if HAS_UDP { self.news.len() } else { 0 }
    }

    /// Lends the answers of an endpoint's first socket out; its place.
    pub(crate) fn lend(&mut self, endpoint: usize) -> Option<(usize, SendBatch)> {
        let place = self.sockets.iter().position(|socket| socket.endpoint == endpoint)?;
        Some((place, self.sockets[place].out.take()?))
    }

    /// An endpoint's first socket.
    pub(crate) fn socket_of(&self, endpoint: usize) -> Option<&Handle> {
        self.sockets.iter().find(|socket| socket.endpoint == endpoint).map(|socket| &socket.socket)
    }

    pub(crate) fn give_back(&mut self, place: usize, out: SendBatch) {
        if let Some(socket) = self.sockets.get_mut(place) {
            socket.out = Some(out);
        }
    }

    pub(crate) fn flush_later(&mut self, place: usize) {
        let Some(socket) = self.sockets.get_mut(place) else { return };
        if !std::mem::replace(&mut socket.is_flushing, true) {
            self.news.push_back((place, News::Flush));
        }
    }

    /// When the first reception that rests is to be tried again.
    pub(crate) fn next_retry_ms(&self) -> Option<u64> {
        if !HAS_UDP {
            return None;
        }
        self.sockets.iter().filter_map(|socket| socket.retry_at_ms).min()
    }

    /// Whether nothing is received any more and everything is sent.
    pub(crate) fn is_settled(&self) -> bool {
        let is_settled = |socket: &UdpSocket| {
            socket.receiving.is_none() && socket.out.as_ref().is_none_or(SendBatch::is_empty)
        };
        !HAS_UDP || self.news.is_empty() && self.sockets.iter().all(is_settled)
    }
}

impl Core {
    /// Starts the receptions that are not under way and need not rest.
    pub(crate) fn arm_udp(&mut self) {
        if self.is_draining || !HAS_UDP {
            return;
        }
        for (place, socket) in self.udp.sockets.iter_mut().enumerate() {
            if socket.retry_at_ms.is_some_and(|at_ms| at_ms > self.now_ms) {
                continue;
            }
            let Some(datagrams) = socket.idle.take() else { continue };
            socket.retry_at_ms = None;
            match self.ring.submit(Op::Datagrams(datagrams), token(place, Token::Datagrams)) {
                Ok(id) => socket.receiving = Some(id),
                Err(op) => {
                    socket.rest(op, self.now_ms);
                }
            }
        }
    }

    /// A datagram operation has brought something, or has ended.
    pub(crate) fn datagrams_came(&mut self, place: u32, completion: Completion) {
        if !HAS_UDP {
            return;
        }
        let Self { udp, ring, counters, now_ms, is_draining, .. } = self;
        let place = place as usize;
        let Some(socket) = udp.sockets.get_mut(place) else { return };
        match (completion.payload, completion.result) {
            (Payload::Datagrams(batch), _) => {
                socket.note_batch(&batch, ring, counters);
                udp.news.push_back((place, News::Batch(batch)));
            }
            (Payload::Finished(op), result) => {
                socket.receiving = None;
                if let Some(Ok(dropped)) = socket.socket.kernel().map(socket::dropped_datagrams) {
                    socket.note_dropped(dropped, counters);
                }
                if *is_draining {
                    return;
                }
                socket.rest(op, *now_ms);
                if let Err(error) = result {
                    counters.datagram_errors.add(1);
                    udp.news.push_back((place, News::Error(error)));
                }
            }
            (_, Err(error)) => {
                counters.datagram_errors.add(1);
                udp.news.push_back((place, News::Error(error)));
            }
            _ => {}
        }
    }

    /// A socket takes more.
    pub(crate) fn datagrams_have_room(&mut self, place: u32) {
        if !HAS_UDP {
            return;
        }
        let place = place as usize;
        if let Some(socket) = self.udp.sockets.get_mut(place) {
            socket.room = None;
            self.udp.flush_later(place);
        }
    }

    /// Takes answers back after they were flushed; waits for room if some are left.
    pub(crate) fn datagrams_flushed(&mut self, place: usize, mut out: SendBatch, sent: &io::Result<Sent>) {
        let Some(socket) = self.udp.sockets.get_mut(place) else { return };
        let counters = &self.counters;
        match sent {
            Ok(sent) => {
                counters.datagrams_sent.add(sent.datagrams as u64);
                counters.datagram_bytes_sent.add(sent.bytes as u64);
                counters.datagrams_refused.add(out.refusals().len() as u64);
            }
            Err(_socket_is_broken) => {
                counters.datagrams_refused.add(out.len() as u64);
                out.clear();
            }
        }
        let has_more = !out.is_empty();
        socket.out = Some(out);
        if has_more && socket.room.is_none() {
            let op = Op::Ready { socket: socket.socket.clone(), interest: Interest::Writable };
            match self.ring.submit(op, token(place, Token::DatagramRoom)) {
                Ok(id) => socket.room = Some(id),
                // No operation is free: what is left goes with the next turn.
                Err(_full) => self.udp.flush_later(place),
            }
        }
    }

    /// Ends reception; what was received is still handled and answered.
    pub(crate) fn drain_udp(&mut self) {
        if !HAS_UDP {
            return;
        }
        for socket in &mut self.udp.sockets {
            (socket.idle, socket.retry_at_ms) = (None, None);
            if let Some(id) = socket.receiving {
                self.ring.cancel(id);
            }
        }
    }

    /// Gives up what a drain has not got done in its time.
    pub(crate) fn abandon_udp(&mut self) {
        if !HAS_UDP {
            return;
        }
        for socket in &mut self.udp.sockets {
            if let Some(out) = &mut socket.out {
                self.counters.datagrams_refused.add(out.len() as u64);
                out.clear();
            }
            for id in [socket.receiving.take(), socket.room.take()].into_iter().flatten() {
                self.ring.orphan(id);
            }
        }
    }
}

impl UdpSocket {
    /// Keeps an operation that is not under way until it is tried again.
    fn rest(&mut self, op: Op, now_ms: u64) {
        if let Op::Datagrams(datagrams) = op {
            self.idle = Some(datagrams);
            self.retry_at_ms = Some(now_ms + RETRY_PAUSE_MS);
        }
    }
}

fn token(place: usize, kind: fn(u32) -> Token) -> u64 {
    kind(u32::try_from(place).unwrap_or(u32::MAX)).bits()
}
