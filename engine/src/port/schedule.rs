//! Which ring's batch is handled next, and on whose thread: a port's scheduler as a pure machine, without locks or threads.

use std::collections::VecDeque;

/// Batches of one ring that wait while another one is handled: the second of two buffers.
pub(super) const WAITING_MAX: usize = 1;

/// The state that a port's threads share. Every call says whom to wake; who sleeps and how is the caller's affair.
///
/// - A *lane* is a ring's queue. At most one thread handles a lane's batch at a time, so its order is kept without locks
///   in the handler.
/// - A *permit* is the right to handle; there are as many as the port has threads.
/// - A *seat* is a pool thread. The one that sat down last is called first: its caches are the warmest.
///
/// A lane that has more waiting goes to the end of the ready queue after each batch, so no ring holds a thread.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
pub(super) struct Schedule<T, R> {
    lanes: Vec<Lane<T, R>>,
    /// Lanes with a waiting batch that nobody handles, in the order of their turns.
    ready: VecDeque<usize>,
    /// Seats whose threads sleep.
    idle: Vec<usize>,
    /// Seats that were called and have not arrived yet.
    called: usize,
    /// Batches being handled.
    running: usize,
    threads: usize,
    stage: Stage,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
struct Lane<T, R> {
    phase: Phase,
    waiting: VecDeque<T>,
    /// What pool threads give back to the ring's owner.
    returned: Vec<R>,
    /// What the owner sleeps for.
    owner_needs: Option<Need>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Nothing waits and nobody handles anything.
    Idle,
    /// In the ready queue.
    Queued,
    /// A thread handles a batch.
    Running,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Open,
    /// Nothing more is handed over.
    Abandoned,
    /// No lane will offer anything again; pool threads end when nothing is ready.
    Closed,
}

/// What a ring's owner sleeps for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Need {
    /// Room for one more batch.
    Room,
    /// That nothing of the lane waits or is handled.
    Rest,
}

/// A batch for a pool thread.
#[derive(Debug)]
pub(super) struct Job<T> {
    /// The lane, whose owner is to be woken when `wakes_owner`.
    pub(super) lane: usize,
    pub(super) item: T,
    pub(super) wakes_owner: bool,
}

impl<T, R> Schedule<T, R> {
    /// A schedule for `lanes` rings and `threads` permits. Every seat counts as called: its thread will arrive.
    pub(super) fn new(lanes: usize, threads: usize) -> Self {
        let lane =
            || Lane { phase: Phase::Idle, waiting: VecDeque::new(), returned: Vec::new(), owner_needs: None };
        Self {
            lanes: (0..lanes).map(|_| lane()).collect(),
            ready: VecDeque::with_capacity(lanes),
            idle: Vec::with_capacity(threads),
            called: threads,
            running: 0,
            threads,
            stage: Stage::Open,
        }
    }

    // The owner's side.

    /// Takes a permit for the owner itself; false when none is free, others wait for one, or something of the lane is
    /// ahead. [`Schedule::release`] gives it back.
    pub(super) fn claim(&mut self, lane: usize) -> bool {
        // A seat that is on its way would find nothing.
        let is_free = self.ready.is_empty() && self.running < self.threads;
        let lane = &mut self.lanes[lane];
        if !is_free || lane.phase != Phase::Idle || self.stage != Stage::Open {
            return false;
        }
        lane.phase = Phase::Running;
        self.running += 1;
        true
    }

    /// Gives the owner's permit back; says which seat to wake.
    pub(super) fn release(&mut self, lane: usize) -> Option<usize> {
        debug_assert_eq!(self.lanes[lane].phase, Phase::Running, "only what was claimed is released");
        debug_assert!(self.lanes[lane].waiting.is_empty(), "the owner offered while it handled");
        self.lanes[lane].phase = Phase::Idle;
        self.running -= 1;
        self.call_seat()
    }

