//! What is done when: the course of building, starting, replacing and starting again, as a pure machine. Time is an argument.

/// How long a program may take to say that it serves, in milliseconds. One that lives and does not say so (it knows nothing of
/// that) is taken to serve.
pub(super) const READY_MS_MAX: u64 = 3_000;

/// How long a program that ended by itself is left alone before it is started again, in milliseconds: at first, and at most. It
/// doubles with every time.
pub(super) const PAUSE_MS_FIRST: u64 = 250;
/// See [`PAUSE_MS_FIRST`].
pub(super) const PAUSE_MS_MAX: u64 = 10_000;

/// A program that served so long has started well: its next end is a first one. In milliseconds.
pub(super) const STEADY_MS: u64 = 10_000;

/// What the developer, and his browser, are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is being built.
    Building,
    /// It does not compile.
    Broken,
    /// It was started, and does not serve yet.
    Starting,
    /// It serves.
    Running,
    /// It has ended by a failure; it is started again in a moment, or when the sources change.
    Crashed,
    /// It has ended as one that was done.
    Ended,
}

/// What happened.
#[derive(Debug)]
pub(super) enum News {
    /// Sources have changed.
    Changed,
    /// The build of this number came to its end.
    Built(u64, Build),
    /// The program of this number serves.
    Ready(u64),
    /// The program of this number has ended, well or not.
    Gone(u64, bool),
    /// Time has passed.
    Time,
}

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Build {
    /// With a program, which can be told from other programs by this.
    Program(u64),
    /// With errors.
    Broken,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Build; it is the build of this number.
    Build(u64),
    /// End the build that is under way; nothing more will be heard of it.
    Abandon,
    /// Start what was built last, as the program of this number.
    Start(u64),
    /// Ask the program of this number to finish what is under way, and end.
    Stop(u64),
    /// Answer connections, because no program does.
    Answer,
    /// Leave connections to the program.
    Yield,
    /// Show this.
    Show(Phase),
}

struct Program {
    number: u64,
    since_ms: u64,
}

/// Where things stand.
#[derive(Default)]
pub(super) struct Course {
    builds: u64,
    programs: u64,
    is_building: bool,
    /// What was built last.
    built: Option<u64>,
    /// What the running program, or the one that starts, was built as.
    started: Option<u64>,
    current: Option<Program>,
    next: Option<Program>,
    again_at_ms: Option<u64>,
    pause_ms: u64,
    answers: bool,
}

impl Course {
    /// The beginning: with a build.
    pub(super) fn begin() -> (Self, Vec<Deed>) {
        let mut course = Self { pause_ms: PAUSE_MS_FIRST, ..Self::default() };
        let mut deeds = Vec::new();
        course.answer(&mut deeds);
        course.build(&mut deeds);
        (course, deeds)
    }

    /// The number of the program that serves; 0 while none does.
    pub(super) fn running(&self) -> u64 {
        self.current.as_ref().map_or(0, |program| program.number)
    }

