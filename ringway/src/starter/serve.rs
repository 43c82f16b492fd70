//! The starter's loop: it sleeps until the server asks, a script says or does something, or time is up.

use super::rules::Rules;
use super::script::{News, Script};
use super::start::{Ends, start_script};
use ringway_http::cgi::order::{ORDER_BYTES_MAX, Order, Refused};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Most scripts at once, whatever the rules say.
const SCRIPTS_MAX: usize = 1024;

/// Most orders that wait, whatever the rules say.
const WAITING_MAX: usize = 1024;

/// Orders that are taken before the scripts have their turn.
const ORDERS_AT_ONCE: usize = 16;

/// Descriptors with an order.
const DESCRIPTORS_MAX: usize = 3;

/// How long it sleeps when there is no deadline.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Serves a server until it is gone, and ends all of its scripts then.
pub fn serve(server: &OwnedFd, rules: &[Rules]) {
    let mut starter = Starter { rules, scripts: Vec::new(), waiting: VecDeque::new(), memory: Vec::new() };
    starter.memory.resize(ORDER_BYTES_MAX, 0);
    while starter.turn(server) {}
    starter.scripts.into_iter().for_each(Script::finish);
}

struct Starter<'a> {
    rules: &'a [Rules],
    scripts: Vec<Script>,
    waiting: VecDeque<Waiting>,
    /// Where orders are read.
    memory: Vec<u8>,
}

/// An order that waits for another script to end.
struct Waiting {
    rules: usize,
    order: Vec<u8>,
    ends: Ends,
    deadline: Instant,
}

/// What poll was asked about.
#[derive(Clone, Copy)]
enum Asked {
    Server,
    /// A script's control, standard error, process.
    Script(usize, usize),
    /// The control of an order that waits.
    Waiting(usize),
}

