//! The standard library's locks, each with a tag that says when it is taken and left.

use crate::tracer::Tag;
use std::any::type_name;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult, WaitTimeoutResult};
use std::time::Duration;

/// As [`std::sync::Mutex`].
pub struct Mutex<T: ?Sized> {
    tag: Tag,
    inner: std::sync::Mutex<T>,
}

/// As [`std::sync::RwLock`].
pub struct RwLock<T: ?Sized> {
    tag: Tag,
    inner: std::sync::RwLock<T>,
}

/// As [`std::sync::Condvar`].
#[derive(Debug, Default)]
pub struct Condvar {
    inner: std::sync::Condvar,
}

/// Declares a guard that tells its lock's tag when it goes.
macro_rules! guards {
    ($($name:ident)*) => { $(
        #[doc = concat!("As [`std::sync::", stringify!($name), "`].")]
        #[must_use = "the lock is let go of at once"]
        pub struct $name<'a, T: ?Sized> {
            tag: &'a Tag,
            /// There until it is given to a condition or goes.
            inner: Option<std::sync::$name<'a, T>>,
        }

        impl<'a, T: ?Sized> $name<'a, T> {
            fn of(
                tag: &'a Tag,
                at: &'static Location<'static>,
                taken: LockResult<std::sync::$name<'a, T>>,
            ) -> LockResult<Self> {
                tag.taken(type_name::<T>(), at);
                match taken {
                    Ok(inner) => Ok(Self { tag, inner: Some(inner) }),
                    Err(poisoned) => {
                        let inner = Some(poisoned.into_inner());
                        Err(PoisonError::new(Self { tag, inner }))
                    }
                }
            }

            fn tried(
                tag: &'a Tag,
                at: &'static Location<'static>,
                taken: TryLockResult<std::sync::$name<'a, T>>,
            ) -> TryLockResult<Self> {
                match taken {
                    Ok(inner) => Ok(Self::of(tag, at, Ok(inner))?),
                    Err(TryLockError::Poisoned(poisoned)) => Ok(Self::of(tag, at, Err(poisoned))?),
                    Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
                }
            }
        }

        impl<T: ?Sized> Drop for $name<'_, T> {
            fn drop(&mut self) {
                if self.inner.take().is_some() {
                    self.tag.left();
                }
            }
        }

        impl<T: ?Sized> Deref for $name<'_, T> {
            type Target = T;

            fn deref(&self) -> &T {
                self.inner.as_ref().unwrap_or_else(|| unreachable!("it is there as long as it is seen"))
            }
        }

        impl<T: ?Sized + fmt::Debug> fmt::Debug for $name<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&**self, f)
            }
        }
    )* };
}

guards! { MutexGuard RwLockReadGuard RwLockWriteGuard }

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().unwrap_or_else(|| unreachable!("it is there as long as it is seen"))
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().unwrap_or_else(|| unreachable!("it is there as long as it is seen"))
    }
}

impl<T> Mutex<T> {
    /// As [`std::sync::Mutex::new`]. Where it is called says what kind of lock this is.
    #[track_caller]
    pub const fn new(value: T) -> Self {
        Self { tag: Tag::new(), inner: std::sync::Mutex::new(value) }
    }

    /// As [`std::sync::Mutex::into_inner`].
    ///
    /// # Errors
    /// A panic under the lock.
    pub fn into_inner(self) -> LockResult<T> {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// As [`std::sync::Mutex::lock`].
    ///
    /// # Errors
    /// A panic under the lock.
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let at = Location::caller();
        self.tag.wanted(type_name::<T>(), at);
        MutexGuard::of(&self.tag, at, self.inner.lock())
    }

    /// As [`std::sync::Mutex::try_lock`].
    ///
    /// # Errors
    /// Somebody has it, or a panic under the lock.
    #[track_caller]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        MutexGuard::tried(&self.tag, Location::caller(), self.inner.try_lock())
    }

    /// As [`std::sync::Mutex::get_mut`].
    ///
    /// # Errors
    /// A panic under the lock.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.inner.get_mut()
    }

    /// As [`std::sync::Mutex::is_poisoned`].
    pub fn is_poisoned(&self) -> bool {
        self.inner.is_poisoned()
    }

    /// As [`std::sync::Mutex::clear_poison`].
    pub fn clear_poison(&self) {
        self.inner.clear_poison();
    }
}

impl<T> RwLock<T> {
    /// As [`std::sync::RwLock::new`]. Where it is called says what kind of lock this is.
    #[track_caller]
    pub const fn new(value: T) -> Self {
        Self { tag: Tag::new(), inner: std::sync::RwLock::new(value) }
    }

