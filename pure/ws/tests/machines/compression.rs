//! Compressed messages: what one end writes the other reads, whatever was agreed on; bombs, ended streams, wrong data.

use std::rc::Rc;

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use ringway_testkit::Seed;
use ringway_ws::decoder::{Decoder, Limits};
use ringway_ws::deflate::{Agreement, Deflater, Inflater, Options, Spare};
use ringway_ws::fault::Fault;
use ringway_ws::frame::{HEAD_BYTES_MAX, Head, Opcode};
use ringway_ws::{Kind, Role, encoder};

use crate::handshakes::agreed;
use crate::reference::{Read, Told, feed};

const LIMITS: Limits = Limits { message_bytes_max: 200_000, frame_bytes_max: 100_000 };

fn all() -> Options {
    Options { server_takeover: true, client_takeover: true, message_bytes_min: 0, ..Options::default() }
}

fn decoder(role: Role, agreement: &Agreement) -> Decoder {
    Decoder::with_deflate(role, LIMITS, Inflater::new(role, agreement, Rc::new(Spare::new())))
}

/// A frame of a server's message that is compressed, `payload` as it is on the wire.
fn compressed(payload: &[u8], out: &mut Vec<u8>) {
    let head = Head { compressed: true, ..Head::of_server(Opcode::Binary, payload.len()) };
    let mut bytes = [0; HEAD_BYTES_MAX];
    let length = head.write(&mut bytes);
    out.extend_from_slice(&bytes[..length]);
    out.extend_from_slice(payload);
}

