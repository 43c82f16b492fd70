//! Which content codings a file lies prepared in beside itself: `app.js.br`, `app.js.zst`, `app.js.gz`.

pub use ringway_http::negotiate::Coding;

/// The codings that siblings have, in the order in which they are preferred when a client likes several alike.
pub const SIBLINGS: [Coding; 3] = [Coding::Brotli, Coding::Zstd, Coding::Gzip];

/// A set of codings.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CodingSet(u8);

impl CodingSet {
    /// None.
    pub const NONE: Self = Self(0);

    /// Every coding siblings have.
    pub const ALL: Self = Self::NONE.with(Coding::Brotli).with(Coding::Zstd).with(Coding::Gzip);

    /// The set with `coding` too.
    #[must_use]
    pub const fn with(self, coding: Coding) -> Self {
        Self(self.0 | 1 << coding as u8)
    }

    /// Whether `coding` is in the set.
    #[must_use]
    pub const fn has(self, coding: Coding) -> bool {
        self.0 & 1 << coding as u8 != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_they_were_given() {
        let mut set = CodingSet::NONE;
        assert!(set.is_empty());
        for (count, coding) in SIBLINGS.into_iter().enumerate() {
            assert!(!set.has(coding));
            set = set.with(coding);
            assert!(set.has(coding) && !set.is_empty());
            assert_eq!(SIBLINGS.iter().filter(|&&one| set.has(one)).count(), count + 1);
        }
        assert_eq!(set, CodingSet::ALL);
        assert!(!set.has(Coding::Identity));
    }
}