    /// As [`std::sync::RwLock::into_inner`].
    ///
    /// # Errors
    /// A panic under the lock.
    pub fn into_inner(self) -> LockResult<T> {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// As [`std::sync::RwLock::read`].
    ///
    /// # Errors
    /// A panic under the lock.
    #[track_caller]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        let at = Location::caller();
        self.tag.wanted(type_name::<T>(), at);
        RwLockReadGuard::of(&self.tag, at, self.inner.read())
    }

    /// As [`std::sync::RwLock::write`].
    ///
    /// # Errors
    /// A panic under the lock.
    #[track_caller]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        let at = Location::caller();
        self.tag.wanted(type_name::<T>(), at);
        RwLockWriteGuard::of(&self.tag, at, self.inner.write())
    }

    /// As [`std::sync::RwLock::try_read`].
    ///
    /// # Errors
    /// Somebody has it, or a panic under the lock.
    #[track_caller]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        RwLockReadGuard::tried(&self.tag, Location::caller(), self.inner.try_read())
    }

    /// As [`std::sync::RwLock::try_write`].
    ///
    /// # Errors
    /// Somebody has it, or a panic under the lock.
    #[track_caller]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        RwLockWriteGuard::tried(&self.tag, Location::caller(), self.inner.try_write())
    }

    /// As [`std::sync::RwLock::get_mut`].
    ///
    /// # Errors
    /// A panic under the lock.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.inner.get_mut()
    }
}

impl<T: Default> Default for Mutex<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Default> Default for RwLock<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

/// Lets go of a lock for as long as `wait` takes.
#[track_caller]
fn without<'a, T: ?Sized, R>(
    mut guard: MutexGuard<'a, T>,
    wait: impl FnOnce(std::sync::MutexGuard<'a, T>) -> LockResult<(std::sync::MutexGuard<'a, T>, R)>,
) -> LockResult<(MutexGuard<'a, T>, R)> {
    let (tag, at) = (guard.tag, Location::caller());
    let Some(inner) = guard.inner.take() else { unreachable!("it is there as long as it is seen") };
    tag.left();
    // It is waited for again, whatever else is held meanwhile.
    tag.wanted(type_name::<T>(), at);
    let again = |(inner, more)| match MutexGuard::of(tag, at, Ok(inner)) {
        Ok(guard) => (guard, more),
        Err(poisoned) => (poisoned.into_inner(), more),
    };
    wait(inner).map(again).map_err(|poisoned| PoisonError::new(again(poisoned.into_inner())))
}

impl Condvar {
    /// As [`std::sync::Condvar::new`].
    #[must_use]
    pub const fn new() -> Self {
        Self { inner: std::sync::Condvar::new() }
    }

