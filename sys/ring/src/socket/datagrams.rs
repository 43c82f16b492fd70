//! Datagram sockets: binding, what they report, multicast, and what the kernel dropped.

use super::{RawAddress, check, set_value, socklen};
use crate::datagram::space;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// How a datagram socket is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramSocketOptions {
    /// Several sockets share the port and the kernel spreads peers over them.
    pub reuse_port: bool,
    /// Receive buffer in bytes; 0: the kernel's default. What was got is told by [`datagram_buffers`].
    pub receive_buffer_bytes: u32,
    /// Send buffer in bytes; 0: the kernel's default.
    pub send_buffer_bytes: u32,
    /// The kernel hands over trains of datagrams of one peer as one (UDP_GRO).
    pub gro: bool,
    /// Datagrams say how many were dropped before them (SO_RXQ_OVFL); costs nothing until one is.
    pub counts_drops: bool,
    /// Datagrams say where they were sent to (IP_PKTINFO, IPV6_RECVPKTINFO).
    pub reports_destination: bool,
    /// What is sent to groups leaves by this interface.
    pub multicast_interface: Interface,
    /// How many networks it passes: 1 stays in this one; 0: the kernel's default, which is 1.
    pub multicast_hops: u8,
}

impl Default for DatagramSocketOptions {
    fn default() -> Self {
        Self {
            reuse_port: false,
            receive_buffer_bytes: 0,
            send_buffer_bytes: 0,
            gro: false,
            counts_drops: true,
            reports_destination: false,
            multicast_interface: Interface::Any,
            multicast_hops: 0,
        }
    }
}

/// The interface of a multicast membership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interface {
    /// The kernel's choice, by its routes.
    #[default]
    Any,
    /// The interface with this index.
    Index(u32),
}

/// A non-blocking UDP socket bound to `address` (port 0: any free one). A v6 socket receives v6 only.
///
/// # Errors
/// What `socket`, `setsockopt` or `bind` say, `AddrInUse` and `PermissionDenied` among them.
pub fn bind_datagrams(address: SocketAddr, options: &DatagramSocketOptions) -> io::Result<OwnedFd> {
    let fd = datagram_socket(address.is_ipv6())?;
    let borrowed = fd.as_fd();
    if address.is_ipv6() {
        set_flag(borrowed, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, true)?;
    }
    if options.reuse_port {
        set_flag(borrowed, libc::SOL_SOCKET, libc::SO_REUSEPORT, true)?;
    }
    set_options(borrowed, address.is_ipv6(), options)?;
    let raw = raw_address(address);
    raw.with(|pointer, len| {
        // SAFETY: I6: pointer and length describe the address for the duration of the call.
        check(unsafe { libc::bind(fd.as_raw_fd(), pointer, len) })
    })?;
    Ok(fd)
}

/// Makes a bound UDP socket that somebody else made ready for use here: it does not block, and has these options from now on.
///
/// # Errors
/// `InvalidInput` when it is no UDP socket; what `setsockopt(2)` says.
pub fn adopt_datagrams(fd: BorrowedFd<'_>, options: &DatagramSocketOptions) -> io::Result<()> {
    if integer(fd, libc::SOL_SOCKET, libc::SO_TYPE)? != libc::SOCK_DGRAM {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is not a datagram socket"));
    }
    let is_ipv6 = is_ipv6(fd)?;
    let mut nonblocking: libc::c_int = 1;
    // SAFETY: I6: the kernel reads one integer during the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONBIO, &raw mut nonblocking) })?;
    if !options.gro && integer(fd, libc::SOL_UDP, libc::UDP_GRO).unwrap_or(0) != 0 {
        set_flag(fd, libc::SOL_UDP, libc::UDP_GRO, false)?;
    }
    if !options.reports_destination {
        let (level, name) = destination_option(is_ipv6);
        set_flag(fd, level, name, false)?;
    }
    set_options(fd, is_ipv6, options)
}

/// Connects a datagram socket: it receives from `peer` only, and hears of ICMP errors. Never blocks.
///
/// # Errors
/// What `connect(2)` says.
pub fn connect_datagrams(fd: BorrowedFd<'_>, peer: SocketAddr) -> io::Result<()> {
    super::connect(fd.as_raw_fd(), &raw_address(peer)).map(drop)
}

/// Has the kernel cut every send of this socket into datagrams of `bytes` (UDP_SEGMENT, udp(7)), the last of which may be
/// shorter; 0: no longer. For a sender of nothing but trains; [`SendBatch::push_train`](super::SendBatch::push_train) does
/// it train by train.
///
/// # Errors
/// What `setsockopt(2)` says; `ENOPROTOOPT` before Linux 4.18.
pub fn set_segment_bytes(fd: BorrowedFd<'_>, bytes: u16) -> io::Result<()> {
    set_value(fd, libc::SOL_UDP, libc::UDP_SEGMENT, &libc::c_int::from(bytes))
}

