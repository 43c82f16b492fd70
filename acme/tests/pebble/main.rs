//! Certificates from a real authority for tests, Pebble: both proofs, refusals, and what is kept.

mod authority;
mod provers;

use authority::Pebble;
use provers::{FilesOnly, Provers};
use ringway_acme::{
    Authority, AuthorityOptions, Challenge, Failure, Keeper, KeeperOptions, Report, Storage, obtain,
};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn certificates_are_had_by_either_proof() {
    let provers = Provers::start();
    let pebble = Pebble::start(provers.http_port(), provers.tls_port(), &place("either"));
    let (mut ours, _key) = Authority::open(&pebble.options(), None).expect("an account");
    for (challenge, asked) in [
        (Challenge::Http01, names(&["one.example", "two.example"])),
        (Challenge::TlsAlpn01, names(&["three.example"])),
    ] {
        let issued = obtain(&mut ours, &asked, &[challenge], &*provers.prover())
            .unwrap_or_else(|failure| panic!("{challenge:?}: {failure}"));
        let options = ringway_tls::CertificateOptions {
            chain: ringway_tls::Pem { path: "chain".into(), bytes: issued.chain.clone() },
            key: ringway_tls::Pem { path: "key".into(), bytes: issued.key.clone() },
            staple: None,
            names: asked,
        };
        let checked = ringway_tls::Certificates::new(&[options], std::time::SystemTime::now());
        let (_certificates, problems) = checked.expect("chain and key fit");
        assert!(problems.is_empty(), "{problems:?}");
        assert!(issued.chain.windows(27).filter(|part| *part == b"-----BEGIN CERTIFICATE-----").count() >= 2);
    }
    assert_eq!(provers.shown(), 0, "proofs are no longer shown");
}

#[test]
fn a_name_that_is_not_ours_is_refused_in_the_authoritys_words() {
    let provers = Provers::start();
    let pebble = Pebble::start(provers.http_port(), provers.tls_port(), &place("refused"));
    let (mut ours, _key) = Authority::open(&pebble.options(), None).expect("an account");
    // Nothing is shown under the path.
    let nothing = FilesOnly;
    let failure = obtain(&mut ours, &names(&["other.example"]), &[Challenge::Http01], &nothing);
    let Err(Failure::Unproved { name, detail }) = failure else { panic!("{failure:?}") };
    assert_eq!(name, "other.example");
    assert!(!detail.is_empty());
    // What the prover cannot do is told as well.
    let failure = obtain(&mut ours, &names(&["third.example"]), &[Challenge::TlsAlpn01], &nothing);
    let failure = failure.expect_err("it cannot be shown").to_string();
    assert!(failure.contains("third.example") && failure.contains("no endpoint with TLS"), "{failure}");
    // A wildcard needs a proof by DNS.
    let failure = obtain(&mut ours, &names(&["*.example"]), &[Challenge::Http01], &nothing);
    let failure = failure.expect_err("it cannot be proved").to_string();
    assert!(failure.contains("offers none of http-01"), "{failure}");
}

#[test]
fn who_does_not_agree_or_is_not_believed_gets_nothing() {
    let provers = Provers::start();
    let pebble = Pebble::start(provers.http_port(), provers.tls_port(), &place("terms"));
    let options = AuthorityOptions { agree: false, ..pebble.options() };
    let failure = Authority::open(&options, None).expect_err("the terms").to_string();
    assert!(failure.contains("agree = true"), "{failure}");
    let stranger = ringway_tls::self_signed(&[], std::time::SystemTime::now()).expect("a certificate").chain;
    let options =
        AuthorityOptions { authorities: ringway_tls::Authorities::Only(stranger), ..pebble.options() };
    let failure = Authority::open(&options, None).expect_err("it is not believed").to_string();
    assert!(failure.contains("cannot be asked"), "{failure}");
    let (mut one, key) = Authority::open(&pebble.options(), None).expect("an account");
    let (_same, again) = Authority::open(&pebble.options(), Some(&key)).expect("the same account");
    assert_eq!(key, again);
    let failure = obtain(&mut one, &[], &[Challenge::Http01], &FilesOnly).expect_err("no names");
    assert!(failure.to_string().contains("1 to 100 names"), "{failure}");
}

#[test]
fn a_keeper_obtains_what_is_missing_and_finds_what_is_kept() {
    let provers = Provers::start();
    let pebble = Pebble::start(provers.http_port(), provers.tls_port(), &place("keeper"));
    let storage = place("storage");
    let asked = names(&["kept.example"]);
    let options = KeeperOptions {
        authority: pebble.options(),
        challenges: vec![Challenge::TlsAlpn01, Challenge::Http01],
        storage: storage.clone(),
        certificates: vec![asked.clone()],
    };
    let mut had = Vec::new();
    for is_first in [true, false] {
        let (told, reports) = channel();
        let tell = move |report| drop(told.send(report));
        let keeper = Keeper::start(options.clone(), provers.prover(), tell).expect("a thread");
        let report = reports.recv_timeout(PATIENCE).expect("a report");
        let Report::Issued { names, issued, is_new, .. } = report else { panic!("{report:?}") };
        assert_eq!((&names, is_new), (&asked, is_first));
        had.push(issued);
        drop(keeper);
    }
    assert_eq!(had[0], had[1]);
    let kept =
        Storage::open(&storage).and_then(|storage| storage.certificate(&asked)).expect("it is readable");
    assert_eq!(kept.as_ref(), Some(&had[0]));

    // An authority that is gone: the failure is told, and when it is tried again.
    drop(pebble);
    let (told, reports) = channel();
    let options = KeeperOptions { certificates: vec![names(&["more.example"])], ..options };
    let tell = move |report| drop(told.send(report));
    let _keeper = Keeper::start(options, provers.prover(), tell).expect("a thread");
    let report = reports.recv_timeout(PATIENCE).expect("a report");
    let Report::Failed { failure: Failure::Unreachable { .. }, again_in, .. } = report else {
        panic!("{report:?}")
    };
    assert_eq!(again_in, Duration::from_secs(60));
    std::fs::remove_dir_all(&storage).expect("it can be removed");
}