    /// As [`std::sync::Condvar::wait`].
    ///
    /// # Errors
    /// A panic under the lock.
    #[track_caller]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let plain = |guard| match self.inner.wait(guard) {
            Ok(guard) => Ok((guard, ())),
            Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), ()))),
        };
        without(guard, plain)
            .map(|(guard, ())| guard)
            .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0))
    }

    /// As [`std::sync::Condvar::wait_while`].
    ///
    /// # Errors
    /// A panic under the lock.
    #[track_caller]
    pub fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`std::sync::Condvar::wait_timeout`].
    ///
    /// # Errors
    /// A panic under the lock.
    #[track_caller]
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        duration: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        without(guard, |guard| self.inner.wait_timeout(guard, duration))
    }

    /// As [`std::sync::Condvar::wait_timeout_while`].
    ///
    /// # Errors
    /// A panic under the lock.
    #[track_caller]
    pub fn wait_timeout_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        duration: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        without(guard, |guard| self.inner.wait_timeout_while(guard, duration, condition))
    }

    /// As [`std::sync::Condvar::notify_one`].
    pub fn notify_one(&self) {
        self.inner.notify_one();
    }

    /// As [`std::sync::Condvar::notify_all`].
    pub fn notify_all(&self) {
        self.inner.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Output};
    use std::sync::{Arc, mpsc};

    /// Says which of the programs below a test's own program runs.
    const PART: &str = "RINGWAY_LOCK_PART";

    /// Runs one of [`the_parts`] in a program of its own: that one may be aborted.
    fn played(part: &str) -> (Output, String) {
        let own = std::env::current_exe().expect("a test has a program");
        let output = Command::new(own)
            .args(["--exact", "traced::tests::the_parts", "--nocapture"])
            .env(PART, part)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output, said)
    }

    /// Does nothing in an ordinary run.
    #[test]
    fn the_parts() {
        match std::env::var(PART).as_deref() {
            Ok("inversion") => inversion(),
            Ok("again") => {
                let lock = Mutex::new(0);
                let _first = lock.lock().expect("nobody panics");
                let _second = lock.lock().expect("it never comes so far");
            }
            Ok("circle") => circle(),
            _ => {}
        }
    }

    fn takes_first_then_second(first: &Mutex<u8>, second: &Mutex<u16>) {
        let _first = first.lock().expect("nobody panics");
        let _second = second.lock().expect("nobody panics");
    }

    fn takes_second_then_first(first: &Mutex<u8>, second: &Mutex<u16>) {
        let _second = second.lock().expect("nobody panics");
        let _first = first.lock().expect("nobody panics");
    }

    /// The two orders, one after the other: nothing hangs.
    fn inversion() {
        let (first, second) = (Mutex::new(1_u8), Mutex::new(2_u16));
        takes_first_then_second(&first, &second);
        std::thread::scope(|scope| {
            let other = std::thread::Builder::new().name("the-other".to_owned());
            other.spawn_scoped(scope, || takes_second_then_first(&first, &second)).expect("a thread");
        });
    }

    fn circle() {
        let locks = (Mutex::new(1_u8), RwLock::new(2_u16), Mutex::new(3_u32));
        {
            let _first = locks.0.lock().expect("nobody panics");
            let _second = locks.1.write().expect("nobody panics");
        }
        {
            let _second = locks.1.read().expect("nobody panics");
            let _third = locks.2.lock().expect("nobody panics");
        }
        let _third = locks.2.lock().expect("nobody panics");
        let _first = locks.0.lock().expect("it never comes so far");
    }

    #[test]
    fn an_inversion_ends_the_program_and_both_stacks_are_said() {
        let (output, said) = played("inversion");
        assert!(!output.status.success(), "{said}");
        for part in ["contradictory", "the-other", "takes_second_then_first", "takes_first_then_second"] {
            assert!(said.contains(part), "{part} is missing: {said}");
        }
    }

    #[test]
    fn a_circle_of_three_and_a_thread_that_waits_for_itself_are_found() {
        let (output, said) = played("circle");
        assert!(!output.status.success() && said.matches("but before").count() == 2, "{said}");
        let (output, said) = played("again");
        assert!(!output.status.success() && said.contains("waits for itself"), "{said}");
    }

    #[test]
    fn trying_is_no_order_and_not_getting_no_inversion() {
        let (first, second) = (Arc::new(Mutex::new(1_u8)), Mutex::new(2_u16));
        takes_first_then_second(&first, &second);
        let (held, is_held) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let theirs = Arc::clone(&first);
        let other = std::thread::spawn(move || {
            let _first = theirs.lock().expect("nobody panics");
            held.send(()).expect("the test waits");
            gate.recv().expect("the test says when");
        });
        is_held.recv().expect("it is taken");
        {
            let _second = second.lock().expect("nobody panics");
            assert!(matches!(first.try_lock(), Err(TryLockError::WouldBlock)));
            release.send(()).expect("the thread waits");
            other.join().expect("nobody panics");
            assert!(first.try_lock().is_ok(), "the other way round, but nobody waits for it");
        }
        takes_first_then_second(&first, &second);
    }

    #[test]
    fn locks_of_one_kind_are_told_apart() {
        let locks: Vec<Mutex<usize>> = (0..64).map(Mutex::new).collect();
        for pair in locks.windows(2) {
            let sum = *pair[0].lock().expect("nobody panics") + *pair[1].lock().expect("nobody panics");
            assert!(sum < 128);
            let (_low, _high) = (pair[0].lock(), pair[1].lock());
        }
    }

    #[test]
    fn a_hundred_thousand_sequences_from_many_threads_agree() {
        let locks = (Mutex::new(0_u64), Mutex::new(0_i64), RwLock::new(0_i32));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25_000 {
                        let mut first = locks.0.lock().expect("nobody panics");
                        *locks.1.lock().expect("nobody panics") += 1;
                        *first += u64::from(locks.2.read().is_ok());
                    }
                });
            }
        });
        assert_eq!(locks.0.into_inner().expect("nobody panics"), 100_000);
    }

    #[test]
    fn a_condition_gives_its_lock_back_for_as_long_as_it_waits() {
        let (queue, news) = (Mutex::new(Vec::new()), Condvar::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                queue.lock().expect("nobody panics").push(7);
                news.notify_all();
            });
            let mut waiting = queue.lock().expect("nobody panics");
            while waiting.is_empty() {
                waiting = news.wait(waiting).expect("nobody panics");
            }
            assert_eq!(waiting.pop(), Some(7));
            let (waiting, outcome) =
                news.wait_timeout(waiting, Duration::from_millis(1)).expect("nobody panics");
            assert!(waiting.is_empty() && (outcome.timed_out() || !outcome.timed_out()));
            drop(waiting);
            // Nothing is held any more: taking it again is no mistake.
            drop(queue.lock());
        });
    }
}
