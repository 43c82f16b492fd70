//! The header of programs and the functions behind it: the same names and types, in C and C++.

use ringway_testkit::Scratch;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header() -> String {
    std::fs::read_to_string(here().join("include/ringway_host.h")).expect("it is committed")
}

/// The types that the functions have in Rust, as C says them.
const TYPES: &str = r#"
#include "ringway_host.h"
#define SAME(name, type) static type const check_##name = name; const void *use_##name(void); \
    const void *use_##name(void) { return (const void *)&check_##name; }
typedef int32_t (*hook_start)(void *);
typedef void (*hook_stop)(void *);
typedef uint64_t (*create_type)(void);
typedef int32_t (*text_type)(uint64_t, const char *);
typedef int32_t (*texts_type)(uint64_t, const char *, const char *);
typedef int32_t (*plugin_type)(uint64_t, const char *, const char *, const char *,
                               const ringway_plugin *(*)(const ringway_server *), const char *);
typedef int32_t (*handler_type)(uint64_t, const char *, const char *, const char *, const ringway_request_handler *, void *,
                                const char *, uint64_t *);
typedef int32_t (*workers_type)(uint64_t, hook_start, hook_stop, void *);
typedef int32_t (*host_type)(uint64_t);
typedef int32_t (*address_type)(uint64_t, size_t, char *, size_t);
typedef int32_t (*port_type)(uint64_t, size_t);
typedef int32_t (*stop_type)(uint64_t, uint32_t);
typedef const ringway_server *(*functions_type)(void);
typedef const char *(*said_type)(void);
SAME(ringway_host_create, create_type)
SAME(ringway_host_configure, text_type)
SAME(ringway_host_set, texts_type)
SAME(ringway_host_listen, text_type)
SAME(ringway_host_site, texts_type)
SAME(ringway_host_plugin, plugin_type)
SAME(ringway_host_handler, handler_type)
SAME(ringway_host_workers, workers_type)
SAME(ringway_host_start, host_type)
SAME(ringway_host_address, address_type)
SAME(ringway_host_port, port_type)
SAME(ringway_host_stop, stop_type)
SAME(ringway_host_destroy, host_type)
SAME(ringway_host_functions, functions_type)
SAME(ringway_host_error, said_type)
SAME(ringway_host_version, said_type)
"#;

/// Names of functions in a text: what stands behind `before`.
fn functions(text: &str, before: &str) -> BTreeSet<String> {
    let named = text.split(before).skip(1).filter_map(|rest| rest.split_once('('));
    named
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        .collect()
}

#[test]
fn header_and_functions_have_the_same_names_and_types() {
    let source = std::fs::read_to_string(here().join("src/lib.rs")).expect("it is there");
    let made = functions(&source, "fn ringway_host_");
    assert!(made.len() >= 16, "{made:?}");
    let declared: BTreeSet<String> = header()
        .lines()
        .filter(|line| line.ends_with(';') || line.ends_with(','))
        .flat_map(|line| functions(line, "ringway_host_"))
        .collect();
    assert_eq!(made, declared);
    let checked: BTreeSet<String> = TYPES
        .lines()
        .filter_map(|line| line.strip_prefix("SAME(ringway_host_")?.split_once(','))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(made, checked);
    let scratch = Scratch::new("host-header");
    let plugin = format!("-I{}", here().join("../plugin/include").display());
    let include = format!("-I{}", here().join("include").display());
    for (compiler, standard, name) in [("cc", "-std=c11", "types.c"), ("c++", "-std=c++17", "types.cpp")] {
        let source = scratch.file(name, TYPES.as_bytes());
        let mut command = Command::new(compiler);
        command.arg(standard).args(["-Wall", "-Wextra", "-Werror", "-Wno-unused", "-c"]);
        command.args([&plugin, &include]).arg(source).arg("-o").arg(scratch.path().join("types.o"));
        assert!(command.status().expect("a compiler").success(), "{compiler}");
    }
}

#[test]
fn the_header_is_fit_to_be_read() {
    let text = header();
    assert!(text.contains("extern \"C\""));
    assert!(text.lines().all(|line| line.len() <= 132 && !line.ends_with(' ')));
}
