//! A hundred thousand requests for a hundred bytes, for counting instructions: `valgrind --tool=callgrind`.

use ringway_h2::connection::{Buffers, Connection, Event};
use ringway_h2::frame::{Head, Kind, PREFACE, write_settings, write_window_update};
use ringway_h2::hpack::Encoder;
use ringway_h2::limits::Limits;

/// Requests, unless another number is given.
const REQUESTS: u32 = 100_000;

/// An answer as the web door writes it.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 20:00:33 GMT\r\nServer: Ringway\r\nContent-Length: 100\r\n\
    Content-Type: application/octet-stream\r\nLast-Modified: Sat, 21 Nov 2026 19:59:31 GMT\r\n\
    ETag: \"64-18ea27cef3c11c8a-99a41f\"\r\nAccept-Ranges: bytes\r\n\r\n";

fn main() {
    let count = std::env::args().nth(1).and_then(|number| number.parse().ok()).unwrap_or(REQUESTS);
    let mut buffers = Buffers::default();
    let mut connection = Connection::new(Limits::default(), &mut buffers);
    let mut input = PREFACE.to_vec();
    write_settings(&mut input, &[]);
    let mut encoder = Encoder::default();
    for number in 0..count {
        let mut block = vec![0x82, 0x86];
        for (line, name, value) in [
            ("path: /a.bin", ":path", "/a.bin"),
            ("a: 127.0.0.1:8080", ":authority", "127.0.0.1:8080"),
            ("user-agent: h2load nghttp2/1.52.0", "user-agent", "h2load nghttp2/1.52.0"),
            ("accept: */*", "accept", "*/*"),
        ] {
            encoder.field(line.as_bytes(), name.as_bytes(), value.as_bytes(), &mut block);
        }
        let len = u32::try_from(block.len()).unwrap_or(0);
        input.extend_from_slice(&Head { len, kind: Kind::HEADERS, flags: 5, stream: number * 2 + 1 }.bytes());
        input.extend_from_slice(&block);
        if number % 200 == 199 {
            write_window_update(&mut input, 0, 20_000);
        }
    }
    let served = serve(&mut connection, &input, &mut buffers);
    assert_eq!(served, count);
}

/// What is to be counted.
#[inline(never)]
fn serve(connection: &mut Connection, input: &[u8], buffers: &mut Buffers) -> u32 {
    let (mut at, mut served) = (0, 0);
    while let Ok(step) = connection.receive(&input[at..], 0, buffers) {
        at += step.consumed;
        let Some(event) = step.event else { break };
        if let Event::Request { stream, .. } = event {
            assert!(connection.respond(stream, ANSWER, false, buffers));
            assert!(connection.data(stream, 100, true, buffers));
            buffers.out.extend_from_slice(&[7; 100]);
            served += 1;
        }
        if buffers.out.len() > 16 * 1024 {
            buffers.out.clear();
        }
    }
    served
}
