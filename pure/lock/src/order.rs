//! Which lock was taken while which was held, and whether a new order contradicts those before.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// Most orders that are remembered. What comes later is compared, and forgotten.
const ORDERS_MAX: usize = 1 << 20;

/// The orders seen so far between locks named by `N`; `E` tells of each when it was seen first.
#[derive(Debug)]
pub(crate) struct Orders<N, E> {
    after: HashMap<N, HashMap<N, E>>,
    count: usize,
}

/// A way of orders that leads back to where it begins: what was noted of each, the first one first.
pub(crate) type Contradiction<'a, E> = Vec<&'a E>;

impl<N: Copy + Eq + Hash, E> Orders<N, E> {
    pub(crate) fn new() -> Self {
        Self { after: HashMap::new(), count: 0 }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Notes that `second` was taken while `first` was held; `evidence` is asked for when that is new.
    ///
    /// # Errors
    /// The orders that lead from `second` to `first`.
    pub(crate) fn note(
        &mut self,
        first: N,
        second: N,
        evidence: impl FnOnce() -> E,
    ) -> Result<(), Contradiction<'_, E>> {
        if self.after.get(&first).is_some_and(|after| after.contains_key(&second)) {
            return Ok(());
        }
        if self.steps(second, first).is_some() {
            return Err(self.way(second, first));
        }
        if self.count < ORDERS_MAX {
            self.count += 1;
            self.after.entry(first).or_default().insert(second, evidence());
        }
        Ok(())
    }

    /// What was noted of each step on the way.
    fn way(&self, from: N, to: N) -> Contradiction<'_, E> {
        let steps = self.steps(from, to).unwrap_or_default();
        steps.windows(2).filter_map(|step| self.after.get(&step[0])?.get(&step[1])).collect()
    }

    /// The locks on a shortest way. Each lock is looked at once, and nothing calls itself: ways may be long.
    fn steps(&self, from: N, to: N) -> Option<Vec<N>> {
        let (mut seen, mut found) = (HashSet::from([from]), vec![(from, usize::MAX)]);
        let mut next = 0;
        while let Some(&(lock, _)) = found.get(next) {
            if lock == to {
                let mut steps = vec![lock];
                let mut at = found[next].1;
                while let Some(&(lock, before)) = found.get(at) {
                    steps.push(lock);
                    at = before;
                }
                steps.reverse();
                return Some(steps);
            }
            let after = self.after.get(&lock).into_iter().flat_map(HashMap::keys);
            found.extend(after.filter(|lock| seen.insert(**lock)).map(|lock| (*lock, next)));
            next += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(pairs: &[(u32, u32)]) -> Orders<u32, (u32, u32)> {
        let mut orders = Orders::new();
        for &(first, second) in pairs {
            assert!(orders.note(first, second, || (first, second)).is_ok(), "{first} before {second}");
        }
        orders
    }

    #[test]
    fn what_agrees_is_noted_once() {
        let orders = orders(&[(1, 2), (2, 3), (1, 3), (1, 2), (4, 2)]);
        assert_eq!(orders.count(), 4);
    }

    #[test]
    fn a_contradiction_names_every_step_of_the_shortest_way() {
        let mut orders = orders(&[(1, 2), (2, 3), (3, 4), (2, 4)]);
        let back = orders.note(4, 1, || (4, 1)).expect_err("1 leads to 4");
        assert_eq!(back, [&(1, 2), &(2, 4)]);
        let back = orders.note(2, 1, || (2, 1)).expect_err("the plain inversion");
        assert_eq!(back, [&(1, 2)]);
        assert!(orders.note(5, 1, || (5, 1)).is_ok(), "nothing leads to 5");
        assert_eq!(orders.count(), 5);
    }

    #[test]
    fn a_hundred_thousand_orders_are_no_burden() {
        const LOCKS: u32 = 400;
        let mut orders = Orders::new();
        for round in 0..2 {
            for first in 0..LOCKS {
                for second in first + 1..LOCKS {
                    assert!(orders.note(first, second, || first).is_ok(), "round {round}");
                }
            }
        }
        assert_eq!(orders.count(), 79_800);
        assert!(orders.note(LOCKS - 1, 0, || 0).is_err());
    }

    #[test]
    fn a_long_way_is_found_without_a_deep_stack() {
        let mut orders = Orders::new();
        for lock in 0..100_000_u32 {
            assert!(orders.note(lock, lock + 1, || lock).is_ok());
        }
        assert_eq!(orders.note(100_000, 0, || 0).expect_err("a circle").len(), 100_000);
    }
}
