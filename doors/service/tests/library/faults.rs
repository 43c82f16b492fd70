//! Libraries that do wrong whatever the interface lets them: it costs them the request, and nobody else anything.

use crate::stand::{As, Stand, build, drivers, eventually, get, post, text};
use ringway_testkit::Scratch;

fn on_each_driver(name: &str, test: impl Fn(&Stand)) {
    let scratch = Scratch::new(name);
    let library = build(&scratch, "faults.c", "faults", &[]);
    for driver in drivers() {
        let stand = Stand::start(driver, &library, "", As::Handler(""), 1);
        test(&stand);
        assert_eq!(text(&stand.get("/fine")), "fine", "it serves on");
        stand.stop();
    }
}

#[test]
fn words_that_do_not_fit_deeds_are_answered_for() {
    on_each_driver("c-words", |stand| {
        for (path, status, heard) in [
            ("/nothing", 500, "it says Done of /nothing and has neither answered nor promised to"),
            ("/unpromised", 500, "it says Later of /unpromised and has neither"),
            ("/unknown", 500, "it says 12345 of /unknown, which means nothing"),
            ("/answered-and-passed", 500, "it says Pass of /answered-and-passed and has answered"),
            ("/later/done", 500, "it says Done of /later/done and has promised an answer"),
            ("/twice", 201, ""),
            ("/pass", 404, ""),
        ] {
            let mut client = stand.client();
            client.send([get(path), get("/fine")].concat().as_bytes()).expect("it reads");
            let answers = client.answers(2).expect("two answers");
            assert_eq!((answers[0].status, text(&answers[1]).as_str()), (status, "fine"), "{path}");
            assert!(stand.has_heard(heard), "{path}: {:?}", stand.heard);
        }
        assert_eq!(stand.library.stats().faults, 5);
    });
}

#[test]
fn answers_that_cannot_be_sent_are_refused_to_whoever_gives_them() {
    on_each_driver("c-answers", |stand| {
        assert_eq!(text(&stand.get("/bad-answers")), "19");
        assert_eq!(text(&stand.get("/odd-questions")), "nothing");
        assert_eq!(text(&stand.get("/elsewhere")), "mine");
        assert_eq!(text(&stand.get("/last")), "-6 0 0 0", "RINGWAY_E_THREAD, no path, no promise");
    });
}

#[test]
fn promises_are_kept_once_or_answered_for() {
    on_each_driver("c-promises", |stand| {
        let after = |path: &str| {
            let answer = stand.get(path);
            (answer.status, text(&answer), text(&stand.get("/last")))
        };
        let owned = |status, body: &str, last: &str| (status, body.to_owned(), last.to_owned());
        assert_eq!(after("/later/twice"), owned(200, "once", "0 -2 -2 -2"));
        assert_eq!(after("/later/both"), owned(200, "once", "-2 0 0 0"));
        let (status, _, last) = after("/later/abort");
        assert_eq!((status, last.as_str()), (500, "0 -2 0 0"));
        assert_eq!(after("/later/unbegun"), owned(200, "once", "-2 -2 0 0"));
        assert_eq!(after("/later/whole"), owned(200, "once", "0 0 -2 0"));
        assert_eq!(text(&stand.get("/old-promises")), "24", "all are gone, and a worker does not wait");
        // Late, and with a body that is no form's.
        let late = stand.get("/later/never");
        assert_eq!(late.status, 504);
        assert!(stand.has_heard("it has promised an answer and not given it within 300 ms"));
        assert_eq!(text(&stand.get("/old-promises")), "24");
        let mut client = stand.client();
        client.send(&post("/fine", "", &[b'x'; 1001])).expect("it reads");
        assert_eq!(client.answer(false).expect("an answer").status, 413);
    });
}

#[test]
fn answers_in_pieces_that_do_not_end_well_are_cut() {
    on_each_driver("c-cut", |stand| {
        for path in ["/later/short", "/later/long", "/later/broken"] {
            let mut client = stand.client();
            client.send(get(path).as_bytes()).expect("it reads");
            let cut = client.answer(false);
            assert!(cut.is_err() || cut.is_ok_and(|answer| answer.status == 500), "{path}: no whole answer");
        }
        let mut client = stand.client();
        client.send(get("/later/silent").as_bytes()).expect("it reads");
        assert!(client.answer(false).is_err(), "what was begun and not gone on with is cut");
        assert!(stand.has_heard("it has begun an answer and sent nothing for 300 ms"));
        let mut client = stand.client();
        client.send(get("/later/flood").as_bytes()).expect("it reads");
        assert!(client.answer(false).is_err(), "it never ends");
        // Full after what is queued at most; a piece that never fits is told so.
        assert_eq!(text(&stand.get("/last")), "0 -5 3 -4");
    });
}

#[test]
fn whoever_leaves_is_told_of_and_what_comes_later_is_late() {
    on_each_driver("c-gone", |stand| {
        let gone =
            |text: String| text.split(' ').nth(1).and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
        let before = gone(text(&stand.get("/over")));
        let mut client = stand.client();
        client.send(get("/later/never").as_bytes()).expect("it reads");
        eventually("the promise", || stand.library.stats().promised > 0);
        client.abort().expect("open");
        eventually("the end of the promise", || gone(text(&stand.get("/over"))) == before + 1);
        assert_eq!(text(&stand.get("/old-promises")), "24");
        assert_eq!(stand.library.stats().gone, 1);
    });
}
