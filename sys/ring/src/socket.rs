//! Sockets: making, configuring, and the direct (never blocking) calls on them.

mod datagrams;
mod send_batch;

pub(crate) use datagrams::{DatagramReports, decode_name};
pub use datagrams::{
    DatagramSocketOptions, Interface, adopt_datagrams, bind_datagrams, connect_datagrams, datagram_buffers,
    dropped_datagrams, join_multicast, leave_multicast, set_datagram_buffers, set_multicast_hops,
    set_multicast_interface, set_segment_bytes,
};
pub use send_batch::{Full, Refusal, SEND_BYTES_MAX, SendBatch, Sent, send_datagrams};

use std::fmt;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A socket address of any family in the kernel's form.
#[derive(Clone, Copy)]
pub struct RawAddress {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

/// Where a socket listens or connects: an IP address with port, or a Unix path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix stream socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How a listening socket is set up. Accepted connections inherit `nodelay` and `unsent_low_water_bytes`.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// Length of the accept queue; the kernel cuts it to `net.core.somaxconn`.
    pub backlog: u32,
    /// Several sockets share the port and the kernel spreads connections over them.
    pub reuse_port: bool,
    /// The kernel keeps a connection back until its first data, at most this many seconds; 0: not at all.
    pub defer_accept_seconds: u32,
    /// Pending TCP Fast Open requests allowed; 0: off.
    pub fast_open_queue: u32,
    /// Small segments leave at once.
    pub nodelay: bool,
    /// A connection counts as writable while fewer unsent bytes than this wait in it; 0: the kernel's default (none).
    pub unsent_low_water_bytes: u32,
    /// Receive and send buffer in bytes; 0: the kernel tunes them.
    pub receive_buffer_bytes: u32,
    /// See `receive_buffer_bytes`.
    pub send_buffer_bytes: u32,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: 4096,
            reuse_port: false,
            defer_accept_seconds: 0,
            fast_open_queue: 0,
            nodelay: true,
            unsent_low_water_bytes: 0,
            receive_buffer_bytes: 0,
            send_buffer_bytes: 0,
        }
    }
}

/// Binds and listens. An existing Unix socket file that nobody listens on is replaced.
///
/// # Errors
/// What `socket`, `setsockopt`, `bind` or `listen` say, `AddrInUse` and `PermissionDenied` among them.
pub fn listen(address: &Address, options: &ListenOptions) -> io::Result<OwnedFd> {
    let raw = RawAddress::new(address)?;
    let fd = stream_socket(&raw)?;
    if let Address::Tcp(tcp) = address {
        set_option(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        if tcp.is_ipv6() {
            set_option(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
        }
        set_tcp_options(fd.as_fd(), options)?;
    }
    if options.reuse_port {
        set_option(&fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    if let Address::Unix(path) = address {
        remove_stale(path)?;
    }
    raw.with(|pointer, len| {
        // SAFETY: I6: pointer and length describe the address for the duration of the call.
        check(unsafe { libc::bind(fd.as_raw_fd(), pointer, len) })
    })?;
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    // SAFETY: I6: no memory is passed.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) })?;
    Ok(fd)
}

/// Makes a listening socket that somebody else bound ready to be accepted from: non-blocking, with these options as far as
/// they can be set on a bound socket. What waits in its queue stays there.
///
/// # Errors
/// `InvalidInput` when the descriptor is no listening stream socket; else what the system calls say.
pub fn adopt_listener(fd: BorrowedFd<'_>, options: &ListenOptions) -> io::Result<()> {
    let listens = read_option(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)? != 0;
    let is_stream = read_option(fd, libc::SOL_SOCKET, libc::SO_TYPE)? == libc::SOCK_STREAM;
    if !listens || !is_stream {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the descriptor is not a listening stream socket",
        ));
    }
    let mut nonblocking: libc::c_int = 1;
    // SAFETY: I6: the kernel reads one integer during the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONBIO, &raw mut nonblocking) })?;
    if local_address(fd).is_some() {
        set_tcp_options(fd, options)?;
    }
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    // Listening again only changes the queue's length.
    // SAFETY: I6: no memory is passed.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) }).map(drop)
}

/// An unconnected, non-blocking stream socket of the address's family.
///
/// # Errors
/// What `socket(2)` says.
pub fn stream_socket(address: &RawAddress) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: I6: no memory is passed.
    let fd = check(unsafe { libc::socket(i32::from(address.storage.ss_family), kind, 0) })?;
    // SAFETY: I5: a descriptor the kernel just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets a connect carry its first data in the SYN where the kernel has a cookie for the peer (RFC 7413).
///
/// # Errors
/// What `setsockopt(2)` says.
pub fn set_fast_open_connect(fd: &OwnedFd) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1)
}

