//! Sets of IP addresses, told as networks (`192.0.2.0/24`, `2001:db8::/32`) and asked in as many steps as their number has bits.
//!
//! A set is a sorted list of ranges that do not touch: eight bytes for one of IPv4, thirty-two for one of IPv6. Networks that
//! overlap or adjoin become one range. An IPv4 address that comes as IPv6 (`::ffff:192.0.2.1`, as a socket for both gives it)
//! is the IPv4 address, in networks as in questions.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Bits in front of an IPv4 address in its IPv6 form.
const MAPPED_BITS: u8 = 96;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// What stands before the slash is no IP address.
    NotAnAddress,
    /// What stands behind the slash is no number of bits that such an address has.
    NotALength {
        /// The most it may be.
        most: u8,
    },
    /// The address has bits behind the network's; this is the network that was probably meant.
    BitsBehind {
        /// The network around the address.
        network: Network,
    },
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnAddress => {
                f.write_str("is no IP address or network; write 192.0.2.0/24 or 2001:db8::/32")
            }
            Self::NotALength { most } => write!(f, "has no length from 0 to {most} behind its slash"),
            Self::BitsBehind { network } => {
                write!(f, "is an address within a network; for the network write {network}")
            }
        }
    }
}

impl Error for NetworkError {}

impl Network {
    /// The network of the first `bits` bits of `address`, whatever follows them; all of them when there are not so many.
    #[must_use]
    pub fn around(address: IpAddr, bits: u8) -> Self {
        match address {
            IpAddr::V4(v4) => {
                let bits = bits.min(32);
                Self { first: Ipv4Addr::from(v4.to_bits() & !behind_v4(bits)).into(), bits }
            }
            IpAddr::V6(v6) => {
                let bits = bits.min(128);
                let first = Ipv6Addr::from(v6.to_bits() & !behind_v6(bits));
                match first.to_ipv4_mapped() {
                    Some(v4) if bits >= MAPPED_BITS => Self { first: v4.into(), bits: bits - MAPPED_BITS },
                    _ => Self { first: first.into(), bits },
                }
            }
        }
    }

    /// Its lowest address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// How many bits all of its addresses share.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self::around(address, u8::MAX)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_no_address| NetworkError::NotAnAddress)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match length {
            None => most,
            // `parse` would take a sign.
            Some(length) => Some(length)
                .filter(|length| length.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|length| length.parse().ok())
                .filter(|&bits| bits <= most)
                .ok_or(NetworkError::NotALength { most })?,
        };
        let network = Self::around(address, bits);
        if network.first.to_canonical() != address.to_canonical() {
            return Err(NetworkError::BitsBehind { network });
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// A set of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl AddressSet {
    /// All addresses of these networks.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network.first {
                IpAddr::V4(first) => v4.push((first.to_bits(), first.to_bits() | behind_v4(network.bits))),
                IpAddr::V6(first) => v6.push((first.to_bits(), first.to_bits() | behind_v6(network.bits))),
            }
        }
        Self {
            v4: joined(v4, |last, first| last.checked_add(1).is_none_or(|next| first <= next)),
            v6: joined(v6, |last, first| last.checked_add(1).is_none_or(|next| first <= next)),
        }
    }

    /// Whether `address` is in the set.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => is_within(&self.v4, v4.to_bits()) || self.has_mapped(v4),
            IpAddr::V6(v6) => is_within(&self.v6, v6.to_bits()),
        }
    }

    /// Whether there is no address in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// A network of IPv6 that is larger than all of IPv4 may hold that: `::/0` means everybody.
    fn has_mapped(&self, v4: Ipv4Addr) -> bool {
        !self.v6.is_empty() && is_within(&self.v6, v4.to_ipv6_mapped().to_bits())
    }
}

impl FromIterator<Network> for AddressSet {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self::new(networks)
    }
}

/// The bits behind the first `bits`.
fn behind_v4(bits: u8) -> u32 {
    u32::MAX.checked_shr(bits.into()).unwrap_or(0)
}

fn behind_v6(bits: u8) -> u128 {
    u128::MAX.checked_shr(bits.into()).unwrap_or(0)
}

/// Sorts ranges and makes one of those that overlap or adjoin.
fn joined<T: Ord + Copy>(mut ranges: Vec<(T, T)>, meets: impl Fn(T, T) -> bool) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let is_met = meets(kept.1, next.0);
        if is_met {
            kept.1 = kept.1.max(next.1);
        }
        is_met
    });
    ranges.into()
}

