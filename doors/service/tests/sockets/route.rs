//! Sockets as routes of a service: parameters, answers that are none, panics in its log.

use crate::stand::{Stand, drivers, eventually};
use ringway_service::socket::{Groups, Message, Socket, SocketHandler, SocketOptions};
use ringway_service::{Error, Request, Service};

/// Tells a room what is said.
struct Talker {
    groups: Groups,
    room: String,
}

impl SocketHandler for Talker {
    fn opened(&mut self, socket: &mut Socket<'_>) {
        assert!(socket.join(&self.groups.group(&self.room)));
        socket.send_text(&format!("welcome to {}", self.room)).expect("nothing waits");
    }

    fn message(&mut self, _socket: &mut Socket<'_>, message: Message<'_>) {
        assert_ne!(message, Message::Text("panic"), "as it was asked to");
        self.groups.group(&self.room).send(message);
    }
}

#[test]
fn a_service_has_sockets_beside_its_other_routes() {
    for driver in drivers() {
        let groups = Groups::default();
        let service = Service::new("talk", move |app| {
            let groups = groups.clone();
            app.get("/rooms", || "rooms");
            app.socket("/rooms/{name}", SocketOptions::default(), move |request: &Request<'_>| {
                let room: String = request.param("name")?;
                if room == "closed" {
                    return Err(Error::not_found());
                }
                Ok(Talker { groups: groups.clone(), room })
            });
            Ok(())
        });
        let stand = Stand::of_service(driver, &service);
        let mut peers = [stand.open("/rooms/blue"), stand.open("/rooms/blue"), stand.open("/rooms/red")];
        for (peer, room) in peers.iter_mut().zip(["blue", "blue", "red"]) {
            assert_eq!(peer.text(), format!("welcome to {room}"));
        }
        peers[0].say("hello");
        assert_eq!([peers[0].text(), peers[1].text()], ["hello", "hello"]);
        peers[2].say("alone");
        assert_eq!(peers[2].text(), "alone");
        let (_, answer) = stand.handshake("/rooms/closed", "", b"");
        assert_eq!(answer.status, 404);
        let mut client = stand.client();
        client
            .send(b"GET /rooms/blue HTTP/1.1\r\nHost: a\r\n\r\nGET /rooms HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("open");
        let answers = client.answers(2).expect("both");
        assert_eq!((answers[0].status, answers[1].status), (426, 200));
        peers[2].say("panic");
        assert_eq!(peers[2].close().0, 1011);
        let has_told = || service.log().since(0).iter().any(|line| line.text.contains("panicked"));
        eventually("the log says so", has_told);
        drop((peers, client));
        stand.stop();
    }
}