    /// When [`News::Time`] is due next, in milliseconds.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let ready = self.next.as_ref().map(|next| next.since_ms + READY_MS_MAX);
        ready.into_iter().chain(self.again_at_ms).min()
    }

    /// Goes on.
    pub(super) fn hear(&mut self, news: &News, now_ms: u64) -> Vec<Deed> {
        let mut deeds = Vec::new();
        match *news {
            News::Changed => self.build(&mut deeds),
            News::Built(number, build) if self.is_building && number == self.builds => {
                self.is_building = false;
                self.is_built(build, now_ms, &mut deeds);
            }
            News::Ready(number) if is(&self.next, number) => self.is_ready(now_ms, &mut deeds),
            News::Gone(number, well) => self.is_gone(number, well, now_ms, &mut deeds),
            News::Time => self.time(now_ms, &mut deeds),
            // Of what was abandoned.
            News::Built(..) | News::Ready(_) => {}
        }
        deeds
    }

    fn build(&mut self, deeds: &mut Vec<Deed>) {
        if self.is_building {
            deeds.push(Deed::Abandon);
        }
        (self.is_building, self.again_at_ms) = (true, None);
        self.builds += 1;
        deeds.extend([Deed::Show(Phase::Building), Deed::Build(self.builds)]);
    }

    fn is_built(&mut self, build: Build, now_ms: u64, deeds: &mut Vec<Deed>) {
        let Build::Program(identity) = build else {
            return deeds.push(Deed::Show(Phase::Broken));
        };
        let is_same = self.started == Some(identity);
        self.built = Some(identity);
        match (&self.next, &self.current) {
            (Some(_), _) if is_same => deeds.push(Deed::Show(Phase::Starting)),
            (None, Some(_)) if is_same => deeds.push(Deed::Show(Phase::Running)),
            _ => {
                self.pause_ms = PAUSE_MS_FIRST;
                self.start(now_ms, deeds);
            }
        }
    }

    fn start(&mut self, now_ms: u64, deeds: &mut Vec<Deed>) {
        if let Some(next) = self.next.take() {
            deeds.push(Deed::Stop(next.number));
        }
        (self.started, self.again_at_ms) = (self.built, None);
        self.programs += 1;
        self.next = Some(Program { number: self.programs, since_ms: now_ms });
        deeds.extend([Deed::Start(self.programs), Deed::Show(Phase::Starting)]);
    }

    fn is_ready(&mut self, now_ms: u64, deeds: &mut Vec<Deed>) {
        let before = self.current.take();
        self.current = self.next.take().map(|next| Program { since_ms: now_ms, ..next });
        if std::mem::take(&mut self.answers) {
            deeds.push(Deed::Yield);
        }
        deeds.extend(before.map(|before| Deed::Stop(before.number)));
        if !self.is_building {
            deeds.push(Deed::Show(Phase::Running));
        }
    }

    fn is_gone(&mut self, number: u64, well: bool, now_ms: u64, deeds: &mut Vec<Deed>) {
        let was_next = is(&self.next, number);
        if was_next {
            self.next = None;
            // What is built again as it is shall be tried again.
            self.started = None;
        } else if is(&self.current, number) {
            let lived_ms = self.current.take().map_or(0, |program| now_ms.saturating_sub(program.since_ms));
            if lived_ms >= STEADY_MS {
                self.pause_ms = PAUSE_MS_FIRST;
            }
            if self.next.is_none() {
                self.started = None;
            }
            self.answer(deeds);
        } else {
            return; // One that was asked to end.
        }
        if self.is_building || self.next.is_some() {
            return;
        }
        deeds.push(Deed::Show(if well { Phase::Ended } else { Phase::Crashed }));
        // While the one before serves, only a change is worth another try.
        if !well && self.current.is_none() {
            self.again_at_ms = Some(now_ms + self.pause_ms);
            self.pause_ms = (self.pause_ms * 2).min(PAUSE_MS_MAX);
        }
    }

    fn time(&mut self, now_ms: u64, deeds: &mut Vec<Deed>) {
        if self.next.as_ref().is_some_and(|next| now_ms >= next.since_ms + READY_MS_MAX) {
            self.is_ready(now_ms, deeds);
        }
        if self.again_at_ms.is_some_and(|at| now_ms >= at) {
            self.start(now_ms, deeds);
        }
    }

    fn answer(&mut self, deeds: &mut Vec<Deed>) {
        if !std::mem::replace(&mut self.answers, true) {
            deeds.push(Deed::Answer);
        }
    }
}

fn is(program: &Option<Program>, number: u64) -> bool {
    program.as_ref().is_some_and(|program| program.number == number)
}

#[cfg(test)]
mod tests {
    use super::Deed::{Abandon, Answer, Show, Start, Stop, Yield};
    use super::Phase::{Broken, Building, Crashed, Ended, Running, Starting};
    use super::*;

    /// A course whose first program serves since time 0.
    fn serving() -> Course {
        let (mut course, deeds) = Course::begin();
        assert_eq!(deeds, [Answer, Show(Building), Deed::Build(1)]);
        assert_eq!(course.hear(&News::Built(1, Build::Program(7)), 0), [Start(1), Show(Starting)]);
        assert_eq!(course.running(), 0);
        assert_eq!(course.hear(&News::Ready(1), 0), [Yield, Show(Running)]);
        assert_eq!((course.running(), course.due_ms()), (1, None));
        course
    }

    #[test]
    fn the_old_program_goes_on_until_the_new_one_serves() {
        let mut course = serving();
        assert_eq!(course.hear(&News::Changed, 10), [Show(Building), Deed::Build(2)]);
        assert_eq!(course.hear(&News::Built(2, Build::Program(8)), 20), [Start(2), Show(Starting)]);
        assert_eq!(course.running(), 1);
        assert_eq!(course.hear(&News::Ready(2), 30), [Stop(1), Show(Running)]);
        assert_eq!(course.running(), 2);
        assert_eq!(course.hear(&News::Gone(1, true), 40), []);
    }

