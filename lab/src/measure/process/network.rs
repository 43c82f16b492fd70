//! What a network namespace received, sent and lost, as its kernel counts it.

use std::fs::File;

use super::Pid;
use super::files::{self, Reader};

/// Counters of a network namespace since it was made; take differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received by all interfaces, the loopback one included.
    pub received_bytes: u64,
    /// Packets received by all interfaces.
    pub received_packets: u64,
    /// Bytes sent by all interfaces.
    pub sent_bytes: u64,
    /// Packets sent by all interfaces.
    pub sent_packets: u64,
    /// Packets that interfaces dropped, on the way in and out.
    pub interface_drops: u64,
    /// UDP datagrams that reached a socket's owner (IPv4 and IPv6).
    pub udp_received: u64,
    /// UDP datagrams that were lost because a receive buffer was full.
    pub udp_buffer_drops: u64,
    /// UDP datagrams that were lost for any reason but a missing socket, full buffers included.
    pub udp_errors: u64,
    /// TCP segments that were sent again.
    pub tcp_retransmits: u64,
}

impl Traffic {
    /// What was counted since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Traffic) -> Traffic {
        Traffic {
            received_bytes: self.received_bytes.saturating_sub(earlier.received_bytes),
            received_packets: self.received_packets.saturating_sub(earlier.received_packets),
            sent_bytes: self.sent_bytes.saturating_sub(earlier.sent_bytes),
            sent_packets: self.sent_packets.saturating_sub(earlier.sent_packets),
            interface_drops: self.interface_drops.saturating_sub(earlier.interface_drops),
            udp_received: self.udp_received.saturating_sub(earlier.udp_received),
            udp_buffer_drops: self.udp_buffer_drops.saturating_sub(earlier.udp_buffer_drops),
            udp_errors: self.udp_errors.saturating_sub(earlier.udp_errors),
            tcp_retransmits: self.tcp_retransmits.saturating_sub(earlier.tcp_retransmits),
        }
    }
}

/// The open files of one network namespace.
#[derive(Debug)]
pub struct Network {
    interfaces: Option<File>,
    snmp: Option<File>,
    snmp6: Option<File>,
    reader: Reader,
}

impl Network {
    /// The namespace of a process. It stays readable when the process is gone.
    #[must_use]
    pub fn of(pid: Pid) -> Network {
        Network::under(&format!("/proc/{pid}/net"))
    }

    /// Our own namespace.
    #[must_use]
    pub fn here() -> Network {
        Network::under("/proc/self/net")
    }

    fn under(folder: &str) -> Network {
        let open = |name: &str| files::open(&format!("{folder}/{name}")).ok();
        Network { interfaces: open("dev"), snmp: open("snmp"), snmp6: open("snmp6"), reader: Reader::new() }
    }

    /// Reads all counters; those that cannot be read are zero.
    pub fn read(&mut self) -> Traffic {
        let mut traffic = Traffic::default();
        if let Some(text) = self.interfaces.as_ref().and_then(|file| self.reader.text(file).ok()) {
            add_interfaces(&mut traffic, text);
        }
        if let Some(text) = self.snmp.as_ref().and_then(|file| self.reader.text(file).ok()) {
            traffic.udp_received += paired(text, "Udp:", "InDatagrams");
            traffic.udp_buffer_drops += paired(text, "Udp:", "RcvbufErrors");
            traffic.udp_errors += paired(text, "Udp:", "InErrors");
            traffic.tcp_retransmits += paired(text, "Tcp:", "RetransSegs");
        }
        if let Some(text) = self.snmp6.as_ref().and_then(|file| self.reader.text(file).ok()) {
            traffic.udp_received += single(text, "Udp6InDatagrams");
            traffic.udp_buffer_drops += single(text, "Udp6RcvbufErrors");
            traffic.udp_errors += single(text, "Udp6InErrors");
        }
        traffic
    }
}

/// Lines such as `lo: bytes packets errs drop fifo frame compressed multicast`, then eight numbers of what was sent.
fn add_interfaces(traffic: &mut Traffic, text: &str) {
    for (_, numbers) in text.lines().filter_map(|line| line.split_once(':')) {
        let numbers: Vec<u64> =
            numbers.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [received, packets, _, dropped, _, _, _, _, sent, sent_packets, _, not_sent, ..] = numbers[..]
        else {
            continue;
        };
        traffic.received_bytes += received;
        traffic.received_packets += packets;
        traffic.sent_bytes += sent;
        traffic.sent_packets += sent_packets;
        traffic.interface_drops += dropped + not_sent;
    }
}

/// A number of two lines that begin alike: the first one names the columns of the second one.
fn paired(text: &str, prefix: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let column = names.split_ascii_whitespace().position(|column| column == name);
    let value = column.and_then(|column| values.split_ascii_whitespace().nth(column));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// A number that stands behind its name.
fn single(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[test]
fn counters_are_found_by_name() {
    let snmp = "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 10 1 7 12 5\nUdpLite: A\nUdpLite: 9\n";
    assert_eq!(paired(snmp, "Udp:", "RcvbufErrors"), 5);
    assert_eq!(paired(snmp, "Udp:", "NoSuch"), 0);
    assert_eq!(single("Udp6InDatagrams      \t31\n", "Udp6InDatagrams"), 31);
    let mut traffic = Traffic::default();
    add_interfaces(
        &mut traffic,
        "Inter-|\n face |bytes\n lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n x:1 1 1 1 1 1 1 1 1 1 1 1\n",
    );
    let sums = (traffic.received_bytes, traffic.sent_packets, traffic.interface_drops);
    assert_eq!(sums, (2, 11, 18));
}

#[test]
fn a_datagram_over_loopback_is_counted() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut network = Network::here();
    let before = network.read();
    let address = socket.local_addr().expect("an address");
    assert_eq!(socket.send_to(b"one", address).expect("sent"), 3);
    assert_eq!(socket.recv(&mut [0; 8]).expect("received"), 3);
    let traffic = network.read().since(before);
    assert!(traffic.received_packets >= 1 && traffic.udp_received >= 1, "{traffic:?}");
    assert!(traffic.received_bytes >= 31, "{traffic:?}");
}
