//! Libraries that stay in memory when nobody uses them any more are counted and limited; a process of its own, as they stay.

use ringway_plugin::{LINGERING_MAX, Library, census};
use ringway_testkit::Scratch;
use std::process::Command;

const SOURCE: &str = r#"
#include "ringway.h"
static const ringway_plugin plugin = {
    .struct_size = sizeof plugin, .abi = RINGWAY_ABI, .name = "stays", .version = "1"};
const ringway_plugin *ringway_plugin_entry(const ringway_server *server) { (void)server; return &plugin; }
"#;

#[test]
fn what_cannot_be_unmapped_is_counted_and_limited() {
    let scratch = Scratch::new("lingers");
    let source = scratch.file("stays.c", SOURCE.as_bytes());
    let path = scratch.path().join("stays.so");
    let include = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include");
    // As libraries with thread-local destructors do, for good.
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-fPIC", "-shared", "-Wl,-z,nodelete", include]).arg(&source).arg("-o").arg(&path);
    assert!(cc.status().expect("a C compiler").success());
    for count in 1..=LINGERING_MAX {
        drop(Library::open(&path).expect("there is room"));
        assert_eq!(census::totals().lingering, count);
    }
    let error = Library::open(&path).expect_err("enough").to_string();
    assert!(error.contains("could not be unmapped"), "{error}");
    let libraries = census::libraries();
    assert_eq!(libraries.len(), LINGERING_MAX, "who was refused is not there");
    assert!(libraries.iter().all(|status| status.lingers && status.path == path && status.instances == 0));
}
