//! WebSockets: no input panics, no split changes what is told, and without compression it is what a plain decoder tells.
#![no_main]

use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use ringway_http::head::{Limits as HeadLimits, Request};
use ringway_ws::Role;
use ringway_ws::decoder::{Decoder, Limits};
use ringway_ws::deflate::{Agreement, Deflater, Inflater, Options, Spare};
use ringway_ws::encoder;
use ringway_ws::handshake::Upgrade;
use ringway_ws::mask;

#[path = "../../pure/ws/tests/machines/reference.rs"]
mod reference;

use reference::{Read, Told, feed, read};

const LIMITS: Limits = Limits { message_bytes_max: 3000, frame_bytes_max: 2000 };

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: ";

/// What is agreed on when `offer` is what a client sends.
fn agreed(offer: &[u8], options: &Options) -> Option<Agreement> {
    let head = [REQUEST, offer, b"\r\n\r\n"].concat();
    let request = Request::parse(&head, &HeadLimits::default()).ok()?;
    Upgrade::read(&request).ok()??.deflate(options)
}

/// Unmasks nothing: makes frames of `bytes` that a server takes, so that the fuzzer need not find masks.
fn masked(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let [first, length, behind @ ..] = rest {
        let length = usize::from(*length & 0x7f).min(125).min(behind.len());
        let (payload, next) = behind.split_at(length);
        out.extend_from_slice(&[*first, 0x80 | length as u8, 1, 2, 3, 4]);
        let start = out.len();
        out.extend_from_slice(payload);
        mask::apply([1, 2, 3, 4], &mut out[start..]);
        rest = next;
    }
    out
}

/// Reads `bytes` in several ways, which are to tell the same.
fn everyway(decoder: impl Fn() -> Decoder, bytes: &[u8], split: u16) -> Read {
    let whole = feed(decoder(), bytes, std::iter::empty());
    let split = usize::from(split) % (bytes.len() + 1);
    assert_eq!(feed(decoder(), bytes, std::iter::once(split)), whole);
    assert_eq!(feed(decoder(), bytes, 0..bytes.len()), whole);
    for told in &whole.told {
        if let Told::Binary(bytes) = told {
            assert!(bytes.len() <= LIMITS.message_bytes_max as usize);
        }
    }
    whole
}

fuzz_target!(|input: (bool, bool, bool, u16, &[u8], &[u8])| {
    let (server, makes_frames, keeps, split, offer, bytes) = input;
    let role = if server { Role::Server } else { Role::Client };
    let made = if server && makes_frames { masked(bytes) } else { bytes.to_vec() };
    let plain = everyway(|| Decoder::new(role, LIMITS), &made, split);
    assert_eq!(plain, read(&made, role, LIMITS));

    let options = Options {
        server_takeover: keeps,
        client_takeover: keeps,
        server_window_bits_max: 9 + (split % 7) as u8,
        message_bytes_min: 0,
        ..Options::default()
    };
    let default = b"permessage-deflate; client_max_window_bits";
    let agreement = agreed(offer, &options).or_else(|| agreed(default, &options)).expect("the default is answered");
    let spare = Rc::new(Spare::new());
    let decoder = || Decoder::with_deflate(role, LIMITS, Inflater::new(role, &agreement, Rc::clone(&spare)));
    everyway(decoder, &made, split);

    // What one end writes the other reads.
    let (writer, reader) = if server { (Role::Client, Role::Server) } else { (Role::Server, Role::Client) };
    let mut deflater = Deflater::new(writer, &agreement, &options, Rc::clone(&spare));
    let (mut wire, mut told) = (Vec::new(), Vec::new());
    for message in bytes.chunks(1 + usize::from(split) % 997) {
        let key = (writer == Role::Client).then_some([9, 8, 7, 6]);
        encoder::message(ringway_ws::Kind::Binary, message, key, &mut deflater, &mut wire);
        told.push(Told::Binary(message.to_vec()));
    }
    let decoder = Decoder::with_deflate(reader, LIMITS, Inflater::new(reader, &agreement, spare));
    assert_eq!(feed(decoder, &wire, (0..wire.len()).step_by(1 + usize::from(split) % 11)), Read { told, fault: None });
});
