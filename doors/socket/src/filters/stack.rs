//! Layers stacked between transport and protocol, as one filter of the engine.

use super::layer::{Layer, Out, Pieces, Wants};
use ringway_engine::ring::{Pool, SLICE_BYTES_MAX, Slice};
use ringway_engine::{Filter, Inbox, Room, Session};
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

/// Bytes that wait for a layer, in either direction, from which on whoever gives them gets nothing more.
const WAITING_BYTES_MAX: usize = SLICE_BYTES_MAX;

/// Passes through the stack in one call: layers that answer one another without end are cut off.
const PASSES_MAX: usize = 1_000;

/// Bytes of a file's range that a layer is asked to see to at once.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The layers of a connection.
pub(crate) struct Stack {
    /// The first is nearest to the wire.
    floors: Vec<Floor>,
    /// What the uppermost layer has given up while nobody took it.
    risen: Inbox,
    /// What the lowest has given down while nobody took it.
    fallen: Pieces,
    /// Something was left on the wire.
    has_wire: bool,
    has_begun: bool,
    is_wire_ended: bool,
    /// The protocol writes no more.
    is_finishing: bool,
    has_failed: bool,
    /// Where memory is from.
    pool: Option<Pool>,
}

/// A layer, and what waits for it.
struct Floor {
    layer: Box<dyn Layer>,
    wants: Wants,
    /// From below; the lowest layer's is the wire itself.
    rising: Inbox,
    /// From above.
    falling: Pieces,
    /// It was told that nothing more comes from below, and has nothing more to give up.
    is_ended: bool,
    /// It was told that nothing more comes from above.
    is_finished: bool,
}

impl Stack {
    pub(crate) fn new(layers: Vec<Box<dyn Layer>>) -> Self {
        let floor = |layer| Floor {
            layer,
            wants: Wants::ALL,
            rising: Inbox::default(),
            falling: Pieces::default(),
            is_ended: false,
            is_finished: false,
        };
        Self {
            floors: layers.into_iter().map(floor).collect(),
            risen: Inbox::default(),
            fallen: Pieces::default(),
            has_wire: false,
            has_begun: false,
            is_wire_ended: false,
            is_finishing: false,
            has_failed: false,
            pool: None,
        }
    }

    /// Lets everything go as far as it goes. `wire` is `None` where what is there cannot be had now.
    fn run(&mut self, mut wire: Option<&mut Inbox>, pool: &Pool) -> io::Result<()> {
        if self.has_failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let done = self.begin(pool).and_then(|()| {
            for _ in 0..PASSES_MAX {
                let has_risen = self.rise(wire.as_deref_mut(), pool)?;
                let has_fallen = self.fall(pool)?;
                if !has_risen && !has_fallen {
                    return Ok(());
                }
            }
            Err(io::Error::other("layers answer one another without end"))
        });
        if let Some(wire) = wire {
            // Without layers nothing keeps it.
            while self.floors.is_empty()
                && let Some(piece) = wire.take_first()
            {
                self.risen.push(piece);
            }
            self.has_wire = !wire.is_empty();
        }
        self.has_failed = done.is_err();
        done
    }

    fn begin(&mut self, pool: &Pool) -> io::Result<()> {
        if std::mem::replace(&mut self.has_begun, true) {
            return Ok(());
        }
        self.pool = Some(pool.clone());
        (0..self.floors.len()).try_for_each(|at| self.call(at, pool, |floor, out| floor.layer.begin(out)))
    }

