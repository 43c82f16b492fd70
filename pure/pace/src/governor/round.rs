//! Deficit round robin: who waits is let go in turn, and nobody gets more than the others for asking for more at once.

use std::collections::VecDeque;

/// Most quanta that one turn's cost counts as: a flow waits for no more rounds than this.
pub const COST_QUANTA_MAX: u64 = 16;

/// Flows that wait, each with what its next operation costs. Every round gives each of them a quantum; one goes when it has
/// saved up its cost.
#[derive(Debug)]
pub struct Round<K> {
    flows: VecDeque<Flow<K>>,
}

#[derive(Debug)]
struct Flow<K> {
    key: K,
    cost: u64,
    saved: u64,
}

impl<K> Default for Round<K> {
    fn default() -> Self {
        Self { flows: VecDeque::new() }
    }
}

impl<K> Round<K> {
    /// A flow begins to wait, behind the others.
    pub fn push(&mut self, key: K, cost: u64) {
        self.flows.push_back(Flow { key, cost, saved: 0 });
    }

    /// The next that goes, with its cost.
    pub fn pop(&mut self, quantum: u64) -> Option<(K, u64)> {
        let quantum = quantum.max(1);
        loop {
            let mut flow = self.flows.pop_front()?;
            flow.saved = flow.saved.saturating_add(quantum);
            let due = flow.cost.min(quantum.saturating_mul(COST_QUANTA_MAX));
            if flow.saved >= due {
                return Some((flow.key, flow.cost));
            }
            self.flows.push_back(flow);
        }
    }

    /// Takes all out, in their order.
    pub fn drain(&mut self) -> impl Iterator<Item = K> {
        std::mem::take(&mut self.flows).into_iter().map(|flow| flow.key)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_of_one_cost_go_in_turn() {
        let mut round = Round::default();
        (0..3).for_each(|key| round.push(key, 10));
        let mut order = Vec::new();
        for _ in 0..6 {
            let (key, cost) = round.pop(10).expect("somebody waits");
            order.push(key);
            round.push(key, cost);
        }
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
        assert_eq!((round.len(), round.drain().count(), round.len()), (3, 3, 0));
        assert_eq!(round.pop(10), None);
        assert!(round.is_empty());
    }

    #[test]
    fn who_asks_for_more_at_once_gets_no_more() {
        for costs in [[10, 40], [3, 100], [1, 1], [160, 7]] {
            let (mut round, mut got) = (Round::default(), [0_u64; 2]);
            (0..2).for_each(|key| round.push(key, costs[key]));
            while got.iter().sum::<u64>() < 100_000 {
                let (key, cost) = round.pop(10).expect("somebody waits");
                got[key] += cost;
                round.push(key, cost);
            }
            // A flow that goes in each round gets its cost, not the quantum: what it does not use is the others'.
            let fair = costs[0].min(10) as f64 / costs[1].min(10) as f64;
            let found = got[0] as f64 / got[1] as f64;
            assert!((found / fair - 1.0).abs() < 0.7, "{costs:?}: {got:?}");
        }
    }

    #[test]
    fn the_largest_cost_waits_for_a_bounded_number_of_rounds() {
        let mut round = Round::default();
        round.push("large", u64::MAX);
        round.push("small", 1);
        let mut before = 0;
        while let Some(("small", cost)) = round.pop(1) {
            round.push("small", cost);
            before += 1;
        }
        assert_eq!(before, COST_QUANTA_MAX - 1);
    }
}
