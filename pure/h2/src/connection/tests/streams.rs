//! Section 5 of RFC 9113: states of streams, their numbers, and windows of what is received.

use super::*;

/// A server that has read each piece of a body when it comes, and answers at the end.
fn reading(connection: &mut Connection, event: &Event, buffers: &mut Buffers) {
    if let Event::Data { stream, at, ends } = event {
        connection.consume(*stream, u32::try_from(at.len()).unwrap(), buffers);
        if *ends {
            assert!(connection.respond(*stream, b"HTTP/1.1 200 OK\r\n\r\n", true, buffers));
        }
    }
}

/// A server that wants nothing to do with bodies.
fn refusing(connection: &mut Connection, event: &Event, buffers: &mut Buffers) {
    if let Event::Request { stream, ends: false } = event {
        connection.respond(*stream, b"HTTP/1.1 413 Content Too Large\r\n\r\n", true, buffers);
        connection.reset(*stream, Code::NO_ERROR, buffers);
    }
}

#[test]
fn s5_1_idle_streams_take_nothing_but_headers_and_priority() {
    told(&[data(1, 0, b"a")]).is_fault(Fault::IdleStream);
    told(&[reset(1, Code::CANCEL)]).is_fault(Fault::IdleStream);
    told(&[window_update(1, 1)]).is_fault(Fault::IdleStream);
    // The server has opened none, so an even one is idle for ever.
    told(&[get(5), window_update(2, 1)]).is_fault(Fault::IdleStream);
}

#[test]
fn s5_1_half_closed_streams_take_no_message() {
    told(&[get(1), data(1, 0, b"abc")]).is_reset(1, Code::STREAM_CLOSED);
    told(&[get(1), get(1)]).is_reset(1, Code::STREAM_CLOSED);
    told(&[get(1), window_update(1, 9), frame(Kind::PRIORITY, 0, 1, &[0; 5])]).is_quiet();
}

#[test]
fn s5_1_closed_streams_take_no_message() {
    let closed = |frames: &[Vec<u8>]| told_with(&opened(frames), Limits::default(), prompt);
    closed(&[get(1), data(1, 0, b"abc")]).is_fault(Fault::ClosedStream);
    closed(&[get(1), get(1)]).is_fault(Fault::ClosedStream);
    assert_eq!(closed(&[get(1), window_update(1, 9), frame(Kind::PRIORITY, 0, 1, &[0; 5])]).fault, None);
    assert_eq!(closed(&[get(1), reset(1, Code::CANCEL)]).fault, None);
    told(&[post(1), reset(1, Code::CANCEL), data(1, 0, b"a")]).is_fault(Fault::ClosedStream);
    told(&[post(1), reset(1, Code::CANCEL), get(1)]).is_fault(Fault::ClosedStream);
}

#[test]
fn s5_1_what_was_on_its_way_when_a_stream_was_reset_is_ignored() {
    let trailers = frame(Kind::HEADERS, 5, 1, &fields(&[("a", "b")]));
    let frames = [post(1), data(1, 0, &[7; 500]), trailers, window_update(1, 7), get(3)];
    let outcome = told_with(&opened(&frames), Limits::default(), refusing);
    assert_eq!(outcome.fault, None);
    assert_eq!(outcome.told.len(), 2, "{:?}", outcome.told);
    assert_eq!(outcome.told[1], Told::Request(3, GET_HEAD.to_owned(), true));
}

#[test]
fn s5_1_1_streams_of_clients_are_odd_and_grow() {
    told(&[get(2)]).is_fault(Fault::StreamNumber);
    told(&[get(5), get(3)]).is_fault(Fault::StreamNumber);
    assert_eq!(told(&[get(1), get(0x7fff_ffff)]).told.len(), 2);
}

#[test]
fn s5_1_2_streams_over_the_limit_are_refused() {
    let limits = Limits { streams_max: 2, ..Limits::default() };
    let outcome = told_with(&opened(&[get(1), get(3), get(5)]), limits, idle);
    assert_eq!(outcome.told.len(), 2);
    outcome.is_reset(5, Code::REFUSED_STREAM);
    // They count while either side is open, and no longer.
    let outcome = told_with(&opened(&[get(1), get(3), get(5), get(7)]), limits, prompt);
    assert_eq!((outcome.fault, outcome.told.len()), (None, 4));
}

