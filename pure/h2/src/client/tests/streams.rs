//! Section 5 of RFC 9113 as a client sees it: states of streams, windows both ways, frames of the connection.

use super::*;
use crate::frame::setting;

const OK: &[(&str, &str)] = &[(":status", "200")];

/// A client that has read each piece of a body when it comes.
fn reading(connection: &mut Connection, event: &Event, buffers: &mut Buffers) {
    if let Event::Data { stream, at, .. } = event {
        connection.consume(*stream, u32::try_from(at.len()).unwrap(), buffers);
    }
}

/// A client that does not want bodies.
fn refusing(connection: &mut Connection, event: &Event, buffers: &mut Buffers) {
    if let Event::Answer { stream, ends: false } = event {
        connection.reset(*stream, Code::CANCEL, buffers);
    }
}

fn take(connection: &mut Connection, buffers: &mut Buffers, bytes: &[u8]) {
    let step = connection.receive(bytes, 0, buffers).expect("no fault");
    assert_eq!((step.consumed, step.event), (bytes.len(), None));
}

#[test]
fn s3_4_the_server_begins_with_settings() {
    let first = |bytes: &[u8]| {
        let outcome = feed(&[GET], bytes, 1..bytes.len(), Limits::client(), idle);
        assert_eq!(outcome, feed(&[GET], bytes, std::iter::empty(), Limits::client(), idle));
        outcome
    };
    first(&head(1, true, OK)).is_fault(Fault::FirstFrame);
    first(&frame(Kind::SETTINGS, 1, 0, b"")).is_fault(Fault::FirstFrame);
    first(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").is_fault(Fault::Preface);
    first(b"SSH-2.0-OpenSSH\r\n").is_fault(Fault::FrameLength);
    let outcome = first(&settings(&[]));
    assert_eq!((outcome.fault, outcome.sent.len(), outcome.left), (None, 1, 1));
}

#[test]
fn s5_1_streams_that_were_not_opened_take_nothing() {
    for bytes in
        [head(3, true, OK), head(2, true, OK), data(3, 1, b"a"), reset(3, Code::CANCEL), window_update(2, 1)]
    {
        told(&[GET], &[bytes]).is_fault(Fault::IdleStream);
    }
    told(&[GET], &[frame(Kind::HEADERS, 5, 0, &fields(OK))]).is_fault(Fault::NeedsStream);
}

#[test]
fn s5_1_nothing_follows_the_end_of_an_answer() {
    let after = |frame| told(&[GET], &[head(1, true, OK), frame]);
    after(data(1, 0, b"a")).is_fault(Fault::ClosedStream);
    after(head(1, true, OK)).is_fault(Fault::ClosedStream);
    after(window_update(1, 9)).is_quiet();
    after(reset(1, Code::NO_ERROR)).is_quiet();
    // A request that is not whole keeps the stream.
    told(&[POST], &[head(1, true, OK), data(1, 0, b"a")]).is_broken(1, Code::STREAM_CLOSED);
    told(&[POST], &[head(1, true, OK), head(1, true, OK)]).is_broken(1, Code::STREAM_CLOSED);
}

#[test]
fn s5_1_what_was_on_its_way_when_a_stream_was_reset_is_ignored() {
    let frames = [
        head(1, false, OK),
        data(1, 0, &[7; 500]),
        head(1, true, &[("a", "b")]),
        window_update(1, 7),
        reset(1, Code::NO_ERROR),
        head(3, true, OK),
    ];
    let outcome = told_with(&[GET, GET], &frames, Limits::client(), refusing);
    assert_eq!((outcome.fault, outcome.told.len(), outcome.left), (None, 2, 0));
    assert!(matches!(outcome.told[1], Told::Answer(3, _, true)));
}

#[test]
fn what_comes_on_streams_that_are_forgotten_is_ignored() {
    let (mut connection, mut buffers) = asked(&[], Limits::client());
    take(&mut connection, &mut buffers, &settings(&[]));
    for _ in 0..500 {
        let stream = connection.request(GET.as_bytes(), true, &mut buffers).expect("there is room");
        connection.reset(stream, Code::CANCEL, &mut buffers);
    }
    for frame in [head(1, false, OK), data(1, 0, b"late"), data(1, 1, b"later"), reset(1, Code::CANCEL)] {
        take(&mut connection, &mut buffers, &frame);
    }
}

#[test]
fn s5_2_windows_come_back_only_when_a_body_is_consumed() {
    let flood: Vec<Vec<u8>> =
        std::iter::once(head(1, false, OK)).chain((0..3).map(|_| data(1, 0, &[0; 16_000]))).collect();
    told(&[GET], &flood).is_quiet();
    // How it is split decides how often that is said, not how much.
    let bytes = [settings(&[]), flood.concat()].concat();
    let outcome = feed(&[GET], &bytes, std::iter::empty(), Limits::client(), reading);
    let step = |sent: &Sent| u32::from_be_bytes(sent.payload[..].try_into().unwrap());
    let given: u32 = outcome.more().iter().filter(|sent| sent.stream == 1).map(step).sum();
    assert!((32_767..=48_000).contains(&given), "{given}");
}

#[test]
fn s6_9_1_more_than_the_windows_is_an_error() {
    let mut frames = vec![head(1, false, OK)];
    frames.extend((0..3).map(|_| data(1, 0, &[0; 16_384])));
    frames.push(data(1, 0, &[0; 16_383]));
    told(&[GET], &frames).is_quiet();
    frames.push(data(1, 0, &[0; 1]));
    told(&[GET], &frames).is_broken(1, Code::FLOW_CONTROL_ERROR);
    let limits = Limits { connection_window_bytes: 70_000, ..Limits::client() };
    frames.pop();
    frames.extend([head(3, false, OK), data(3, 0, &[0; 16_384])]);
    told_with(&[GET, GET], &frames, limits, idle).is_fault(Fault::WindowExceeded);
}

#[test]
fn s5_2_requests_stay_within_both_windows() {
    let (mut connection, mut buffers) = asked(&[POST, POST], Limits::client());
    take(&mut connection, &mut buffers, &settings(&[(setting::INITIAL_WINDOW_SIZE, 100)]));
    assert_eq!((connection.room(1), connection.room(3)), (100, 100));
    buffers.out.clear();
    assert!(connection.data(1, 100, false, &mut buffers));
    assert!(!connection.data(1, 1, false, &mut buffers) && connection.is_stalled(1));
    take(&mut connection, &mut buffers, &window_update(1, 100_000));
    take(&mut connection, &mut buffers, &window_update(0, 10));
    assert_eq!(connection.room(1), 65_535 - 100 + 10, "the connection's");
    assert!(!connection.data(1, 16_385, false, &mut buffers), "no frame is larger than every server takes");
    assert!(connection.data(1, 5, true, &mut buffers));
    assert_eq!((connection.room(1), connection.sent_bytes()), (0, 105), "the request is whole");
    assert!(!connection.data(1, 0, true, &mut buffers));
    assert!(connection.has(1), "its answer is to come");
}

#[test]
fn s6_5_2_settings_of_a_server_are_checked() {
    told(&[GET], &[settings(&[(setting::ENABLE_PUSH, 0)])]);
    for (name, value, fault) in [
        (setting::ENABLE_PUSH, 1, Fault::SettingValue),
        (setting::MAX_FRAME_SIZE, 16_383, Fault::SettingValue),
        (setting::INITIAL_WINDOW_SIZE, 1 << 31, Fault::SettingWindow),
    ] {
        told(&[GET], &[settings(&[(name, value)])]).is_fault(fault);
    }
}

#[test]
fn s8_4_a_server_that_was_told_not_to_does_not_push() {
    told(&[GET], &[frame(Kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2, 0x82])]).is_fault(Fault::Push);
}