/// Has small segments of a TCP connection leave at once.
///
/// # Errors
/// What `setsockopt(2)` says.
pub fn set_nodelay(fd: &OwnedFd) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
}

/// Has urgent data received where they stand among the others; for a listener, by the connections that are made from then on.
///
/// # Errors
/// What `setsockopt(2)` says.
pub fn set_urgent_inline(fd: &OwnedFd) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_OOBINLINE, 1)
}

/// Makes a close send a reset instead of a FIN and drop what is unsent.
///
/// # Errors
/// What `setsockopt(2)` says.
pub fn set_abort_on_close(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_value(fd, libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 })
}

/// The peer's address; `None` for Unix sockets and when the peer is gone.
#[must_use]
pub fn peer_address(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    named(fd, libc::getpeername)
}

/// The socket's own address; `None` for Unix sockets.
#[must_use]
pub fn local_address(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    named(fd, libc::getsockname)
}

/// Takes a connection that waits at a listening socket; `None` when none does. Never blocks if the listener does not.
///
/// # Errors
/// What `accept4(2)` says: no descriptors or no memory.
pub fn accept_waiting(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    loop {
        match accept(listener.as_raw_fd()) {
            Ok(connection) => return Ok(Some(connection)),
            Err(error) => match error.raw_os_error() {
                // EAGAIN: nobody waits.
                Some(libc::EAGAIN) => return Ok(None),
                // ECONNABORTED: the peer gave up while it waited; the next one may not have.
                Some(libc::ECONNABORTED | libc::EINTR) => {}
                _ => return Err(error),
            },
        }
    }
}

/// How many connections wait in a listening TCP socket's accept queue, and how many fit.
///
/// # Errors
/// What `getsockopt(2)` says; Unix sockets cannot tell.
pub fn accept_queue(fd: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let info = TcpInfo::of(fd)?;
    // For a listener the kernel reports the queue in the fields of unacknowledged and selectively acknowledged segments.
    Ok((info.u32_at(24), info.u32_at(28)))
}

/// Bytes that the peer of a TCP connection has acknowledged since the connection began: progress that does not depend on
/// what waits in the send buffer.
///
/// # Errors
/// What `getsockopt(2)` says; Unix sockets cannot tell.
pub fn acknowledged_bytes(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(TcpInfo::of(fd)?.u64_at(120))
}

/// Whether the peer of a TCP connection has acknowledged everything that was sent.
///
/// # Errors
/// What `getsockopt(2)` says; Unix sockets cannot tell.
pub fn is_delivered(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let info = TcpInfo::of(fd)?;
    // Segments under way, and bytes that were not sent yet.
    Ok(info.u32_at(24) == 0 && info.u32_at(144) == 0)
}

/// What a TCP connection has carried since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Bytes received.
    pub received: u64,
    /// Bytes sent and acknowledged.
    pub acknowledged: u64,
}

/// What a TCP connection has carried.
///
/// # Errors
/// What `getsockopt(2)` says; Unix sockets cannot tell.
pub fn carried_bytes(fd: BorrowedFd<'_>) -> io::Result<Carried> {
    let info = TcpInfo::of(fd)?;
    Ok(Carried { acknowledged: info.u64_at(120), received: info.u64_at(128) })
}

/// The kernel's `struct tcp_info` (linux/tcp.h) as bytes, because the C library's copy of it ends before the newer fields.
struct TcpInfo([u8; 256]);