    #[test]
    fn a_build_that_fails_changes_nothing_and_one_that_changes_nothing_starts_nothing() {
        let mut course = serving();
        course.hear(&News::Changed, 10);
        assert_eq!(course.hear(&News::Built(2, Build::Broken), 20), [Show(Broken)]);
        assert_eq!(course.running(), 1);
        course.hear(&News::Changed, 30);
        assert_eq!(course.hear(&News::Built(3, Build::Program(7)), 40), [Show(Running)]);
    }

    #[test]
    fn a_change_during_a_build_begins_it_anew() {
        let mut course = serving();
        course.hear(&News::Changed, 10);
        assert_eq!(course.hear(&News::Changed, 20), [Abandon, Show(Building), Deed::Build(3)]);
        assert_eq!(course.hear(&News::Built(2, Build::Program(8)), 30), []);
        assert_eq!(course.hear(&News::Built(3, Build::Program(9)), 40), [Start(2), Show(Starting)]);
        // Another one before it serves: the one that starts is not wanted any more.
        course.hear(&News::Changed, 50);
        assert_eq!(course.hear(&News::Built(4, Build::Program(10)), 60), [Stop(2), Start(3), Show(Starting)]);
        assert_eq!(course.hear(&News::Ready(2), 61), []);
        assert_eq!(course.hear(&News::Gone(2, false), 62), []);
        assert_eq!(course.hear(&News::Ready(3), 70), [Stop(1), Show(Running)]);
    }

    #[test]
    fn one_that_crashes_is_started_again_ever_later() {
        let mut course = serving();
        let mut now = 100;
        let mut pauses = Vec::new();
        for number in 1..9 {
            let deeds = course.hear(&News::Gone(number, false), now);
            let expected = if number == 1 { vec![Answer, Show(Crashed)] } else { vec![Show(Crashed)] };
            assert_eq!(deeds, expected);
            let due = course.due_ms().expect("another try");
            assert_eq!(course.hear(&News::Time, due - 1), []);
            assert_eq!(course.hear(&News::Time, due), [Start(number + 1), Show(Starting)]);
            pauses.push(due - now);
            now = due;
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(course.hear(&News::Ready(9), now), [Yield, Show(Running)]);
        now += STEADY_MS;
        assert_eq!(course.hear(&News::Gone(9, false), now), [Answer, Show(Crashed)]);
        assert_eq!(course.due_ms(), Some(now + PAUSE_MS_FIRST));
        // A change is tried at once.
        assert_eq!(course.hear(&News::Changed, now), [Show(Building), Deed::Build(2)]);
        assert_eq!(course.due_ms(), None);
        assert_eq!(course.hear(&News::Built(2, Build::Program(7)), now), [Start(10), Show(Starting)]);
    }

    #[test]
    fn one_that_is_done_is_not_started_again() {
        let mut course = serving();
        assert_eq!(course.hear(&News::Gone(1, true), 10), [Answer, Show(Ended)]);
        assert_eq!(course.due_ms(), None);
    }

    #[test]
    fn a_new_program_that_cannot_start_leaves_the_old_one() {
        let mut course = serving();
        course.hear(&News::Changed, 10);
        course.hear(&News::Built(2, Build::Program(8)), 20);
        assert_eq!(course.hear(&News::Gone(2, false), 30), [Show(Crashed)]);
        assert_eq!((course.running(), course.due_ms()), (1, None));
        // Built again as it is, it gets another chance.
        course.hear(&News::Changed, 40);
        assert_eq!(course.hear(&News::Built(3, Build::Program(8)), 50), [Start(3), Show(Starting)]);
    }

    #[test]
    fn the_old_one_may_end_while_the_new_one_starts() {
        let mut course = serving();
        course.hear(&News::Changed, 10);
        course.hear(&News::Built(2, Build::Program(8)), 20);
        assert_eq!(course.hear(&News::Gone(1, false), 30), [Answer]);
        assert_eq!(course.hear(&News::Ready(2), 40), [Yield, Show(Running)]);
    }

    #[test]
    fn one_that_does_not_say_that_it_serves_is_taken_to_serve() {
        let (mut course, _) = Course::begin();
        course.hear(&News::Built(1, Build::Program(7)), 50);
        assert_eq!(course.due_ms(), Some(50 + READY_MS_MAX));
        assert_eq!(course.hear(&News::Time, 49 + READY_MS_MAX), []);
        assert_eq!(course.hear(&News::Time, 50 + READY_MS_MAX), [Yield, Show(Running)]);
    }
}
