//! An upstream as all workers of a process see it: its backends, who waits for them, and who is told what becomes of them.

use crate::log::errors::ErrorLog;
use crate::upstream::backend::Backend;
use crate::upstream::balance::{Candidate, Picker};
use crate::upstream::health::{Change, Rules, Standing};
use crate::upstream::key::{Key, Tried};
use crate::upstream::notify::Notify;
use crate::upstream::options::{GroupOptions, Origin, Speaks, TryRules};
use crate::upstream::queue::Queue;
use ringway_lock::Mutex;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, PoisonError, Weak};

/// An upstream: backends that do the same work. One for all workers of a process.
pub struct Group {
    options: GroupOptions,
    backends: Vec<Arc<Backend>>,
    pub(super) rules: Rules,
    pub(super) queue: Arc<Queue>,
    log: Mutex<Option<ErrorLog>>,
    /// Whether a worker looks after the backends.
    pub(super) is_kept: AtomicBool,
    /// Those that look after the backends, to be told when the group is gone.
    keepers: Audience,
    /// Those that look after kept connections, to be told when room is wanted.
    sweepers: Audience,
    /// Sets workers apart.
    pub(super) workers: AtomicU64,
}

/// Who gets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// This one; whether it is on trial, and this is the trial.
    Place(usize, bool),
    /// Those that are alive have as much to do as they may have.
    Full,
    /// Those that are alive were tried already.
    AllTried,
    /// None is alive, or an operator has taken all out.
    NoneAlive,
}

