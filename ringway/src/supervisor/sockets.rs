//! The listening sockets: bound once, kept over all generations, so that nothing that waits in their queues is lost.

use super::activation::Passed;
use super::plan::{Bound, Place};
use crate::engine::ring::socket::{self, Address};
use crate::engine::{Endpoint, UdpEndpoint};
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr, socket_type};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// What the key of a passed socket begins with.
const PASSED: &str = "systemd:";

/// The listening sockets by the address that the configuration has for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets {
    bound: BTreeMap<String, Vec<Arc<OwnedFd>>>,
    /// Passed by a service manager, and not asked for yet.
    offered: Vec<(String, Arc<OwnedFd>)>,
}

impl Sockets {
    /// With sockets that a service manager has bound.
    pub(super) fn offered(sockets: Passed) -> Self {
        let offered = sockets.into_iter().map(|(name, socket)| (name, Arc::new(socket))).collect();
        Self { bound: BTreeMap::new(), offered }
    }

    /// The sockets of these places: those that are there, others bound now. What is not wanted any more is missing in it,
    /// but stays open until this value, too, is dropped.
    ///
    /// # Errors
    /// A sentence: the first address that cannot be had. Nothing has changed then.
    pub(super) fn with(&self, places: &[Place], workers: usize) -> Result<Self, String> {
        let mut next = Self { bound: BTreeMap::new(), offered: self.offered.clone() };
        for Place { key, bound } in places {
            let there = self.bound.get(key).cloned().or_else(|| next.take_offered(key, bound));
            let sockets = match (there, bound) {
                (Some(sockets), _) => sockets,
                (None, Bound::Streams(endpoint)) => bind(endpoint, workers)?,
                (None, Bound::Datagrams(endpoint)) => bind_datagrams(endpoint, workers)?,
                (None, Bound::Passed) => return Err(format!("no socket was passed for {key}")),
            };
            next.bound.insert(key.clone(), sockets);
        }
        Ok(next)
    }

    /// The addresses that `self` has and `other` has not.
    pub(super) fn without(&self, other: &Self) -> Self {
        let bound = self.bound.iter().filter(|(key, _)| !other.bound.contains_key(*key));
        Self {
            bound: bound.map(|(key, sockets)| (key.clone(), sockets.clone())).collect(),
            offered: Vec::new(),
        }
    }

    /// Those of these addresses.
    pub(super) fn only(&self, keys: &[String]) -> Self {
        let bound = self.bound.iter().filter(|(key, _)| keys.contains(key));
        Self {
            bound: bound.map(|(key, sockets)| (key.clone(), sockets.clone())).collect(),
            offered: Vec::new(),
        }
    }

    /// How many sockets there are for each address.
    pub(super) fn counts(&self) -> Vec<(String, usize)> {
        self.bound.iter().map(|(key, sockets)| (key.clone(), sockets.len())).collect()
    }

    /// All of them, in the order of [`Sockets::counts`].
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.bound.values().flatten().map(|socket| socket.as_fd()).collect()
    }

    /// The names of those that nobody asked for.
    pub(super) fn unclaimed(&self) -> Vec<String> {
        self.offered.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The passed sockets that nobody asked for.
    pub(super) fn unclaimed_descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.offered.iter().map(|(_, socket)| socket.as_fd()).collect()
    }

    /// From what [`Sockets::counts`], [`Sockets::descriptors`] and [`Sockets::unclaimed_descriptors`] of another program
    /// said.
    pub(super) fn passed(
        counts: &[(String, usize)],
        unclaimed: &[String],
        mut descriptors: Vec<OwnedFd>,
    ) -> Option<Self> {
        let count = counts.iter().map(|(_, count)| count).sum::<usize>();
        if count + unclaimed.len() != descriptors.len() {
            return None;
        }
        let offered = descriptors.split_off(count);
        let bound = crate::control::sorted(counts, descriptors)?;
        let offered = unclaimed.iter().cloned().zip(offered.into_iter().map(Arc::new)).collect();
        Some(Self { bound, offered })
    }

    /// Removes the files of Unix sockets, as nobody will listen there.
    pub(super) fn unlink(&self) {
        for path in self.bound.keys().filter_map(|key| key.strip_prefix("unix:")) {
            let _gone_already = std::fs::remove_file(path);
        }
    }

    /// Passed sockets that are meant for a place: by name, or by where they listen.
    fn take_offered(&mut self, key: &str, bound: &Bound) -> Option<Vec<Arc<OwnedFd>>> {
        let is_meant = |(name, socket): &(String, Arc<OwnedFd>)| match bound {
            Bound::Streams(endpoint) => {
                is_of(socket.as_fd(), SocketType::STREAM) && listens_at(socket.as_fd(), &endpoint.address)
            }
            Bound::Datagrams(endpoint) => {
                let address = Address::Tcp(endpoint.address);
                is_of(socket.as_fd(), SocketType::DGRAM) && listens_at(socket.as_fd(), &address)
            }
            Bound::Passed => key.strip_prefix(PASSED) == Some(name),
        };
        let (taken, left): (Vec<_>, Vec<_>) = self.offered.drain(..).partition(is_meant);
        self.offered = left;
        (!taken.is_empty()).then(|| taken.into_iter().map(|(_, socket)| socket).collect())
    }
}

