//! Sections 3.4, 4 and 6 of RFC 9113: the preface, and every frame's form.

use super::*;
use crate::frame::setting;

#[test]
fn s3_4_the_server_begins_with_settings() {
    let outcome = told_with(b"", Limits::default(), idle);
    assert_eq!((outcome.sent[0].kind, outcome.sent[0].flags, outcome.sent[0].stream), (Kind::SETTINGS, 0, 0));
    assert_eq!(outcome.sent[0].payload[..6], [0, 3, 0, 0, 0, 100]);
    assert_eq!((outcome.sent[1].kind, outcome.sent[1].stream), (Kind::WINDOW_UPDATE, 0));
}

#[test]
fn s3_4_the_client_begins_with_the_preface() {
    told_with(b"GET / HTTP/1.1\r\n", Limits::default(), idle).is_fault(Fault::Preface);
    told_with(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Limits::default(), idle).is_fault(Fault::Preface);
    let outcome = told_with(&PREFACE[..23], Limits::default(), idle);
    assert_eq!((outcome.fault, outcome.told), (None, vec![]));
}

#[test]
fn s3_4_settings_follow_the_preface() {
    for first in [get(1), frame(Kind::PING, 0, 0, &[0; 8]), frame(Kind::SETTINGS, 1, 0, &[])] {
        let bytes = [&PREFACE[..], &first].concat();
        told_with(&bytes, Limits::default(), idle).is_fault(Fault::FirstFrame);
    }
}

#[test]
fn s4_1_unknown_flags_and_the_reserved_bit_are_ignored() {
    let mut request = frame(Kind::HEADERS, 0xd7 & !0x28, 1, &fields(GET));
    request[5] |= 0x80;
    let outcome = told(&[request]);
    outcome.is_quiet();
    assert_eq!(outcome.told, [Told::Request(1, GET_HEAD.to_owned(), true)]);
}

#[test]
fn s4_2_frames_over_the_limit_end_the_connection() {
    for kind in [Kind::DATA, Kind::HEADERS, Kind::SETTINGS, Kind(0x77)] {
        told(&[Head { len: 16_385, kind, flags: 0, stream: 1 }.bytes().to_vec()])
            .is_fault(Fault::FrameLength);
    }
}

#[test]
fn s4_2_frames_of_the_limit_are_taken() {
    let outcome = told(&[post(1), data(1, 1, &[7; 16_384])]);
    assert_eq!(outcome.told[1], Told::Data(1, vec![7; 16_384], true));
    assert_eq!(outcome.fault, None);
}

#[test]
fn s4_3_field_sections_that_cannot_be_decoded_end_the_connection() {
    for block in [&[0x80][..], &[0xff, 0xff], &[0x40, 0x05, b'a']] {
        told(&[frame(Kind::HEADERS, 5, 1, block)]).is_fault(Fault::Compression);
    }
    // Also in a section that nobody reads.
    told(&[post(1), frame(Kind::HEADERS, 5, 1, &[0x80])]).is_fault(Fault::Compression);
    let limits = Limits { streams_max: 0, ..Limits::default() };
    told_with(&opened(&[frame(Kind::HEADERS, 5, 1, &[0x80])]), limits, idle).is_fault(Fault::Compression);
}

#[test]
fn s4_3_and_s6_10_field_sections_are_not_interrupted() {
    let begun = || frame(Kind::HEADERS, 1, 1, &fields(GET));
    for other in [
        get(3),
        data(1, 0, b"a"),
        frame(Kind::PING, 0, 0, &[0; 8]),
        frame(Kind::PRIORITY, 0, 1, &[0; 5]),
        settings(&[]),
        frame(Kind::CONTINUATION, 4, 3, &[]),
        frame(Kind(0x77), 0, 0, &[]),
    ] {
        told(&[begun(), other]).is_fault(Fault::BlockOrder);
    }
}

#[test]
fn s6_1_data_needs_a_stream() {
    told(&[data(0, 0, b"a")]).is_fault(Fault::NeedsStream);
}

#[test]
fn s6_1_padding_is_taken_off_and_never_too_long() {
    let outcome = told(&[post(1), data(1, 8, b"\x03ab\0\0\0"), data(1, 9, b"\x02\0\0")]);
    outcome.is_quiet();
    assert_eq!(outcome.told[1..], [Told::Data(1, b"ab".to_vec(), true)]);
    told(&[post(1), data(1, 8, b"\x03ab")]).is_fault(Fault::Padding);
    told(&[post(1), data(1, 8, b"\x01")]).is_fault(Fault::Padding);
    told(&[post(1), data(1, 8, b"")]).is_fault(Fault::FrameForm);
    let all_padding = told(&[post(1), data(1, 9, b"\x00")]);
    assert_eq!(all_padding.told[1..], [Told::Data(1, vec![], true)]);
}

