//! A chat: what one says in a line, or in a WebSocket's message, all others hear.

use super::{BuiltinError, Settings};
use crate::connection::Connection;
use crate::groups::{Group, GroupOptions};
use crate::handler::{Closed, Handler, HandlerFactory};
use crate::message::Message;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The settings it knows.
pub(super) const SETTINGS: &[&str] = &["greeting", "name_bytes_max"];

/// What the chat's workers have together.
struct Room {
    group: Group,
    guests: AtomicU64,
    greeting: String,
    name_bytes_max: usize,
}

struct Chat {
    room: Arc<Room>,
    /// The names that guests of this worker have chosen, by their numbers.
    names: RefCell<HashMap<u64, String>>,
}

impl Chat {
    fn name(&self, guest: u64) -> String {
        self.names.borrow().get(&guest).cloned().unwrap_or_else(|| format!("guest {guest}"))
    }

    fn tell(conn: &mut Connection<'_>, text: &str) {
        // Where no more can be sent, the connection ends for a reason of its own.
        let _closed = conn.send_text(text);
    }

    fn tell_others(&self, conn: &Connection<'_>, text: &str) {
        self.room.group.send_except(text.as_bytes(), true, Some(conn.id()));
    }

    fn rename(&self, conn: &mut Connection<'_>, wanted: &str) {
        let is_name = !wanted.is_empty()
            && wanted.len() <= self.room.name_bytes_max
            && wanted.chars().all(|character| character.is_alphanumeric() || "-_. ".contains(character));
        if !is_name {
            let most = self.room.name_bytes_max;
            return Self::tell(conn, &format!("a name has up to {most} bytes of letters, digits and -_."));
        }
        let before = self.name(conn.user());
        self.names.borrow_mut().insert(conn.user(), wanted.to_owned());
        Self::tell(conn, &format!("you are {wanted}"));
        self.tell_others(conn, &format!("{before} is {wanted} now"));
    }
}

impl Handler for Chat {
    fn opened(&self, conn: &mut Connection<'_>) {
        let guest = self.room.guests.fetch_add(1, Ordering::Relaxed) + 1;
        conn.set_user(guest);
        conn.join(&self.room.group);
        let others = self.room.group.len().saturating_sub(1);
        Self::tell(conn, &format!("{}; you are guest {guest}, {others} others are here", self.room.greeting));
        self.tell_others(conn, &format!("guest {guest} is here"));
    }

    fn message(&self, conn: &mut Connection<'_>, message: Message<'_>) {
        let text = String::from_utf8_lossy(message.payload().trim_ascii_end());
        match text.split_once(' ').unwrap_or((&text, "")) {
            ("", "") => {}
            ("/name", wanted) => self.rename(conn, wanted.trim()),
            ("/who", "") => Self::tell(conn, &format!("{} are here", self.room.group.len())),
            ("/quit", "") => conn.close(),
            (word, _) if word.starts_with('/') => Self::tell(conn, "there are /name NAME, /who and /quit"),
            _ => {
                let said: String = text.chars().filter(|character| !character.is_control()).collect();
                self.tell_others(conn, &format!("{}: {said}", self.name(conn.user())));
            }
        }
    }

    fn closed(&self, closed: &Closed) {
        let name = self.name(closed.user);
        self.names.borrow_mut().remove(&closed.user);
        self.room.group.send_text(&format!("{name} has left"));
    }
}

pub(super) fn make(settings: &Settings) -> Result<HandlerFactory, BuiltinError> {
    let name_bytes_max = settings.number("name_bytes_max", 32, 1..=1_024)?;
    let room = Arc::new(Room {
        group: Group::new(GroupOptions::default()),
        guests: AtomicU64::new(0),
        greeting: settings.text("greeting").unwrap_or("welcome").to_owned(),
        name_bytes_max: usize::try_from(name_bytes_max).unwrap_or(32),
    });
    Ok(Arc::new(move |_worker| {
        let room = Arc::clone(&room);
        Ok(Rc::new(Chat { room, names: RefCell::default() }) as Rc<dyn Handler>)
    }))
}
