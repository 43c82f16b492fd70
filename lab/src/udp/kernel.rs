//! What the kernel says of sockets and of this process: drops, receive buffers, locked memory.

use rustix::net::sockopt;
use std::fs;
use std::net::{SocketAddr, UdpSocket};

use crate::refusal::Refusal;

/// Datagrams that the kernel dropped at the sockets bound to `address`'s port, since they were opened; `None` when the
/// kernel does not say (no /proc).
pub(super) fn drops_at(address: SocketAddr) -> Option<u64> {
    let file = if address.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
    drops_in(&fs::read_to_string(file).ok()?, address.port())
}

/// The last column of every line whose local address ends in the port.
fn drops_in(text: &str, port: u16) -> Option<u64> {
    let ending = format!(":{port:04X}");
    let lines = text.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        fields.nth(1)?.ends_with(&ending).then(|| fields.next_back()?.parse::<u64>().ok())?
    });
    lines.fold(None, |sum, drops| Some(sum.unwrap_or(0) + drops))
}

/// Datagrams that this whole network namespace dropped because a receive buffer was full, IPv4 and IPv6.
pub(super) fn receive_buffer_errors() -> Option<u64> {
    let v4 = errors_in_snmp(&fs::read_to_string("/proc/net/snmp").ok()?)?;
    let v6 = fs::read_to_string("/proc/net/snmp6").ok().and_then(|text| errors_in_snmp6(&text));
    Some(v4 + v6.unwrap_or(0))
}

fn errors_in_snmp(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_ascii_whitespace().position(|name| name == "RcvbufErrors")?;
    values.split_ascii_whitespace().nth(at)?.parse().ok()
}

fn errors_in_snmp6(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("Udp6RcvbufErrors"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// A line of /proc/self/status in KiB, such as `VmLck`, `VmPin` or `VmHWM`.
pub(super) fn status_kib(name: &str) -> Option<u64> {
    line_kib("/proc/self/status", name)
}

/// Memory of this process that is on huge pages, in KiB.
pub(super) fn huge_pages_kib() -> Option<u64> {
    line_kib("/proc/self/smaps_rollup", "AnonHugePages")
}

fn line_kib(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// How many threads wanted to run in the last 1, 5 and 15 minutes: a quiet machine has less than one.
pub(super) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<&str> = text.split_ascii_whitespace().take(3).collect();
    if averages.is_empty() { "unknown".to_owned() } else { averages.join(" ") }
}

/// The largest receive buffer, in bytes, that a program may ask for without privileges.
pub(super) fn receive_buffer_bytes_max() -> usize {
    let text = fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap_or_default();
    text.trim().parse().unwrap_or(212_992)
}

/// Asks for a receive buffer and says what the kernel gave; it counts its own overhead and so gives twice as much.
pub(super) fn set_receive_buffer(socket: &UdpSocket, bytes: usize) -> Result<usize, Refusal> {
    sockopt::set_socket_recv_buffer_size(socket, bytes)
        .map_err(Refusal::because("cannot set the receive buffer"))?;
    sockopt::socket_recv_buffer_size(socket)
        .map_err(Refusal::because("cannot read the receive buffer's size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_added_up_by_port() {
        let text = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            \x20 312: 0100007F:4CF4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 11 2 0000000000000000 40\n\
            \x20 312: 0100007F:4CF4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12 2 0000000000000000 2\n\
            \x20 313: 0100007F:4CF5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 13 2 0000000000000000 9\n";
        assert_eq!(drops_in(text, 0x4cf4), Some(42));
        assert_eq!(drops_in(text, 0x4cf5), Some(9));
        assert_eq!(drops_in(text, 0x4cf6), None);
    }

    #[test]
    fn counters_are_found_by_their_names() {
        let snmp = "Tcp: A B\nTcp: 1 2\nUdp: InDatagrams RcvbufErrors SndbufErrors\nUdp: 5 17 0\nUdpLite: InDatagrams\nUdpLite: 3\n";
        assert_eq!(errors_in_snmp(snmp), Some(17));
        assert_eq!(errors_in_snmp6("Udp6InErrors   1\nUdp6RcvbufErrors   23\n"), Some(23));
        assert!(status_kib("VmHWM").is_some_and(|kib| kib > 0));
        assert_eq!(status_kib("Vm"), None);
        assert!(huge_pages_kib().is_some());
    }

    #[test]
    fn a_full_receive_buffer_is_seen_at_its_socket() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let got = set_receive_buffer(&receiver, 4096).expect("a small buffer");
        let address = receiver.local_addr().expect("an address");
        assert_eq!(drops_at(address), Some(0));
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let sent = got / 1000 + 8;
        for _ in 0..sent {
            sender.send_to(&[0; 1000], address).expect("loopback takes it");
        }
        receiver.set_nonblocking(true).expect("a flag");
        let received = std::iter::from_fn(|| receiver.recv(&mut [0; 1000]).ok()).count();
        assert_eq!(drops_at(address), Some((sent - received) as u64));
        assert!(received < sent);
    }
}