/// Sets receive and send buffer of a datagram socket, in bytes (0: leave it). Beyond the system's limit if we may, else
/// up to it.
///
/// # Errors
/// What `setsockopt(2)` says; a size that is cut to the limit is no error, see [`datagram_buffers`].
pub fn set_datagram_buffers(fd: BorrowedFd<'_>, receive_bytes: u32, send_bytes: u32) -> io::Result<()> {
    let buffers = [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, receive_bytes),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, send_bytes),
    ];
    for (forced, plain, bytes) in buffers.into_iter().filter(|&(_, _, bytes)| bytes > 0) {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        // EPERM: only with CAP_NET_ADMIN may the limit be passed.
        if set_value(fd, libc::SOL_SOCKET, forced, &bytes).is_err() {
            set_value(fd, libc::SOL_SOCKET, plain, &bytes)?;
        }
    }
    Ok(())
}

/// Receive and send buffer as the kernel counts them, in bytes: twice what was asked for, its own bookkeeping included.
///
/// # Errors
/// What `getsockopt(2)` says.
pub fn datagram_buffers(fd: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let bytes = |name| integer(fd, libc::SOL_SOCKET, name).map(|bytes| u32::try_from(bytes).unwrap_or(0));
    Ok((bytes(libc::SO_RCVBUF)?, bytes(libc::SO_SNDBUF)?))
}

/// Datagrams dropped at this socket since it was made, for want of room or with a wrong checksum (modulo 2^32).
///
/// # Errors
/// What `getsockopt(2)` says.
pub fn dropped_datagrams(fd: BorrowedFd<'_>) -> io::Result<u32> {
    /// Where `SO_MEMINFO` reports drops (SK_MEMINFO_DROPS of linux/sock_diag.h).
    const DROPS: usize = 8;
    let mut info = [0u32; DROPS + 1];
    option(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, &mut info)?;
    Ok(info[DROPS])
}

/// Joins a multicast group.
///
/// # Errors
/// What `setsockopt(2)` says: `AddrInUse` when it is a member already, `ENODEV` for an interface that is not there.
pub fn join_multicast(fd: BorrowedFd<'_>, group: IpAddr, interface: Interface) -> io::Result<()> {
    change_membership(fd, group, interface, libc::IP_ADD_MEMBERSHIP, libc::IPV6_ADD_MEMBERSHIP)
}

/// Leaves a multicast group.
///
/// # Errors
/// What `setsockopt(2)` says: `EADDRNOTAVAIL` when it is no member.
pub fn leave_multicast(fd: BorrowedFd<'_>, group: IpAddr, interface: Interface) -> io::Result<()> {
    change_membership(fd, group, interface, libc::IP_DROP_MEMBERSHIP, libc::IPV6_DROP_MEMBERSHIP)
}

/// Sends multicast through `interface`.
///
/// # Errors
/// What `setsockopt(2)` says.
pub fn set_multicast_interface(fd: BorrowedFd<'_>, interface: Interface) -> io::Result<()> {
    if is_ipv6(fd)? {
        return set_value(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, &interface.index());
    }
    set_value(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &membership(Ipv4Addr::UNSPECIFIED, interface))
}

/// How many networks multicast from this socket passes; 1 stays in this one.
///
/// # Errors
/// What `setsockopt(2)` says.
pub fn set_multicast_hops(fd: BorrowedFd<'_>, hops: u8) -> io::Result<()> {
    let (level, name) = match is_ipv6(fd)? {
        true => (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS),
        false => (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL),
    };
    set_value(fd, level, name, &libc::c_int::from(hops))
}

/// What a datagram socket is set to report with each datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DatagramReports {
    is_ipv6: bool,
    pub(crate) gro: bool,
    counts_drops: bool,
    reports_destination: bool,
}

impl DatagramReports {
    pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        if integer(fd, libc::SOL_SOCKET, libc::SO_TYPE)? != libc::SOCK_DGRAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a datagram socket"));
        }
        let is_ipv6 = is_ipv6(fd)?;
        let (level, name) = destination_option(is_ipv6);
        Ok(Self {
            is_ipv6,
            // A kernel before 5.0 has no such option, and so never a train.
            gro: integer(fd, libc::SOL_UDP, libc::UDP_GRO).unwrap_or(0) != 0,
            counts_drops: integer(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL)? != 0,
            reports_destination: integer(fd, level, name)? != 0,
        })
    }

    /// Room for a peer's address, a multiple of eight.
    pub(crate) fn name_bytes(self) -> usize {
        if self.is_ipv6 {
            size_of::<libc::sockaddr_in6>().next_multiple_of(8)
        } else {
            size_of::<libc::sockaddr_in>()
        }
    }

    /// Room for everything it reports.
    pub(crate) fn control_bytes(self) -> usize {
        let destination =
            if self.is_ipv6 { size_of::<libc::in6_pktinfo>() } else { size_of::<libc::in_pktinfo>() };
        let reports = [(self.gro, 4), (self.counts_drops, 4), (self.reports_destination, destination)];
        reports.into_iter().filter(|(is_on, _)| *is_on).map(|(_, bytes)| space(bytes)).sum()
    }
}

