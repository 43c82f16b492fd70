//! Answers' heads: no input panics, no split changes an outcome, and what is taken for repeated reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_http::reply::{Fault, Likeness, Limits, Reply, ReplyScan};

type Outcome = Result<Option<String>, Fault>;

/// Feeds the bytes as prefixes that end at `stops`, then whole.
fn feed(bytes: &[u8], stops: impl Iterator<Item = usize>, limits: &Limits) -> Outcome {
    let mut scan = ReplyScan::new();
    for stop in stops.chain([bytes.len()]) {
        if let Some(end) = scan.find(&bytes[..stop], limits)? {
            return Reply::parse(&bytes[..end], false, limits).map(|reply| Some(format!("{end} {reply:?}")));
        }
    }
    Ok(None)
}

fn read<'b>(bytes: &'b [u8], to_head: bool, limits: &Limits) -> Option<Reply<'b>> {
    let end = ReplyScan::new().find(bytes, limits).ok()??;
    Reply::parse(&bytes[..end], to_head, limits).ok()
}

/// `other` is the answer again with some bytes changed: where it is taken for the same, it must mean the same.
fn compare(bytes: &[u8], other: &[u8], to_head: bool, limits: &Limits) {
    let Some(reply) = read(bytes, to_head, limits) else { return };
    let likeness = Likeness::of(&reply);
    assert!(likeness.is_repeated(bytes, bytes));
    if likeness.is_repeated(bytes, other) {
        let again = read(other, to_head, limits).expect("what is like an answer is one");
        assert_eq!(
            (reply.status(), reply.delivery(), reply.keep_alive(), reply.announced_length()),
            (again.status(), again.delivery(), again.keep_alive(), again.announced_length()),
        );
    }
}

/// httparse is laxer in many ways; whatever is accepted here must mean the same there.
fn agree(bytes: &[u8], reply: &Reply<'_>) {
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut theirs = httparse::Response::new(&mut fields);
    assert_eq!(theirs.parse(bytes), Ok(httparse::Status::Complete(reply.as_bytes().len())));
    assert_eq!(theirs.code, Some(reply.status().code()));
    assert_eq!(theirs.headers.len(), reply.fields().count());
    for (theirs, ours) in theirs.headers.iter().zip(reply.fields()) {
        assert_eq!((theirs.name.as_bytes(), theirs.value), (ours.name, ours.value));
    }
}

fuzz_target!(|input: (bool, bool, u16, u8, &[u8])| {
    let (tight, to_head, place, byte, bytes) = input;
    let limits = if tight { Limits { head_bytes_max: 60, fields_max: 2 } } else { Limits::default() };
    let whole = feed(bytes, std::iter::empty(), &limits);
    let place = usize::from(place) % (bytes.len() + 1);
    assert_eq!(feed(bytes, std::iter::once(place), &limits), whole);
    assert_eq!(feed(bytes, 0..bytes.len(), &limits), whole);
    // Parsing stands on its own: whatever it is handed, it answers.
    let _ = Reply::parse(bytes, to_head, &limits);
    if let Some(reply) = read(bytes, to_head, &limits) {
        agree(bytes, &reply);
    }
    let mut other = bytes.to_vec();
    if let Some(at) = other.get_mut(place) {
        *at = byte;
    }
    compare(bytes, &other, to_head, &limits);
});
