//! A layer that a library is: what it takes and gives is looked at, and what is wrong with it costs its connection.

use super::Voice;
use super::layer::{Layer, Out, Pieces, Wants};
use ringway_engine::Inbox;
use ringway_engine::ring::{Pool, SLICE_BYTES_MAX, Slice};
use ringway_plugin::abi::filter as flag;
use ringway_plugin::{Fault, FilterView, FilterWorker, GIVEN_BYTES_MAX, Given, PIECES_MAX, User};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

/// A connection that a library filters.
pub(crate) struct Library {
    worker: Rc<FilterWorker>,
    voice: Voice,
    user: User,
    peer: Option<Box<str>>,
    flags: u32,
    is_accepted: bool,
    has_begun: bool,
}

impl Library {
    pub(crate) fn new(
        worker: Rc<FilterWorker>,
        voice: Voice,
        peer: Option<SocketAddr>,
        is_secret: bool,
    ) -> Self {
        let peer = peer.map(|peer| peer.to_string().into());
        let flags = if is_secret { flag::TLS } else { 0 };
        Self { worker, voice, user: User::NONE, peer, flags, is_accepted: false, has_begun: false }
    }

    fn view<'a>(&'a self, pool: &'a Pool) -> View<'a> {
        View { peer: self.peer.as_deref(), flags: self.flags, pool, given: RefCell::default() }
    }

    /// Ends the connection for a fault of the library's.
    fn fault(&self, function: &str, what: std::fmt::Arguments<'_>) -> io::Error {
        let library = self.worker.instance().library();
        let file = library.path().display();
        let who = self.peer.as_deref().unwrap_or("a Unix socket");
        self.voice.warn(&format!(
            "filter {file}: `ringway_stream_filter.{function}` {what}; the connection of {who} is ended"
        ));
        io::Error::other("a filter has failed")
    }

