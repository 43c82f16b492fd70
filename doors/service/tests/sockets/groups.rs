//! Groups: who hears what, on several workers, and what becomes of those that read slowly.

use crate::stand::{Stand, drivers, eventually, on_each_driver};
use ringway_service::socket::Message;

#[test]
fn members_on_all_workers_hear_what_is_said_by_whomever() {
    for driver in drivers() {
        let stand = Stand::start(driver, 2);
        let mut peers: Vec<_> = (0..20).map(|_| stand.open("/echo")).collect();
        for peer in &mut peers {
            peer.say("join room");
        }
        let room = stand.groups.group("room");
        eventually("all are members", || room.len() == 20);
        room.send_text("from outside");
        for peer in &mut peers {
            assert_eq!(peer.text(), "from outside");
        }
        peers[0].say("tell room from one of us");
        for peer in &mut peers[1..] {
            assert_eq!(peer.text(), "from one of us");
        }
        peers[0].say("back");
        assert_eq!(peers[0].text(), "back", "it does not hear itself");
        peers[0].say("leave room");
        drop(peers.pop());
        eventually("two have left", || room.len() == 18);
        room.send(Message::Binary(b"last"));
        for peer in &mut peers[1..] {
            assert_eq!(peer.frame(), (0x82, b"last".to_vec()));
        }
        drop(peers);
        eventually("nobody is left", || room.is_empty());
        assert_eq!(stand.groups.names(), ["room"]);
        drop(room);
        assert!(stand.groups.names().is_empty());
        stand.stop();
    }
}

#[test]
fn long_messages_and_many_come_in_order() {
    on_each_driver(|stand| {
        let mut peer = stand.open("/echo");
        peer.say("join room");
        let room = stand.groups.group("room");
        eventually("it is a member", || room.len() == 1);
        for at in 0..1_000_u32 {
            room.send_text(&at.to_string());
            if at % 4 == 3 {
                for of in at - 3..=at {
                    assert_eq!(peer.text(), of.to_string());
                }
            }
        }
        let long = "x".repeat(200_000);
        room.send_text(&long);
        assert!(peer.text() == long);
        stand.stop();
    });
}

#[test]
fn a_slow_member_misses_messages_and_nothing_grows() {
    on_each_driver(|stand| {
        let mut slow = stand.open("/echo");
        slow.say("join room");
        let mut quick = stand.open("/echo");
        quick.say("join room");
        let room = stand.groups.group("room");
        eventually("both are members", || room.len() == 2);
        let filler = "y".repeat(30_000);
        for at in 0..400 {
            room.send_text(&format!("{at} {filler}"));
            assert!(quick.text().starts_with(&format!("{at} ")), "who reads hears everything");
        }
        let mut numbers = Vec::new();
        while numbers.last() != Some(&399) {
            let text = slow.text();
            assert_eq!(
                text.len(),
                filler.len() + text.find(' ').expect("a number") + 1,
                "messages are whole"
            );
            numbers.push(text.split(' ').next().expect("a number").parse::<u32>().expect("one"));
        }
        assert!(numbers.is_sorted() && numbers.len() < 400, "the oldest were dropped: {}", numbers.len());
        stand.stop();
    });
}
