//! Connections with a session: whom they were made for, and what addresses say of them.

use crate::stand::{on_each_driver_through, route, says};
use ringway_engine::ring::{Pool, Slice};
use ringway_engine::{Filter, FilterFactory, FilterSource, Inbox, Room, Session, WorkerHandle};
use ringway_web::redirect::Redirect;
use ringway_web::site::Site;
use ringway_web::sites::Sites;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// Stands for TLS without its secrets: the first line names the server that the client wants, the rest is plain.
#[derive(Default)]
struct Named {
    name: Vec<u8>,
    session: Option<Rc<Session>>,
}

impl Filter for Named {
    fn receive(
        &mut self,
        wire: &mut Inbox,
        plain: &mut Inbox,
        _reply: &mut dyn FnMut(Slice),
        pool: &Pool,
    ) -> io::Result<()> {
        while self.session.is_none() && !wire.is_empty() {
            let mut byte = [0];
            wire.copy_to(&mut byte);
            if byte == *b"\n" {
                let name = std::mem::take(&mut self.name);
                let server_name = String::from_utf8(name).ok().filter(|name| !name.is_empty());
                let server_name = server_name.map(String::into_boxed_str);
                self.session = Some(Rc::new(Session { server_name, ..Session::default() }));
            } else {
                self.name.push(byte[0]);
            }
        }
        let count = wire.len();
        if count > 0 {
            let mut memory = pool.get(count).ok_or(io::ErrorKind::OutOfMemory)?;
            wire.copy_to(&mut memory[..count]);
            plain.push(memory.freeze(count));
        }
        Ok(())
    }

    fn room(&mut self, _wire: &mut dyn FnMut(Slice), _pool: &Pool) -> io::Result<Option<Room>> {
        Ok(self.session.as_ref().map(|_| Room { head: 0, tail: 0, plain_max: 1_000 }))
    }

    fn seal(&mut self, _record: &mut [u8]) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _wire: &mut dyn FnMut(Slice), _pool: &Pool) -> io::Result<()> {
        Ok(())
    }

    fn session(&self) -> Option<Rc<Session>> {
        self.session.clone()
    }
}

struct Source;

impl FilterSource for Source {
    fn make(&self) -> Box<dyn Filter> {
        Box::new(Named::default())
    }
}

fn named() -> FilterFactory {
    Arc::new(|_worker: &WorkerHandle| Ok(Rc::new(Source) as Rc<dyn FilterSource>))
}

#[test]
fn requests_for_sites_with_other_certificates_are_misdirected() {
    let build = |_worker: &WorkerHandle| {
        let site = |name, tls| {
            let mut site = Site::with_handler(name, says(name));
            site.tls = tls;
            site.routes.add(route("/old", Redirect::new(301, "{scheme}://{host}/new").unwrap())).unwrap();
            site
        };
        let mut sites = Sites::new(site("default", 0));
        sites.add(site("one", 1), &["one.org"]).unwrap();
        sites.add(site("same", 1), &["*.one.org"]).unwrap();
        sites.add(site("other", 2), &["other.org"]).unwrap();
        sites
    };
    on_each_driver_through(Some(named()), build, |stand| {
        let get = |server_name: &str, host: &str, target: &str| {
            stand.ask(&format!("{server_name}\nGET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
        };
        for (server_name, host, status) in [
            ("one.org", "one.org", 200),
            ("one.org", "ONE.org.:443", 200),
            ("one.org", "a.one.org", 200),
            ("", "other.org", 200),
            ("one.org", "other.org", 421),
            ("other.org", "a.one.org", 421),
            ("one.org", "nobody.org", 421),
            ("nobody.org", "one.org", 421),
            ("nobody.org", "somebody.org", 200),
        ] {
            assert_eq!(get(server_name, host, "/").status, status, "{server_name} {host}");
        }
        // Each request of a connection is looked at.
        let mut client = stand.client();
        client
            .send(
                b"one.org\nGET / HTTP/1.1\r\nHost: one.org\r\n\r\nGET / HTTP/1.1\r\nHost: other.org\r\n\r\n",
            )
            .unwrap();
        let statuses: Vec<u16> = client.answers(2).unwrap().iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, 421]);
        assert_eq!(get("one.org", "one.org", "/old").field("location"), Some("https://one.org/new"));
    });
}
