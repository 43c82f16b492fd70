//! The lives of connections: how they begin, what they do after an answer, how they end and come again.

use std::io;
use std::net::Shutdown;

use ringway_ring::socket::{self, Address};
use ringway_ring::{Connect, Handle, Op};

use super::{Clients, Farewell, Kind, Phase, Stage};
use crate::stress::cursor::{Cursor, Way as Direction};
use crate::stress::failure::{Failure, What};
use crate::stress::message::mix;
use crate::stress::plan::{WHOLE, Way};
use crate::stress::reader::Reader;
use crate::stress::upgrade::Upgrade;

impl Clients<'_> {
    // Beginnings.

    pub(super) fn connect(&mut self, index: u32) {
        let is_tcp = matches!(self.plan.address, Address::Tcp(_));
        let opened = socket::stream_socket(&self.peer).and_then(|fd| {
            if is_tcp {
                rustix::net::sockopt::set_tcp_nodelay(&fd, true)?;
            }
            Ok(Handle::new(fd))
        });
        let socket = match opened {
            Ok(socket) => socket,
            Err(error) => return self.fail(index, What::Unreachable(error.to_string())),
        };
        self.reborn(index);
        let client = &mut self.all[index as usize];
        client.phase = Phase::Connecting;
        client.socket = Some(socket.clone());
        self.connecting += 1;
        let operation = self.submit(Op::Connect(Connect::new(socket, self.peer)), Kind::Connect, index);
        self.all[index as usize].connecting = operation;
        self.arm_patience(index);
    }

    /// Nothing is left of the life before.
    fn reborn(&mut self, index: u32) {
        let shape = self.plan.shape;
        let client = &mut self.all[index as usize];
        let key = shape.messages.key(index, client.life);
        client.writer = Cursor::new(shape, Direction::There, key);
        client.reader = Reader::new(shape, key);
        client.urgent.clear();
        client.begun_ns.clear();
        (client.owed, client.wanted) = (0, 0);
        (client.sealed, client.upgrade, client.doubt) = (None, None, None);
        (client.farewell, client.way, client.is_closed) = (Farewell::None, None, false);
    }

    pub(super) fn connected(&mut self, index: u32, result: io::Result<u32>) {
        let client = &mut self.all[index as usize];
        client.connecting = None;
        if let Err(error) = result {
            return self.fail(index, What::Unreachable(error.to_string()));
        }
        self.report.opened += 1;
        if self.stage == Stage::Stopping {
            return self.begin_again(index, false);
        }
        client.phase = Phase::Greeting;
        match self.plan.sealing.as_ref().map(|sealing| sealing.connection()) {
            Some(Ok(sealed)) => client.sealed = Some(Box::new(sealed)),
            Some(Err(error)) => return self.fail(index, What::Handshake(error)),
            None => {}
        }
        self.receive(index);
        if self.all[index as usize].sealed.is_some() {
            self.send(index);
        } else {
            self.greeted(index);
        }
    }

    /// The transport stands.
    pub(super) fn greeted(&mut self, index: u32) {
        if !self.plan.is_websocket() {
            return self.talk(index);
        }
        let client = &mut self.all[index as usize];
        let upgrade = Upgrade::new(self.plan.shape.messages.key(index, client.life));
        client.urgent = upgrade.request(&self.plan.ask);
        client.upgrade = Some(Box::new(upgrade));
        client.phase = Phase::Shaking;
        self.send(index);
    }

    /// Everything is agreed on.
    pub(super) fn talk(&mut self, index: u32) {
        self.connecting -= 1;
        self.open += 1;
        self.all[index as usize].phase = Phase::Talking;
        if self.stage == Stage::Stopping || self.is_enough(index) {
            self.all[index as usize].phase = Phase::Closing;
            return self.close_if_answered(index);
        }
        self.open_window(index);
        self.send(index);
    }

    // What is done after an answer.

    /// Lets a connection begin messages until its window is full or it has begun all of them.
    pub(super) fn open_window(&mut self, index: u32) {
        let share = self.plan.share(index);
        let client = &mut self.all[index as usize];
        let under_way = client.begun_ns.len() as u64;
        let left = share.map_or(u64::MAX, |count| count.saturating_sub(client.answers + under_way));
        let room = u64::from(self.plan.window).saturating_sub(under_way);
        let room = u32::try_from(room.min(left)).unwrap_or(u32::MAX);
        if self.plan.rate_per_s == 0 {
            client.owed = room;
            return;
        }
        client.wanted = room.saturating_sub(client.owed);
        if client.wanted > 0 && !client.is_queued {
            client.is_queued = true;
            self.queue.push_back(index);
        }
    }

    /// Whether a connection has had all of its answers.
    pub(super) fn is_enough(&self, index: u32) -> bool {
        self.plan.share(index).is_some_and(|count| self.all[index as usize].answers >= count)
    }

    /// What a connection does after an answer; follows from the seed and the message alone.
    pub(super) fn decide(&mut self, index: u32, message: u64) {
        let plan = self.plan;
        let is_enough = self.is_enough(index);
        let client = &mut self.all[index as usize];
        let place = u64::from(index) << 32 | u64::from(client.life);
        let chance = mix(mix(!plan.shape.messages.seed ^ place) ^ message);
        if is_enough {
            (client.owed, client.wanted) = (0, 0);
            client.phase = Phase::Closing;
        } else if chance % u64::from(WHOLE) < u64::from(plan.disconnects.share) {
            let way = plan.disconnects.ways[usize::try_from((chance >> 32) % 3).unwrap_or(0)];
            (client.way, client.wanted) = (Some(way), 0);
            // A last message goes before a half-close, and is cut off by a reset.
            client.owed = u32::from(way != Way::Close);
            client.phase = match way {
                Way::Close => Phase::Closing,
                Way::Half => Phase::Finishing,
                Way::Reset => Phase::Cutting,
            };
            if way == Way::Half {
                client.farewell = Farewell::Due;
            }
        } else if plan.pause_ms.1 == 0 {
            self.open_window(index);
        } else if client.begun_ns.is_empty() {
            client.phase = Phase::Pausing;
            let span = u64::from(plan.pause_ms.1 - plan.pause_ms.0) + 1;
            let pause_ms = u64::from(plan.pause_ms.0) + (chance >> 32) % span;
            let until_ms = self.now_ms() + pause_ms;
            self.wheel.arm(index, until_ms);
        }
    }

    pub(super) fn close_if_answered(&mut self, index: u32) {
        let client = &mut self.all[index as usize];
        if !client.begun_ns.is_empty() || client.sending.is_some() || client.writer.is_inside() {
            return;
        }
        if self.plan.is_websocket() || self.plan.sealing.is_some() {
            // There is an end to be said, and one to be heard.
            client.phase = Phase::Finishing;
            client.farewell = Farewell::Due;
            return self.send(index);
        }
        self.ended_on_purpose(index);
        self.begin_again(index, false);
    }

    pub(super) fn ended_on_purpose(&mut self, index: u32) {
        if let Some(way) = self.all[index as usize].way {
            self.report.ended[way as usize] += 1;
        }
    }

    // Time.

    pub(super) fn arm_patience(&mut self, index: u32) {
        let patience_ms = u64::try_from(self.plan.patience.as_millis()).unwrap_or(u64::MAX);
        let at_ms = self.now_ms().saturating_add(patience_ms);
        self.wheel.arm(index, at_ms);
    }

    pub(super) fn expire(&mut self) {
        let now_ms = self.now_ms();
        while let Some(index) = self.wheel.expire(now_ms) {
            self.expired(index);
        }
    }

    fn expired(&mut self, index: u32) {
        let patience = self.plan.patience;
        let client = &mut self.all[index as usize];
        let silence = || format!("nobody answered for {:.1} s", patience.as_secs_f64());
        match client.phase {
            Phase::Absent => {}
            Phase::Connecting => self.fail(index, What::Unreachable(silence())),
            Phase::Greeting | Phase::Shaking => self.fail(index, What::Handshake(silence())),
            Phase::Examining => self.conclude(index),
            Phase::Pausing => {
                client.phase = Phase::Talking;
                self.open_window(index);
                self.send(index);
            }
            // It waits for its turn at the rate, and nobody owes it anything.
            Phase::Talking if client.begun_ns.is_empty() && client.sending.is_none() => {}
            _ => {
                let (message, at) = (client.reader.message(), client.reader.at());
                let what = What::Stalled { message, at, owed: client.unanswered(), patience };
                self.fail(index, what);
            }
        }
    }

    // Ends.

    /// The run is over for one connection: what is under way is still answered.
    pub(super) fn stop_one(&mut self, index: u32) {
        match self.all[index as usize].phase {
            Phase::Connecting | Phase::Greeting | Phase::Shaking => self.begin_again(index, true),
            Phase::Talking | Phase::Pausing => {
                let client = &mut self.all[index as usize];
                (client.owed, client.wanted) = (0, 0);
                client.phase = Phase::Closing;
                self.close_if_answered(index);
            }
            Phase::Absent | Phase::Closing | Phase::Finishing | Phase::Cutting | Phase::Examining => {}
        }
    }

    pub(super) fn fail(&mut self, index: u32, what: What) {
        let life = self.all[index as usize].life;
        let at = self.epoch.elapsed();
        self.report.fail(Failure { connection: index, life, at, what });
        self.drop_socket(index, true);
        self.leave(index);
    }

    /// Closes a connection; it comes again if the run goes on and it has not had all of its answers.
    pub(super) fn begin_again(&mut self, index: u32, is_reset: bool) {
        self.drop_socket(index, is_reset);
        if self.stage == Stage::Stopping || self.is_enough(index) {
            return self.leave(index);
        }
        self.all[index as usize].life += 1;
        self.connect(index);
    }

    /// A connection is done for good.
    fn leave(&mut self, index: u32) {
        self.reborn(index);
        self.all[index as usize].phase = Phase::Absent;
        self.wheel.disarm(index);
        self.active -= 1;
    }

    fn drop_socket(&mut self, index: u32, is_reset: bool) {
        let client = &mut self.all[index as usize];
        let Some(socket) = client.socket.take() else { return };
        match client.phase {
            Phase::Connecting | Phase::Greeting | Phase::Shaking => self.connecting -= 1,
            _ => self.open -= 1,
        }
        let operations = [client.connecting.take(), client.receiving.take(), client.sending.take()];
        if is_reset {
            let _gone_already = socket.kernel().map(socket::set_abort_on_close);
        } else {
            // The descriptor lives until the receive is cancelled; the FIN need not wait for that.
            let _gone_already = self.ring.shutdown(&socket, Shutdown::Write);
        }
        for operation in operations.into_iter().flatten() {
            self.ring.orphan(operation);
        }
    }
}