impl TcpInfo {
    fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let mut info = Self([0; 256]);
        let mut len = socklen::<Self>();
        // SAFETY: I6: the kernel writes at most `len` bytes into `info` during the call.
        check(unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.0.as_mut_ptr().cast(),
                &raw mut len,
            )
        })?;
        Ok(info)
    }

    fn u32_at(&self, offset: usize) -> u32 {
        let bytes = self.0.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    }

    fn u64_at(&self, offset: usize) -> u64 {
        let bytes = self.0.get(offset..offset + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_ne_bytes)
    }
}

/// Takes a waiting connection: non-blocking, with its peer's address where it has one.
pub(crate) fn accept(fd: RawFd) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: I6: null address pointers ask for no address.
    let fd = check(unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), flags) })?;
    // SAFETY: I5: a descriptor the kernel just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn recv(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: I6: the kernel writes at most `len` bytes into `buffer` during the call.
    checked(unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) })
}

pub(crate) fn send(fd: RawFd, bytes: &[u8], more: bool) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    // SAFETY: I6: the kernel reads `len` bytes from `bytes` during the call.
    checked(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) })
}

pub(crate) fn send_message(fd: RawFd, message: &libc::msghdr) -> io::Result<usize> {
    // SAFETY: I4, I6: the header's vectors point into slices that its owner holds during the call.
    checked(unsafe { libc::sendmsg(fd, message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) })
}

pub(crate) fn send_file(fd: RawFd, file: RawFd, offset: u64, bytes: usize) -> io::Result<usize> {
    let mut offset = libc::off_t::try_from(offset).unwrap_or(libc::off_t::MAX);
    // SAFETY: I6: the kernel reads and writes only `offset` during the call.
    checked(unsafe { libc::sendfile(fd, file, &raw mut offset, bytes) })
}

pub(crate) fn shutdown(fd: RawFd, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: I6: no memory is passed.
    check(unsafe { libc::shutdown(fd, how) }).map(drop)
}

/// Whether the socket is ready to be read or written, or broken, now.
pub(crate) fn is_ready(fd: RawFd, for_writing: bool) -> io::Result<bool> {
    let events = if for_writing { libc::POLLOUT } else { libc::POLLIN | libc::POLLRDHUP };
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: I6: the kernel reads and writes one entry during the call.
    check(unsafe { libc::poll(&raw mut poll, 1, 0) }).map(|ready| ready > 0)
}

/// Starts a connect; false when it goes on in the background.
pub(crate) fn connect(fd: RawFd, address: &RawAddress) -> io::Result<bool> {
    let result = address.with(|pointer, len| {
        // SAFETY: I6: pointer and length describe the address for the duration of the call.
        check(unsafe { libc::connect(fd, pointer, len) })
    });
    match result {
        // EAGAIN is another thing: a Unix listener's queue is full, and nothing goes on.
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(false),
        other => other.map(|_zero| true),
    }
}

/// The result of a connect that went on in the background; false when it still does.
pub(crate) fn connect_result(fd: RawFd) -> io::Result<bool> {
    let mut errno: libc::c_int = 0;
    let mut len = socklen::<libc::c_int>();
    // SAFETY: I6: the kernel writes one integer during the call.
    check(unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut errno).cast(), &raw mut len)
    })?;
    if errno != 0 {
        return Err(io::Error::from_raw_os_error(errno));
    }
    // Readiness alone is not believed: an event from before the connect may have been on its way.
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::uninit();
    let mut len = socklen::<libc::sockaddr_storage>();
    // SAFETY: I6: the kernel writes at most `len` bytes into the storage during the call.
    match check(unsafe { libc::getpeername(fd, storage.as_mut_ptr().cast(), &raw mut len) }) {
        // ENOTCONN: still on its way.
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => Ok(false),
        // EINVAL: connected and broken since; the next operation says so.
        _ => Ok(true),
    }
}

/// Whether a socket carries a stream of bytes rather than datagrams.
pub(crate) fn is_stream(fd: RawFd) -> bool {
    let mut kind: libc::c_int = 0;
    let mut len = socklen::<libc::c_int>();
    // SAFETY: I6: the kernel writes one integer during the call.
    let asked = check(unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE, (&raw mut kind).cast(), &raw mut len)
    });
    asked.is_ok() && kind == libc::SOCK_STREAM
}