    /// Hands a batch over; says which seat to wake.
    ///
    /// # Errors
    /// The batch, when there is no room or the schedule was abandoned.
    pub(super) fn offer(&mut self, lane: usize, item: T) -> Result<Option<usize>, T> {
        let at = lane;
        let lane = &mut self.lanes[at];
        if lane.waiting.len() >= WAITING_MAX || self.stage != Stage::Open {
            return Err(item);
        }
        lane.waiting.push_back(item);
        if lane.phase == Phase::Idle {
            lane.phase = Phase::Queued;
            self.ready.push_back(at);
        }
        Ok(self.call_seat())
    }

    /// Whether the owner has what it needs. If not, it must sleep until it is woken, and ask again.
    pub(super) fn has(&mut self, lane: usize, need: Need) -> bool {
        let at = &mut self.lanes[lane];
        let has = match need {
            Need::Room => at.waiting.len() < WAITING_MAX,
            Need::Rest => at.phase == Phase::Idle,
        };
        let has = has || self.stage != Stage::Open;
        at.owner_needs = if has { None } else { Some(need) };
        has
    }

    /// Moves what came back into `target`.
    pub(super) fn take_returned(&mut self, lane: usize, target: &mut Vec<R>) {
        target.append(&mut self.lanes[lane].returned);
    }

    // The pool's side.

    /// A pool thread has been called, or starts: it holds nothing and asks for work next.
    pub(super) fn arrive(&mut self) {
        self.called -= 1;
    }

    /// The next batch for a pool thread, if there is a permit for it. If there is not, the seat is called when there is.
    pub(super) fn next(&mut self) -> Option<Job<T>> {
        if self.running >= self.threads {
            return None;
        }
        let at = self.ready.pop_front()?;
        let lane = &mut self.lanes[at];
        let item = lane.waiting.pop_front()?;
        lane.phase = Phase::Running;
        self.running += 1;
        let wakes_owner = lane.owner_needs == Some(Need::Room);
        if wakes_owner {
            lane.owner_needs = None;
        }
        Some(Job { lane: at, item, wakes_owner })
    }

    /// A pool thread has handled a batch; `returned` goes to the owner. Says whether to wake it. The thread asks for work
    /// next, before anybody else may.
    pub(super) fn finish(&mut self, lane: usize, returned: R) -> bool {
        let at = lane;
        let lane = &mut self.lanes[at];
        debug_assert_eq!(lane.phase, Phase::Running, "only what is handled is finished");
        lane.returned.push(returned);
        self.running -= 1;
        if lane.waiting.is_empty() || self.stage != Stage::Open {
            lane.phase = Phase::Idle;
        } else {
            lane.phase = Phase::Queued;
            self.ready.push_back(at);
        }
        let wakes_owner = lane.phase == Phase::Idle && lane.owner_needs == Some(Need::Rest);
        if wakes_owner {
            lane.owner_needs = None;
        }
        wakes_owner
    }

    /// A pool thread found nothing and sleeps until its seat is called; false when it shall end instead.
    pub(super) fn sit(&mut self, seat: usize) -> bool {
        if self.stage == Stage::Closed {
            return false;
        }
        self.idle.push(seat);
        true
    }

    /// Whether a seat still sleeps, that is, was not called.
    pub(super) fn is_sitting(&self, seat: usize) -> bool {
        self.idle.contains(&seat)
    }

    // The end.