#[test]
fn s5_2_windows_come_back_only_when_a_handler_has_consumed() {
    let flood: Vec<Vec<u8>> =
        std::iter::once(post(1)).chain((0..3).map(|_| data(1, 0, &[0; 16_000]))).collect();
    told(&flood).is_quiet();
    // How it is split decides how often that is said, not how much.
    let outcome = feed(&opened(&flood), std::iter::empty(), Limits::default(), reading);
    let given: u32 = outcome.answers().iter().filter(|sent| sent.stream == 1).map(step).sum();
    assert!((32_767..=48_000).contains(&given), "{given}");
}

fn step(sent: &Sent) -> u32 {
    assert_eq!(sent.kind, Kind::WINDOW_UPDATE);
    u32::from_be_bytes(sent.payload[..].try_into().unwrap())
}

#[test]
fn s6_9_1_more_than_the_window_is_an_error() {
    let mut frames = vec![post(1)];
    frames.extend((0..3).map(|_| data(1, 0, &[0; 16_384])));
    frames.push(data(1, 0, &[0; 16_383]));
    told(&frames).is_quiet();
    frames.push(data(1, 0, &[0; 1]));
    told(&frames).is_reset(1, Code::FLOW_CONTROL_ERROR);
}

#[test]
fn s6_9_1_more_than_the_connection_window_is_an_error() {
    let limits = Limits { connection_window_bytes: 70_000, ..Limits::default() };
    let mut frames = vec![post(1), post(3)];
    frames.extend((0..3).map(|_| data(1, 0, &[0; 16_384])));
    frames.push(data(3, 0, &[0; 16_384]));
    assert_eq!(told_with(&opened(&frames), limits, idle).fault, None);
    frames.push(data(3, 0, &[0; 16_384]));
    told_with(&opened(&frames), limits, idle).is_fault(Fault::WindowExceeded);
}

#[test]
fn s6_9_padding_counts_and_comes_back() {
    let mut frames = vec![post(1)];
    let padded = [&[255][..], &[0; 256]].concat();
    frames.extend((0..1_000).map(|_| data(1, 8, &padded)));
    let outcome = feed(&opened(&frames), std::iter::empty(), Limits::default(), reading);
    assert_eq!(outcome.fault, None);
    let given: u32 = outcome.answers().iter().filter(|sent| sent.stream == 0).map(step).sum();
    assert!((100_000..=257_000).contains(&given), "{given}");
}

#[test]
fn what_comes_on_streams_that_are_gone_gives_the_connection_its_window_back() {
    let mut frames = vec![post(1)];
    frames.extend((0..40).map(|_| data(1, 0, &[0; 16_000])));
    let outcome = told_with(&opened(&frames), Limits::default(), refusing);
    assert_eq!(outcome.fault, None, "640,000 bytes through a window of 256 KiB");
    // And so does a body that was begun and is not read.
    let mut frames = Vec::new();
    for stream in (1..60).step_by(2) {
        frames.extend([post(stream), data(stream, 0, &[0; 16_000]), reset(stream, Code::CANCEL)]);
    }
    assert_eq!(told(&frames).fault, None);
}

#[test]
fn s5_4_1_streams_after_the_farewell_are_ignored() {
    fn leaving(connection: &mut Connection, event: &Event, buffers: &mut Buffers) {
        prompt(connection, event, buffers);
        connection.leave_now(buffers);
    }
    let frames = [get(1), post(3), data(3, 0, &[0; 100]), get(5), data(3, 1, b"")];
    let outcome = told_with(&opened(&frames), Limits::default(), leaving);
    assert_eq!((outcome.fault, outcome.told.len()), (None, 1));
    let goaway = outcome.answers().last().unwrap();
    assert_eq!((goaway.kind, &goaway.payload[..]), (Kind::GOAWAY, &[0, 0, 0, 1, 0, 0, 0, 0][..]));
}

#[test]
fn s6_8_leaving_loses_nothing_that_was_on_its_way() {
    fn leaving(connection: &mut Connection, event: &Event, buffers: &mut Buffers) {
        prompt(connection, event, buffers);
        connection.leave(buffers);
    }
    let frames = [get(1), get(3), frame(Kind::PING, 1, 0, b"leaving!"), get(5)];
    let outcome = told_with(&opened(&frames), Limits::default(), leaving);
    assert_eq!((outcome.fault, outcome.told.len()), (None, 2));
    let farewells: Vec<&[u8]> = outcome
        .answers()
        .iter()
        .filter(|sent| sent.kind == Kind::GOAWAY)
        .map(|sent| &sent.payload[..4])
        .collect();
    assert_eq!(farewells, [&[0x7f, 0xff, 0xff, 0xff], &[0, 0, 0, 3]]);
}