/// `message` compressed and flushed in this way, from nothing.
fn stream(message: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut engine = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(message.len() + 1000);
    engine.compress_vec(message, &mut out, flush).expect("it can be compressed");
    out
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    let agreement = agreed("permessage-deflate", &all());
    let hello = || Told::Text("Hello".to_owned());
    for (bytes, count) in [
        // Section 7.2.3.1, 7.2.3.2 (with and without a kept context), 7.2.3.3, 7.2.3.4 and 7.2.3.5.
        (&b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"[..], 1),
        (b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00", 1),
        (b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00", 2),
        (b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", 2),
        (b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 1),
        (b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 1),
        (b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 1),
    ] {
        for split in 0..bytes.len() {
            let read = feed(decoder(Role::Client, &agreement), bytes, std::iter::once(split));
            assert_eq!(read, Read { told: vec![hello(); count], fault: None }, "{bytes:x?} at {split}");
        }
    }
    // Section 7.2.3.6: an empty message.
    let read = feed(decoder(Role::Client, &agreement), b"\xc1\x01\x00", std::iter::empty());
    assert_eq!(read, Read { told: vec![Told::Text(String::new())], fault: None });
}

#[test]
fn a_bomb_is_refused_before_it_has_grown() {
    let agreement = agreed("permessage-deflate", &all());
    let bomb = stream(&vec![0; 50_000_000], FlushCompress::Sync);
    assert!(bomb.len() < 60_000);
    let mut bytes = Vec::new();
    compressed(&bomb[..bomb.len() - 4], &mut bytes);
    let read = feed(decoder(Role::Client, &agreement), &bytes, std::iter::empty());
    assert_eq!(read, Read { told: Vec::new(), fault: Some(Fault::MessageLength) });
    let read = feed(decoder(Role::Client, &agreement), &bytes, 0..bytes.len());
    assert_eq!(read.fault, Some(Fault::MessageLength));
    // As long as may be is not a bomb.
    let mut bytes = Vec::new();
    let most = stream(&vec![7; 200_000], FlushCompress::Sync);
    compressed(&most[..most.len() - 4], &mut bytes);
    let read = feed(decoder(Role::Client, &agreement), &bytes, 0..bytes.len());
    assert_eq!(read, Read { told: vec![Told::Binary(vec![7; 200_000])], fault: None });
}

/// A sender may end its stream with every message (section 7.2.3.4) and still refer to earlier ones.
#[test]
fn streams_that_end_are_gone_on_with() {
    let agreement = agreed("permessage-deflate", &all());
    let messages: Vec<Vec<u8>> =
        (0..5_u8).map(|at| [b"the same words again, ".repeat(4), vec![at]].concat()).collect();
    let (mut bytes, mut said) = (Vec::new(), Vec::new());
    for message in &messages {
        let mut engine = Compress::new(Compression::best(), false);
        if !said.is_empty() {
            engine.set_dictionary(&said).expect("a window");
        }
        let mut out = Vec::with_capacity(1000);
        engine.compress_vec(message, &mut out, FlushCompress::Finish).expect("it can be compressed");
        said.extend_from_slice(message);
        // With the empty block's first byte behind it, and without.
        if message.last().is_some_and(|last| last % 2 == 0) {
            out.push(0);
        }
        compressed(&out, &mut bytes);
    }
    let told: Vec<Told> = messages.into_iter().map(Told::Binary).collect();
    for split in 0..bytes.len() {
        let read = feed(decoder(Role::Client, &agreement), &bytes, std::iter::once(split));
        assert_eq!(read, Read { told: told.clone(), fault: None }, "split at {split}");
    }
}

#[test]
fn streams_do_not_end_without_end() {
    let agreement = agreed("permessage-deflate", &all());
    for (ends, fault) in [(16, None), (17, Some(Fault::Deflate))] {
        let mut bytes = Vec::new();
        compressed(&b"\x03\x00".repeat(ends), &mut bytes);
        let told = if fault.is_none() { vec![Told::Binary(Vec::new())] } else { Vec::new() };
        let read = feed(decoder(Role::Client, &agreement), &bytes, 0..bytes.len());
        assert_eq!(read, Read { told, fault }, "{ends} ends");
    }
}

#[test]
fn wrong_data_is_refused_and_a_plain_message_between_changes_nothing() {
    let agreement = agreed("permessage-deflate", &all());
    for wrong in [&b"\xff"[..], b"\x07", b"\x00\x05\x00\x00\x00", b"\x02\x02\x00"] {
        let mut bytes = Vec::new();
        compressed(wrong, &mut bytes);
        for split in 0..bytes.len() {
            let read = feed(decoder(Role::Client, &agreement), &bytes, std::iter::once(split));
            assert_eq!(read.fault, Some(Fault::Deflate), "{wrong:x?}");
        }
    }
    // Text that is wrong once it is decompressed.
    let wrong = stream(b"ab\xffcd", FlushCompress::Sync);
    let mut bytes = Vec::new();
    compressed(&wrong[..wrong.len() - 4], &mut bytes);
    bytes[0] = 0xc1;
    assert_eq!(feed(decoder(Role::Client, &agreement), &bytes, 0..bytes.len()).fault, Some(Fault::Utf8));
    let bytes = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x81\x01-\xc1\x05\xf2\x00\x11\x00\x00";
    let told = ["Hello", "-", "Hello"].map(|text| Told::Text(text.to_owned())).to_vec();
    assert_eq!(feed(decoder(Role::Client, &agreement), bytes, 0..bytes.len()), Read { told, fault: None });
    // A context that is not kept is none to refer to.
    let agreement = agreed("permessage-deflate; server_no_context_takeover", &all());
    let bytes = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00";
    let read = feed(decoder(Role::Client, &agreement), bytes, std::iter::empty());
    assert_eq!((read.told.len(), read.fault), (1, Some(Fault::Deflate)));
}

/// A message that was compressed once is read by all recipients, between messages of their own connection.
#[test]
fn shared_messages_are_read_between_others() {
    let options = all();
    let spare = Rc::new(Spare::new());
    let mut shared = Deflater::shared(15, &options, Rc::clone(&spare));
    let mut frame = Vec::new();
    assert!(encoder::message(Kind::Text, &b"news for everybody ".repeat(9), None, &mut shared, &mut frame));
    for offer in ["permessage-deflate", "permessage-deflate; server_no_context_takeover"] {
        let agreement = agreed(offer, &options);
        let mut own = Deflater::new(Role::Server, &agreement, &options, Rc::clone(&spare));
        assert!(own.window_bits() >= shared.window_bits());
        let (mut bytes, mut told) = (Vec::new(), Vec::new());
        for round in 0..6 {
            let text = format!("round {} of news for somebody, news for somebody", round / 2);
            encoder::message(Kind::Text, text.as_bytes(), None, &mut own, &mut bytes);
            told.push(Told::Text(text));
            if round % 2 == 0 {
                bytes.extend_from_slice(&frame);
                own.sent_shared();
                told.push(Told::Text("news for everybody ".repeat(9)));
            }
        }
        let read = feed(decoder(Role::Client, &agreement), &bytes, (0..bytes.len()).step_by(7));
        assert_eq!(read, Read { told, fault: None }, "{offer}");
    }
}

#[test]
fn what_gains_nothing_is_sent_as_it_is() {
    let options = Options { message_bytes_min: 64, ..Options::default() };
    let agreement = agreed("permessage-deflate", &options);
    let mut deflater = Deflater::new(Role::Server, &agreement, &options, Rc::new(Spare::new()));
    let mut rng = Seed::take().rng();
    let noise: Vec<u8> = (0..1000).map(|_| rng.bits().to_le_bytes()[0]).collect();
    for (payload, squeezed) in [(&[b'x'; 63][..], false), (&[b'x'; 64], true), (&noise, false), (b"", false)]
    {
        let mut out = b"before".to_vec();
        assert_eq!(encoder::message(Kind::Binary, payload, None, &mut deflater, &mut out), squeezed);
        let wanted = Read { told: vec![Told::Binary(payload.to_vec())], fault: None };
        assert_eq!(feed(decoder(Role::Client, &agreement), &out[6..], std::iter::empty()), wanted);
    }
}

#[test]
fn a_window_of_8_bits_is_agreed_on_and_sent_plainly_to() {
    let options = all();
    let agreement = agreed("permessage-deflate; server_max_window_bits=8", &options);
    assert_eq!(agreement.server_window_bits, 8);
    let mut deflater = Deflater::new(Role::Server, &agreement, &options, Rc::new(Spare::new()));
    let mut out = Vec::new();
    assert!(!encoder::message(Kind::Text, &[b'x'; 500], None, &mut deflater, &mut out));
}

fn messages() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let words = prop::sample::select(vec!["the ", "same ", "words ", "again ", "é", "😀", "\u{0}"]);
    let text = prop::collection::vec(words, 0..200).prop_map(|words| (true, words.concat().into_bytes()));
    let bytes = prop::collection::vec(any::<u8>(), 0..3000).prop_map(|bytes| (false, bytes));
    let long = (any::<u8>(), 60_000..70_000_usize).prop_map(|(byte, count)| {
        let run = (0..count).map(|at| byte ^ (at / 97 * 31).to_le_bytes()[0]);
        (false, run.collect())
    });
    prop::collection::vec(prop_oneof![4 => text, 2 => bytes, 1 => long], 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, rng_seed: prop::test_runner::RngSeed::Fixed(6), ..ProptestConfig::default() })]

    /// What one end writes the other reads, for all that can be agreed on.
    #[test]
    fn what_is_written_is_read(
        messages in messages(),
        server in any::<bool>(),
        takeover in any::<(bool, bool)>(),
        bits in (9..=15_u8, 9..=15_u8),
        level in 1..=9_u8,
        stride in 1..5000_usize,
    ) {
        let options = Options {
            server_takeover: takeover.0,
            client_takeover: takeover.1,
            server_window_bits_max: bits.0,
            client_window_bits_max: bits.1,
            level,
            message_bytes_min: 0,
        };
        let agreement = agreed("permessage-deflate; client_max_window_bits", &options);
        let (writer, reader) = if server { (Role::Server, Role::Client) } else { (Role::Client, Role::Server) };
        let mut deflater = Deflater::new(writer, &agreement, &options, Rc::new(Spare::new()));
        let (mut bytes, mut told) = (Vec::new(), Vec::new());
        for (at, (is_text, payload)) in messages.into_iter().enumerate() {
            let kind = if is_text { Kind::Text } else { Kind::Binary };
            let key = (writer == Role::Client).then(|| (at ^ 0x5a3c_96f1).to_be_bytes()[4..].try_into().expect("four bytes"));
            encoder::message(kind, &payload, key, &mut deflater, &mut bytes);
            told.push(match String::from_utf8(payload) {
                Ok(text) if is_text => Told::Text(text),
                Ok(text) => Told::Binary(text.into_bytes()),
                Err(bytes) => Told::Binary(bytes.into_bytes()),
            });
        }
        let read = feed(decoder(reader, &agreement), &bytes, (0..bytes.len()).step_by(stride));
        prop_assert_eq!(read, Read { told, fault: None });
    }

    /// Wrong data leads to the same fault whatever pieces it comes in, and never to more than the limit.
    #[test]
    fn pieces_change_nothing(mut bytes in prop::collection::vec(any::<u8>(), 1..400), split in any::<prop::sample::Index>(), end in any::<bool>()) {
        let agreement = agreed("permessage-deflate", &all());
        bytes.truncate(125);
        let mut stream = Vec::new();
        compressed(&bytes, &mut stream);
        if end {
            stream.extend_from_slice(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
        }
        let whole = feed(decoder(Role::Client, &agreement), &stream, std::iter::empty());
        let split = split.index(stream.len());
        prop_assert_eq!(&feed(decoder(Role::Client, &agreement), &stream, std::iter::once(split)), &whole);
        prop_assert_eq!(&feed(decoder(Role::Client, &agreement), &stream, 0..stream.len()), &whole);
    }
}
