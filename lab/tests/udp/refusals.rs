//! What cannot be measured is refused in one sentence, with exit code 2.

use crate::stand::{refusal, udp};
use ringway_lab::measure::cores;

#[test]
fn bad_arguments_are_refused_in_a_sentence() {
    for (flags, sentence) in [
        ("serve --server plain-polled --gro", "--gro has no effect on plain-polled"),
        ("serve --size 70000", "--size 70000 is not within 1 to 65507"),
        ("serve --buffers 1000", "--buffers 1000 is no power of two from 4 to 32768"),
        ("serve --server ring-port-1 --results 300", "--results 300 is not within 1 to 256"),
        ("serve --cpus 1000", "none of the cores [1000] may be used here"),
        ("serve --bind 203.0.113.7:9", "cannot receive datagrams on 203.0.113.7:9"),
        ("serve --server plain-port-1 --bind 203.0.113.7:9", "cannot listen on 203.0.113.7:9"),
        ("serve --server iocp", "invalid value 'iocp' for '--server"),
        (
            "send --to 127.0.0.1:9 --size 2000 --gso 60",
            "a train of 60 datagrams of 2000 bytes is longer than 65507 bytes",
        ),
        (
            "send --to 127.0.0.1:9 --closing-size 1024",
            "--closing-size must be below the size of the datagrams",
        ),
        ("send --to 127.0.0.1:9 --rate 0", "--rate must be above 0"),
        ("send --to nowhere", "invalid value 'nowhere' for '--to"),
        ("send --to 127.0.0.1:9,[::1]:9", "targets are of one family"),
        ("matrix --receiver-cpu 0 --sender-cpu 0", "receiver and generator cannot share core 0"),
        ("matrix --gso --size 9000", "a train of 60 datagrams of 9000 bytes is too long"),
        ("drain --handler sleep:1us", "invalid value 'sleep:1us' for '--handler"),
        ("drain --port-threads 0", "--port-threads 0 is not within 1 to 64"),
        ("drain --quiet --what receive --rounds 1 --yardstick /dev/null", "cannot run /dev/null"),
    ] {
        let said = refusal(&udp(flags).output().expect("the lab starts"));
        assert!(said.starts_with(sentence), "{flags}: {said}");
    }
}

#[test]
fn one_core_is_too_few_to_compare() {
    let core = cores::allowed()[0];
    // Processes inherit the cores of the thread that starts them.
    let run = |flags: &'static str| {
        let started = std::thread::spawn(move || {
            cores::pin(core).expect("an allowed core");
            udp(flags).output().expect("the lab starts")
        });
        refusal(&started.join().expect("the thread ends"))
    };
    let said = run("matrix");
    assert!(
        said.starts_with("the receiver and the generator need a core each, which takes 2 cores"),
        "{said}"
    );
    let said = run("drain --what ports");
    assert!(said.starts_with("threads that compute gain only by a core each, which takes 2 cores"), "{said}");
}
