//! CGI: heads of answers read the same however they are split, and any request becomes sound variables, each once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_http::cgi::{AnswerHead, AnswerScan, Facts, Fault};
use ringway_http::head::{HeadScan, Request};
use ringway_http::reply::Limits;
use std::collections::HashSet;

type Outcome = Result<Option<String>, Fault>;

/// Feeds the bytes as prefixes that end at `stops`, then whole.
fn feed(bytes: &[u8], stops: impl Iterator<Item = usize>, limits: &Limits) -> Outcome {
    let mut scan = AnswerScan::new();
    for stop in stops.chain([bytes.len()]) {
        if let Some(end) = scan.find(&bytes[..stop], limits)? {
            return AnswerHead::parse(&bytes[..end], limits).map(|answer| Some(format!("{end} {answer:?}")));
        }
    }
    Ok(None)
}

fn answer(bytes: &[u8], place: usize, limits: &Limits) {
    let whole = feed(bytes, std::iter::empty(), limits);
    assert_eq!(feed(bytes, std::iter::once(place), limits), whole);
    assert_eq!(feed(bytes, 0..bytes.len(), limits), whole);
    // Parsing stands on its own: whatever it is handed, it answers.
    if let Ok(answer) = AnswerHead::parse(bytes, limits) {
        assert!(answer.status().code() >= 200);
        assert!(answer.fields().all(|field| !field.name.is_empty() && !field.value.contains(&b'\n')));
    }
}

fn variables(bytes: &[u8], path_info: &[u8], tells_authorization: bool) {
    let limits = ringway_http::head::Limits::default();
    let Ok(Some(end)) = HeadScan::new().find(bytes, &limits) else { return };
    let Ok(request) = Request::parse(&bytes[..end], &limits) else { return };
    let facts = Facts {
        request: &request,
        query: request.query(),
        script_name: b"/a.cgi",
        path_info,
        document_root: b"/srv",
        script_filename: b"/srv/a.cgi",
        remote: Some(([192, 0, 2, 1], 1).into()),
        local: None,
        server_name: b"default",
        is_https: false,
        user: None,
        protocol: "HTTP/1.1",
        software: "ringway",
        content_length: Some(u64::MAX),
        tells_authorization,
    };
    let mut names = HashSet::new();
    let pair = |name: &[u8], value: &[u8]| {
        let is_sound = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
        assert!(!name.is_empty() && name.iter().all(is_sound));
        assert!(name == b"PATH_INFO" || name == b"PATH_TRANSLATED" || !value.contains(&0));
        assert!(name != b"HTTP_PROXY" && names.insert(name.to_vec()));
    };
    facts.environment(&mut vec![0; facts.scratch_bytes()], pair).expect("the scratch memory is enough");
}

fuzz_target!(|input: (bool, u16, &[u8], &[u8])| {
    let (tight, place, path_info, bytes) = input;
    let limits = if tight { Limits { head_bytes_max: 60, fields_max: 2 } } else { Limits::default() };
    answer(bytes, usize::from(place) % (bytes.len() + 1), &limits);
    variables(bytes, path_info, tight);
});
