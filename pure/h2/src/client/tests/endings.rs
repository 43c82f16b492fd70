//! How requests end without an answer, and which of them may be tried again (RFC 9113 sections 5.4, 6.8 and 8.7).

use super::*;

const OK: &[(&str, &str)] = &[(":status", "200")];

fn failed(stream: u32, failure: Failure) -> Told {
    Told::Failed(stream, failure)
}

#[test]
fn s8_7_refused_requests_may_be_tried_again_others_not() {
    let reset_with = |code| told(&[POST], &[reset(1, code)]);
    let refused = reset_with(Code::REFUSED_STREAM);
    refused.is_quiet();
    assert_eq!((&refused.told[..], refused.left), (&[failed(1, Failure::Unprocessed)][..], 0));
    for (code, is_unprocessed) in [
        (Code::CANCEL, false),
        (Code::INTERNAL_ERROR, false),
        (Code::NO_ERROR, false),
        (Code::ENHANCE_YOUR_CALM, false),
        (Code::HTTP_1_1_REQUIRED, true),
        (Code(77), false),
    ] {
        let outcome = reset_with(code);
        assert_eq!(outcome.told, [failed(1, Failure::Reset(code))]);
        assert_eq!(Failure::Reset(code).is_unprocessed(), is_unprocessed, "{code:?}");
    }
    assert!(Failure::Unprocessed.is_unprocessed());
    for failure in [Failure::Lost, Failure::Oversized, Failure::Broken(Code::REFUSED_STREAM)] {
        assert!(!failure.is_unprocessed(), "{failure:?}");
    }
}

#[test]
fn s8_1_an_answer_may_be_whole_before_its_request() {
    let frames = [head(1, true, &[(":status", "413")]), reset(1, Code::NO_ERROR)];
    let outcome = told(&[POST], &frames);
    outcome.is_quiet();
    assert!(matches!(&outcome.told[..], [Told::Answer(1, _, true), Told::Failed(1, Failure::Reset(_))]));
    // The client may end it, too.
    fn giving_up(connection: &mut Connection, event: &Event, buffers: &mut Buffers) {
        if let Event::Answer { stream, ends: true } = event {
            connection.reset(*stream, Code::NO_ERROR, buffers);
        }
    }
    let outcome = told_with(&[POST], &frames, Limits::client(), giving_up);
    assert_eq!((outcome.fault, outcome.told.len(), outcome.left), (None, 1, 0));
    assert_eq!(outcome.more().len(), 1);
}

#[test]
fn s6_8_streams_above_a_farewell_were_not_processed() {
    let frames = [
        head(1, false, OK),
        goaway(3, Code::NO_ERROR),
        // What it sends on others nevertheless is passed over.
        head(5, false, OK),
        data(5, 1, b"x"),
        data(1, 1, b"a"),
        head(3, true, OK),
    ];
    let outcome = told(&[GET, GET, POST, GET], &frames);
    outcome.is_quiet();
    assert_eq!(outcome.left, 0);
    let mut unprocessed: Vec<u32> = outcome
        .told
        .iter()
        .filter_map(|told| match told {
            Told::Failed(stream, Failure::Unprocessed) => Some(*stream),
            _ => None,
        })
        .collect();
    unprocessed.sort_unstable();
    assert_eq!(unprocessed, [5, 7]);
    assert_eq!(outcome.told.len(), 5);
}

#[test]
fn s6_8_farewells_grow_stricter_and_end_the_asking() {
    let (mut connection, mut buffers) = asked(&[GET, GET], Limits::client());
    let bytes = [settings(&[]), goaway(0x7fff_ffff, Code::NO_ERROR)].concat();
    assert_eq!(connection.receive(&bytes, 0, &mut buffers).expect("sound").event, None);
    assert_eq!((connection.vacancies(), connection.is_leaving(), connection.streams()), (0, true, 2));
    assert_eq!(connection.request(GET.as_bytes(), true, &mut buffers), Err(Unsent::Leaving));
    let expected = Some(Event::Failed { stream: 3, failure: Failure::Unprocessed });
    assert_eq!(
        connection.receive(&goaway(1, Code::NO_ERROR), 0, &mut buffers).expect("sound").event,
        expected
    );
    // Never more than it said before.
    assert_eq!(connection.receive(&goaway(9, Code::NO_ERROR), 0, &mut buffers).expect("sound").event, None);
    assert_eq!(connection.lost(), Some((1, Failure::Lost)));
    assert_eq!(connection.lost(), None);
    told(&[GET], &[frame(Kind::GOAWAY, 0, 0, &[0; 7])]).is_fault(Fault::FrameForm);
    told(&[GET], &[frame(Kind::GOAWAY, 0, 1, &[0; 8])]).is_fault(Fault::NeedsConnection);
}

#[test]
fn what_a_lost_connection_leaves_is_told() {
    let (mut connection, mut buffers) = asked(&[GET, POST, GET], Limits::client());
    let bytes = [settings(&[]), head(1, true, OK)].concat();
    connection.receive(&bytes, 0, &mut buffers).expect("sound");
    let mut lost: Vec<(u32, Failure)> = std::iter::from_fn(|| connection.lost()).collect();
    lost.sort_unstable_by_key(|(stream, _)| *stream);
    assert_eq!(lost, [(3, Failure::Lost), (5, Failure::Lost)]);
    assert_eq!((connection.streams(), connection.vacancies()), (0, 0));
    // After a fault: what the farewell before it left out is still known.
    let (mut connection, mut buffers) = asked(&[GET, GET], Limits::client());
    let bytes = [settings(&[]), goaway(1, Code::INTERNAL_ERROR)].concat();
    connection.receive(&bytes, 0, &mut buffers).expect("sound");
    assert!(connection.receive(&frame(Kind::PING, 0, 0, b"short"), 0, &mut buffers).is_err());
    assert_eq!(connection.lost(), Some((1, Failure::Lost)));
}

#[test]
fn a_client_says_farewell_and_is_answered_still() {
    let (mut connection, mut buffers) = asked(&[GET], Limits::client());
    connection.leave(Code::NO_ERROR, &mut buffers);
    connection.leave(Code::NO_ERROR, &mut buffers);
    let frames = sent(&buffers.out);
    assert_eq!((frames.len(), frames[0].kind, &frames[0].payload[..]), (1, Kind::GOAWAY, &[0; 8][..]));
    assert_eq!(connection.request(GET.as_bytes(), true, &mut buffers), Err(Unsent::Leaving));
    let bytes = [settings(&[]), head(1, true, OK)].concat();
    let step = connection.receive(&bytes, 0, &mut buffers).expect("sound");
    assert_eq!(step.event, Some(Event::Answer { stream: 1, ends: true }));
}

#[test]
fn failures_have_words_of_their_own() {
    let all = [
        Failure::Unprocessed,
        Failure::Reset(Code::CANCEL),
        Failure::Broken(Code::PROTOCOL_ERROR),
        Failure::Broken(Code::FLOW_CONTROL_ERROR),
        Failure::Oversized,
        Failure::Lost,
    ];
    for (place, failure) in all.iter().enumerate() {
        assert!(all[place + 1..].iter().all(|other| other.reason() != failure.reason()));
    }
    assert_eq!(Failure::Reset(Code::CANCEL).to_string(), "the stream was reset with CANCEL");
}
