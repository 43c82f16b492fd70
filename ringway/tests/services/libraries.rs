//! Services in shared libraries, in a server process that is confined.

use crate::stand::{done, drivers, echoes, said, socket, start};
use ringway_testkit::Scratch;
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
