//! The seed's figures: Monkey against G-Wan, 200 KB over kept connections, 100 to 1000 at a time.

/// Requests of one round in the seed's test.
pub(super) const REQUESTS: f64 = 500_000.0;

/// One server of the seed's test, its means over all rounds.
pub(super) struct Seed {
    pub(super) name: &'static str,
    pub(super) requests_per_s: f64,
    pub(super) memory_mb: f64,
    /// For [`REQUESTS`].
    pub(super) user_ms: f64,
    /// For [`REQUESTS`].
    pub(super) system_ms: f64,
    /// The whole test.
    pub(super) took: &'static str,
}

impl Seed {
    pub(super) fn cpu_us_per_request(&self) -> f64 {
        (self.user_ms + self.system_ms) * 1000.0 / REQUESTS
    }
}

/// Both servers: 10 client workers, 100 to 1000 connections in steps of 10.
pub(super) const SEEDS: [Seed; 2] = [
    Seed {
        name: "Monkey (seed)",
        requests_per_s: 29_231.0,
        memory_mb: 3.4,
        user_ms: 5_267.0,
        system_ms: 36_159.0,
        took: "25:58",
    },
    Seed {
        name: "G-Wan (seed)",
        requests_per_s: 17_222.0,
        memory_mb: 7.09,
        user_ms: 3_830.0,
        system_ms: 50_999.0,
        took: "44:23",
    },
];
