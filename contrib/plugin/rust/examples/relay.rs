//! A relay of datagrams: what comes in goes to all addresses of the configuration, such as a multicast group on another network and single
//! machines: `to = ["239.1.2.3:5000", "192.0.2.7:5000"]`. The endpoint joins the group that it listens to.

use ringway_sdk::{DatagramHandler, Peer, Setup};
use std::net::SocketAddr;

struct Relay {
    to: Vec<String>,
}

impl DatagramHandler for Relay {
    type Worker = ();
    type State = ();

    fn create(setup: &Setup<'_>) -> Result<Self, String> {
        let to: Vec<String> = setup.config().split('"').skip(1).step_by(2).map(str::to_owned).collect();
        if to.is_empty() {
            return Err("the relay needs addresses, such as to = [\"239.1.2.3:5000\"]".to_owned());
        }
        match to.iter().find(|address| address.parse::<SocketAddr>().is_err()) {
            Some(address) => Err(format!("{address:?} is no address: such as \"239.1.2.3:5000\"")),
            None => Ok(Self { to }),
        }
    }

    fn worker(&self) -> Self::Worker {}

    fn datagram(&self, (): &(), peer: &mut Peer<'_>, (): &mut (), payload: &mut [u8]) {
        for address in &self.to {
            // One for which there is no room is lost, as datagrams are.
            let _lost = peer.send_to(address, payload);
        }
    }
}

ringway_sdk::export!("relay"; datagrams: Relay);
