//! Libraries are looked at before they are loaded, say what they lack, and are unmapped when nobody uses them; with a C compiler.

use ringway_plugin::census::{self, Totals};
use ringway_plugin::{Instance, Level, Library, Listener, LoadError, Setting, Worker};
use ringway_testkit::Scratch;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Tests count the libraries of the process, so they run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What stands around a plug-in's own part.
const FRAME: &str = r#"
#include "ringway.h"
static const ringway_server *server;
static int32_t pass(void *instance, void *worker, const ringway_request *request) {
    (void)instance; (void)worker; (void)request;
    return RINGWAY_PASS;
}
static const ringway_request_handler handler = {.struct_size = sizeof handler, .request = pass};
"#;

/// The usual end of a plug-in.
const PLUGIN: &str = r#"
static const ringway_plugin plugin = {
    .struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = "test", .version = "1", .request = &handler};
"#;

const ENTRY: &str = r"
const ringway_plugin *ringway_plugin_entry(const ringway_server *from) { server = from; (void)pass; (void)handler; return &plugin; }
";

/// Compiles C to a library.
fn build(scratch: &Scratch, name: &str, parts: &[&str], more: &[&str]) -> PathBuf {
    let source = scratch.file(&format!("{name}.c"), parts.concat().as_bytes());
    let library = scratch.path().join(format!("{name}.so"));
    let include = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include");
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O1", "-fPIC", "-fvisibility=hidden", "-shared", include]).args(more);
    assert!(cc.arg(&source).arg("-o").arg(&library).status().expect("a C compiler").success(), "{name}");
    library
}

fn refusal(path: &Path) -> String {
    let error = Library::open(path).expect_err("it is not loaded");
    assert_eq!(error.path(), path);
    let text = error.to_string();
    assert!(text.starts_with(&format!("library {}: ", path.display())), "{text}");
    text.split_once(".so: ").map_or(text.clone(), |(_, what)| what.to_owned())
}

fn silent() -> Listener {
    Arc::new(|_, _| {})
}

fn instance(library: &Library, config: &str, listener: Listener) -> Result<Instance, LoadError> {
    Instance::of_requests(
        library,
        &Setting { name: "here", config, listener, broadcast: None, connections: None },
    )
}

fn is_mapped(name: &str) -> bool {
    std::fs::read_to_string("/proc/self/maps").expect("this process").contains(name)
}

/// Waits until nothing is being destroyed and as many are loaded as before.
fn settle(before: &Totals) -> Totals {
    let in_use = |totals: &Totals| totals.loaded - totals.unmapped;
    assert!(
        census::wait(PATIENCE, |now| now.ending == 0 && in_use(now) == in_use(before)),
        "{:?}",
        census::totals()
    );
    census::totals()
}

#[test]
fn what_is_no_library_is_refused_with_its_name() {
    let _alone = alone();
    let scratch = Scratch::new("no-library");
    let good = build(&scratch, "good", &[FRAME, PLUGIN, ENTRY], &[]);
    let bytes = std::fs::read(&good).expect("built");
    assert!(refusal(&scratch.path().join("none.so")).contains("cannot be read: No such file"));
    assert!(Library::open(scratch.path()).expect_err("a directory").to_string().contains("it is no file"));
    assert!(refusal(&scratch.file("text.so", b"#!/bin/sh\n")).contains("no shared library"));
    assert!(refusal(&scratch.file("empty.so", b"")).contains("no shared library"));
    // Cut anywhere it is refused, or would have been whole in what is mapped.
    for len in [40, 64, 200, 4096, bytes.len() / 2] {
        assert!(refusal(&scratch.file("cut.so", &bytes[..len])).contains("not whole"), "{len} bytes");
    }
    let mut other = bytes.clone();
    other[18] = 243;
    assert!(refusal(&scratch.file("other.so", &other)).contains("another machine (RISC-V)"));
    std::fs::copy(std::env::current_exe().expect("this"), scratch.path().join("program.so")).expect("room");
    let program = refusal(&scratch.path().join("program.so"));
    assert!(program.contains("cannot be loaded") && program.contains("program.so"), "{program}");
    let before = census::totals();
    let library = Library::open(&good).expect("what it is made of is good");
    assert_eq!((library.name(), library.version(), library.kinds().len()), ("test", "1", 1));
    drop(library);
    settle(&before);
}