    /// One pass upwards; says whether anything moved.
    fn rise(&mut self, mut wire: Option<&mut Inbox>, pool: &Pool) -> io::Result<bool> {
        let mut has_moved = false;
        for at in 0..self.floors.len() {
            let is_fed = self.may_feed(at);
            let mut has_taken = false;
            if at == 0 {
                if let Some(wire) = wire.as_deref_mut().filter(|wire| is_fed && !wire.is_empty()) {
                    let before = wire.len();
                    self.call(at, pool, |floor, out| floor.layer.receive(wire, out))?;
                    has_taken = wire.len() != before;
                }
            } else if is_fed && !self.floors[at].rising.is_empty() {
                let mut rising = std::mem::take(&mut self.floors[at].rising);
                let before = rising.len();
                let done = self.call(at, pool, |floor, out| floor.layer.receive(&mut rising, out));
                has_taken = rising.len() != before;
                // Nothing rose to it meanwhile: who gives to it is below and was not called.
                self.floors[at].rising = rising;
                done?;
            }
            // Who has taken something may take the rest.
            let has_wire = wire.as_deref().is_some_and(|wire| !wire.is_empty());
            has_moved |= has_taken || self.end(at, has_wire, pool)?;
        }
        Ok(has_moved)
    }

    /// Tells a layer of the end below it when it has taken what came before; says whether it was told.
    fn end(&mut self, at: usize, has_wire: bool, pool: &Pool) -> io::Result<bool> {
        let is_over_below = if at == 0 { self.is_wire_ended } else { self.floors[at - 1].is_ended };
        let floor = &self.floors[at];
        if floor.is_ended {
            return Ok(false);
        }
        if floor.layer.is_ended() {
            self.floors[at].is_ended = true;
            return Ok(true);
        }
        let is_left = if at == 0 { has_wire || self.has_wire } else { !floor.rising.is_empty() };
        if !is_over_below || (is_left && self.may_take_more(at)) {
            return Ok(false);
        }
        self.floors[at].is_ended = true;
        self.call(at, pool, |floor, out| floor.layer.ended(out))?;
        Ok(true)
    }

    /// One pass downwards; says whether anything moved.
    fn fall(&mut self, pool: &Pool) -> io::Result<bool> {
        let mut has_moved = false;
        for at in (0..self.floors.len()).rev() {
            let below = if at == 0 { &self.fallen } else { &self.floors[at - 1].falling };
            let has_room = at == 0 || below.bytes() < WAITING_BYTES_MAX;
            let floor = &mut self.floors[at];
            if floor.wants.write && has_room && !floor.falling.is_empty() {
                let mut falling = std::mem::take(&mut floor.falling);
                let before = falling.bytes();
                let done = self.call(at, pool, |floor, out| floor.layer.send(&mut falling, out));
                has_moved |= falling.bytes() != before;
                self.floors[at].falling = falling;
                done?;
            }
            let is_over_above = match self.floors.get(at + 1) {
                Some(above) => above.is_finished,
                None => self.is_finishing,
            };
            let floor = &mut self.floors[at];
            if is_over_above && !floor.is_finished && floor.falling.is_empty() && floor.layer.is_open() {
                floor.is_finished = true;
                self.call(at, pool, |floor, out| floor.layer.finish(out))?;
                has_moved = true;
            }
        }
        Ok(has_moved)
    }

    /// Calls a layer, with where it gives to, and asks what it wants next.
    fn call(
        &mut self,
        at: usize,
        pool: &Pool,
        act: impl FnOnce(&mut Floor, &mut Out<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (below, rest) = self.floors.split_at_mut(at);
        let Some((floor, above)) = rest.split_first_mut() else { return Ok(()) };
        let down = below.last_mut().map_or(&mut self.fallen, |floor| &mut floor.falling);
        let up = above.first_mut().map_or(&mut self.risen, |floor| &mut floor.rising);
        act(floor, &mut Out { up, down, pool })?;
        floor.wants = floor.layer.wants();
        Ok(())
    }

    /// Whether a layer wants what is below it, and those above have room for what it makes of that.
    fn may_feed(&self, at: usize) -> bool {
        let has_room = self.floors.get(at + 1).is_none_or(|above| above.rising.len() < WAITING_BYTES_MAX);
        self.floors[at].wants.read && has_room
    }

    /// Whether what a layer has left may be taken yet, and is not the beginning of something that never was completed.
    fn may_take_more(&self, at: usize) -> bool {
        !self.may_feed(at) || self.floors[at].wants.after_ms > 0
    }

    fn give_fallen(&mut self, wire: &mut dyn FnMut(Slice)) {
        while let Some(piece) = self.fallen.pop() {
            wire(piece);
        }
    }
}

impl Filter for Stack {
    fn receive(
        &mut self,
        wire: &mut Inbox,
        plain: &mut Inbox,
        reply: &mut dyn FnMut(Slice),
        pool: &Pool,
    ) -> io::Result<()> {
        // Layers that were asked to wait are asked anew.
        for floor in &mut self.floors {
            floor.wants = floor.layer.wants();
        }
        let done = self.run(Some(wire), pool);
        self.give_fallen(reply);
        while let Some(piece) = self.risen.take_first() {
            plain.push(piece);
        }
        done
    }