impl Starter<'_> {
    /// Sleeps once and does what there is to do then; false when the server is gone.
    fn turn(&mut self, server: &OwnedFd) -> bool {
        let mut news = vec![News::default(); self.scripts.len()];
        let mut gone = vec![false; self.waiting.len()];
        let mut is_asked = false;
        for asked in self.sleep(server) {
            match asked {
                Asked::Server => is_asked = true,
                Asked::Script(script, 0) => news[script].control = true,
                Asked::Script(script, 1) => news[script].error = true,
                Asked::Script(script, _) => news[script].process = true,
                Asked::Waiting(place) => gone[place] = true,
            }
        }
        let now = Instant::now();
        self.look_after(&news, now);
        self.forget(gone);
        self.give_up(now);
        let is_there = !is_asked || self.take_orders(server, now);
        self.start_waiting();
        is_there
    }

    /// Sleeps until there is news; what of.
    fn sleep(&self, server: &OwnedFd) -> Vec<Asked> {
        let mut asked = vec![Asked::Server];
        let mut descriptors: Vec<BorrowedFd<'_>> = vec![server.as_fd()];
        for (index, script) in self.scripts.iter().enumerate() {
            for (kind, descriptor) in script.descriptors().into_iter().enumerate() {
                descriptors.extend(descriptor);
                asked.extend(descriptor.map(|_| Asked::Script(index, kind)));
            }
        }
        for (place, waiting) in self.waiting.iter().enumerate() {
            descriptors.push(waiting.ends.control.as_fd());
            asked.push(Asked::Waiting(place));
        }
        let mut polled: Vec<PollFd<'_>> =
            descriptors.iter().map(|descriptor| PollFd::new(descriptor, PollFlags::IN)).collect();
        let deadlines = self.scripts.iter().map(Script::deadline);
        let next = deadlines.chain(self.waiting.iter().map(|waiting| waiting.deadline)).min();
        let left = next.map_or(SLEEP_MAX, |next| next.saturating_duration_since(Instant::now()));
        // Rounded up, or it would wake just before the deadline.
        let timeout = Timespec::try_from(left.min(SLEEP_MAX) + Duration::from_millis(1)).ok();
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) => Vec::new(),
            Ok(_) => {
                let has_news = |polled: &PollFd<'_>| !polled.revents().is_empty();
                polled
                    .iter()
                    .zip(asked)
                    .filter(|(polled, _)| has_news(polled))
                    .map(|(_, asked)| asked)
                    .collect()
            }
            // EINTR: the next round sees. ENOMEM: so many are not polled for; deadlines are kept all the same.
            Err(_) => Vec::new(),
        }
    }

    /// Gives the scripts their turn, and buries those that are done.
    fn look_after(&mut self, news: &[News], now: Instant) {
        for index in (0..news.len()).rev() {
            if self.scripts[index].take(news[index], now) {
                self.scripts.swap_remove(index).finish();
            }
        }
    }

    /// Orders that the server does not want any more, as a poll has told.
    fn forget(&mut self, gone: Vec<bool>) {
        let mut gone = gone.into_iter();
        self.waiting.retain(|_| !gone.next().unwrap_or(false));
    }

    /// The same, asked now.
    fn forget_unwanted(&mut self) {
        let controls = self.waiting.iter().map(|waiting| &waiting.ends.control);
        let mut polled: Vec<PollFd<'_>> =
            controls.map(|control| PollFd::new(control, PollFlags::IN)).collect();
        // When it cannot be asked, nobody is forgotten.
        let _count = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        let gone = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        self.forget(gone);
    }

    fn may_wait(&self, place: usize, rules: &Rules) -> bool {
        let waiting = self.waiting.iter().filter(|waiting| waiting.rules == place).count();
        let most = usize::try_from(rules.waiting).unwrap_or(usize::MAX);
        waiting < most && self.waiting.len() < WAITING_MAX
    }

    /// Orders that have waited for too long.
    fn give_up(&mut self, now: Instant) {
        self.waiting.retain(|waiting| {
            let may_wait = waiting.deadline > now;
            if !may_wait {
                waiting.ends.refuse(Refused::Busy, "it has waited for too long for others to end");
            }
            may_wait
        });
    }

    /// Takes orders; false when the server is gone.
    fn take_orders(&mut self, server: &OwnedFd, now: Instant) -> bool {
        for _order in 0..ORDERS_AT_ONCE {
            let mut memory = std::mem::take(&mut self.memory);
            let received = receive(server, &mut memory);
            let is_there = match received {
                Ok((count, descriptors)) => {
                    self.take_order(&memory[..count], descriptors, now);
                    count > 0
                }
                Err(rustix::io::Errno::AGAIN) => {
                    self.memory = memory;
                    return true;
                }
                Err(rustix::io::Errno::INTR) => true,
                Err(_broken) => false,
            };
            self.memory = memory;
            if !is_there {
                return false;
            }
        }
        true
    }

    fn take_order(&mut self, bytes: &[u8], descriptors: Vec<OwnedFd>, now: Instant) {
        // What cannot be understood is dropped with its descriptors: the server sees that nobody wants them.
        let Ok(order) = Order::parse(bytes) else { return };
        let place = usize::from(order.rules);
        let (Some(ends), Some(rules)) = (Ends::of(&order, descriptors), self.rules.get(place)) else {
            return;
        };
        if self.has_room(place) {
            self.scripts.extend(start_script(&order, place, rules, ends));
            return;
        }
        if !self.may_wait(place, rules) {
            self.forget_unwanted();
        }
        if !self.may_wait(place, rules) {
            ends.refuse(Refused::Busy, "too many scripts run, and too many wait");
            return;
        }
        let deadline = now + rules.wait_max();
        self.waiting.push_back(Waiting { rules: place, order: bytes.to_vec(), ends, deadline });
    }

    fn has_room(&self, place: usize) -> bool {
        let running = self.scripts.iter().filter(|script| script.rules == place).count();
        let most = self.rules.get(place).map_or(0, |rules| rules.at_once);
        running < usize::try_from(most).unwrap_or(usize::MAX) && self.scripts.len() < SCRIPTS_MAX
    }

    /// Starts those that may go on, in the order they came.
    fn start_waiting(&mut self) {
        let mut place = 0;
        while let Some(waiting) = self.waiting.get(place) {
            if !self.has_room(waiting.rules) {
                place += 1;
                continue;
            }
            let Some(Waiting { rules, order, ends, .. }) = self.waiting.remove(place) else { return };
            // It was understood before.
            if let (Ok(order), Some(own)) = (Order::parse(&order), self.rules.get(rules)) {
                self.scripts.extend(start_script(&order, rules, own, ends));
            }
        }
    }
}

/// The next order and what comes with it; nothing at the end.
fn receive(server: &OwnedFd, memory: &mut [u8]) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(server, &mut [IoSliceMut::new(memory)], &mut ancillary, flags)?;
    let descriptors = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    // A longer order than any of ours: what is left of it is none.
    let is_cut = received.flags.contains(ReturnFlags::TRUNC);
    Ok((if is_cut { 1.min(received.bytes) } else { received.bytes }, descriptors))
}