#[test]
fn what_a_library_lacks_is_named() {
    let _alone = alone();
    let scratch = Scratch::new("lacks");
    let before = census::totals();
    let table = |text: &str| format!("static const ringway_plugin plugin = {{ {text} }};");
    let handler = |text: &str| {
        format!(
            "static const ringway_request_handler own = {{ .struct_size = sizeof own, {text} }};
             static const ringway_plugin plugin = {{ .struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = \"t\",
             .version = \"1\", .request = &own }};"
        )
    };
    let usual = ".struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = \"t\", .version = \"1\", .request = &handler";
    let cases = [
        (table("0"), "version 0 of the plug-in interface"),
        (table(".struct_size = sizeof plugin, .abi = 2"), "built for version 2 of the plug-in interface"),
        (table(".struct_size = 8, .abi = RINGWAY_ABI"), "`ringway_plugin.struct_size` is 8"),
        (
            table(".struct_size = 4000000000u, .abi = RINGWAY_ABI"),
            "`ringway_plugin.struct_size` is 4000000000",
        ),
        (table(".struct_size = sizeof plugin, .abi = RINGWAY_ABI"), "`ringway_plugin.name` is not a text"),
        (table(&usual.replace("\"t\"", "\"a\\nb\"")), "`ringway_plugin.name` is not a text"),
        (
            table(&usual.replace(".version = \"1\"", ".version = \"\"")),
            "`ringway_plugin.version` is not a text",
        ),
        (
            table(&usual.replace("&handler", "(const void *)((const char *)&handler + 1)")),
            "does not lie where one can",
        ),
        (handler(""), "`ringway_request_handler.request` is missing"),
        (
            handler(".request = pass, .flags = RINGWAY_BODY_PIECES"),
            "`ringway_request_handler.body` is missing",
        ),
        (handler(".request = pass, .routes_len = 1"), "`ringway_request_handler.routes` does not lie"),
        (
            handler(".request = pass, .routes = &(const ringway_route){0}, .routes_len = 1"),
            "route 0 has a pattern that is no text",
        ),
        (
            handler(".request = pass, .routes = &(const ringway_route){0, \"x\", 0, 0}, .routes_len = 1"),
            "route 0 has a pattern that does not begin with a slash",
        ),
        (
            handler(
                ".request = pass, .routes = &(const ringway_route){0, \"/\", 0, 0}, .routes_len = 1000000000",
            ),
            "is one too many",
        ),
    ];
    for (index, (plugin, wanted)) in cases.iter().enumerate() {
        let said = refusal(&build(&scratch, &format!("case{index}"), &[FRAME, plugin, ENTRY], &["-w"]));
        assert!(said.contains(wanted), "{plugin}: {said}");
    }
    settle(&before);
}

#[test]
fn what_a_library_needs_or_is_not_is_named() {
    let _alone = alone();
    let scratch = Scratch::new("kinds");
    let before = census::totals();
    let table = |text: &str| format!("static const ringway_plugin plugin = {{ {text} }};");
    let usual = ".struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = \"t\", .version = \"1\", .request = &handler";
    let none = build(&scratch, "none", &["int other(void) { return 0; }"], &[]);
    assert!(refusal(&none).contains("lacks the symbol `ringway_plugin_entry`"));
    let null =
        "const ringway_plugin *ringway_plugin_entry(const ringway_server *from) { (void)from; return 0; }";
    assert!(refusal(&build(&scratch, "null", &[FRAME, null], &["-w"])).contains("gave no table"));
    let symbol = "extern int nowhere_at_all(void); int use(void) { return nowhere_at_all(); }";
    let text =
        refusal(&build(&scratch, "undefined", &[FRAME, PLUGIN, ENTRY, symbol], &["-fvisibility=default"]));
    assert!(text.contains("nowhere_at_all") && text.contains("undefined.so"), "{text}");
    let plain = table(".struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = \"t\", .version = \"1\"");
    let library =
        Library::open(&build(&scratch, "kindless", &[FRAME, &plain, ENTRY], &["-w"])).expect("a library");
    let error = instance(&library, "", silent()).expect_err("of no kind").to_string();
    assert!(error.contains("it has no request handler, nor anything else"), "{error}");
    drop(library);
    let filter = table(&format!("{}, .filter = &through", usual.replace(", .request = &handler", "")));
    let filter = format!(
        "static int64_t read(void *i, void *w, ringway_filter *f, void **u, ringway_bytes_mut b) {{ return (int64_t)b.len; }}\n\
         static const ringway_stream_filter through = {{.struct_size = sizeof through, .read = read, .write = read}};\n{filter}"
    );
    let library =
        Library::open(&build(&scratch, "filter", &[FRAME, &filter, ENTRY], &["-w"])).expect("a library");
    let error = instance(&library, "", silent()).expect_err("of another kind").to_string();
    assert!(error.contains("no request handler; it has a stream filter"), "{error}");
    drop(library);
    let after = settle(&before);
    assert_eq!(after.lingering, before.lingering, "none of them is in memory");
}

/// An instance that takes `config` for the error's text, and a worker's state that fails on demand.
const CREATES: &str = r#"
#include <string.h>
#include <stdio.h>
static int32_t create(const ringway_setup *setup, void **instance) {
    static int made;
    if (setup->kind != RINGWAY_KIND_REQUEST || !RINGWAY_HAS(server, resume_body)) return 77;
    *instance = &made;
    if (setup->config.len == 0) return 0;
    /* As much as fits, without an end: that is a mistake, but nobody's undoing. */
    memset(setup->error, 'x', setup->error_bytes);
    memcpy(setup->error, setup->config.data, setup->config.len);
    return 5;
}
static void destroy(void *instance) { (void)instance; server->log(1, RINGWAY_LOG_WARN, ringway_text("going")); }
static int32_t health(void *instance, char *text, size_t bytes) {
    (void)instance; snprintf(text, bytes, "so so"); return 3;
}
static const ringway_plugin plugin = {.struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = "test", .version = "1",
    .create = create, .destroy = destroy, .health = health, .request = &handler};
"#;

#[test]
fn an_instance_says_why_it_cannot_be_made_and_how_it_is() {
    let _alone = alone();
    let scratch = Scratch::new("creates");
    let before = census::totals();
    let library = Library::open(&build(&scratch, "creates", &[FRAME, CREATES, ENTRY], &[])).expect("good");
    let error = instance(&library, "no such colour\n", silent()).expect_err("as it was told").to_string();
    assert!(error.contains("creates.so: no such colour xxx") && error.len() < 1300, "{error}");
    let said: Arc<Mutex<Vec<(Level, String)>>> = Arc::default();
    let heard = Arc::clone(&said);
    let listener: Listener =
        Arc::new(move |level, text| heard.lock().expect("no panic").push((level, text.to_owned())));
    let made = instance(&library, "", listener).expect("made");
    assert_eq!(made.health(), Err("so so".to_owned()));
    let worker = Worker::start(&made).expect("no state");
    let status = census::libraries().into_iter().find(|status| status.number == library.number());
    let status = status.expect("it is there");
    assert_eq!((status.instances, status.workers, status.lingers), (1, 1, false));
    assert_eq!((status.name.as_str(), status.version.as_str()), ("test", "1"));
    drop((made, library));
    assert!(is_mapped("ringway-creates-"), "a worker uses it");
    drop(worker);
    settle(&before);
    assert!(!is_mapped("ringway-creates-"), "{:?}", census::libraries());
}

#[test]
fn every_version_is_another_library_and_all_are_unmapped() {
    let _alone = alone();
    let scratch = Scratch::new("versions");
    let before = census::totals();
    let version = |text: &str| PLUGIN.replace("\"1\"", &format!("\"{text}\""));
    let one = build(&scratch, "same", &[FRAME, &version("one"), ENTRY], &[]);
    let first = Library::open(&one).expect("good");
    let again = Library::open(&one).expect("good");
    let _two = build(&scratch, "same", &[FRAME, &version("two"), ENTRY], &[]);
    let second = Library::open(&one).expect("good");
    assert_eq!([first.version(), again.version(), second.version()], ["one", "one", "two"]);
    assert_ne!(first.number(), again.number());
    assert!(is_mapped("ringway-same-"));
    drop((first, again));
    assert!(is_mapped("ringway-same-"));
    drop(second);
    for _ in 0..100 {
        let library = Library::open(&one).expect("good");
        let made = instance(&library, "", silent()).expect("made");
        drop((Worker::start(&made).expect("no state"), made, library));
    }
    let after = settle(&before);
    assert_eq!((after.loaded - before.loaded, after.lingering), (103, before.lingering));
    assert!(!is_mapped("ringway-same-"), "{:?}", census::libraries());
}
