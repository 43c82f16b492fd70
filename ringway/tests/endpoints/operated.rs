//! What operators see of endpoints with handlers, and do with them.

use crate::site::{Place, echoed};
use crate::stand::{done, eventually, text};

const ECHO: &str = "[[endpoint]]\nname = \"echo\"\nlisten = [\"127.0.0.1:0\"]\nhandler = \"builtin:echo\"\n\
    [metrics]\nenabled = true\nallow = [\"127.0.0.0/8\"]\n[log.error]\npath = \"error.log\"\n";

#[test]
fn console_and_metrics_tell_what_came_and_went() {
    let place = Place::start("endpoints-told", "auto", ECHO);
    let mut stream = place.connect("echo");
    assert_eq!(echoed(&mut stream, b"hello"), b"hello");
    let list = done(&place.ask(&["endpoints"]));
    assert!(list.contains("builtin:echo") && list.contains("MESSAGES IN"), "{list}");
    let one = done(&place.ask(&["endpoints", "echo"]));
    assert!(one.contains("1 open, 1 so far, 0 refused") && one.contains("1 received, 1 sent"), "{one}");
    let unknown = place.ask(&["endpoints", "web"]);
    assert!(!unknown.status.success());
    assert!(text(&unknown.stdout).contains("there are echo"), "{}", text(&unknown.stdout));
    let metrics = place.running.get("/metrics").body;
    let metrics = text(&metrics);
    for line in [
        "ringway_endpoint_messages_received_total{endpoint=\"echo\"} 1",
        "ringway_endpoint_sent_bytes_total{endpoint=\"echo\"} 5",
        "ringway_endpoint_open{endpoint=\"echo\"} 1",
        "ringway_endpoint_handler_duration_seconds_count{endpoint=\"echo\"} 1",
    ] {
        assert!(metrics.lines().any(|known| known == line), "no {line} in {metrics}");
    }
    place.running.stop();
}

#[test]
fn traffic_is_told_while_somebody_wants_to_know() {
    let place = Place::start("endpoints-trace", "auto", ECHO);
    let mut stream = place.connect("echo");
    assert_eq!(echoed(&mut stream, b"unseen"), b"unseen");
    let lines = || std::fs::read_to_string(place.stand.at("error.log")).unwrap_or_default();
    done(&place.ask(&["trace", "echo", "bytes"]));
    assert_eq!(echoed(&mut stream, b"seen\n"), b"seen\n");
    eventually("it is told", || lines().contains("5 bytes: seen\\n").then_some(()));
    done(&place.ask(&["trace", "echo", "sizes"]));
    assert_eq!(echoed(&mut stream, b"sized.."), b"sized..");
    eventually("its size is told", || lines().contains("7 bytes").then_some(()));
    done(&place.ask(&["trace", "echo", "off"]));
    assert_eq!(echoed(&mut stream, b"unseen again"), b"unseen again");
    assert!(!place.ask(&["trace", "echo", "all"]).status.success());
    assert!(!place.ask(&["trace", "web", "sizes"]).status.success());
    let log = place.stand.at("error.log");
    place.running.stop();
    let told = std::fs::read_to_string(log).unwrap();
    assert!(!told.contains("unseen") && !told.contains("sized"), "{told}");
}

#[test]
fn a_handler_that_is_built_in_is_not_replaced() {
    let place = Place::start("endpoints-replace-builtin", "auto", ECHO);
    let refused = place.ask(&["replace", "echo"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stdout).contains("built in"), "{}", text(&refused.stdout));
    place.running.stop();
}