impl RawAddress {
    /// The kernel's form of an address.
    ///
    /// # Errors
    /// `InvalidInput` for a Unix path that is empty, holds NUL, or is longer than 107 bytes.
    pub fn new(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(SocketAddr::V4(v4)) => Ok(Self::from_v4(v4)),
            Address::Tcp(SocketAddr::V6(v6)) => Ok(Self::from_v6(v6)),
            Address::Unix(path) => Self::from_path(path),
        }
    }

    /// The address; `None` for Unix sockets.
    #[must_use]
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: I6: the family says that the storage holds an IPv4 address.
                let raw = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(raw.sin_port)))
            }
            libc::AF_INET6 => {
                // SAFETY: I6: the family says that the storage holds an IPv6 address.
                let raw = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                let port = u16::from_be(raw.sin6_port);
                Some(SocketAddr::V6(SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id)))
            }
            _ => None,
        }
    }

    /// Pointer and length for a system call or a submission; valid while the value stays in place.
    pub(crate) fn with<T>(&self, call: impl FnOnce(*const libc::sockaddr, libc::socklen_t) -> T) -> T {
        call((&raw const self.storage).cast(), self.len)
    }

    /// Writes the kernel's form to the beginning of `target`, as far as it has room; its bytes.
    fn copy_to(&self, target: &mut [u8]) -> usize {
        let len = (self.len as usize).min(target.len());
        // SAFETY: I6: an initialised storage of at least `len` bytes, read as bytes.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const self.storage).cast::<u8>(), len) };
        target[..len].copy_from_slice(bytes);
        len
    }

    fn from_v4(address: &SocketAddrV4) -> Self {
        let raw = libc::sockaddr_in {
            sin_family: family(libc::AF_INET),
            sin_port: address.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
            sin_zero: [0; 8],
        };
        Self::store(&raw)
    }

    fn from_v6(address: &SocketAddrV6) -> Self {
        let raw = libc::sockaddr_in6 {
            sin6_family: family(libc::AF_INET6),
            sin6_port: address.port().to_be(),
            sin6_flowinfo: address.flowinfo(),
            sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
            sin6_scope_id: address.scope_id(),
        };
        Self::store(&raw)
    }

    fn from_path(path: &Path) -> io::Result<Self> {
        // SAFETY: I6: all-zero is a valid Unix address.
        let mut raw: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        raw.sun_family = family(libc::AF_UNIX);
        let bytes = path.as_os_str().as_bytes();
        // One byte stays for the terminating NUL (unix(7)).
        if bytes.is_empty() || bytes.contains(&0) || bytes.len() >= raw.sun_path.len() {
            let reason = "a Unix socket path has 1 to 107 bytes and no NUL";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        for (to, from) in raw.sun_path.iter_mut().zip(bytes) {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        Ok(Self::store(&raw))
    }

    fn store<T>(raw: &T) -> Self {
        const { assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>()) };
        // SAFETY: I6: all-zero is a valid storage; `T` is a plain address struct that fits (asserted above).
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        // SAFETY: I6: source and target are distinct and at least size_of::<T>() long.
        unsafe { std::ptr::copy_nonoverlapping(raw, (&raw mut storage).cast::<T>(), 1) };
        Self { storage, len: socklen::<T>() }
    }
}

impl fmt::Debug for RawAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.socket_address() {
            Some(address) => write!(f, "{address}"),
            None => write!(f, "address of family {}", self.storage.ss_family),
        }
    }
}

type NameCall = unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn named(fd: BorrowedFd<'_>, call: NameCall) -> Option<SocketAddr> {
    // SAFETY: I6: all-zero is a valid storage.
    let storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut raw = RawAddress { storage, len: socklen::<libc::sockaddr_storage>() };
    // SAFETY: I6: the kernel writes at most `len` bytes into the storage during the call.
    check(unsafe { call(fd.as_raw_fd(), (&raw mut raw.storage).cast(), &raw mut raw.len) }).ok()?;
    raw.socket_address()
}

