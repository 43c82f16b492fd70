//! Another configuration while the server runs.

use crate::stand::{PATIENCE, Stand, config, get};
use ringway_testkit::Scratch;
use std::time::Instant;

/// Bytes of a download that is not over when the configuration changes.
const LARGE: usize = 16 << 20;

#[test]
fn open_connections_and_downloads_live_on() {
    let place = Scratch::new("reloaded");
    place.file("one/index.html", b"one");
    place.file("two/index.html", b"two");
    place.file("one/large.bin", &vec![b'x'; LARGE]);
    let site = |root: &str| config(place.path(), &format!("[[site]]\nnames = [\"*\"]\nroot = \"{root}\"\n"));
    let mut stand = Stand::start(&site("one"));
    let (mut idle, mut download) = (stand.client(), stand.client());
    idle.send(get("a", "/").as_bytes()).expect("it is open");
    assert_eq!(idle.answer(false).expect("an answer").body, b"one");
    download.send(get("a", "/large.bin").as_bytes()).expect("it is open");
    stand.reload(&site("two"));
    let until = Instant::now() + PATIENCE;
    while stand.get("a", "/").body != b"two" {
        assert!(Instant::now() < until, "it never changed");
    }
    idle.send(get("a", "/").as_bytes()).expect("it is open still");
    assert_eq!(idle.answer(false).expect("an answer").body, b"two");
    let whole = download.answer(false).expect("an answer");
    assert!(whole.body.len() == LARGE && whole.body.iter().all(|byte| *byte == b'x'));
    download.send(get("a", "/large.bin").as_bytes()).expect("it is open still");
    assert_eq!(download.answer(false).expect("an answer").status, 404);
    stand.stop();
}