impl Group {
    /// An upstream. Backends that it has in common with `previous`, and who waits for them, are taken over from there, with
    /// their health and figures.
    ///
    /// # Errors
    /// A sentence when no upstream can be made of the options.
    pub fn new(
        options: GroupOptions,
        previous: Option<&Self>,
        log: Option<ErrorLog>,
    ) -> Result<Arc<Self>, String> {
        options.check()?;
        let known = |origin: &Origin| {
            let backends = previous.iter().flat_map(|group| &group.backends);
            backends.clone().find(|backend| backend.origin() == origin).map(Arc::clone)
        };
        let backend =
            |origin: &Origin| known(origin).unwrap_or_else(|| Arc::new(Backend::new(origin.clone())));
        let backends = options.backends.iter().map(|options| backend(&options.origin)).collect();
        let rules = Rules::new(options.passive, options.check.as_ref());
        Ok(Arc::new(Self {
            options,
            backends,
            rules,
            queue: previous.map_or_else(Arc::default, |group| Arc::clone(&group.queue)),
            log: Mutex::new(log),
            is_kept: AtomicBool::new(false),
            keepers: Audience::default(),
            sweepers: Audience::default(),
            workers: AtomicU64::new(0),
        }))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// What it was made of.
    #[must_use]
    pub const fn options(&self) -> &GroupOptions {
        &self.options
    }

    /// What is spoken there.
    #[must_use]
    pub const fn speaks(&self) -> Speaks {
        self.options.speaks
    }

    /// What its callers keep to with each try.
    #[must_use]
    pub const fn tries(&self) -> TryRules {
        self.options.tries
    }

    /// Its backends, in their order.
    #[must_use]
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// Requests that wait for a backend with room.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Has the error log told what becomes of the backends; it may be another one after a reload.
    pub fn set_log(&self, log: Option<ErrorLog>) {
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = log;
    }

    /// Takes a backend out, or in again: it gets no more requests, those under way are finished. Whether there is one of that
    /// address.
    pub fn drain(&self, address: &str, is_drained: bool) -> bool {
        let Some(backend) = self.backends.iter().find(|backend| backend.name() == address) else {
            return false;
        };
        backend.set_drained(is_drained);
        self.sweepers.tell();
        self.queue.call_all();
        true
    }

    /// Chooses a backend for a request. `has_idle` says whether this worker keeps a connection to the one of a place.
    pub(super) fn choose(
        &self,
        picker: &mut Picker,
        candidates: &mut Vec<Candidate>,
        key: &Key,
        tried: &Tried,
        has_idle: &dyn Fn(usize) -> bool,
    ) -> Chosen {
        let mut is_any_alive = false;
        for tier in [Tier::Main, Tier::Backup, Tier::LastResort] {
            let mut is_full = false;
            candidates.clear();
            for (place, backend) in self.backends.iter().enumerate() {
                let is_here = self.is_in(tier, place, backend);
                is_any_alive |= is_here;
                let is_wanted = is_here && !tried.has(place);
                let has_room = is_wanted && self.has_room(place, backend, tried, has_idle);
                is_full |= is_wanted && !has_room;
                candidates.push(self.candidate(place, backend, has_room));
            }
            match self.pick(tier, picker, candidates, key) {
                Some((place, is_trial)) => return Chosen::Place(place, is_trial),
                None if is_full => return Chosen::Full,
                None => {}
            }
        }
        if is_any_alive { Chosen::AllTried } else { Chosen::NoneAlive }
    }

    /// Says what has become of a backend, and has it seen to.
    pub(super) fn note(&self, backend: &Backend, change: Option<Change>) {
        match change {
            Some(Change::WentDown) => {
                let reason = backend.latest_reason();
                self.say_error(format_args!("{} is down: {reason}", self.named(backend)));
            }
            Some(Change::CameUp) => {
                if let Some(log) = self.log() {
                    log.notice("upstream", format_args!("{} is up again", self.named(backend)));
                }
            }
            None => {}
        }
        if change.is_some() {
            // Who waits for room may have it elsewhere now.
            self.queue.call_all();
        }
    }

    /// Says that a request failed at a backend.
    pub(super) fn say_failed(&self, backend: &Backend, reason: &dyn fmt::Display) {
        if let Some(log) = self.log() {
            // A subject of its own: however many there are, they leave what is said of standings its room.
            log.warn("backend", format_args!("{}: {reason}", self.named(backend)));
        }
    }

    pub(super) fn say_error(&self, message: fmt::Arguments<'_>) {
        if let Some(log) = self.log() {
            log.error("upstream", message);
        }
    }

    pub(super) fn say_notice(&self, message: fmt::Arguments<'_>) {
        if let Some(log) = self.log() {
            log.notice("upstream", message);
        }
    }

    /// What a backend is called in messages.
    pub(super) fn named(&self, backend: &Backend) -> String {
        format!("backend {} of {}", backend.name(), self.name())
    }

    /// Tells one more when the group is gone, for as long as that one lives.
    pub(super) fn add_keeper(&self, keeper: &Arc<Notify>) {
        self.keepers.add(keeper);
    }

    /// Tells one more when room is wanted, for as long as that one lives.
    pub(super) fn add_sweeper(&self, sweeper: &Arc<Notify>) {
        self.sweepers.add(sweeper);
        self.keepers.add(sweeper);
    }

    /// Has connections closed that are kept for nobody, if there are any.
    pub(super) fn want_room(&self) {
        if self.backends.iter().any(|backend| backend.connections() > backend.in_flight()) {
            self.sweepers.tell();
        }
    }

    fn log(&self) -> Option<ErrorLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_in(&self, tier: Tier, place: usize, backend: &Backend) -> bool {
        if backend.is_drained() {
            return false;
        }
        let is_backup = self.options.backends[place].is_backup;
        match (tier, backend.standing()) {
            (Tier::Main, Standing::Up | Standing::Trial) => !is_backup,
            (Tier::Backup, Standing::Up | Standing::Trial) => is_backup,
            // Requests have failed there; but nothing else is left, and it may be better than nothing.
            (Tier::LastResort, Standing::Down | Standing::Trial) => true,
            _ => false,
        }
    }

    fn has_room(
        &self,
        place: usize,
        backend: &Backend,
        tried: &Tried,
        has_idle: &dyn Fn(usize) -> bool,
    ) -> bool {
        let most = self.options.connections_max;
        if most == 0 {
            return true;
        }
        match self.options.speaks {
            Speaks::Http2 => backend.in_flight() < most,
            _ => backend.connections() < most || (tried.may_reuse(place) && has_idle(place)),
        }
    }

    fn candidate(&self, place: usize, backend: &Backend, is_able: bool) -> Candidate {
        if !is_able {
            return Candidate::default();
        }
        let weight = u64::from(self.options.backends[place].weight);
        Candidate {
            is_able,
            weight: (weight * backend.share(self.options.slow_start_ms)).max(1),
            in_flight: backend.in_flight(),
            hash: backend.hash(),
        }
    }

    /// Picks one of the candidates; one on trial only if the trial is free, unless nothing else is left.
    fn pick(
        &self,
        tier: Tier,
        picker: &mut Picker,
        candidates: &mut [Candidate],
        key: &Key,
    ) -> Option<(usize, bool)> {
        loop {
            let place = picker.pick(candidates, key.source_for(self.options.balance))?;
            let backend = &self.backends[place];
            if backend.standing() != Standing::Trial {
                return Some((place, tier == Tier::LastResort));
            }
            if backend.begin_trial() {
                return Some((place, true));
            }
            if tier == Tier::LastResort {
                return Some((place, true));
            }
            candidates[place].is_able = false;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tier {
    Main,
    Backup,
    LastResort,
}

impl Drop for Group {
    fn drop(&mut self) {
        self.keepers.tell();
    }
}

/// Tasks that are told something.
#[derive(Debug, Default)]
struct Audience(Mutex<Vec<Weak<Notify>>>);

impl Audience {
    fn add(&self, notify: &Arc<Notify>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|notify| notify.strong_count() > 0);
        all.push(Arc::downgrade(notify));
    }

    fn tell(&self) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.iter().filter_map(Weak::upgrade).for_each(|notify| notify.tell());
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name())
            .field("backends", &self.backends)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::balance::Balance;
    use crate::upstream::options::{BackendOptions, PassiveRules};

    struct Stand {
        group: Arc<Group>,
        picker: Picker,
        candidates: Vec<Candidate>,
    }

    impl Stand {
        fn new(change: impl FnOnce(&mut GroupOptions)) -> Self {
            let backends = (1..4).map(|port| format!("127.0.0.1:{port}").parse().unwrap());
            let mut options = GroupOptions::new("app", backends.map(BackendOptions::new).collect());
            options.balance = Balance::FirstAlive;
            options.passive = PassiveRules { fail_max: 1, ..PassiveRules::default() };
            change(&mut options);
            let group = Group::new(options, None, None).unwrap();
            let picker = Picker::new(group.options.balance, 3, 0);
            Self { group, picker, candidates: Vec::new() }
        }

        fn choose(&mut self, tried: &Tried) -> Chosen {
            self.group.choose(&mut self.picker, &mut self.candidates, &Key::default(), tried, &|_| false)
        }

        fn first(&mut self) -> Chosen {
            self.choose(&Tried::default())
        }

        fn fail(&self, place: usize) {
            let backend = &self.group.backends[place];
            backend.failed(&self.group.rules, "on purpose");
        }
    }

    #[test]
    fn those_that_are_down_or_drained_get_nothing_while_others_are_there() {
        let mut stand = Stand::new(|_| {});
        assert_eq!(stand.first(), Chosen::Place(0, false));
        stand.fail(0);
        assert_eq!(stand.first(), Chosen::Place(1, false));
        assert!(stand.group.drain("127.0.0.1:2", true) && !stand.group.drain("127.0.0.1:9", true));
        assert_eq!(stand.first(), Chosen::Place(2, false));
        stand.fail(2);
        assert_eq!(stand.first(), Chosen::Place(0, true), "better than nothing");
        assert!(stand.group.drain("127.0.0.1:1", true) && stand.group.drain("127.0.0.1:3", true));
        assert_eq!(stand.first(), Chosen::NoneAlive);
        assert!(stand.group.drain("127.0.0.1:2", false));
        assert_eq!(stand.first(), Chosen::Place(1, false));
    }

    #[test]
    fn backups_come_when_nobody_else_is_there() {
        let mut stand = Stand::new(|options| options.backends[0].is_backup = true);
        assert_eq!(stand.first(), Chosen::Place(1, false));
        stand.fail(1);
        assert_eq!(stand.first(), Chosen::Place(2, false));
        stand.fail(2);
        assert_eq!(stand.first(), Chosen::Place(0, false));
    }

    #[test]
    fn what_was_tried_is_not_tried_again() {
        let mut stand = Stand::new(|_| {});
        let mut tried = Tried::default();
        for place in 0..3 {
            assert_eq!(stand.choose(&tried), Chosen::Place(place, false));
            tried.note(place, false);
        }
        assert_eq!(stand.choose(&tried), Chosen::AllTried);
    }

    #[test]
    fn a_full_backend_gets_nothing_and_all_full_wait_for_room_rather_than_for_a_backup() {
        let mut stand = Stand::new(|options| {
            options.connections_max = 1;
            options.backends[2].is_backup = true;
        });
        let group = Arc::clone(&stand.group);
        assert!(group.backends[0].open_below(1));
        assert_eq!(stand.first(), Chosen::Place(1, false));
        assert!(group.backends[1].open_below(1));
        assert_eq!(stand.first(), Chosen::Full);
        group.backends[1].closed();
        assert_eq!(stand.first(), Chosen::Place(1, false));
    }

    #[test]
    fn one_on_trial_gets_one_request_at_a_time() {
        let mut stand = Stand::new(|_| {});
        stand.fail(0);
        stand.group.backends[0].probed(&stand.group.rules, None);
        assert_eq!(stand.first(), Chosen::Place(0, true));
        assert_eq!(stand.first(), Chosen::Place(1, false));
        assert_eq!(stand.group.backends[0].answered(true), Some(Change::CameUp));
        assert_eq!([stand.first(), stand.first()], [Chosen::Place(0, false); 2]);
    }

    #[test]
    fn a_successor_keeps_what_it_has_in_common() {
        let stand = Stand::new(|_| {});
        stand.fail(1);
        stand.group.drain("127.0.0.1:3", true);
        let options = stand.group.options.clone();
        let more = GroupOptions { backends: options.backends[1..].to_vec(), ..options.clone() };
        let next = Group::new(more, Some(&stand.group), None).unwrap();
        assert_eq!(next.backends[0].standing(), Standing::Down);
        assert!(next.backends[1].is_drained());
        let back = Group::new(options, Some(&next), None).unwrap();
        assert!(!Arc::ptr_eq(&back.backends[0], &stand.group.backends[0]));
        assert!(Arc::ptr_eq(&back.backends[1], &stand.group.backends[1]));
    }
}