/// A peer's address as the kernel wrote it; `None` for families other than IP and for what is cut off.
pub(crate) fn decode_name(bytes: &[u8]) -> Option<SocketAddr> {
    let at = |range: std::ops::Range<usize>| bytes.get(range);
    let family = u16::from_ne_bytes(at(0..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(at(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = at(4..8)?.try_into().ok()?;
            Some(SocketAddr::from((Ipv4Addr::from(ip), port)))
        }
        libc::AF_INET6 => {
            let flow = u32::from_ne_bytes(at(4..8)?.try_into().ok()?);
            let ip: [u8; 16] = at(8..24)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(at(24..28)?.try_into().ok()?);
            Some(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope)))
        }
        _ => None,
    }
}

impl Interface {
    fn index(self) -> libc::c_int {
        match self {
            Self::Any => 0,
            Self::Index(index) => libc::c_int::try_from(index).unwrap_or(libc::c_int::MAX),
        }
    }
}

fn set_options(fd: BorrowedFd<'_>, is_ipv6: bool, options: &DatagramSocketOptions) -> io::Result<()> {
    /// Missing in libc; linux/in6.h.
    const IPV6_MULTICAST_ALL: libc::c_int = 29;
    set_datagram_buffers(fd, options.receive_buffer_bytes, options.send_buffer_bytes)?;
    set_flag(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, options.counts_drops)?;
    // Without this every socket of the port gets what any program of the machine has joined.
    let (level, name) = match is_ipv6 {
        true => (libc::IPPROTO_IPV6, IPV6_MULTICAST_ALL),
        false => (libc::IPPROTO_IP, libc::IP_MULTICAST_ALL),
    };
    match set_flag(fd, level, name, false) {
        // ENOPROTOOPT: before Linux 4.20 there is no such option for IPv6.
        Err(error) if error.raw_os_error() != Some(libc::ENOPROTOOPT) => return Err(error),
        _ => {}
    }
    if options.multicast_interface != Interface::Any {
        set_multicast_interface(fd, options.multicast_interface)?;
    }
    if options.multicast_hops > 0 {
        set_multicast_hops(fd, options.multicast_hops)?;
    }
    if options.gro {
        set_flag(fd, libc::SOL_UDP, libc::UDP_GRO, true)?;
    }
    if options.reports_destination {
        let (level, name) = destination_option(is_ipv6);
        set_flag(fd, level, name, true)?;
    }
    Ok(())
}

fn datagram_socket(is_ipv6: bool) -> io::Result<OwnedFd> {
    let family = if is_ipv6 { libc::AF_INET6 } else { libc::AF_INET };
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: I6: no memory is passed.
    let fd = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: I5: a descriptor the kernel just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn raw_address(address: SocketAddr) -> RawAddress {
    match address {
        SocketAddr::V4(v4) => RawAddress::from_v4(&v4),
        SocketAddr::V6(v6) => RawAddress::from_v6(&v6),
    }
}

fn change_membership(
    fd: BorrowedFd<'_>,
    group: IpAddr,
    interface: Interface,
    v4: libc::c_int,
    v6: libc::c_int,
) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => set_value(fd, libc::IPPROTO_IP, v4, &membership(group, interface)),
        IpAddr::V6(group) => {
            let ipv6mr_multiaddr = libc::in6_addr { s6_addr: group.octets() };
            let ipv6mr_interface = interface.index().unsigned_abs();
            let request = libc::ipv6_mreq { ipv6mr_multiaddr, ipv6mr_interface };
            set_value(fd, libc::IPPROTO_IPV6, v6, &request)
        }
    }
}

fn membership(group: Ipv4Addr, interface: Interface) -> libc::ip_mreqn {
    libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: u32::from_ne_bytes(group.octets()) },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: interface.index(),
    }
}

fn destination_option(is_ipv6: bool) -> (libc::c_int, libc::c_int) {
    if is_ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO) } else { (libc::IPPROTO_IP, libc::IP_PKTINFO) }
}

fn is_ipv6(fd: BorrowedFd<'_>) -> io::Result<bool> {
    match integer(fd, libc::SOL_SOCKET, libc::SO_DOMAIN)? {
        libc::AF_INET => Ok(false),
        libc::AF_INET6 => Ok(true),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not an IP socket")),
    }
}

fn set_flag(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, is_on: bool) -> io::Result<()> {
    set_value(fd, level, name, &libc::c_int::from(is_on))
}

fn integer(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: [libc::c_int; 1] = [0];
    option(fd, level, name, &mut value)?;
    Ok(value[0])
}

/// Reads an option that is an array of plain integers.
fn option<T: Copy, const N: usize>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &mut [T; N],
) -> io::Result<()> {
    let mut len = socklen::<[T; N]>();
    let target = value.as_mut_ptr().cast();
    // SAFETY: I6: the kernel writes at most `len` bytes into the integers during the call.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, target, &raw mut len) }).map(drop)
}
