//! A thousand sites.

use crate::environment;
use ringway::config::load;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const SITES: usize = 1000;

fn thousand() -> String {
    let mut text = String::from("[[endpoint]]\nname = \"http\"\nlisten = [\":8080\"]\n");
    for number in 0..SITES {
        write!(
            text,
            "\n[[site]]\nnames = [\"site{number}.example\", \"www.site{number}.example\", \"*.site{number}.example\"]\nroot = \"/srv/{number}\"\n\
             index = [\"index.html\", \"index.htm\"]\nheaders = {{ set = {{ \"X-Frame-Options\" = \"DENY\" }} }}\n\
             error_pages = {{ 404 = \"/srv/404.html\" }}\n[[site.route]]\npath = \"/old/**\"\nredirect = \"/new/{{1}}\"\n\
             [[site.rule]]\naction = \"deny\"\nfrom = [\"192.0.2.0/24\"]\n"
        )
        .expect("a string takes all");
    }
    text
}

fn load() -> (usize, String, Duration) {
    let text = thousand();
    let before = Instant::now();
    let loaded = load::load_text(Path::new("many.toml"), Path::new("/"), &text, &environment);
    let took = before.elapsed();
    (loaded.config.site.len(), loaded.report.text(false), took)
}

#[test]
fn a_thousand_sites_are_loaded() {
    let (sites, findings, _) = load();
    assert_eq!((sites, findings.as_str()), (SITES, ""));
}

/// Run in release: `cargo test --release -p ringway --test config -- --ignored`.
#[test]
#[ignore = "a measurement, meant for release builds on a quiet machine"]
fn a_thousand_sites_are_loaded_within_200_ms() {
    load();
    let (_, _, took) = load();
    println!("{SITES} sites loaded in {took:?}");
    let bar = if cfg!(debug_assertions) { Duration::from_secs(2) } else { Duration::from_millis(200) };
    assert!(took <= bar, "{took:?}");
}
