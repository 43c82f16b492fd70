//! Groups of WebSockets on two machines, which a Redis server connects.

use crate::daemon::Daemon;
use crate::server;
use crate::sockets::{Peer, Stand, drivers, eventually};
use ringway_service::Service;
use ringway_service::redis::{Redis, RedisOptions, RedisRelay};
use ringway_service::socket::{Group, Message};

/// What is said until it is heard.
const PROBE: &str = "anybody there?";

#[test]
fn members_on_other_machines_hear_what_is_said_once() {
    let daemon = std::cell::RefCell::new(Daemon::redis("relay"));
    for driver in drivers() {
        let quick = RedisOptions { retry_ms_min: 5, retry_ms_max: 20, ..RedisOptions::default() };
        let machines = [Stand::start(driver, 2), Stand::start(driver, 2)];
        let relay = |stand: &Stand| {
            let redis = Redis::new(&daemon.borrow().url(), quick.clone()).expect("a URL");
            RedisRelay::new(&redis, "groups", &stand.groups).expect("random numbers")
        };
        let relays = machines.each_ref().map(relay);
        let carried = relays.clone();
        let carrier = Service::new("carrier", move |app| {
            carried.iter().for_each(|relay| relay.run_on(app.worker()));
            Ok(())
        });
        let carrier = server::Stand::start(driver, carrier, "", 2);
        let mut peers = machines.each_ref().map(|stand| [stand.open("/echo"), stand.open("/echo")]);
        peers.iter_mut().flatten().for_each(|peer| peer.say("join room"));
        let rooms = machines.each_ref().map(|stand| stand.groups.group("room"));
        eventually("all are members", || rooms.iter().all(|room| room.len() == 2));
        // What is sent before both have subscribed may be lost to the others.
        let both_listen = || daemon.borrow().ask("PUBSUB NUMSUB groups").ends_with(":2");
        eventually("both listen", both_listen);
        heard_by_all(&rooms, &mut peers, "h\u{e9}llo");
        rooms[1].send(Message::Binary(b"\0\xff"));
        for peer in peers.iter_mut().flatten() {
            assert_eq!(peer.frame(), (0x82, b"\0\xff".to_vec()));
        }
        // While the server is gone the members here hear each other.
        daemon.borrow_mut().kill();
        rooms[0].send_text("alone");
        assert_eq!(peers[0].each_mut().map(|peer| peer.text()), ["alone", "alone"]);
        daemon.borrow_mut().again();
        eventually("they listen again", both_listen);
        // Nobody says when the connection that publishes is there again, so probes go until one has come through.
        eventually("one is published again", || {
            rooms[0].send_text(PROBE);
            daemon.borrow().ask("INFO commandstats").contains("cmdstat_publish")
        });
        heard_by_all(&rooms, &mut peers, "together");
        drop(peers);
        machines.into_iter().for_each(Stand::stop);
        carrier.stop();
    }
}

/// Says something on the first machine.
fn heard_by_all(rooms: &[Group; 2], peers: &mut [[Peer; 2]; 2], text: &str) {
    rooms[0].send_text(text);
    for peer in peers.iter_mut().flatten() {
        let heard = std::iter::repeat_with(|| peer.text()).find(|text| text != PROBE);
        assert_eq!(heard.as_deref(), Some(text));
    }
}
