//! The requests of a load, written once into slices: what is sent later is a view of them.

use super::plan::{Plan, Target};
use ringway_engine::ring::{Pool, SLICE_BYTES_MAX, Slice};
use std::io;

/// All requests in the order in which they are sent, over and over.
pub(super) struct Script {
    pages: Vec<Slice>,
    /// One round of the order, and behind it its beginning again, as far as a pipeline reaches.
    entries: Vec<Entry>,
    /// How many entries one round has.
    round: usize,
    /// The first entry of each target.
    first: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Entry {
    target: u32,
    page: u32,
    start: u32,
    end: u32,
}

impl Script {
    /// Writes the requests of a plan; `is_last`: those after which the connection closes.
    ///
    /// # Errors
    /// `OutOfMemory` when the pool has no room for them.
    pub(super) fn write(plan: &Plan, is_last: bool, pool: &Pool) -> io::Result<Self> {
        let requests: Vec<Vec<u8>> =
            plan.targets.iter().map(|target| plan.request(target, is_last)).collect();
        let order = order(&plan.targets);
        let round = order.len();
        let depth = plan.pipeline as usize;
        let mut script =
            Self { pages: Vec::new(), entries: Vec::new(), round, first: vec![0; plan.targets.len()] };
        let mut page = Vec::new();
        for target in order.iter().cycle().take(round + depth) {
            let request = &requests[*target as usize];
            if page.len() + request.len() > SLICE_BYTES_MAX {
                script.turn_page(&mut page, pool)?;
            }
            let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let (start, end) = (narrow(page.len()), narrow(page.len() + request.len()));
            script.entries.push(Entry { target: *target, page: narrow(script.pages.len()), start, end });
            page.extend_from_slice(request);
        }
        script.turn_page(&mut page, pool)?;
        for (index, entry) in script.entries[..round].iter().enumerate().rev() {
            script.first[entry.target as usize] = index;
        }
        Ok(script)
    }

    /// How many requests there are before they begin again.
    pub(super) fn round(&self) -> usize {
        self.round
    }

    /// Which target the request at a place of the round asks for.
    pub(super) fn target(&self, place: usize) -> u32 {
        self.entries[place].target
    }

    /// A place where `target` is asked for.
    pub(super) fn place_of(&self, target: usize) -> usize {
        self.first[target]
    }

    /// The `count` requests from a place of the round on, at most as many as the pipeline is deep, in as few slices as
    /// possible.
    pub(super) fn send(&self, place: usize, count: usize, mut send: impl FnMut(Slice)) {
        let mut rest = &self.entries[place..place + count];
        while let Some(first) = rest.first() {
            let on_page = rest.iter().take_while(|entry| entry.page == first.page).count();
            let (together, others) = rest.split_at(on_page);
            let end = together.last().map_or(first.end, |last| last.end);
            let mut view = self.pages[first.page as usize].clone();
            view.advance(first.start as usize);
            view.truncate((end - first.start) as usize);
            send(view);
            rest = others;
        }
    }

    fn turn_page(&mut self, page: &mut Vec<u8>, pool: &Pool) -> io::Result<()> {
        let slice = pool.copy_of(page).ok_or(io::ErrorKind::OutOfMemory)?;
        self.pages.push(slice);
        page.clear();
        Ok(())
    }
}

/// The order of targets in which each comes as often as its weight says, spread as evenly as can be.
fn order(targets: &[Target]) -> Vec<u32> {
    let divisor = targets.iter().fold(0, |divisor, target| gcd(divisor, target.weight)).max(1);
    let weights: Vec<i64> = targets.iter().map(|target| i64::from(target.weight / divisor)).collect();
    let total: i64 = weights.iter().sum();
    let mut credit = vec![0_i64; weights.len()];
    let mut order = Vec::new();
    for _ in 0..total {
        for (credit, weight) in credit.iter_mut().zip(&weights) {
            *credit += weight;
        }
        let Some((richest, _)) = credit.iter().enumerate().rev().max_by_key(|(_, credit)| **credit) else {
            break;
        };
        credit[richest] -= total;
        order.push(u32::try_from(richest).unwrap_or(u32::MAX));
    }
    order
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(weights: &[u32], pipeline: u32, path_bytes: usize) -> Plan {
        let mut plan = Plan::get("http://h/").expect("a URL");
        let target = |(index, weight): (usize, &u32)| {
            let url = format!("http://h/{index}{}", "x".repeat(path_bytes));
            Target { weight: *weight, ..Target::get(&url).expect("a URL") }
        };
        plan.targets = weights.iter().enumerate().map(target).collect();
        plan.pipeline = pipeline;
        plan
    }

    #[test]
    fn targets_come_as_often_as_their_weight_says_and_spread() {
        assert_eq!(order(&plan(&[1], 1, 0).targets), [0]);
        assert_eq!(order(&plan(&[7, 7], 1, 0).targets), [0, 1]);
        assert_eq!(order(&plan(&[5, 1, 1], 1, 0).targets), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn what_is_sent_from_any_place_is_the_requests_in_order() {
        let pool = Pool::new(16 << 20);
        for (weights, path_bytes) in [(&[1_u32][..], 10), (&[3, 1, 2], 100), (&[1; 30], 12_000)] {
            let plan = plan(weights, 16, path_bytes);
            let script = Script::write(&plan, false, &pool).expect("room");
            for place in 0..script.round() {
                for count in 0..=16 {
                    let mut sent = Vec::new();
                    script.send(place, count, |slice| sent.extend_from_slice(&slice));
                    let wanted = (place..place + count).flat_map(|place| {
                        let target = script.target(place % script.round());
                        plan.request(&plan.targets[target as usize], false)
                    });
                    assert!(sent.iter().copied().eq(wanted), "{count} from {place} of {weights:?}");
                }
            }
            for target in 0..weights.len() {
                assert_eq!(script.target(script.place_of(target)) as usize, target);
            }
        }
    }
}
