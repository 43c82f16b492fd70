//! HTTP/2 connections: no input panics, no split changes an outcome, nothing grows beyond its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_h2::code::Code;
use ringway_h2::connection::{Buffers, Connection, Event};
use ringway_h2::frame::{PAYLOAD_BYTES, PREFACE};
use ringway_h2::limits::Limits;
use ringway_http::head::{Limits as HeadLimits, Request};

const HEAD_LIMITS: HeadLimits =
    HeadLimits { line_bytes_max: 16 * 1024, head_bytes_max: 32 * 1024, fields_max: 600 };

/// Feeds the bytes in pieces that end at `stops` and at the end; what was told, and what was sent.
fn feed(bytes: &[u8], stops: impl Iterator<Item = usize>, limits: Limits) -> (String, Vec<u8>) {
    let mut buffers = Buffers::default();
    let mut connection = Connection::new(limits, &mut buffers);
    let (mut told, mut start, mut body) = (String::new(), 0, 0);
    for stop in stops.chain([bytes.len()]) {
        loop {
            match connection.receive(&bytes[start..stop], 0, &mut buffers) {
                Err(fault) => return (format!("{told}{body} {fault:?}"), buffers.out),
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
        assert!(stop - start <= PAYLOAD_BYTES + 9 || connection.streams() == 0);
    }
    (format!("{told}{body}"), buffers.out)
}

/// Does something that depends on the event only.
fn act(connection: &mut Connection, event: &Event, buffers: &mut Buffers) -> String {
    match event {
        Event::Request { stream, ends } => {
            let head = buffers.head().to_vec();
            if let Ok(request) = Request::parse(&head, &HEAD_LIMITS) {
                assert_eq!(request.body().is_empty(), *ends || head_says_nothing(&request));
            }
            if stream % 8 != 7 {
                let text = b"HTTP/1.1 200 OK\r\nServer: x\r\nETag: \"a\"\r\n\r\n";
                connection.respond(*stream, text, stream % 8 == 1, buffers);
                let len = connection.room(*stream).min(100);
                if connection.data(*stream, len, stream % 8 == 3, buffers) {
                    buffers.out.extend_from_slice(&[7; 100][..len]);
                }
            }
            format!("request {stream} {ends} {:?}; ", String::from_utf8_lossy(&head))
        }
        Event::Oversized { stream, .. } => {
            connection.respond(*stream, b"HTTP/1.1 431 X\r\n\r\n", true, buffers);
            format!("{event:?}; ")
        }
        Event::Data { stream, .. } => {
            connection.reset(*stream, Code::NO_ERROR, buffers);
            format!("end of {stream}; ")
        }
        Event::Reset { .. } => format!("{event:?}; "),
    }
}

fn head_says_nothing(request: &Request<'_>) -> bool {
    request.field("content-length") == Some(b"0")
}

fuzz_target!(|input: (bool, bool, u16, &[u8])| {
    let (is_open, is_tight, split, bytes) = input;
    let limits = if is_tight {
        Limits {
            streams_max: 3,
            resets_burst: 4,
            idle_frames_burst: 6,
            header_list_bytes_max: 200,
            ..Limits::default()
        }
    } else {
        Limits::default()
    };
    let bytes =
        if is_open { [&PREFACE[..], b"\0\0\0\x04\0\0\0\0\0", bytes].concat() } else { bytes.to_vec() };
    let whole = feed(&bytes, std::iter::empty(), limits);
    let split = usize::from(split) % (bytes.len() + 1);
    assert_eq!(feed(&bytes, std::iter::once(split), limits), whole);
    assert_eq!(feed(&bytes, 0..bytes.len(), limits), whole);
});