fn is_of(socket: BorrowedFd<'_>, kind: SocketType) -> bool {
    socket_type(socket) == Ok(kind)
}

fn listens_at(socket: BorrowedFd<'_>, address: &Address) -> bool {
    match address {
        Address::Tcp(address) => socket::local_address(socket).is_some_and(|local| is_same(local, *address)),
        Address::Unix(path) => {
            let local = rustix::net::getsockname(socket).ok();
            let local = local.and_then(|local| rustix::net::SocketAddrUnix::try_from(local).ok());
            local.and_then(|local| {
                local.path().map(|found| found.to_bytes() == path.as_os_str().as_encoded_bytes())
            }) == Some(true)
        }
    }
}

/// A socket on every IPv6 address that takes IPv4, too, is what `[::]` and `0.0.0.0` both ask for; systemd binds such.
fn is_same(local: SocketAddr, wanted: SocketAddr) -> bool {
    local == wanted
        || local.port() == wanted.port() && local.ip().is_unspecified() && wanted.ip().is_unspecified()
}

fn bind(endpoint: &Endpoint, workers: usize) -> Result<Vec<Arc<OwnedFd>>, String> {
    let sentence = |error: io::Error| bind_sentence(&endpoint.address, &error);
    if let Address::Tcp(address) = endpoint.address {
        check_free(address, SocketType::STREAM).map_err(sentence)?;
    }
    let (_, sockets) = endpoint.listen_for(workers).map_err(sentence)?;
    Ok(sockets.into_iter().map(Arc::new).collect())
}

fn bind_datagrams(endpoint: &UdpEndpoint, workers: usize) -> Result<Vec<Arc<OwnedFd>>, String> {
    let sentence = |error: io::Error| bind_sentence(&Address::Tcp(endpoint.address), &error);
    check_free(endpoint.address, SocketType::DGRAM).map_err(sentence)?;
    let (_, sockets) = endpoint.bind_for(workers).map_err(sentence)?;
    Ok(sockets.into_iter().map(Arc::new).collect())
}

fn bind_sentence(address: &Address, error: &io::Error) -> String {
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there already",
        io::ErrorKind::PermissionDenied => "this user may not; ports below 1024 need a privilege",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        _ => return format!("cannot listen on {address}: {error}"),
    };
    format!("cannot listen on {address}: {reason}")
}

/// Sockets that share a port share it with those of another server of the same user, too, and each gets a part of the
/// connections. A socket that does not share says whether somebody is there.
fn check_free(address: SocketAddr, kind: SocketType) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    // Of datagrams it would say that sockets share the port.
    set_socket_reuseaddr(&socket, kind == SocketType::STREAM)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn place(address: &str) -> Place {
        let nothing = Arc::new(|_: &crate::engine::WorkerHandle| Err(io::Error::other("nobody serves here")));
        let parsed = crate::listen::parse(address).expect("an address").remove(0);
        Place { key: address.to_owned(), bound: Bound::Streams(Endpoint::new(parsed, nothing)) }
    }

    fn free_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("it is bound").port()
    }

    #[test]
    fn sockets_stay_while_they_are_wanted() {
        let (one, two) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let first = Sockets::default().with(&[place(&one)], 3).expect("free");
        assert_eq!(first.counts(), [(one.clone(), 3)]);
        let both = first.with(&[place(&one), place(&two)], 2).expect("free");
        assert!(Arc::ptr_eq(&both.bound[&one][0], &first.bound[&one][0]));
        assert_eq!(both.without(&first).counts(), [(two.clone(), 2)]);
        assert_eq!(both.descriptors().len(), 5);
        let second = both.with(&[place(&two)], 2).expect("there");
        drop((first, both));
        assert!(TcpListener::bind(&one).is_ok(), "nobody listens there any more");
        drop(second);
    }

    #[test]
    fn who_listens_already_is_not_joined() {
        let address = format!("127.0.0.1:{}", free_port());
        let first = Sockets::default().with(&[place(&address)], 2).expect("free");
        let refused = Sockets::default().with(&[place(&address)], 2).expect_err("taken");
        assert!(refused.contains("another program listens"), "{refused}");
        drop(first);
    }

    #[test]
    fn sockets_of_a_service_manager_are_taken_by_address() {
        let (here, elsewhere) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
        let (here, elsewhere) = (here.expect("a port"), elsewhere.expect("a port"));
        let address = here.local_addr().expect("bound").to_string();
        let passed = vec![("a".to_owned(), elsewhere.into()), ("b".to_owned(), here.into())];
        let offered = Sockets::offered(passed);
        let sockets = offered.with(&[place(&address)], 4).expect("it is there");
        assert_eq!(sockets.counts(), [(address.clone(), 1)]);
        assert_eq!(sockets.unclaimed(), ["a"]);
        let named = |name: &str| Place { key: format!("systemd:{name}"), bound: Bound::Passed };
        assert!(sockets.with(&[named("b")], 4).is_err(), "it is taken");
        let both = sockets.with(&[place(&address), named("a")], 4).expect("both are there");
        assert_eq!((both.counts().len(), both.unclaimed().len()), (2, 0));
    }
}
