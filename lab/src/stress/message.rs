//! What a stressing connection says: size and bytes of every message follow from seed, connection, life and number.

use std::fmt;
use std::str::FromStr;

/// Longest payload of a message, in bytes.
pub const PAYLOAD_BYTES_MAX: u32 = 1 << 24;

/// The odd constant of SplitMix64, which spreads counters over all words.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The sizes of payloads in bytes, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All the same.
    Fixed(u32),
    /// Any between two, as the seed has it.
    Random(u32, u32),
    /// From the smallest up to the largest in steps, then from the smallest again.
    Sawtooth {
        /// The first.
        low: u32,
        /// None is larger.
        high: u32,
        /// How much larger than the one before.
        step: u32,
    },
}

/// Which bytes payloads are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alphabet {
    /// All 256.
    #[default]
    Bytes,
    /// The 64 from the space to the underscore: no line's end, and sound UTF-8.
    Printable,
}

/// Everything that payloads follow from, but for whose they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Messages {
    /// Everything random follows from it.
    pub seed: u64,
    /// How long payloads are.
    pub sizes: Sizes,
    /// What they are made of.
    pub alphabet: Alphabet,
}

impl Sizes {
    /// The smallest and the largest.
    #[must_use]
    pub fn ends(&self) -> (u32, u32) {
        match *self {
            Sizes::Fixed(size) => (size, size),
            Sizes::Random(low, high) | Sizes::Sawtooth { low, high, .. } => (low, high),
        }
    }
}

impl Messages {
    /// What a connection's life says follows from its key: another one for every connection and every time it comes again.
    #[must_use]
    pub fn key(&self, connection: u32, life: u32) -> u64 {
        let place = u64::from(connection) << 32 | u64::from(life);
        mix(mix(self.seed).wrapping_add(place))
    }

    /// Bytes of a message's payload.
    #[must_use]
    pub fn size(&self, key: u64, message: u64) -> u32 {
        let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        match self.sizes {
            Sizes::Fixed(size) => size,
            Sizes::Random(low, high) => {
                let span = u64::from(high.saturating_sub(low)) + 1;
                low + small(mix(!key ^ mix(message)) % span)
            }
            Sizes::Sawtooth { low, high, step } => {
                let teeth = u64::from(high.saturating_sub(low) / step.max(1)) + 1;
                low + small(message % teeth) * step
            }
        }
    }

    /// Writes what stands at `at` of a message's payload.
    pub fn fill(&self, key: u64, message: u64, at: u32, target: &mut [u8]) {
        let start = mix(key ^ message.wrapping_mul(SPREAD));
        let word = |index: u64| {
            let word = mix(start.wrapping_add(index.wrapping_mul(SPREAD)));
            match self.alphabet {
                Alphabet::Bytes => word.to_le_bytes(),
                Alphabet::Printable => ((word & 0x3f3f_3f3f_3f3f_3f3f) + 0x2020_2020_2020_2020).to_le_bytes(),
            }
        };
        let (mut index, skip) = (u64::from(at / 8), (at % 8) as usize);
        let mut rest = target;
        if skip > 0 {
            let (head, tail) = rest.split_at_mut(rest.len().min(8 - skip));
            head.copy_from_slice(&word(index)[skip..skip + head.len()]);
            (rest, index) = (tail, index + 1);
        }
        let mut words = rest.chunks_exact_mut(8);
        for target in &mut words {
            target.copy_from_slice(&word(index));
            index += 1;
        }
        let last = words.into_remainder();
        last.copy_from_slice(&word(index)[..last.len()]);
    }
}

impl FromStr for Sizes {
    type Err = String;