#[test]
fn s6_2_headers_need_a_stream() {
    told(&[get(0)]).is_fault(Fault::NeedsStream);
}

#[test]
fn s6_2_padding_and_priority_are_taken_off() {
    let block = fields(GET);
    let priority = [0x80, 0, 0, 0, 15];
    let padded = [&[3][..], &block, &[0; 3]].concat();
    let both = [&[3][..], &priority, &block, &[0; 3]].concat();
    let prior = [&priority[..], &block].concat();
    for (flags, payload) in [(0xd, padded), (0x2d, both), (0x25, prior)] {
        let outcome = told(&[frame(Kind::HEADERS, flags, 1, &payload)]);
        outcome.is_quiet();
        assert_eq!(outcome.told, [Told::Request(1, GET_HEAD.to_owned(), true)]);
    }
    told(&[frame(Kind::HEADERS, 0xd, 1, &[2, 0x82])]).is_fault(Fault::Padding);
    told(&[frame(Kind::HEADERS, 0x2d, 1, &[1, 0, 0, 0, 0, 0])]).is_fault(Fault::Padding);
    told(&[frame(Kind::HEADERS, 0xd, 1, &[])]).is_fault(Fault::FrameForm);
    told(&[frame(Kind::HEADERS, 0x25, 1, &[0; 4])]).is_fault(Fault::FrameForm);
}

#[test]
fn s6_3_priority_is_checked_and_ignored() {
    told(&[frame(Kind::PRIORITY, 0, 1, &[0; 5]), frame(Kind::PRIORITY, 0, 2, &[0; 5])]).is_quiet();
    told(&[frame(Kind::PRIORITY, 0, 0, &[0; 5])]).is_fault(Fault::NeedsStream);
    told(&[post(1), frame(Kind::PRIORITY, 0, 1, &[0; 4])]).is_reset(1, Code::FRAME_SIZE_ERROR);
    // Section 6.4: an idle stream is not reset.
    told(&[frame(Kind::PRIORITY, 0, 1, &[0; 6])]).is_fault(Fault::FrameForm);
}

#[test]
fn s6_4_resets_end_a_stream() {
    let outcome = told(&[post(1), reset(1, Code::CANCEL)]);
    outcome.is_quiet();
    assert_eq!(outcome.told[1..], [Told::Reset(1)]);
    told(&[reset(0, Code::CANCEL)]).is_fault(Fault::NeedsStream);
    told(&[reset(1, Code::CANCEL)]).is_fault(Fault::IdleStream);
    told(&[get(1), frame(Kind::RST_STREAM, 0, 1, &[0; 3])]).is_fault(Fault::FrameForm);
    told(&[get(1), frame(Kind::RST_STREAM, 0, 1, &[0; 5])]).is_fault(Fault::FrameForm);
}

#[test]
fn s6_5_settings_are_acknowledged_in_order() {
    let outcome = told(&[settings(&[(setting::HEADER_TABLE_SIZE, 0)]), settings(&[])]);
    assert_eq!(outcome.fault, None);
    let acks = outcome.sent.iter().filter(|sent| sent.kind == Kind::SETTINGS && sent.flags == 1);
    assert_eq!(acks.filter(|sent| sent.payload.is_empty()).count(), 3);
}

#[test]
fn s6_5_settings_are_of_the_connection_and_whole() {
    told(&[frame(Kind::SETTINGS, 0, 1, &[])]).is_fault(Fault::NeedsConnection);
    told(&[frame(Kind::SETTINGS, 0, 0, &[0; 5])]).is_fault(Fault::FrameForm);
    told(&[frame(Kind::SETTINGS, 1, 0, &[0; 6])]).is_fault(Fault::FrameForm);
    told(&[frame(Kind::SETTINGS, 1, 0, &[])]).is_quiet();
}

#[test]
fn s6_5_2_values_that_cannot_be_are_refused() {
    for (name, value, fault) in [
        (setting::ENABLE_PUSH, 2, Fault::SettingValue),
        (setting::INITIAL_WINDOW_SIZE, 0x8000_0000, Fault::SettingWindow),
        (setting::MAX_FRAME_SIZE, 16_383, Fault::SettingValue),
        (setting::MAX_FRAME_SIZE, 16_777_216, Fault::SettingValue),
        // RFC 8441 section 3.
        (setting::ENABLE_CONNECT_PROTOCOL, 2, Fault::SettingValue),
    ] {
        told(&[settings(&[(name, value)])]).is_fault(fault);
    }
    let sound = [
        (setting::ENABLE_PUSH, 1),
        (setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff),
        (setting::MAX_FRAME_SIZE, 16_384),
        (setting::MAX_FRAME_SIZE, 16_777_215),
        (setting::MAX_CONCURRENT_STREAMS, 0),
        // Unknown settings are ignored.
        (0x7777, 7),
    ];
    assert_eq!(told(&[settings(&sound)]).fault, None);
}

