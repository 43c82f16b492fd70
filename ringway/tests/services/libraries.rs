//! Services in shared libraries, in a server process that is confined.

use crate::stand::{done, drivers, echoes, said, socket, start};
use ringway_testkit::{Browser, Scratch};
use std::path::Path;
use std::process::Command;

/// Builds the example in C, in its place at once.
fn build(scratch: &Scratch, hello: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let source = std::fs::read_to_string(root.join("contrib/plugin/service.c")).expect("the example");
    let source = scratch.file("service.c", source.replace("/hello/{name}", hello).as_bytes());
    let (fresh, library) = (scratch.path().join("service.new"), scratch.path().join("service.so"));
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread"]);
    cc.arg(format!("-I{}", root.join("sys/plugin/include").display())).arg(source).arg("-o").arg(&fresh);
    assert!(cc.status().expect("a C compiler").success());
    std::fs::rename(&fresh, &library).expect("the same directory");
}

fn write(scratch: &Scratch, driver: &str, greeting: &str) {
    let more = format!(
        "[[service]]\nname = \"in-c\"\nlibrary = \"service.so\"\nconfig = {{ greeting = \"{greeting}\" }}\n\
         [[site.route]]\npath = \"/c/**\"\nservice = \"in-c\"\n"
    );
    crate::stand::configured(scratch, driver, "", &more);
}

pub(crate) fn libraries_serve_confined_and_are_replaced() {
    for driver in drivers() {
        let scratch = Scratch::new("services-libraries");
        let folder = scratch.path();
        build(&scratch, "/hello/{name}");
        write(&scratch, driver, "Bonjour");
        let running = start(folder, &["run"]);
        let address = running.address();
        let mut open = socket(address);
        assert!(echoes(&mut open));
        assert_eq!(said(address, "/c/hello/Ann"), (200, "Bonjour, Ann!\n".to_owned()));
        let listed = done(folder, &["console", "-s", "console.sock", "services", "in-c"]);
        assert!(listed.contains("GET /hello/{name}"), "{listed}");
        build(&scratch, "/bye/{name}");
        write(&scratch, driver, "Adieu");
        done(folder, &["reload"]);
        assert_eq!(said(address, "/c/bye/Ann"), (200, "Adieu, Ann!\n".to_owned()));
        assert_eq!(said(address, "/c/hello/Ann").0, 404);
        assert!(echoes(&mut open), "connections of other services stay");
        drop(open);
        assert!(running.stop().expect("it ends").success());
    }
}

/// The chat of contrib, built as its Makefile does.
fn chat(scratch: &Scratch) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/service");
    let place = scratch.path().display();
    let mut make = Command::new("make");
    make.arg("-C").arg(folder).arg(format!("OUT={place}")).arg(format!("{place}/chat.so"));
    // Options of whoever runs the tests are not the example's.
    let output = make.env_remove("MAKEFLAGS").env_remove("CFLAGS").output().expect("make");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn the_chat_in_c_runs_confined_and_a_browser_talks() {
    let Some(browser) = Browser::start().expect("it runs") else {
        eprintln!("SKIPPED: there is no Chromium (Debian's package chromium)");
        return;
    };
    for driver in drivers() {
        let scratch = Scratch::new("services-chat");
        chat(&scratch);
        let more = "[[service]]\nname = \"chat\"\nlibrary = \"chat.so\"\n\
                    [[site.route]]\npath = \"/chat/**\"\nservice = \"chat\"\n";
        crate::stand::configured(&scratch, driver, "", more);
        let running = start(scratch.path(), &["run"]);
        let address = format!("http://{}/chat/", running.address());
        let windows =
            [false, true].map(|is_dark| browser.window((600, 500), is_dark, &address).expect("a window"));
        for window in &windows {
            window
                .until("document.querySelector('#state')?.textContent === 'connected'")
                .expect("it connects");
        }
        for (at, name) in ["Ada", "Bob"].into_iter().enumerate() {
            windows[at].type_into("#name", name).expect("a field");
            windows[at].type_into("#text", "hello").expect("a field");
            windows[at].press_enter().expect("a form");
            for window in &windows {
                let said = format!(
                    "document.querySelectorAll('#messages li')[{at}]?.textContent === '{name}: hello'"
                );
                window.until(&said).expect("all hear it");
            }
        }
        for window in windows {
            window.close().expect("it closes");
        }
        assert!(running.stop().expect("it ends").success());
    }
}