fn set_tcp_options(fd: BorrowedFd<'_>, options: &ListenOptions) -> io::Result<()> {
    let settings = [
        (libc::SOL_SOCKET, libc::SO_RCVBUF, options.receive_buffer_bytes),
        (libc::SOL_SOCKET, libc::SO_SNDBUF, options.send_buffer_bytes),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY, u32::from(options.nodelay)),
        (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, options.defer_accept_seconds),
        (libc::IPPROTO_TCP, libc::TCP_FASTOPEN, options.fast_open_queue),
        (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, options.unsent_low_water_bytes),
    ];
    for (level, name, value) in settings.into_iter().filter(|&(_, _, value)| value != 0) {
        set_value(fd, level, name, &i32::try_from(value).unwrap_or(i32::MAX))?;
    }
    Ok(())
}

/// Flags of `recvmmsg` and `sendmmsg`, which musl declares unsigned.
#[cfg(target_env = "musl")]
pub(crate) fn batch_flags(flags: libc::c_int) -> libc::c_uint {
    flags.cast_unsigned()
}

/// Flags of `recvmmsg` and `sendmmsg`.
#[cfg(not(target_env = "musl"))]
pub(crate) fn batch_flags(flags: libc::c_int) -> libc::c_int {
    flags
}

fn read_option(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = socklen::<libc::c_int>();
    // SAFETY: I6: the kernel writes one integer during the call.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) })?;
    Ok(value)
}

fn set_option(fd: &OwnedFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    set_value(fd.as_fd(), level, name, &value)
}

fn set_value<T>(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let pointer = std::ptr::from_ref(value).cast();
    // SAFETY: I6: the kernel reads size_of::<T>() bytes from `value` during the call.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, pointer, socklen::<T>()) }).map(drop)
}

/// Removes a socket file that a dead process left behind; a live listener's or another kind of file stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn family(number: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(number).unwrap_or(0)
}

fn socklen<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub(crate) fn checked(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_negative| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn listens_and_accepts_on_every_family() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let address = Address::Tcp(address.parse().expect("an address"));
            let listener = listen(&address, &ListenOptions::default()).expect("loopback");
            let at = local_address(listener.as_fd()).expect("a TCP socket has an address");
            let client = std::net::TcpStream::connect(at).expect("connects");
            let server = accept(listener.as_raw_fd()).expect("a connection waits");
            assert_eq!(peer_address(server.as_fd()), client.local_addr().ok());
            assert_eq!(accept_queue(listener.as_fd()).expect("TCP_INFO").1, 4096);
            assert_eq!(acknowledged_bytes(server.as_fd()).expect("TCP_INFO"), 0);
            assert_eq!(send(server.as_raw_fd(), b"hello", false).expect("room"), 5);
            let mut hello = [0; 5];
            io::Read::read_exact(&mut &client, &mut hello).expect("it arrives");
            let acknowledged = || acknowledged_bytes(server.as_fd()).expect("TCP_INFO");
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while acknowledged() < 5 && std::time::Instant::now() < deadline {
                std::thread::yield_now();
            }
            assert_eq!(acknowledged(), 5);
            assert!(is_delivered(server.as_fd()).expect("TCP_INFO"));
            // A peer that does not read leaves it in our buffer.
            while send(server.as_raw_fd(), &[0; 65_536], false).is_ok() {}
            assert!(!is_delivered(server.as_fd()).expect("TCP_INFO"));
        }
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let path = std::env::temp_dir().join(format!("ringway-socket-{}", std::process::id()));
        let address = Address::Unix(path.clone());
        let options = ListenOptions::default();
        let first = listen(&address, &options).expect("binds");
        let busy = listen(&address, &options).expect_err("somebody listens");
        assert_eq!(busy.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        listen(&address, &options).expect("the stale file is replaced");
        std::fs::remove_file(path).expect("ours");
    }

    #[test]
    fn long_unix_paths_are_refused() {
        let path = PathBuf::from("x".repeat(108));
        let error = RawAddress::new(&Address::Unix(path)).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