#[test]
fn s6_6_and_s8_4_a_client_does_not_push() {
    told(&[post(1), frame(Kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])]).is_fault(Fault::Push);
}

#[test]
fn s6_7_pings_are_answered_with_the_same() {
    let outcome = told(&[frame(Kind::PING, 0, 0, b"abcdefgh"), frame(Kind::PING, 1, 0, b"abcdefgh")]);
    assert_eq!(outcome.fault, None);
    let pong = Sent { kind: Kind::PING, flags: 1, stream: 0, payload: b"abcdefgh".to_vec() };
    assert_eq!(outcome.answers(), [pong]);
    told(&[frame(Kind::PING, 0, 1, &[0; 8])]).is_fault(Fault::NeedsConnection);
    told(&[frame(Kind::PING, 0, 0, &[0; 7])]).is_fault(Fault::FrameForm);
    told(&[frame(Kind::PING, 1, 0, &[0; 9])]).is_fault(Fault::FrameForm);
}

#[test]
fn s6_8_farewells_are_of_the_connection() {
    told(&[frame(Kind::GOAWAY, 0, 1, &[0; 8])]).is_fault(Fault::NeedsConnection);
    told(&[frame(Kind::GOAWAY, 0, 0, &[0; 7])]).is_fault(Fault::FrameForm);
    // What was asked before it is still served.
    let outcome = told(&[get(1), frame(Kind::GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0why")]);
    outcome.is_quiet();
    assert_eq!(outcome.told.len(), 1);
}

#[test]
fn s6_9_window_updates_are_by_something_and_stay_below_the_maximum() {
    told(&[window_update(0, 0)]).is_fault(Fault::WindowStep);
    told(&[post(1), window_update(1, 0)]).is_reset(1, Code::PROTOCOL_ERROR);
    told(&[window_update(1, 1)]).is_fault(Fault::IdleStream);
    told(&[frame(Kind::WINDOW_UPDATE, 0, 0, &[0; 3])]).is_fault(Fault::FrameForm);
    told(&[post(1), frame(Kind::WINDOW_UPDATE, 0, 1, &[0; 5])]).is_fault(Fault::FrameForm);
    // Section 6.9.1.
    told(&[window_update(0, 0x7fff_ffff)]).is_fault(Fault::WindowSize);
    told(&[window_update(0, 0x7fff_ffff - 65_535)]).is_quiet();
    told(&[post(1), window_update(1, 0x7fff_ffff)]).is_reset(1, Code::FLOW_CONTROL_ERROR);
    told(&[post(1), window_update(1, 0x7fff_ffff - 65_535)]).is_quiet();
}

#[test]
fn s6_9_2_a_setting_must_not_move_a_window_over_the_maximum() {
    let frames = [post(1), window_update(1, 1_000), settings(&[(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)])];
    told(&frames).is_fault(Fault::WindowSize);
}

#[test]
fn s6_10_continuations_continue_something() {
    told(&[frame(Kind::CONTINUATION, 4, 1, &fields(GET))]).is_fault(Fault::BlockOrder);
    told(&[get(1), frame(Kind::CONTINUATION, 4, 1, &[])]).is_fault(Fault::BlockOrder);
    told(&[frame(Kind::CONTINUATION, 4, 0, &[])]).is_fault(Fault::NeedsStream);
    let block = fields(GET);
    let (a, b) = block.split_at(11);
    let (b, c) = b.split_at(7);
    let outcome = told(&[
        frame(Kind::HEADERS, 1, 1, a),
        frame(Kind::CONTINUATION, 0, 1, b),
        frame(Kind::CONTINUATION, 4, 1, c),
        get(3),
    ]);
    outcome.is_quiet();
    let request = |stream| Told::Request(stream, GET_HEAD.to_owned(), true);
    assert_eq!(outcome.told, [request(1), request(3)]);
}

#[test]
fn s5_5_unknown_frames_are_ignored() {
    told(&[frame(Kind(0x77), 0xff, 0, b"abc"), frame(Kind(0xff), 0, 9, &[]), get(1)]).is_quiet();
}
