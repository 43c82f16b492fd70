//! Streams of frames, good and bad, against the plain decoder, at every split.

use ringway_testkit::{Rng, Seed};
use ringway_ws::Role;
use ringway_ws::decoder::{Decoder, Limits};
use ringway_ws::fault::Fault;
use ringway_ws::frame::{HEAD_BYTES_MAX, Head, Opcode};
use ringway_ws::mask;

use crate::reference::{Read, Told, feed, read};

const ROLES: [Role; 2] = [Role::Server, Role::Client];

const LIMITS: Limits = Limits { message_bytes_max: 400_000, frame_bytes_max: 300_000 };

/// Appends a frame as the other end of `role` sends it.
fn frame(role: Role, opcode: Opcode, last: bool, payload: &[u8], rng: &mut Rng, out: &mut Vec<u8>) {
    let [key @ .., _, _, _, _] = rng.bits().to_ne_bytes();
    let key = (role == Role::Server).then_some(key);
    let head = Head { opcode, last, compressed: false, length: payload.len() as u64, key };
    let mut bytes = [0; HEAD_BYTES_MAX];
    let length = head.write(&mut bytes);
    out.extend_from_slice(&bytes[..length]);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = key {
        mask::apply(key, &mut out[start..]);
    }
}

fn text(rng: &mut Rng, chars: usize) -> String {
    (0..chars)
        .map(|_| match rng.below(6) {
            0 => 'é',
            1 => '\u{20ac}',
            2 => '😀',
            _ => 'x',
        })
        .collect()
}

/// A stream of sound frames: messages, some in fragments cut anywhere, with control frames between them.
fn sound(role: Role, rng: &mut Rng, messages: usize, chars_max: usize) -> (Vec<u8>, Vec<Told>) {
    let (mut out, mut told) = (Vec::new(), Vec::new());
    for _ in 0..messages {
        let chars = rng.below(chars_max + 1);
        let text = text(rng, chars);
        let (opcode, message) = if rng.chance(500) {
            (Opcode::Text, Told::Text(text.clone()))
        } else {
            (Opcode::Binary, Told::Binary(text.clone().into_bytes()))
        };
        let mut rest = text.as_bytes();
        let mut next = opcode;
        for _ in 0..rng.below(4) {
            let (piece, behind) = rest.split_at(rng.below(rest.len() + 1));
            frame(role, next, false, piece, rng, &mut out);
            (next, rest) = (Opcode::Continuation, behind);
            if rng.chance(500) {
                let payload = vec![b'p'; rng.below(126)];
                let pings = rng.chance(500);
                frame(role, if pings { Opcode::Ping } else { Opcode::Pong }, true, &payload, rng, &mut out);
                told.push(if pings { Told::Ping(payload) } else { Told::Pong(payload) });
            }
        }
        frame(role, next, true, rest, rng, &mut out);
        told.push(message);
    }
    (out, told)
}

fn decoder(role: Role) -> Decoder {
    Decoder::new(role, LIMITS)
}

/// Feeds `bytes` whole, byte by byte and at every split, and returns what was read each time.
fn at_every_split(role: Role, bytes: &[u8]) -> Read {
    let whole = feed(decoder(role), bytes, std::iter::empty());
    assert_eq!(feed(decoder(role), bytes, 0..bytes.len()), whole, "byte by byte: {bytes:x?}");
    for split in 0..bytes.len() {
        assert_eq!(feed(decoder(role), bytes, std::iter::once(split)), whole, "split at {split}: {bytes:x?}");
    }
    whole
}

#[test]
fn sound_streams_read_the_same_at_every_split() {
    let seed = Seed::take();
    let mut rng = seed.rng();
    for role in ROLES {
        for _ in 0..20 {
            let (bytes, told) = sound(role, &mut rng, 4, 60);
            assert_eq!(at_every_split(role, &bytes), Read { told, fault: None });
        }
    }
}

#[test]
fn lengths_around_the_forms_read_the_same_at_splits_around_their_frames() {
    let mut rng = Seed::take().rng();
    for role in ROLES {
        for length in [0, 1, 2, 125, 126, 127, 65_535, 65_536, 65_537, 300_000] {
            let payload: Vec<u8> = (0..length).map(|at: u32| at.to_le_bytes()[0]).collect();
            let mut bytes = Vec::new();
            frame(role, Opcode::Binary, true, &payload, &mut rng, &mut bytes);
            frame(role, Opcode::Ping, true, b"behind", &mut rng, &mut bytes);
            let wanted =
                Read { told: vec![Told::Binary(payload), Told::Ping(b"behind".to_vec())], fault: None };
            let splits = (0..40).chain(bytes.len().saturating_sub(40)..bytes.len());
            for split in splits.filter(|split| *split < bytes.len()) {
                assert_eq!(
                    feed(decoder(role), &bytes, std::iter::once(split)),
                    wanted,
                    "{length} at {split}"
                );
            }
            let strides = (0..bytes.len()).step_by(1447);
            assert_eq!(feed(decoder(role), &bytes, strides), wanted, "{length} in segments");
        }
    }
}

