//! FastCGI records in both directions: no input panics, no split changes an outcome, no stream is longer than the input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_http::fastcgi::{Asked, Client, End, Fault, Pairs, Responder, Step, Values};

/// What the client makes of pieces of `size` bytes: both streams, and the end.
fn read(bytes: &[u8], size: usize) -> Result<(Vec<u8>, Vec<u8>, Option<End>), Fault> {
    let mut client = Client::new(1);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    for mut piece in bytes.chunks(size) {
        loop {
            match client.step(piece)? {
                Step::NeedMore => break,
                Step::Ended { consumed, end } => {
                    assert!(consumed <= piece.len());
                    return Ok((out, err, Some(end)));
                }
                Step::Stdout { data } => {
                    out.extend_from_slice(&piece[data.clone()]);
                    piece = &piece[data.end..];
                }
                Step::Stderr { data } => {
                    err.extend_from_slice(&piece[data.clone()]);
                    piece = &piece[data.end..];
                }
            }
        }
    }
    Ok((out, err, None))
}

/// What a responder makes of them: parameters and body of all requests, and how often it was told anything else.
fn respond(bytes: &[u8], size: usize) -> Result<(Vec<u8>, Vec<u8>, usize), Fault> {
    let mut responder = Responder::new();
    let (mut params, mut body, mut others) = (Vec::new(), Vec::new(), 0);
    for mut piece in bytes.chunks(size) {
        loop {
            let asked = responder.step(piece)?;
            match &asked {
                Asked::NeedMore => break,
                Asked::Params { data } => params.extend_from_slice(&piece[data.clone()]),
                Asked::Stdin { data } => body.extend_from_slice(&piece[data.clone()]),
                Asked::Values { .. } => {}
                Asked::Abort => {
                    responder.done();
                    others += 1;
                }
                _ => others += 1,
            }
            piece = &piece[responder.consumed()..];
        }
    }
    Ok((params, body, others))
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes, bytes.len().max(1));
    if let Ok((out, err, _)) = &whole {
        assert!(out.len() + err.len() <= bytes.len());
    }
    let asked = respond(bytes, bytes.len().max(1));
    for size in [1, 2, 7, 8, 9] {
        assert_eq!(read(bytes, size), whole);
        assert_eq!(respond(bytes, size), asked);
    }
    assert!(Pairs::new(bytes).count() <= bytes.len());
    if let Ok((consumed, _)) = Values::new().read(bytes) {
        assert!(consumed <= bytes.len());
    }
});
