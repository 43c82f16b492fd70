//! One page's socket.

use crate::Chat;
use crate::history::Message as Said;
use ringway::service::socket::{CloseCode, Closed, Group, Message, Nudge, Socket, SocketHandler};
use ringway::service::{Error, Request, Worker};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Most letters of a name, of a room's, and of a message.
const NAME_LETTERS_MAX: usize = 24;
const ROOM_LETTERS_MAX: usize = 32;
const TEXT_LETTERS_MAX: usize = 2000;

/// What a page may say at once, and how long one thing takes to be forgotten, in milliseconds.
const SAID_MAX: u64 = 12;
const FORGOTTEN_MS: u64 = 700;

/// What a page says.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Heard {
    Say { text: String },
    Typing,
}

/// What pages are told.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum News<'n> {
    History { messages: &'n [Said] },
    Message(&'n Said),
    People { people: &'n [String] },
    Rooms { rooms: &'n [Room] },
    Typing { name: &'n str },
    Refused { why: &'n str },
}

#[derive(Serialize)]
struct Room {
    name: String,
    people: usize,
}

/// Somebody in a room.
pub(crate) struct Visitor {
    chat: Rc<Chat>,
    worker: Worker,
    room: String,
    name: String,
    /// The last message that the page has.
    last: i64,
    group: Group,
    everybody: Group,
    /// What futures have for the socket.
    waiting: Rc<RefCell<VecDeque<String>>>,
    /// Speaks of how much was said lately: a bucket that leaks.
    full_at_ms: u64,
}

impl Visitor {
    /// Whoever asks for a socket says in the query who he is, where he wants to be, and what he has seen.
    pub(crate) fn new(request: &Request<'_>, chat: &Rc<Chat>, worker: &Worker) -> Result<Self, Error> {
        let room = checked("room", request.query("room")?, ROOM_LETTERS_MAX)?;
        let name = checked("name", request.query("name")?, NAME_LETTERS_MAX)?;
        Ok(Self {
            group: chat.rooms.group(&format!("room {room}")),
            everybody: chat.rooms.group("everybody"),
            chat: Rc::clone(chat),
            worker: worker.clone(),
            room,
            name,
            last: request.query_opt("last")?.unwrap_or(0),
            waiting: Rc::default(),
            full_at_ms: 0,
        })
    }

    /// Asks for what was said before, for the socket to be sent.
    fn look_back(&self, nudge: Nudge) {
        let (chat, room, last) = (Rc::clone(&self.chat), self.room.clone(), self.last);
        let waiting = Rc::clone(&self.waiting);
        self.worker.spawn(async move {
            let news = match chat.history.since(&room, last).await {
                Ok(messages) => written(&News::History { messages: &messages }),
                Err(_error) => written(&News::Refused { why: "The history cannot be read just now" }),
            };
            waiting.borrow_mut().push_back(news);
            nudge.nudge();
        });
    }

    /// Keeps what was said, and tells the room when it is kept.
    fn say(&self, text: &str, nudge: Nudge) {
        let (chat, room) = (Rc::clone(&self.chat), self.room.clone());
        let (name, text, group) = (self.name.clone(), text.to_owned(), self.group.clone());
        let waiting = Rc::clone(&self.waiting);
        self.worker.spawn(async move {
            match chat.history.add(&room, &name, &text, now_ms()).await {
                Ok(said) => group.send_text(&written(&News::Message(&said))),
                Err(_error) => {
                    let why = "That could not be kept, and nobody has seen it: say it again";
                    waiting.borrow_mut().push_back(written(&News::Refused { why }));
                    nudge.nudge();
                }
            }
        });
    }

    fn tell_who_is_there(&self) {
        let people = self.chat.presence.people(&self.room);
        self.group.send_text(&written(&News::People { people: &people }));
        self.everybody.send_text(&self.rooms());
    }

    fn rooms(&self) -> String {
        let rooms = self.chat.presence.rooms().into_iter();
        let rooms: Vec<Room> = rooms.map(|(name, people)| Room { name, people }).collect();
        written(&News::Rooms { rooms: &rooms })
    }

    /// Whether so much was said lately that this is too much.
    fn is_too_much(&mut self, now_ms: u64) -> bool {
        let full_at_ms = self.full_at_ms.max(now_ms) + FORGOTTEN_MS;
        let is_too_much = full_at_ms > now_ms + SAID_MAX * FORGOTTEN_MS;
        if !is_too_much {
            self.full_at_ms = full_at_ms;
        }
        is_too_much
    }
}

impl SocketHandler for Visitor {
    fn opened(&mut self, socket: &mut Socket<'_>) {
        // First the group, then the history: what is said meanwhile comes twice, and pages know it by its number.
        socket.join(&self.group);
        socket.join(&self.everybody);
        self.chat.presence.enter(&self.room, &self.name);
        self.tell_who_is_there();
        self.look_back(socket.nudge());
    }

    fn message(&mut self, socket: &mut Socket<'_>, message: Message<'_>) {
        let Message::Text(text) = message else {
            return socket.close(CloseCode::UNSUPPORTED, "this chat is made of text");
        };
        let Ok(heard) = serde_json::from_str(text) else {
            return socket.close(CloseCode::POLICY, "that is not what pages of this chat say");
        };
        let now_ms = socket.now_ms();
        match heard {
            Heard::Typing => self.group.send_text(&written(&News::Typing { name: &self.name })),
            Heard::Say { text } => {
                let text = text.trim();
                let why = match text.chars().count() {
                    0 => return,
                    letters if letters > TEXT_LETTERS_MAX => "That is too long",
                    _ if self.is_too_much(now_ms) => "Slower, please",
                    _ => return self.say(text, socket.nudge()),
                };
                let _closing = socket.send_text(&written(&News::Refused { why }));
            }
        }
    }

    fn nudged(&mut self, socket: &mut Socket<'_>) {
        for news in self.waiting.borrow_mut().drain(..) {
            let _closing = socket.send_text(&news);
        }
    }

    fn closed(&mut self, _closed: &Closed<'_>) {
        self.chat.presence.leave(&self.room, &self.name);
        self.tell_who_is_there();
    }
}

fn written(news: &News<'_>) -> String {
    serde_json::to_string(news).unwrap_or_default()
}

/// A name without what nobody could read.
fn checked(what: &str, name: String, letters_max: usize) -> Result<String, Error> {
    let name = name.trim();
    let is_readable = !name.is_empty() && !name.chars().any(char::is_control);
    if !is_readable || name.chars().count() > letters_max {
        return Err(Error::bad_request(format!("{what}: between 1 and {letters_max} letters")));
    }
    Ok(name.to_owned())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