#[test]
fn broken_streams_are_read_as_the_plain_decoder_reads_them() {
    let seed = Seed::take();
    let mut rng = seed.rng();
    for round in 0..3000 {
        let role = ROLES[round % 2];
        let (mut bytes, _) = sound(role, &mut rng, 3, 20);
        for _ in 0..rng.below(4) {
            let at = rng.below(bytes.len());
            bytes[at] = rng.bits().to_le_bytes()[0];
        }
        if rng.chance(300) {
            bytes.truncate(rng.below(bytes.len() + 1));
        }
        let wanted = read(&bytes, role, LIMITS);
        assert_eq!(feed(decoder(role), &bytes, std::iter::empty()), wanted, "whole: {bytes:x?}");
        assert_eq!(feed(decoder(role), &bytes, 0..bytes.len()), wanted, "byte by byte: {bytes:x?}");
        let split = rng.below(bytes.len() + 1);
        assert_eq!(feed(decoder(role), &bytes, std::iter::once(split)), wanted, "at {split}: {bytes:x?}");
    }
}

/// Frames of servers, whose bytes are easy to write down, and what ends their connection.
#[test]
fn every_fault_is_found_at_every_split() {
    let long = |head: &[u8], length: usize| [head, &vec![b'x'; length]].concat();
    let cases: &[(&[u8], Fault)] = &[
        (b"\xc1\x00", Fault::ReservedBit),
        (b"\xa1\x00", Fault::ReservedBit),
        (b"\x91\x00", Fault::ReservedBit),
        (b"\xc9\x00", Fault::ReservedBit),
        (b"\x83\x00", Fault::ReservedOpcode),
        (b"\x87\x00", Fault::ReservedOpcode),
        (b"\x8b\x00", Fault::ReservedOpcode),
        (b"\x8f\x00", Fault::ReservedOpcode),
        (b"\x09\x00", Fault::ControlFragmented),
        (b"\x08\x00", Fault::ControlFragmented),
        (b"\x89\x7e\x00\x7e", Fault::ControlLength),
        (b"\x88\x7f", Fault::ControlLength),
        (b"\x81\x80\x00\x00\x00\x00", Fault::MaskPresent),
        (b"\x82\x7e\x00\x7d", Fault::LengthForm),
        (b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", Fault::LengthForm),
        (b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", Fault::LengthForm),
        (b"\x80\x00", Fault::ContinuationAlone),
        (b"\x00\x00", Fault::ContinuationAlone),
        (b"\x01\x01a\x81\x01b", Fault::MessageInMessage),
        (b"\x02\x00\x02\x00", Fault::MessageInMessage),
        (b"\x88\x01\x03", Fault::CloseLength),
        (b"\x88\x02\x03\xed", Fault::CloseCode),
        (b"\x88\x02\x00\x00", Fault::CloseCode),
        (b"\x88\x03\x03\xe8\xff", Fault::CloseReason),
        (b"\x88\x04\x03\xe8\xc3\x28", Fault::CloseReason),
        (b"\x81\x01\xff", Fault::Utf8),
        (b"\x81\x02\xc3(", Fault::Utf8),
        (b"\x81\x01\xc3", Fault::Utf8),
        (b"\x01\x02\xed\xa0", Fault::Utf8),
        (b"\x01\x01\xf4\x00\x01\x90", Fault::Utf8),
        (b"\x01\x01a\x80\x01\xe2", Fault::Utf8),
        (b"\x82\x7f\x00\x00\x00\x00\x00\x04\x93\xe1", Fault::FrameLength),
        (b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", Fault::FrameLength),
    ];
    for (bytes, fault) in cases {
        let before = [b"\x89\x00", *bytes].concat();
        let wanted = Read { told: vec![Told::Ping(Vec::new())], fault: Some(*fault) };
        assert_eq!(at_every_split(Role::Client, &before), wanted, "{bytes:x?}");
        assert_eq!(read(&before, Role::Client, LIMITS), wanted, "the plain decoder: {bytes:x?}");
    }
    let over = [
        long(b"\x02\x7f\x00\x00\x00\x00\x00\x04\x00\x00", 1 << 18),
        long(b"\x80\x7f\x00\x00\x00\x00\x00\x04\x00\x00", 0),
    ];
    let wanted = Read { told: Vec::new(), fault: Some(Fault::MessageLength) };
    assert_eq!(feed(decoder(Role::Client), &over.concat(), std::iter::empty()), wanted);
    assert_eq!(
        at_every_split(Role::Server, b"\x81\x00"),
        Read { told: Vec::new(), fault: Some(Fault::MaskMissing) }
    );
}

/// Each wrong sequence of the decoder's own test of UTF-8, in a message of which nothing more comes.
#[test]
fn wrong_text_is_refused_before_its_frame_is_whole() {
    for wrong in [
        &b"\xff"[..],
        b"\xc0",
        b"\xc1",
        b"\xf5",
        b"\xed\xa0",
        b"\xf4\x90",
        b"\xe0\x80",
        b"\xc3a",
        b"\xe2\x82a",
    ] {
        for good in 0..70 {
            let bytes = [&b"\x81\x7e\x01\x00"[..], &vec![b'a'; good], wrong].concat();
            let read = feed(decoder(Role::Client), &bytes, 0..bytes.len());
            assert_eq!(read.fault, Some(Fault::Utf8), "{wrong:x?} behind {good}");
            let read = feed(decoder(Role::Client), &bytes, std::iter::empty());
            assert_eq!(read.fault, Some(Fault::Utf8), "{wrong:x?} behind {good}, at once");
        }
    }
}

#[test]
fn nothing_is_kept_between_messages() {
    let mut input = b"\x01\x01a\x80\x01b".to_vec();
    let mut decoder = decoder(Role::Client);
    assert!(decoder.is_idle());
    assert!(matches!(decoder.next(&mut input), Ok(ringway_ws::decoder::Step::Event { consumed: 6, .. })));
    assert!(!decoder.is_idle(), "the message is still there");
    assert!(decoder.next(&mut []).is_ok());
    assert!(decoder.is_idle());
}