fn is_within<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let behind = ranges.partition_point(|range| range.0 <= address);
    behind.checked_sub(1).is_some_and(|index| address <= ranges[index].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(networks: &[&str]) -> AddressSet {
        networks.iter().map(|text| text.parse::<Network>().unwrap()).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_read_as_they_are_written() {
        for text in
            ["192.0.2.0/24", "0.0.0.0/0", "10.1.2.3/32", "2001:db8::/32", "::/0", "::1/128", "fe80::/10"]
        {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        assert_eq!("10.1.2.3".parse::<Network>().unwrap().to_string(), "10.1.2.3/32");
        assert_eq!("::ffff:10.1.0.0/112".parse::<Network>().unwrap().to_string(), "10.1.0.0/16");
        for text in
            ["", "10.1.2", "10.1.2.0.0/8", "example.org", "/8", "10.01.2.3", "fe80::%eth0/10", " 10.0.0.0/8"]
        {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::NotAnAddress), "{text:?}");
        }
        for (text, most) in
            [("10.0.0.0/33", 32), ("10.0.0.0/", 32), ("10.0.0.0/+8", 32), ("::/129", 128), ("::/-1", 128)]
        {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::NotALength { most }), "{text:?}");
        }
        let error = "10.1.2.3/8".parse::<Network>().unwrap_err();
        assert!(error.to_string().ends_with("write 10.0.0.0/8"), "{error}");
        assert!("2001:db8::1/32".parse::<Network>().is_err());
    }

    #[test]
    fn a_set_holds_its_networks_to_the_last_address_and_no_more() {
        let set = set(&["192.0.2.0/24", "10.0.0.0/8", "2001:db8::/32", "198.51.100.7"]);
        for inside in ["192.0.2.0", "192.0.2.255", "10.255.255.255", "2001:db8:ffff::1", "198.51.100.7"] {
            assert!(set.contains(ip(inside)), "{inside}");
        }
        for outside in
            ["192.0.1.255", "192.0.3.0", "11.0.0.0", "9.255.255.255", "2001:db9::", "198.51.100.8", "::1"]
        {
            assert!(!set.contains(ip(outside)), "{outside}");
        }
        assert!(set.contains(ip("::ffff:192.0.2.9")), "the same host over a socket for both");
        assert!(!AddressSet::default().contains(ip("::")) && AddressSet::default().is_empty());
    }

    #[test]
    fn everybody_is_everybody() {
        assert!(set(&["::/0"]).contains(ip("192.0.2.1")) && set(&["::/0"]).contains(ip("2001:db8::1")));
        let v4 = set(&["0.0.0.0/0"]);
        assert!(
            v4.contains(ip("255.255.255.255"))
                && v4.contains(ip("::ffff:1.2.3.4"))
                && !v4.contains(ip("::1"))
        );
    }

    #[test]
    fn neighbours_become_one_range() {
        let halves = set(&["10.128.0.0/9", "10.0.0.0/9", "10.3.0.0/16", "255.0.0.0/8", "255.255.255.255"]);
        assert_eq!(halves.v4.len(), 2);
        assert_eq!(halves, set(&["10.0.0.0/8", "255.0.0.0/8"]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        /// A set says what comparing with every network says. Addresses lie close together, so that edges are met.
        #[test]
        fn a_set_agrees_with_a_search(
            v4 in prop::collection::vec((0_u32..4096, 20_u8..=32), 0..20),
            v6 in prop::collection::vec((0_u128..4096, 116_u8..=128), 0..20),
            asked in prop::collection::vec(0_u32..4200, 1..50),
        ) {
            let (base4, base6) = (0x0a00_0000_u32, 0x2001_0db8_u128 << 96);
            let networks: Vec<Network> = v4.iter().map(|&(low, bits)| Network::around(Ipv4Addr::from(base4 + low).into(), bits))
                .chain(v6.iter().map(|&(low, bits)| Network::around(Ipv6Addr::from(base6 + low).into(), bits)))
                .collect();
            let set = AddressSet::new(networks.iter().copied());
            for low in asked {
                let (four, six) = (base4.wrapping_add(low).wrapping_sub(50), base6 + u128::from(low));
                let by_search = |address: IpAddr| networks.iter().any(|network| Network::around(address, network.bits) == *network);
                for address in [IpAddr::from(Ipv4Addr::from(four)), Ipv6Addr::from(six).into()] {
                    prop_assert_eq!(set.contains(address), by_search(address), "{}", address);
                }
                prop_assert_eq!(set.contains(Ipv4Addr::from(four).to_ipv6_mapped().into()), set.contains(Ipv4Addr::from(four).into()));
            }
        }
    }
}
