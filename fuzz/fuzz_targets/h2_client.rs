//! HTTP/2 connections from a client's side: no answer panics, no split changes an outcome, every head has one reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_h2::client::{Buffers, Connection, Event, Scheme};
use ringway_h2::code::Code;
use ringway_h2::frame::PAYLOAD_BYTES;
use ringway_h2::limits::Limits;
use ringway_http::reply::{Delivery, Limits as ReplyLimits, Reply};

const REPLY_LIMITS: ReplyLimits = ReplyLimits { head_bytes_max: 64 * 1024, fields_max: 2_000 };

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Feeds the bytes in pieces that end at `stops` and at the end; what was told, and what was sent.
fn feed(bytes: &[u8], stops: impl Iterator<Item = usize>, limits: Limits) -> (String, Vec<u8>) {
    let mut buffers = Buffers::default();
    let mut connection = Connection::new(Scheme::Https, limits, &mut buffers);
    for (head, ends) in [(GET, true), (POST, false), (HEAD, true)] {
        connection.request(head, ends, &mut buffers).expect("there is room");
    }
    let (mut told, mut start, mut body) = (String::new(), 0, 0);
    for stop in stops.chain([bytes.len()]) {
        loop {
            match connection.receive(&bytes[start..stop], 0, &mut buffers) {
                Err(fault) => {
                    let lost = std::iter::from_fn(|| connection.lost()).count();
                    assert!(connection.streams() == 0 && connection.vacancies() == 0);
                    return (format!("{told}{body} {fault:?} {lost}"), buffers.out);
                }
                Ok(step) => {
                    start += step.consumed;
                    assert!(connection.streams() <= limits.streams_max as usize);
                    let Some(event) = step.event else { break };
                    if let Event::Data { at, ends, .. } = &event {
                        // Where pieces end is the split's doing.
                        body += at.len();
                        if !ends {
                            continue;
                        }
                    }
                    told += &format!("{body} ");
                    told += &act(&mut connection, &event, &mut buffers);
                }
            }
        }
        assert!(stop - start <= PAYLOAD_BYTES + 9);
    }
    (format!("{told}{body}"), buffers.out)
}

/// Does something that depends on the event only.
fn act(connection: &mut Connection, event: &Event, buffers: &mut Buffers) -> String {
    let head = String::from_utf8_lossy(buffers.head()).into_owned();
    match event {
        Event::Answer { stream, ends } => {
            let reply = Reply::parse(buffers.head(), *stream == 5, &REPLY_LIMITS).expect("one reading");
            assert!(!reply.is_interim() && reply.delivery() != Delivery::UntilClose);
            assert!(!ends || matches!(reply.delivery(), Delivery::None | Delivery::Length(0)));
            if stream % 8 == 3 {
                connection.reset(*stream, Code::CANCEL, buffers);
            }
            format!("answer {stream} {ends} {head:?}; ")
        }
        Event::Interim { stream } => {
            assert!(Reply::parse(buffers.head(), false, &REPLY_LIMITS).expect("one reading").is_interim());
            let len = connection.room(*stream).min(100);
            if connection.data(*stream, len, true, buffers) {
                buffers.out.extend_from_slice(&[7; 100][..len]);
            }
            format!("interim {stream} {head:?}; ")
        }
        Event::Data { stream, .. } => {
            connection.ping(buffers);
            format!("end of {stream}; ")
        }
        Event::Failed { .. } => {
            let again = connection.request(GET, true, buffers);
            format!("{event:?} {again:?}; ")
        }
    }
}

fuzz_target!(|input: (bool, bool, u16, &[u8])| {
    let (is_open, is_tight, split, bytes) = input;
    let limits = if is_tight {
        Limits {
            streams_max: 3,
            resets_burst: 4,
            idle_frames_burst: 6,
            header_list_bytes_max: 200,
            ..Limits::client()
        }
    } else {
        Limits::client()
    };
    let bytes = if is_open { [b"\0\0\0\x04\0\0\0\0\0", bytes].concat() } else { bytes.to_vec() };
    let whole = feed(&bytes, std::iter::empty(), limits);
    let split = usize::from(split) % (bytes.len() + 1);
    assert_eq!(feed(&bytes, std::iter::once(split), limits), whole);
    assert_eq!(feed(&bytes, 0..bytes.len(), limits), whole);
});