#[test]
fn s6_7_pings_are_answered_and_asked() {
    let outcome = told(&[GET], &[frame(Kind::PING, 0, 0, b"12345678")]);
    assert_eq!((outcome.more()[0].flags, &outcome.more()[0].payload[..]), (1, &b"12345678"[..]));
    let (mut connection, mut buffers) = asked(&[], Limits::client());
    take(&mut connection, &mut buffers, &settings(&[]));
    for number in 1..3_u8 {
        buffers.out.clear();
        connection.ping(&mut buffers);
        connection.ping(&mut buffers);
        let payload = [0, 0, 0, 0, 0, 0, 0, number];
        assert_eq!(
            sent(&buffers.out),
            [Sent { kind: Kind::PING, flags: 0, stream: 0, payload: payload.to_vec() }]
        );
        take(&mut connection, &mut buffers, &frame(Kind::PING, 1, 0, b"another!"));
        assert!(connection.is_pinged());
        take(&mut connection, &mut buffers, &frame(Kind::PING, 1, 0, &payload));
        assert!(!connection.is_pinged());
    }
}

#[test]
fn floods_end_the_connection() {
    let limits = Limits { resets_burst: 3, resets_per_s: 0, idle_frames_burst: 8, ..Limits::client() };
    let malformed = |stream| head(stream, true, &[]);
    let frames: Vec<Vec<u8>> = [1, 3, 5, 7].map(malformed).to_vec();
    told_with(&[GET; 4], &frames, limits, idle).is_fault(Fault::ResetFlood);
    let frames = vec![frame(Kind::PING, 0, 0, b"12345678"); 9];
    told_with(&[GET], &frames, limits, idle).is_fault(Fault::FrameFlood);
}
