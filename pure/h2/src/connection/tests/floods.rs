//! The known floods: each ends the connection at its limit, and costs no memory until then.

use super::*;
use crate::frame::setting;

/// Feeds `frames` of this make, `per_s` of them each second; how many it took until the connection ended.
fn until_the_end(
    prelude: &[Vec<u8>],
    per_s: u64,
    react: React,
    make: impl Fn(u32) -> Vec<u8>,
) -> Option<u32> {
    let mut buffers = Buffers::default();
    let mut connection = Connection::new(Limits::default(), &mut buffers);
    let mut input = opened(prelude);
    for number in 0..20_000_u32 {
        let mut rest = &input[..];
        let now_ms = u64::from(number) * 1_000 / per_s;
        loop {
            match connection.receive(rest, now_ms, &mut buffers) {
                Err(fault) => {
                    assert_eq!(fault.code(), Code::ENHANCE_YOUR_CALM, "{fault:?}");
                    return Some(number);
                }
                Ok(step) => {
                    rest = &rest[step.consumed..];
                    let Some(event) = step.event else { break };
                    react(&mut connection, &event, &mut buffers);
                }
            }
        }
        assert!(connection.streams() <= 100);
        assert!(buffers.out.len() <= 1024, "{}", buffers.out.len());
        buffers.out.clear();
        input = make(number);
    }
    None
}

fn stream(number: u32) -> u32 {
    number * 2 + 1
}

/// CVE-2023-44487.
#[test]
fn rapid_reset_ends() {
    let flood = |number| [get(stream(number)), reset(stream(number), Code::CANCEL)].concat();
    assert_eq!(until_the_end(&[], 1_000_000, idle, flood), Some(201));
    assert_eq!(until_the_end(&[], 1_000_000, prompt, flood), Some(201), "answered or not");
    assert!(until_the_end(&[], 60, idle, flood).unwrap() > 1_000, "a little above what is forgiven");
    assert_eq!(until_the_end(&[], 40, idle, flood), None, "what a browser may do");
}

/// CVE-2025-8671: the peer makes the server reset.
#[test]
fn made_you_reset_ends() {
    let window = |number| [get(stream(number)), window_update(stream(number), 0)].concat();
    let overflow = |number| [get(stream(number)), window_update(stream(number), 0x7fff_ffff)].concat();
    let closed = |number| [get(stream(number)), data(stream(number), 0, b"a")].concat();
    let twice = |number| [get(stream(number)), get(stream(number))].concat();
    let priority = |number| [get(stream(number)), frame(Kind::PRIORITY, 0, stream(number), &[0; 4])].concat();
    let malformed = |number| frame(Kind::HEADERS, 5, stream(number), &[0x82]);
    for flood in [window, overflow, closed, twice, priority] as [fn(u32) -> Vec<u8>; 5] {
        assert_eq!(until_the_end(&[], 1_000_000, idle, flood), Some(201));
    }
    assert_eq!(until_the_end(&[], 1_000_000, idle, malformed), Some(201));
}

#[test]
fn refused_streams_count_too() {
    let flood = |number| post(stream(number));
    assert_eq!(until_the_end(&[], 1_000_000, idle, flood), Some(301), "100 live, 200 are refused");
}

/// CVE-2019-9512, 9515, 9513, 9518 and their kin.
#[test]
fn frames_without_content_end() {
    let ping = |_| frame(Kind::PING, 0, 0, &[0; 8]);
    let pong = |_| frame(Kind::PING, 1, 0, &[0; 8]);
    let setting = |number: u32| settings(&[(setting::INITIAL_WINDOW_SIZE, number)]);
    let acknowledged = |_| frame(Kind::SETTINGS, 1, 0, &[]);
    let priority = |number| frame(Kind::PRIORITY, 0, stream(number), &[0; 5]);
    let window = |_| window_update(0, 1);
    let empty = |_| data(1, 0, b"");
    let padded = |_| data(1, 8, b"\0");
    let unknown = |_| frame(Kind(0x42), 0, 0, b"");
    let farewell = |_| frame(Kind::GOAWAY, 0, 0, &[0; 8]);
    let floods: [fn(u32) -> Vec<u8>; 10] =
        [ping, pong, setting, acknowledged, priority, window, empty, padded, unknown, farewell];
    for (at, flood) in floods.into_iter().enumerate() {
        // The client's own SETTINGS was the first.
        assert_eq!(until_the_end(&[post(1)], 1_000_000, idle, flood), Some(1_000), "flood {at}");
        assert_eq!(until_the_end(&[post(1)], 90, idle, flood), None, "flood {at} at a rate that is forgiven");
    }
}

#[test]
fn window_updates_that_answer_data_are_welcome() {
    let mut buffers = Buffers::default();
    let mut connection = Connection::new(Limits::default(), &mut buffers);
    let mut input = opened(&[get(1)]);
    for _ in 0..10_000 {
        let mut at = 0;
        while let Ok(step) = connection.receive(&input[at..], 0, &mut buffers) {
            at += step.consumed;
            match step.event {
                Some(Event::Request { stream, .. }) => {
                    assert!(connection.respond(stream, b"HTTP/1.1 200 OK\r\n\r\n", false, &mut buffers));
                }
                Some(other) => panic!("{other:?}"),
                None => break,
            }
        }
        assert!(connection.data(1, 1_000, false, &mut buffers), "it lives and has room");
        buffers.out.clear();
        input = [window_update(0, 1_000), window_update(1, 1_000)].concat();
    }
    assert_eq!(connection.sent_bytes(), 10_000_000);
}

/// CVE-2024-27316 and its kin: a field section without end.
#[test]
fn continuations_end_by_count_and_by_bytes() {
    let empty: Vec<Vec<u8>> = std::iter::once(frame(Kind::HEADERS, 1, 1, &[]))
        .chain((0..9).map(|_| frame(Kind::CONTINUATION, 0, 1, &[])))
        .collect();
    told(&empty).is_fault(Fault::BlockLength);
    told(&empty[..9]).is_quiet();
    let large: Vec<Vec<u8>> = std::iter::once(frame(Kind::HEADERS, 1, 1, &[0x82; 16_384]))
        .chain((0..3).map(|_| frame(Kind::CONTINUATION, 0, 1, &[0x82; 16_384])))
        .collect();
    told(&large).is_fault(Fault::BlockLength);
    told(&large[..3]).is_quiet();
}

/// CVE-2020-11080.
#[test]
fn settings_frames_have_few_settings() {
    let list = [(setting::HEADER_TABLE_SIZE, 4_096); 33];
    told(&[settings(&list)]).is_fault(Fault::SettingsLength);
    assert_eq!(told(&[settings(&list[..32])]).fault, None);
}
