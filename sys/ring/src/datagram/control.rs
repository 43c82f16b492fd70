//! Control data of received datagrams: drops, segment sizes, destinations.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a control message's header (`struct cmsghdr` on 64-bit Linux: length, level, type).
const HEADER_BYTES: usize = 16;

/// Control messages begin at a multiple of this.
const ALIGNMENT: usize = 8;

/// Room that a control message with `bytes` of data takes.
pub(crate) const fn space(bytes: usize) -> usize {
    HEADER_BYTES + bytes.next_multiple_of(ALIGNMENT)
}

/// Where a datagram was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The address in its header: one of ours, a multicast group, or a broadcast address.
    pub address: IpAddr,
    /// The index of the interface it came in by.
    pub interface: u32,
    /// The address of ours that an answer would come from, where the kernel says it (IPv4): that of the datagram itself, or for a
    /// group that of the interface.
    pub local: Option<IpAddr>,
}

/// What the control data says; `None` where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) dropped: Option<u32>,
    pub(crate) segment_bytes: Option<u32>,
    pub(crate) destination: Option<Destination>,
}

/// Reads control data. What is cut off or unknown is passed over.
pub(crate) fn parse(mut data: &[u8]) -> Control {
    let mut control = Control::default();
    while let (Some(length), Some(level), Some(kind)) = (u64_at(data, 0), u32_at(data, 8), u32_at(data, 12)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(value) = data.get(HEADER_BYTES..length) else { break };
        note(&mut control, level.cast_signed(), kind.cast_signed(), value);
        data = data.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    control
}

fn note(control: &mut Control, level: libc::c_int, kind: libc::c_int, value: &[u8]) {
    match (level, kind) {
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => control.dropped = u32_at(value, 0),
        (libc::SOL_UDP, libc::UDP_GRO) => control.segment_bytes = u32_at(value, 0),
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            // struct in_pktinfo: interface index, local address, destination address.
            let address = |at: usize| {
                let bytes = value.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())?;
                Some(IpAddr::V4(Ipv4Addr::from(bytes)))
            };
            control.destination = address(8).zip(u32_at(value, 0)).map(|(to, interface)| Destination {
                address: to,
                interface,
                local: address(4),
            });
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            // struct in6_pktinfo: destination address, interface index.
            let address = value.get(..16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
            control.destination = address.zip(u32_at(value, 16)).map(|(address, interface)| Destination {
                address: IpAddr::V6(Ipv6Addr::from(address)),
                interface,
                local: None,
            });
        }
        _ => {}
    }
}

pub(crate) fn u32_at(data: &[u8], offset: usize) -> Option<u32> {
    data.get(offset..offset + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u64_at(data: &[u8], offset: usize) -> Option<u64> {
    data.get(offset..offset + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: libc::c_int, kind: libc::c_int, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(HEADER_BYTES as u64 + value.len() as u64).to_ne_bytes());
        bytes.extend_from_slice(&level.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(space(value.len()), 0);
        bytes
    }

    #[test]
    fn every_kind_is_read_in_any_company() {
        let mut data = message(libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[9; 16]);
        data.extend(message(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7u32.to_ne_bytes()));
        data.extend(message(libc::SOL_UDP, libc::UDP_GRO, &1200u32.to_ne_bytes()));
        data.extend(message(libc::IPPROTO_IP, libc::IP_PKTINFO, &[3, 0, 0, 0, 9, 9, 9, 9, 239, 1, 2, 3]));
        let control = parse(&data);
        assert_eq!((control.dropped, control.segment_bytes), (Some(7), Some(1200)));
        let destination = Destination {
            address: IpAddr::from([239, 1, 2, 3]),
            interface: 3,
            local: Some(IpAddr::from([9, 9, 9, 9])),
        };
        assert_eq!(control.destination, Some(destination));
        let mut v6 = [0; 20];
        (v6[0], v6[15], v6[16]) = (0xff, 1, 2);
        let control = parse(&message(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &v6));
        let destination =
            Destination { address: "ff00::1".parse().expect("an address"), interface: 2, local: None };
        assert_eq!(control.destination, Some(destination));
    }

    #[test]
    fn cut_and_lying_control_data_is_passed_over() {
        let whole = message(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7u32.to_ne_bytes());
        for end in 0..HEADER_BYTES + 4 {
            assert_eq!(parse(&whole[..end]), Control::default(), "cut at {end}");
        }
        for length in [0u64, 3, 15, 1000, u64::MAX] {
            let mut lying = whole.clone();
            lying[..8].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(parse(&lying), Control::default(), "length {length}");
        }
    }
}
