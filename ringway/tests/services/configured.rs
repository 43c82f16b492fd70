//! A program as supervisor and server process, by a configuration.

use crate::stand::{ask, configured, done, drivers, echoes, eventually, said, socket, start, text};
use ringway_testkit::Scratch;

const CONSOLE: [&str; 3] = ["console", "-s", "console.sock"];

pub(crate) fn a_configuration_names_the_programs_services() {
    for driver in drivers() {
        let scratch = Scratch::new("services-configured");
        let folder = scratch.path();
        configured(&scratch, driver, "config = { greeting = \"Grüezi\" }", "");
        assert!(done(folder, &["check"]).contains("1 site"));
        let running = start(folder, &["--config", "ringway.toml"]);
        let address = running.address();
        assert_eq!(said(address, "/greet/Ann"), (200, "Grüezi, Ann!\n".to_owned()));
        let (status, kept) = said(address, "/keep");
        assert_eq!(status, 200, "its data directory can be written: {kept}");
        let layers = running.said();
        if layers.contains("landlock") && !layers.contains("landlock: unavailable") {
            assert_eq!(kept, "kept true", "nothing else can be");
        }
        assert_eq!(std::fs::read(folder.join("data/kept")).expect("it is there"), b"kept");
        assert_eq!(said(address, "/log").0, 200);
        let log = || std::fs::read_to_string(folder.join("welcome.log")).unwrap_or_default();
        eventually("its log has it", || log().contains("somebody looks at the log").then_some(()));
        let one = done(folder, &[&CONSOLE[..], &["services", "welcome"]].concat());
        for part in ["GET /greet/{name}", "somebody looks at the log", "*/**", "linked"] {
            assert!(one.contains(part), "{part}: {one}");
        }
        let figures = done(folder, &[&CONSOLE[..], &["snapshot"]].concat());
        assert!(figures.contains("\"name\": \"welcome\""), "{figures}");
        assert!(running.stop().expect("it ends").success());
    }
}

pub(crate) fn services_are_switched_and_reloaded_around_open_sockets() {
    for driver in drivers() {
        let scratch = Scratch::new("services-switched");
        let folder = scratch.path();
        let console = |words: &[&str]| done(folder, &[&CONSOLE[..], words].concat());
        configured(&scratch, driver, "", "");
        let running = start(folder, &["run"]);
        let address = running.address();
        let mut open = socket(address);
        assert!(echoes(&mut open));
        assert_eq!([said(address, "/count").1, said(address, "/count").1], ["1", "2"]);
        console(&["disable-service", "welcome"]);
        assert_eq!(said(address, "/count").0, 503);
        assert!(echoes(&mut open), "another service's sockets stay");
        console(&["enable-service", "welcome"]);
        assert_eq!(said(address, "/count").1, "3", "what it keeps is there still");
        let refused = ask(folder, &[&CONSOLE[..], &["disable-service", "nobody"]].concat());
        assert_eq!(refused.status.code(), Some(1));
        let complaint = text(&[refused.stdout, refused.stderr].concat());
        assert!(complaint.contains("there are echo, welcome"), "{complaint}");

        done(folder, &["reload"]);
        assert_eq!(said(address, "/count").1, "4", "a reload that changes nothing of it leaves it as it is");
        configured(
            &scratch,
            driver,
            "config = { greeting = \"Moin\" }",
            "[[site.route]]\npath = \"/more\"\nservice = \"welcome\"\n",
        );
        done(folder, &["reload"]);
        assert_eq!(said(address, "/greet/Ann").1, "Moin, Ann!\n");
        assert_eq!(said(address, "/count").1, "1", "with other settings it is set up anew");
        assert!(echoes(&mut open), "and sockets stay open over both");
        configured(&scratch, driver, "enabled = false", "");
        done(folder, &["reload"]);
        assert_eq!(said(address, "/greet/Ann").0, 503);
        configured(&scratch, driver, "config = { greeting = 7 }", "");
        let refused = ask(folder, &["reload"]);
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
        assert!(echoes(&mut open));
        drop(open);
        assert!(running.stop().expect("it ends").success());
    }
}

pub(crate) fn wrong_settings_are_told_with_their_line() {
    let scratch = Scratch::new("services-told");
    for (hello, told) in [
        (
            "config = { greeting = 7 }",
            ["does not take this: invalid type: integer `7`, expected a string", "ringway.toml:21:23"],
        ),
        ("[service.config]\ntimes_max = -1\n", ["invalid value: integer `-1`", "ringway.toml:22:13"]),
        ("[service.config]\ntimes = 1\n", ["unknown field `times`", "ringway.toml:22:9"]),
    ] {
        configured(&scratch, "auto", hello, "");
        let output = ask(scratch.path(), &["check"]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(told.iter().all(|part| said.contains(part)), "{told:?}: {said}");
    }
    configured(
        &scratch,
        "auto",
        "",
        "[[service]]\nname = \"helo\"\n[[site.route]]\npath = \"/x\"\nservice = \"helo\"\n",
    );
    let said = text(&ask(scratch.path(), &["check"]).stdout);
    assert!(
        said.contains("no service `helo` is linked into this program")
            && said.contains("did you mean `hello`?"),
        "{said}"
    );
}