    /// Hands nothing out and takes nothing any more; every owner is to be woken, and takes back what waits.
    pub(super) fn abandon(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Abandoned;
        }
        self.ready.clear();
        for lane in &mut self.lanes {
            lane.owner_needs = None;
            if lane.phase == Phase::Queued {
                lane.phase = Phase::Idle;
            }
        }
    }

    /// Takes back what waits of a lane whose owner ends; nothing unless the schedule was abandoned.
    pub(super) fn withdraw(&mut self, lane: usize) -> Option<T> {
        let item = self.lanes[lane].waiting.pop_front();
        debug_assert!(item.is_none() || self.stage != Stage::Open, "an open schedule would have handled it");
        item
    }

    /// No owner is left: pool threads end as soon as they have nothing to handle. Every seat is to be woken.
    pub(super) fn close(&mut self) {
        self.stage = Stage::Closed;
        self.called += self.idle.len();
        self.idle.clear();
    }

    /// Calls a seat when a lane is ready, a permit is free, and nobody is on the way already.
    fn call_seat(&mut self) -> Option<usize> {
        if self.ready.len() <= self.called || self.running + self.called >= self.threads {
            return None;
        }
        let seat = self.idle.pop()?;
        self.called += 1;
        Some(seat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Every interleaving of owners and pool threads, each lock held for one step, until nobody can go on.
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct World {
        schedule: Schedule<u8, u8>,
        owners: Vec<Owner>,
        seats: Vec<Seat>,
        /// The batch that each lane is to handle next.
        expected: Vec<u8>,
        is_abandoned: bool,
    }

    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Owner {
        made: u8,
        returned: u8,
        withdrawn: Vec<u8>,
        at: OwnerAt,
    }

    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum OwnerAt {
        Work,
        Handling(u8),
        Asleep,
        Ended,
    }

    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum Seat {
        Called,
        Asleep,
        Handling(usize, u8),
        Ended,
    }

    /// What is explored.
    struct Plan {
        lanes: usize,
        threads: usize,
        items: u8,
        may_claim: bool,
        may_abandon: bool,
    }

    impl World {
        fn new(plan: &Plan) -> Self {
            Self {
                schedule: Schedule::new(plan.lanes, plan.threads),
                owners: vec![
                    Owner { made: 0, returned: 0, withdrawn: Vec::new(), at: OwnerAt::Work };
                    plan.lanes
                ],
                seats: vec![Seat::Called; plan.threads],
                expected: vec![0; plan.lanes],
                is_abandoned: false,
            }
        }

        /// All worlds that one step of one thread leads to.
        fn successors(&self, plan: &Plan) -> Vec<World> {
            let mut all = Vec::new();
            for lane in 0..plan.lanes {
                match self.owners[lane].at {
                    OwnerAt::Work if self.owners[lane].made < plan.items => {
                        if plan.may_claim {
                            all.extend(self.claimed(lane));
                        }
                        all.push(self.offered(lane));
                    }
                    OwnerAt::Work => all.push(self.settled(lane)),
                    OwnerAt::Handling(item) => all.push(self.released(lane, item)),
                    OwnerAt::Asleep | OwnerAt::Ended => {}
                }
            }
            for seat in 0..plan.threads {
                match self.seats[seat] {
                    Seat::Called => all.push(self.arrived(seat)),
                    Seat::Handling(lane, item) => all.push(self.finished(seat, lane, item)),
                    Seat::Asleep | Seat::Ended => {}
                }
            }
            if plan.may_abandon && !self.is_abandoned {
                all.push(self.abandoned());
            }
            all
        }

        fn claimed(&self, lane: usize) -> Option<World> {
            let mut world = self.clone();
            if !world.schedule.claim(lane) {
                return None;
            }
            let item = world.owners[lane].made;
            world.owners[lane].made += 1;
            world.owners[lane].at = OwnerAt::Handling(item);
            Some(world)
        }

        fn offered(&self, lane: usize) -> World {
            let mut world = self.clone();
            if !world.schedule.has(lane, Need::Room) {
                world.owners[lane].at = OwnerAt::Asleep;
                return world;
            }
            let item = world.owners[lane].made;
            match world.schedule.offer(lane, item) {
                Ok(called) => {
                    world.owners[lane].made += 1;
                    world.call(called);
                }
                Err(refused) => {
                    assert!(world.is_abandoned && refused == item, "there was room");
                    world.end(lane);
                }
            }
            world
        }

        fn settled(&self, lane: usize) -> World {
            let mut world = self.clone();
            if !world.schedule.has(lane, Need::Rest) {
                world.owners[lane].at = OwnerAt::Asleep;
                return world;
            }
            let mut returned = Vec::new();
            world.schedule.take_returned(lane, &mut returned);
            assert!(returned.is_sorted(), "given back in the order of the lane");
            world.owners[lane].returned += u8::try_from(returned.len()).expect("few");
            world.end(lane);
            world
        }

        fn released(&self, lane: usize, item: u8) -> World {
            let mut world = self.clone();
            world.handle(lane, item);
            world.owners[lane].at = OwnerAt::Work;
            world.owners[lane].returned += 1;
            let called = world.schedule.release(lane);
            world.call(called);
            world
        }

        fn arrived(&self, seat: usize) -> World {
            let mut world = self.clone();
            world.schedule.arrive();
            world.look_for_work(seat);
            world
        }

        fn finished(&self, seat: usize, lane: usize, item: u8) -> World {
            let mut world = self.clone();
            world.handle(lane, item);
            if world.schedule.finish(lane, item) {
                world.wake_owner(lane);
            }
            world.look_for_work(seat);
            world
        }

        fn abandoned(&self) -> World {
            let mut world = self.clone();
            world.is_abandoned = true;
            world.schedule.abandon();
            for owner in world.owners.iter_mut().filter(|owner| owner.at == OwnerAt::Asleep) {
                owner.at = OwnerAt::Work;
            }
            world
        }

        fn look_for_work(&mut self, seat: usize) {
            match self.schedule.next() {
                Some(job) => {
                    self.seats[seat] = Seat::Handling(job.lane, job.item);
                    if job.wakes_owner {
                        self.wake_owner(job.lane);
                    }
                }
                None if self.schedule.sit(seat) => self.seats[seat] = Seat::Asleep,
                None => self.seats[seat] = Seat::Ended,
            }
        }

        fn handle(&mut self, lane: usize, item: u8) {
            assert_eq!(self.expected[lane], item, "handled once and in order");
            self.expected[lane] += 1;
        }

        fn wake_owner(&mut self, lane: usize) {
            assert!(self.owners[lane].at == OwnerAt::Asleep, "woken for nothing");
            self.owners[lane].at = OwnerAt::Work;
        }

        fn call(&mut self, seat: Option<usize>) {
            if let Some(seat) = seat {
                assert!(self.seats[seat] == Seat::Asleep, "called for nothing");
                self.seats[seat] = Seat::Called;
            }
        }

        fn end(&mut self, lane: usize) {
            while let Some(item) = self.schedule.withdraw(lane) {
                self.owners[lane].withdrawn.push(item);
            }
            self.owners[lane].at = OwnerAt::Ended;
            if self.owners.iter().any(|owner| owner.at != OwnerAt::Ended) {
                return;
            }
            self.schedule.close();
            for seat in self.seats.iter_mut().filter(|seat| **seat == Seat::Asleep) {
                *seat = Seat::Called;
            }
        }

        fn check(&self, plan: &Plan) {
            let mut handling = vec![0; plan.lanes];
            for (lane, owner) in self.owners.iter().enumerate() {
                handling[lane] += usize::from(matches!(owner.at, OwnerAt::Handling(_)));
            }
            for seat in &self.seats {
                if let Seat::Handling(lane, _) = *seat {
                    handling[lane] += 1;
                }
            }
            assert!(handling.iter().all(|&count| count <= 1), "two threads handle one lane");
            assert!(handling.iter().sum::<usize>() <= plan.threads, "more handle than there are permits");
            let bound = |lane: &Lane<u8, u8>| lane.waiting.len() <= WAITING_MAX;
            assert!(self.schedule.lanes.iter().all(bound), "more waits than there is room for");
        }

        /// Nobody can go on: that must be the end, not a lost wake-up.
        fn check_end(&self, plan: &Plan) {
            assert!(self.owners.iter().all(|owner| owner.at == OwnerAt::Ended), "an owner sleeps for good");
            assert!(self.seats.iter().all(|seat| *seat == Seat::Ended), "a pool thread sleeps for good");
            for (owner, &handled) in self.owners.iter().zip(&self.expected) {
                let withdrawn: Vec<u8> = (handled..owner.made).collect();
                assert_eq!(owner.withdrawn, withdrawn, "what was not handled goes back");
                assert!(self.is_abandoned || handled == plan.items, "a batch was lost");
                assert!(self.is_abandoned || owner.returned == plan.items, "a batch did not return");
            }
        }
    }

    /// Explores everything; says how many worlds there are.
    fn explore(plan: &Plan) -> usize {
        let mut seen = HashSet::new();
        let mut open = vec![World::new(plan)];
        while let Some(world) = open.pop() {
            world.check(plan);
            let successors = world.successors(plan);
            if successors.is_empty() {
                world.check_end(plan);
            }
            for next in successors {
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        seen.len()
    }

    #[test]
    fn no_interleaving_loses_a_batch_or_a_wake_up_or_breaks_an_order() {
        for (lanes, threads, items) in [(1, 1, 4), (2, 1, 3), (1, 2, 3), (2, 2, 3), (3, 1, 2), (3, 2, 2)] {
            for may_claim in [false, true] {
                let plan = Plan { lanes, threads, items, may_claim, may_abandon: false };
                assert!(explore(&plan) > 20, "{lanes} lanes, {threads} threads");
            }
        }
    }

    #[test]
    fn giving_up_at_any_moment_ends_every_thread() {
        for (lanes, threads, items) in [(1, 1, 3), (2, 1, 2), (2, 2, 2), (3, 2, 1)] {
            let plan = Plan { lanes, threads, items, may_claim: true, may_abandon: true };
            assert!(explore(&plan) > 20, "{lanes} lanes, {threads} threads");
        }
    }

    #[test]
    fn a_busy_lane_goes_to_the_end_of_the_queue() {
        let mut schedule: Schedule<u32, ()> = Schedule::new(3, 1);
        schedule.arrive();
        assert!(schedule.next().is_none());
        assert!(schedule.sit(0));
        assert_eq!(schedule.offer(0, 0), Ok(Some(0)), "the sleeping seat is called");
        schedule.arrive();
        assert_eq!(schedule.next().expect("offered").lane, 0);
        // The loud lane always has another batch; the others have one each.
        assert_eq!(schedule.offer(0, 1), Ok(None));
        assert_eq!(schedule.offer(0, 2), Err(2), "one waits already");
        assert_eq!(schedule.offer(1, 0), Ok(None));
        assert_eq!(schedule.offer(2, 0), Ok(None));
        let mut order = Vec::new();
        let mut lane = 0;
        for _ in 0..3 {
            schedule.finish(lane, ());
            lane = schedule.next().expect("there is more").lane;
            order.push(lane);
        }
        assert_eq!(order, [1, 2, 0], "others come before its second batch");
        assert!(!schedule.claim(1), "no permit is free");
    }

    #[test]
    fn no_seat_is_called_for_nothing() {
        let mut schedule: Schedule<u32, ()> = Schedule::new(2, 2);
        for seat in 0..2 {
            schedule.arrive();
            assert!(schedule.next().is_none() && schedule.sit(seat));
        }
        assert!(schedule.claim(0));
        assert_eq!(schedule.release(0), None, "nothing is ready");
        assert_eq!(schedule.offer(0, 0), Ok(Some(1)), "the one that sat down last");
        assert_eq!(schedule.offer(1, 0), Ok(Some(0)), "one more for one more lane");
        schedule.arrive();
        assert_eq!(schedule.next().expect("offered").lane, 0);
        assert_eq!(schedule.offer(0, 1), Ok(None), "behind a batch that is being handled");
        assert!(!schedule.finish(0, ()), "nobody waits for it");
        assert_eq!(schedule.next().expect("offered").lane, 1, "turn by turn");
    }
}
