//! The plug-in in Rust, on its SDK: what it answers, what its panics cost, and whether it leaves.

use crate::stand::{As, Stand, build, drivers, get, is_mapped, post, root, text};
use ringway_service::library::census;
use ringway_testkit::Scratch;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The SDK's example, built as it is outside of this repository: by cargo.
fn greeter() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build_greeter).clone()
}

fn build_greeter() -> PathBuf {
    let own = std::env::current_exe().expect("this program");
    // target/PROFILE/deps/library-HASH
    let profile = own.ancestors().nth(2).expect("cargo's directories");
    let target = profile.parent().expect("cargo's directories");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--quiet",
        "--offline",
        "-p",
        "ringway-sdk",
        "--example",
        "greeter",
        "--target-dir",
    ]);
    cargo.arg(target).current_dir(root());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let name = if profile.ends_with("release") { "release" } else { "debug" };
    target.join(name).join("examples/libgreeter.so")
}

#[test]
fn the_plugin_in_rust_answers_as_its_author_meant() {
    let library = greeter();
    for driver in drivers() {
        let stand = Stand::with(driver, &library, "Moin", As::Service("/g"), 1, 20_000).expect("good");
        assert_eq!(stand.library.identity().0, "greeter");
        assert_eq!(text(&stand.get("/g/hello/you")), "Moin, you!");
        assert_eq!(stand.get("/g/hello/%ff").status, 400);
        for count in 1..=3 {
            let answer = stand.get("/g/count");
            assert_eq!(text(&answer), format!("{{\"count\":{count}}}"));
            assert_eq!(answer.field("content-type"), Some("application/json"));
        }
        assert_eq!(text(&stand.get("/g/later")), "from a thread");
        let lines: String = (0..50_000).map(|number| format!("{number}\n")).collect();
        assert!(text(&stand.get("/g/lines/50000")) == lines);
        let mut client = stand.client();
        let form = "Content-Type: application/x-www-form-urlencoded\r\nX-More: 1\r\n";
        client.send(&post("/g/form", form, b"a=b&text=%3Cx%3E")).expect("it reads");
        let answer = client.answer(false).expect("an answer");
        assert_eq!((text(&answer).as_str(), answer.field("x-fields")), ("<x>", Some("4")));
        assert!(stand.has_heard("greetings are at hand"));
        drop(client);
        stand.stop();
    }
    let error = Stand::with(drivers()[0], &library, &"x".repeat(100), As::Handler(""), 1, 1);
    let error = error.err().expect("it is too long").to_string();
    assert!(error.ends_with("libgreeter.so: the greeting has 100 characters or more"), "{error}");
}

#[test]
fn a_panic_costs_its_request_alone() {
    let stand = Stand::start(drivers()[0], &greeter(), "", As::Service(""), 1);
    let mut client = stand.client();
    client.send([get("/hello/a"), get("/panic"), get("/hello/b")].concat().as_bytes()).expect("it reads");
    let answers = client.answers(3).expect("three answers on one connection");
    let told: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!((told, text(&answers[2])), (vec![200, 500, 200], "Hello, b!".to_owned()));
    assert!(stand.has_heard("the handler panicked: as 127.0.0.1:"), "{:?}", stand.heard);
    assert!(stand.has_heard("it panicked at /panic"));
    assert_eq!(stand.service.stats().totals().errors, 1);
    drop(client);
    stand.stop();
}

#[test]
fn the_plugin_in_rust_is_replaced_and_its_end_is_seen() {
    let scratch = Scratch::new("rust-end");
    let library = scratch.path().join("leaving.so");
    std::fs::copy(greeter(), &library).expect("room");
    let next = build(&scratch, "faults.c", "next", &[]);
    let stand = Stand::start(drivers()[0], &library, "", As::Service(""), 2);
    assert_eq!(text(&stand.get("/hello/a")), "Hello, a!");
    assert_eq!(text(&stand.get("/later")), "from a thread");
    stand.library.replace(&next, "").expect("good");
    assert_eq!(text(&stand.get("/hello/a")), "fine");
    // Whether its threads' memory lets it go is the standard library's matter; that it is known is ours.
    let left = || {
        let of_it: Vec<_> = census::libraries().into_iter().filter(|status| status.path == library).collect();
        of_it.iter().all(|status| status.lingers && status.instances == 0)
    };
    crate::eventually("the end of the plug-in in Rust", left);
    let lingers = census::libraries().iter().any(|status| status.path == library);
    eprintln!("the library in Rust {}", if lingers { "stays in memory" } else { "is unmapped" });
    assert_eq!(is_mapped("ringway-leaving-"), lingers);
    stand.stop();
}
