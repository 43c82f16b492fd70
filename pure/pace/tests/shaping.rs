//! The governor on a simulated clock: what a receiver sees of M in every second, for large and small, few and many.

use ringway_pace::governor::{Estimate, Histogram, Load, Policy, Round, Rules, Sending, Verdict, Verdicts};

const NS_PER_MS: u64 = 1_000_000;

/// A client asks again at once when it has its answer.
#[derive(Clone, Copy, Debug)]
struct Mix {
    clients: usize,
    answer_bytes: u64,
    kind: ringway_pace::governor::Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wait {
    Read(usize),
    Send(usize),
}

/// A server of one worker with one scope, as the engine puts the parts together.
struct Server {
    rules: Rules,
    mix: Mix,
    until_ns: u64,
    histogram: Histogram,
    verdicts: Verdicts,
    sampled_ns: u64,
    round: Round<Wait>,
    /// What each client is still to be sent.
    left: Vec<u64>,
    /// Who is to ask next.
    asks: Vec<bool>,
    /// What each client got.
    got: Vec<u64>,
    sent: u64,
    rejected: u64,
}

impl Server {
    fn new(rules: Rules, mix: Mix) -> Self {
        Self {
            rules,
            mix,
            until_ns: 0,
            histogram: Histogram::default(),
            verdicts: Verdicts::default(),
            sampled_ns: 0,
            round: Round::default(),
            left: vec![0; mix.clients],
            asks: vec![true; mix.clients],
            got: vec![0; mix.clients],
            sent: 0,
            rejected: 0,
        }
    }

    fn charge(&mut self, client: usize, bytes: u64, now_ns: u64) {
        self.until_ns = self.rules.line().charged(self.until_ns, now_ns, bytes);
        self.histogram.add(now_ns / 1_000, bytes, 0);
        self.got[client] += bytes;
        self.sent += bytes;
        self.left[client] -= bytes;
    }

    fn is_free(&self, now_ns: u64) -> bool {
        self.rules.line().is_free(self.until_ns, now_ns)
    }

    /// A client asks; what can be sent is.
    fn ask(&mut self, client: usize, now_ns: u64) {
        self.asks[client] = false;
        match self.rules.read(self.verdicts, self.is_free(now_ns)) {
            Verdict::Allow => self.begin(client, now_ns),
            Verdict::Block => self.round.push(Wait::Read(client), 1),
            Verdict::Reject => {
                self.rejected += 1;
                self.asks[client] = true;
            }
        }
    }

    fn begin(&mut self, client: usize, now_ns: u64) {
        self.left[client] = self.mix.answer_bytes;
        self.go_on(client, now_ns);
    }

    fn go_on(&mut self, client: usize, now_ns: u64) {
        while self.left[client] > 0 {
            let (is_free, is_queued) = (self.is_free(now_ns), !self.round.is_empty());
            match self.rules.send(self.mix.kind, self.left[client], is_free, is_queued) {
                Sending::Now(bytes) => self.charge(client, bytes, now_ns),
                Sending::Wait(bytes) => {
                    self.round.push(Wait::Send(client), bytes);
                    return;
                }
            }
        }
        self.asks[client] = true;
    }

    /// A turn of the worker: a look at the use, what clients ask, then whoever's turn it is.
    fn turn(&mut self, now_ns: u64) {
        if now_ns >= self.sampled_ns + 10 * NS_PER_MS {
            self.sampled_ns = now_ns;
            let used = self.histogram.bytes_per_s(now_ns / 1_000);
            let load = Load::of(used, self.rules.bytes_per_s, self.rules.delta_permille);
            self.verdicts = Verdicts::at(self.rules.policy, load, false);
        }
        // As often as there is room: the clients are quick.
        for _ in 0..1_000 {
            (0..self.mix.clients)
                .filter(|&client| self.asks[client])
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|client| self.ask(client, now_ns));
            while self.is_free(now_ns) {
                match self.round.pop(self.rules.line().piece_bytes()) {
                    Some((Wait::Read(client), _)) => self.begin(client, now_ns),
                    Some((Wait::Send(client), bytes)) => {
                        self.charge(client, bytes, now_ns);
                        self.go_on(client, now_ns);
                    }
                    None => break,
                }
            }
            if !self.is_free(now_ns) {
                return;
            }
        }
    }
}

/// Runs for so many seconds with wake-ups 1 to 4 ms apart; what was sent in each second, and the server.
fn run(rules: Rules, mix: Mix, seconds: usize) -> (Vec<u64>, Server) {
    let mut server = Server::new(rules, mix);
    let mut windows = vec![0; seconds];
    let (mut now_ns, mut seed, mut counted) = (0, 0x9e37_79b9_7f4a_7c15_u64, 0);
    loop {
        server.turn(now_ns);
        let window = usize::try_from(now_ns / 1_000 / NS_PER_MS).unwrap_or(usize::MAX);
        let Some(sum) = windows.get_mut(window) else { return (windows, server) };
        *sum += server.sent - counted;
        counted = server.sent;
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        now_ns += NS_PER_MS + (seed >> 33) % (3 * NS_PER_MS);
    }
}

#[test]
fn every_second_after_two_is_within_five_percent_of_m() {
    use ringway_pace::governor::Kind::{Transmit, Write};
    for megabits in [1, 10, 100, 1_000] {
        let bytes_per_s = megabits * 125_000;
        for (clients, answer_bytes, kind) in [
            (1, 1 << 40, Transmit),
            (1, 200_000, Transmit),
            (3, 1 << 40, Write),
            (200, 100, Write),
            (200, 1_000, Write),
            (200, 10_000, Write),
            (200, 200_000, Transmit),
        ] {
            let mix = Mix { clients, answer_bytes, kind };
            let (windows, server) = run(Rules::new(bytes_per_s), mix, 6);
            for (second, &sent) in windows.iter().enumerate().skip(2) {
                let error = (sent as f64 / bytes_per_s as f64 - 1.0).abs();
                assert!(error <= 0.05, "{megabits} Mbit/s, {mix:?}: {sent} bytes in second {second}");
            }
            assert_eq!(server.rejected, 0);
        }
    }
}

#[test]
fn nobody_starves_and_all_get_the_same() {
    use ringway_pace::governor::Kind::Transmit;
    for megabits in [1, 100] {
        let mix = Mix { clients: 50, answer_bytes: 1 << 40, kind: Transmit };
        let (_, server) = run(Rules::new(megabits * 125_000), mix, 10);
        let (least, most) = (server.got.iter().min().expect("some"), server.got.iter().max().expect("some"));
        assert!(most - least <= 4 * server.rules.line().piece_bytes(), "{least} to {most}");
    }
}

#[test]
fn the_simple_policy_lets_writes_through_and_pays_with_reads() {
    use ringway_pace::governor::Kind::Write;
    let rules = Rules { policy: Policy::Simple, ..Rules::new(1_250_000) };
    let mix = Mix { clients: 20, answer_bytes: 50_000, kind: Write };
    let (windows, server) = run(rules, mix, 10);
    let sum: u64 = windows[2..].iter().sum();
    assert!(sum.abs_diff(8 * 1_250_000) < 1_250_000, "{windows:?}");
    assert!(server.rejected > 0 || windows[0] >= 1_250_000);
}