    fn room(&mut self, wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<Option<Room>> {
        if self.has_failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.floors.iter().any(|floor| !floor.falling.is_empty()) {
            self.run(None, pool)?;
            self.give_fallen(wire);
        }
        let is_free = self.floors.iter().all(|floor| floor.falling.is_empty());
        let is_wanted = self.floors.last().is_none_or(|top| top.wants.write);
        let room = Room { head: 0, tail: 0, plain_max: SLICE_BYTES_MAX };
        Ok((self.is_open() && is_free && is_wanted).then_some(room))
    }

    fn seal(&mut self, _record: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn finish(&mut self, wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<()> {
        self.is_finishing = true;
        if self.has_failed {
            return Ok(());
        }
        let done = self.run(None, pool);
        self.give_fallen(wire);
        done
    }

    fn ended(&mut self) -> io::Result<()> {
        self.is_wire_ended = true;
        if self.has_failed {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let is_late = self.floors.iter().enumerate().any(|(at, floor)| {
            let is_left = if at == 0 { self.has_wire } else { !floor.rising.is_empty() };
            !floor.is_ended && is_left && self.may_take_more(at)
        });
        if is_late {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // Whoever is told of an end has begun before.
        let pool = self.pool.clone().ok_or(io::ErrorKind::UnexpectedEof)?;
        self.run(None, &pool)
    }

    fn is_ended(&self) -> bool {
        self.floors.last().map_or(self.is_wire_ended, |top| top.is_ended)
    }

    fn session(&self) -> Option<Rc<Session>> {
        self.floors.iter().find_map(|floor| floor.layer.session())
    }

    fn is_open(&self) -> bool {
        self.has_begun && self.floors.iter().all(|floor| floor.layer.is_open())
    }

    fn speaks_first(&self) -> bool {
        true
    }

    fn wants_input(&self) -> bool {
        self.floors.is_empty() || self.may_feed(0)
    }

    fn nap_ms(&self) -> u32 {
        if !self.risen.is_empty() || !self.fallen.is_empty() {
            return 1;
        }
        let naps = self.floors.iter().map(|floor| floor.wants.after_ms).filter(|ms| *ms > 0);
        naps.min().unwrap_or(0)
    }

    fn holds(&self) -> bool {
        let is_behind = |floor: &Floor| {
            !floor.falling.is_empty() || (self.is_finishing && !floor.is_finished && floor.layer.is_open())
        };
        !self.has_failed && (!self.fallen.is_empty() || self.floors.iter().any(is_behind))
    }

    fn rewrites(&self) -> bool {
        true
    }

    fn rewrite(&mut self, plain: Slice, wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<()> {
        match self.floors.last_mut() {
            Some(top) => top.falling.push(plain),
            None => self.fallen.push(plain),
        }
        let done = self.run(None, pool);
        self.give_fallen(wire);
        done
    }

    fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        bytes: u64,
        wire: &mut dyn FnMut(Slice),
        pool: &Pool,
    ) -> io::Result<u64> {
        let Some(top) = self.floors.len().checked_sub(1) else { return Ok(0) };
        let mut sent = 0;
        self.call(top, pool, |floor, out| {
            sent = floor.layer.send_file(file, offset, bytes.min(FILE_BYTES_MAX), out)?;
            Ok(())
        })?;
        if sent > 0 {
            self.run(None, pool)?;
            self.give_fallen(wire);
        }
        Ok(sent)
    }

    fn client(&self) -> Option<SocketAddr> {
        self.floors.iter().find_map(|floor| floor.layer.client())
    }
}