    /// `SIZE`, `LOW-HIGH` or `random:LOW-HIGH`, `range:LOW-HIGH`, `sawtooth:LOW-HIGH:STEP`.
    fn from_str(text: &str) -> Result<Sizes, String> {
        let wrong = || {
            format!(
                "sizes are SIZE, LOW-HIGH (random), range:LOW-HIGH or sawtooth:LOW-HIGH:STEP, of 1 to {PAYLOAD_BYTES_MAX} bytes"
            )
        };
        let number = |text: &str| {
            text.parse::<u32>().ok().filter(|size| (1..=PAYLOAD_BYTES_MAX).contains(size)).ok_or_else(wrong)
        };
        let ends = |text: &str| -> Result<(u32, u32), String> {
            let (low, high) = text.split_once('-').ok_or_else(wrong)?;
            let (low, high) = (number(low)?, number(high)?);
            if low <= high { Ok((low, high)) } else { Err(wrong()) }
        };
        let (pattern, rest) = text.split_once(':').unwrap_or(("", text));
        match pattern {
            "" if !rest.contains('-') => Ok(Sizes::Fixed(number(rest)?)),
            "" | "random" => ends(rest).map(|(low, high)| Sizes::Random(low, high)),
            "range" => ends(rest).map(|(low, high)| Sizes::Sawtooth { low, high, step: 1 }),
            "sawtooth" => {
                let (rest, step) = rest.split_once(':').ok_or_else(wrong)?;
                let ((low, high), step) = (ends(rest)?, number(step)?);
                Ok(Sizes::Sawtooth { low, high, step })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sizes::Fixed(size) => write!(f, "{size}"),
            Sizes::Random(low, high) => write!(f, "random:{low}-{high}"),
            Sizes::Sawtooth { low, high, step: 1 } => write!(f, "range:{low}-{high}"),
            Sizes::Sawtooth { low, high, step } => write!(f, "sawtooth:{low}-{high}:{step}"),
        }
    }
}

/// SplitMix64's finisher: spreads every bit of the input over the output.
#[must_use]
pub fn mix(value: u64) -> u64 {
    crate::echo::script::mix(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(sizes: Sizes, alphabet: Alphabet) -> Messages {
        Messages { seed: 7, sizes, alphabet }
    }

    #[test]
    fn a_payload_is_the_same_however_it_is_cut() {
        for alphabet in [Alphabet::Bytes, Alphabet::Printable] {
            let messages = messages(Sizes::Fixed(100), alphabet);
            let mut whole = [0; 100];
            messages.fill(5, 9, 0, &mut whole);
            for step in [1, 3, 7, 8, 9, 64] {
                let mut pieces = [0; 100];
                for (index, piece) in pieces.chunks_mut(step).enumerate() {
                    messages.fill(5, 9, u32::try_from(index * step).expect("small"), piece);
                }
                assert_eq!(pieces, whole, "in steps of {step}");
            }
        }
    }

    #[test]
    fn connections_lives_and_messages_differ() {
        let messages = messages(Sizes::Fixed(16), Alphabet::Bytes);
        let mut seen = std::collections::BTreeSet::new();
        for (connection, life, message) in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1)] {
            let mut bytes = [0; 16];
            messages.fill(messages.key(connection, life), message, 0, &mut bytes);
            assert!(seen.insert(bytes), "connection {connection}, life {life}, message {message}");
        }
    }

    #[test]
    fn printable_payloads_have_no_line_ends() {
        let messages = messages(Sizes::Fixed(1), Alphabet::Printable);
        let mut bytes = [0; 4096];
        messages.fill(1, 2, 3, &mut bytes);
        assert!(bytes.iter().all(|byte| (b' '..=b'_').contains(byte)));
        assert!(bytes.contains(&b' ') && bytes.contains(&b'_'));
    }

    #[test]
    fn sizes_follow_their_pattern() {
        let sizes = |text: &str| {
            let messages = messages(text.parse().expect("sound"), Alphabet::Bytes);
            (0..1000).map(|message| messages.size(3, message)).collect::<Vec<_>>()
        };
        assert!(sizes("64").iter().all(|size| *size == 64));
        assert_eq!(sizes("sawtooth:10-30:10")[..5], [10, 20, 30, 10, 20]);
        assert_eq!(sizes("range:1-3")[..5], [1, 2, 3, 1, 2]);
        let random = sizes("5-300");
        assert_eq!((random.iter().min(), random.iter().max()), (Some(&5), Some(&300)));
        assert_eq!(random, sizes("random:5-300"));
    }

    #[test]
    fn sizes_are_read_or_refused() {
        for text in ["1", "16777216", "random:1-2", "range:4-4", "sawtooth:1-9:2"] {
            let sizes: Sizes = text.parse().expect("sound");
            assert_eq!(sizes.to_string(), text);
        }
        for text in
            ["0", "", "-", "9-3", "16777217", "a-b", "3-", "saw:1-2", "sawtooth:1-2", "sawtooth:1-2:0"]
        {
            assert!(text.parse::<Sizes>().is_err(), "{text:?}");
        }
    }
}
