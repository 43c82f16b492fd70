//! Properties: no input panics or grows anything, no split changes an outcome, what is accepted has one reading.

use proptest::prelude::*;
use ringway_http::head::{Limits as HeadLimits, Request};

use super::*;

/// A frame that is often sound.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let stream = prop_oneof![Just(0_u32), Just(1), Just(3), Just(5), Just(7), 0..20_u32];
    let payload = prop_oneof![
        Just(fields(GET)),
        Just(fields(POST)),
        Just(vec![0x82, 0x86, 0x84, 0x41, 1, b'a', 0x40, 1, b'k', 1, b'v']),
        Just(vec![0x82, 0x86, 0x84, 0xbe, 0xbf]),
        Just(vec![0; 4]),
        Just(vec![0; 5]),
        Just(vec![0, 0, 1, 0]),
        Just(vec![0; 8]),
        Just(vec![0, 4, 0, 0, 0, 9]),
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    (0..11_u8, prop_oneof![Just(0_u8), Just(1), Just(4), Just(5), any::<u8>()], stream, payload)
        .prop_map(|(kind, flags, stream, payload)| frame(Kind(kind), flags, stream, &payload))
}

/// A server that does all there is to do, as the stream's number says.
fn busy(connection: &mut Connection, event: &Event, buffers: &mut Buffers) {
    match event {
        Event::Request { stream, .. } | Event::Oversized { stream, .. } => match stream % 4 {
            1 => {
                connection.respond(*stream, b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", false, buffers);
                let room = connection.room(*stream).min(10);
                if connection.data(*stream, room, true, buffers) {
                    buffers.out.extend_from_slice(&[7; 10][..room]);
                }
            }
            _ => prompt(connection, event, buffers),
        },
        Event::Data { stream, ends: true, .. } => connection.reset(*stream, Code::NO_ERROR, buffers),
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_split_changes_an_outcome(
        frames in proptest::collection::vec(any_frame(), 0..24),
        stops in proptest::collection::vec(any::<u16>(), 0..6),
    ) {
        let bytes = opened(&frames);
        let limits = Limits { resets_burst: 5, idle_frames_burst: 8, streams_max: 3, ..Limits::default() };
        let whole = feed(&bytes, std::iter::empty(), limits, busy);
        let mut stops: Vec<usize> = stops.iter().map(|stop| usize::from(*stop) % (bytes.len() + 1)).collect();
        stops.sort_unstable();
        prop_assert_eq!(&feed(&bytes, stops.into_iter(), limits, busy), &whole);
        prop_assert_eq!(&feed(&bytes, 1..bytes.len(), limits, busy), &whole);
        for told in &whole.told {
            let Told::Request(_, head, ends) = told else { continue };
            // Whatever comes out is one head: refused by HTTP/1.1 for reasons of its own, or read whole.
            prop_assert!(head.ends_with("\r\n\r\n") && head.matches("\r\n\r\n").count() == 1);
            if let Ok(request) = Request::parse(head.as_bytes(), &HeadLimits::default()) {
                prop_assert!(*ends == request.body().is_empty() || request.method().as_str() == "CONNECT");
                prop_assert!(request.keep_alive());
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), is_open in any::<bool>()) {
        let bytes = if is_open { opened(&[bytes]) } else { bytes };
        let whole = feed(&bytes, std::iter::empty(), Limits::default(), busy);
        prop_assert_eq!(feed(&bytes, 1..bytes.len(), Limits::default(), busy), whole);
    }
}