    /// Calls it with one piece; gives back what it has not taken of that.
    fn give(
        &mut self,
        function: &str,
        piece: Slice,
        out: &mut Out<'_>,
        call: impl FnOnce(&FilterWorker, &View<'_>, &mut User, &mut [u8]) -> i64,
    ) -> io::Result<Slice> {
        let mut piece = unique(piece, out.pool)?;
        let mut user = self.user;
        let (taken, given) = {
            let view = self.view(out.pool);
            let Some(bytes) = piece.unique_mut() else { return Err(io::ErrorKind::OutOfMemory.into()) };
            let taken = call(&self.worker, &view, &mut user, bytes);
            (taken, view.given.into_inner())
        };
        self.user = user;
        let taken = self.checked(function, taken, piece.len())?;
        let mut pieces = [piece];
        self.pass(&given, &pieces, out)?;
        let [piece] = &mut pieces;
        piece.advance(taken);
        Ok(piece.clone())
    }

    /// How many bytes it has taken, if it can have.
    fn checked(&self, function: &str, taken: i64, given: usize) -> io::Result<usize> {
        match usize::try_from(taken) {
            Ok(taken) if taken <= given => Ok(taken),
            Ok(taken) => {
                Err(self.fault(function, format_args!("says that it has taken {taken} bytes of {given}")))
            }
            Err(_negative) => Err(self.fault(function, format_args!("says {taken}"))),
        }
    }

    /// Gives on what it has given.
    fn pass(&self, given: &Collected, pieces: &[Slice], out: &mut Out<'_>) -> io::Result<()> {
        if given.is_out_of_memory {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        for part in &given.up {
            for piece in part.slices(pieces) {
                out.up.push(piece);
            }
        }
        for part in &given.down {
            for piece in part.slices(pieces) {
                out.down.push(piece);
            }
        }
        Ok(())
    }

    /// Calls it for something else than bytes.
    fn tell(
        &mut self,
        function: &str,
        out: &mut Out<'_>,
        call: impl FnOnce(&FilterWorker, &View<'_>, &mut User) -> i32,
    ) -> io::Result<()> {
        let mut user = self.user;
        let (code, given) = {
            let view = self.view(out.pool);
            (call(&self.worker, &view, &mut user), view.given.into_inner())
        };
        self.user = user;
        self.pass(&given, &[], out)?;
        if code == 0 { Ok(()) } else { Err(self.fault(function, format_args!("says {code}"))) }
    }

    /// Gives it several pieces from above at once.
    fn give_all(&mut self, above: &mut Pieces, out: &mut Out<'_>) -> io::Result<bool> {
        let mut pieces = Vec::with_capacity(above.len().min(PIECES_MAX));
        while let Some(piece) = above.pop().filter(|_| pieces.len() < PIECES_MAX) {
            pieces.push(unique(piece, out.pool)?);
            if pieces.len() == PIECES_MAX {
                break;
            }
        }
        let total = pieces.iter().map(|piece| piece.len()).sum();
        let mut user = self.user;
        let (taken, given) = {
            let view = self.view(out.pool);
            let mut places: Vec<&mut [u8]> = pieces.iter_mut().filter_map(Slice::unique_mut).collect();
            let taken = self.worker.writev(&view, &mut user, &mut places);
            (taken, view.given.into_inner())
        };
        self.user = user;
        let mut taken = self.checked("writev", taken, total)?;
        self.pass(&given, &pieces, out)?;
        let is_all = taken == total;
        let is_some = taken > 0;
        for piece in &mut pieces {
            let count = taken.min(piece.len());
            piece.advance(count);
            taken -= count;
        }
        pieces.into_iter().rev().for_each(|piece| above.unpop(piece));
        Ok(is_all && is_some)
    }
}

impl Layer for Library {
    fn begin(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        self.has_begun = true;
        self.is_accepted = true;
        let mut user = self.user;
        let (code, given) = {
            let view = self.view(out.pool);
            (self.worker.accept(&view, &mut user), view.given.into_inner())
        };
        self.user = user;
        self.pass(&given, &[], out)?;
        // It is not wanted: that is no fault, but it is said.
        if code == 0 {
            Ok(())
        } else {
            Err(self.fault("accept", format_args!("says {code}: it does not want it")))
        }
    }

    fn receive(&mut self, below: &mut Inbox, out: &mut Out<'_>) -> io::Result<()> {
        while let Some(piece) = below.next_joined(out.pool) {
            let length = piece.len();
            let rest =
                self.give("read", piece, out, |worker, view, user, bytes| worker.read(view, user, bytes))?;
            let left = rest.len();
            let is_whole = left == 0;
            below.unread(rest);
            if left == length && length == SLICE_BYTES_MAX && self.wants().read {
                return Err(self.fault("read", format_args!("takes none of {length} bytes, and wants more")));
            }
            // What it leaves comes again with more behind it.
            if !is_whole || !self.wants().read {
                break;
            }
        }
        Ok(())
    }

    fn send(&mut self, above: &mut Pieces, out: &mut Out<'_>) -> io::Result<()> {
        while !above.is_empty() {
            let is_through = if above.len() > 1 && self.worker.has_writev() {
                self.give_all(above, out)?
            } else {
                let Some(piece) = above.pop() else { break };
                let rest = self
                    .give("write", piece, out, |worker, view, user, bytes| worker.write(view, user, bytes))?;
                let is_through = rest.is_empty();
                above.unpop(rest);
                is_through
            };
            if !is_through || !self.wants().write {
                break;
            }
        }
        Ok(())
    }

    fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        bytes: u64,
        out: &mut Out<'_>,
    ) -> io::Result<u64> {
        if !self.worker.has_send_file() {
            return Ok(0);
        }
        let mut user = self.user;
        let (sent, given) = {
            let view = self.view(out.pool);
            let sent = self.worker.send_file(&view, &mut user, file, offset, bytes);
            (sent, view.given.into_inner())
        };
        self.user = user;
        self.pass(&given, &[], out)?;
        match u64::try_from(sent) {
            Ok(sent) if sent <= bytes => Ok(sent),
            Ok(sent) => {
                Err(self.fault("send_file", format_args!("says that it has seen to {sent} bytes of {bytes}")))
            }
            Err(_negative) => Err(self.fault("send_file", format_args!("says {sent}"))),
        }
    }

    fn ended(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        self.tell("ended", out, |worker, view, user| worker.ended(view, user))
    }

    fn finish(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        self.tell("finish", out, |worker, view, user| worker.finish(view, user))
    }

    fn wants(&mut self) -> Wants {
        if !self.has_begun {
            return Wants::ALL;
        }
        let interest = self.worker.interest(&mut self.user);
        Wants { read: interest.read, write: interest.write, after_ms: interest.after_ms }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        if self.is_accepted {
            self.worker.close(self.user);
        }
    }
}

/// A piece that nobody else sees, so that it may be changed where it lies.
fn unique(mut piece: Slice, pool: &Pool) -> io::Result<Slice> {
    if piece.unique_mut().is_some() {
        return Ok(piece);
    }
    Ok(pool.copy_of(&piece).ok_or(io::ErrorKind::OutOfMemory)?)
}

/// What a library has given on in a call.
#[derive(Default)]
struct Collected {
    up: Vec<Part>,
    down: Vec<Part>,
    up_bytes: usize,
    down_bytes: usize,
    is_out_of_memory: bool,
}

/// Bytes that are given on.
enum Part {
    /// Of which piece, from where to where.
    Of(usize, usize, usize),
    Own(Vec<Slice>),
}

impl Part {
    fn slices(&self, pieces: &[Slice]) -> Vec<Slice> {
        match self {
            Self::Of(number, from, to) => {
                let cut = pieces.get(*number).filter(|piece| from <= to && *to <= piece.len()).map(|piece| {
                    let mut part = piece.clone();
                    part.truncate(*to);
                    part.advance(*from);
                    part
                });
                cut.into_iter().collect()
            }
            Self::Own(slices) => slices.clone(),
        }
    }
}

/// A connection as the library sees it during a call.
struct View<'a> {
    peer: Option<&'a str>,
    flags: u32,
    pool: &'a Pool,
    given: RefCell<Collected>,
}

impl View<'_> {
    fn part(&self, bytes: Given<'_>, before: usize) -> Result<(Part, usize), Fault> {
        let length = match bytes {
            Given::Part(_, from, to) => to - from,
            Given::Bytes(bytes) => bytes.len(),
        };
        let after = before + length;
        if after > GIVEN_BYTES_MAX {
            return Err(Fault::Limit);
        }
        let part = match bytes {
            Given::Part(number, from, to) => Part::Of(number, from, to),
            Given::Bytes(bytes) => {
                let copies = bytes.chunks(SLICE_BYTES_MAX).map(|part| self.pool.copy_of(part));
                let copies: Option<Vec<_>> = copies.collect();
                Part::Own(copies.ok_or(Fault::Full)?)
            }
        };
        Ok((part, after))
    }
}

impl FilterView for View<'_> {
    fn up(&self, bytes: Given<'_>) -> Result<(), Fault> {
        let given = &mut *self.given.borrow_mut();
        let (part, after) = self.part(bytes, given.up_bytes).inspect_err(|fault| {
            given.is_out_of_memory |= *fault == Fault::Full;
        })?;
        given.up.push(part);
        given.up_bytes = after;
        Ok(())
    }

    fn down(&self, bytes: Given<'_>) -> Result<(), Fault> {
        let given = &mut *self.given.borrow_mut();
        let (part, after) = self.part(bytes, given.down_bytes).inspect_err(|fault| {
            given.is_out_of_memory |= *fault == Fault::Full;
        })?;
        given.down.push(part);
        given.down_bytes = after;
        Ok(())
    }

    fn peer(&self) -> Option<&[u8]> {
        self.peer.map(str::as_bytes)
    }

    fn flags(&self) -> u32 {
        self.flags
    }
}
