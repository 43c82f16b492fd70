//! Ports: whether they can be had, and who has them.

use super::Inspector;
use crate::config::report::Finding;
use crate::config::settings::EndpointProtocol;
use crate::config::source::Place;
use crate::engine::ring::socket::Address;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A program that has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    name: String,
    pid: u32,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

impl Inspector<'_> {
    pub(super) fn ports(&mut self) {
        for (index, endpoint) in self.config.endpoint.iter().enumerate() {
            for (at, listen) in endpoint.listen.iter().enumerate() {
                let place = self.tree.item("endpoint", index).place_in("listen", at);
                let is_udp = endpoint.spoken() == EndpointProtocol::Udp;
                // What does not resolve was told.
                for address in listen.resolve().unwrap_or_default() {
                    match address {
                        Address::Tcp(ip) => self.port(ip, is_udp, place),
                        Address::Unix(path) => self.socket(&path, place),
                    }
                }
            }
        }
    }

    fn port(&mut self, address: SocketAddr, is_udp: bool, place: Place) {
        // Dropped at once. Nothing was accepted on it, so it leaves no connection that would keep the port.
        let tried = match is_udp {
            true => UdpSocket::bind(address).map(drop),
            false => TcpListener::bind(address).map(drop),
        };
        let Err(error) = tried else { return };
        match error.kind() {
            io::ErrorKind::AddrInUse => match holder(address, if is_udp { &UDP } else { &TCP }) {
                Some(holder) if holder.name == "ringway" => {
                    let message = format!("{address} is held by a running {holder}");
                    self.findings.push(
                        Finding::warning(place, message).hint("`ringway reload` gives it this configuration"),
                    );
                }
                Some(holder) => self.error(place, format!("{address} is in use by {holder}")),
                None => self.error(place, format!("{address} is in use by another program")),
            },
            io::ErrorKind::PermissionDenied => {
                let message = format!("this user may not listen on {address}");
                let hint = "ports below 1024 need a privilege: start as root with `server.user` set, or from systemd";
                self.findings.push(Finding::warning(place, message).hint(hint));
            }
            io::ErrorKind::AddrNotAvailable => {
                self.error(place, format!("this machine does not have the address {}", address.ip()))
            }
            // EAFNOSUPPORT has no kind: a machine without IPv6. `:80` means what there is.
            _ if error.raw_os_error() == Some(97) => {}
            _ => self.error(place, format!("{address} cannot be listened on: {error}")),
        }
    }

    fn socket(&mut self, path: &Path, place: Place) {
        let parent = path.parent().unwrap_or(Path::new("/"));
        if !parent.is_dir() {
            self.error_with_hint(
                place,
                format!("there is no directory {}", parent.display()),
                "make it first",
            );
        } else if path.exists() && UnixStream::connect(path).is_ok() {
            let message = format!("somebody listens on {}", path.display());
            self.findings.push(
                Finding::warning(place, message)
                    .hint("if that is this server, `ringway reload` keeps the socket"),
            );
        }
    }
}

/// Who listens on a port, as far as this user may see.
fn holder(address: SocketAddr, table: &Table) -> Option<Holder> {
    let inodes = inodes(address.port(), table);
    let processes = std::fs::read_dir("/proc").ok()?;
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // Another user's process shows nothing.
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = descriptors.flatten().any(|descriptor| {
            let target = std::fs::read_link(descriptor.path()).unwrap_or_default();
            let target = target.to_string_lossy();
            let inode = target.strip_prefix("socket:[").and_then(|inode| inode.strip_suffix(']'));
            inode.is_some_and(|inode| inodes.iter().any(|known| known == inode))
        });
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(Holder { name: name.trim().to_owned(), pid });
        }
    }
    None
}

/// Where the kernel lists sockets, and the state of those that listen.
struct Table {
    files: [&'static str; 2],
    listening: &'static str,
}

const TCP: Table = Table { files: ["/proc/net/tcp", "/proc/net/tcp6"], listening: "0A" };
/// Sockets of datagrams that are connected to nobody.
const UDP: Table = Table { files: ["/proc/net/udp", "/proc/net/udp6"], listening: "07" };

/// Listening sockets of a port: a line has the local address, the state and the inode.
fn inodes(port: u16, table: &Table) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    let texts = table.files.map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let lines = texts.iter().flat_map(|text| text.lines());
    let found = lines.filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_listening = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == table.listening;
        is_listening.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let found = holder(address, &TCP).expect("this process is found");
        assert_eq!(found.pid, std::process::id());
        drop(listener);
        assert_eq!(inodes(address.port(), &TCP), Vec::<String>::new());
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("its address");
        assert_eq!(holder(address, &UDP).map(|found| found.pid), Some(std::process::id()));
    }
}
