//! Damaged configurations: whatever is cut off or changed, it is told and nothing panics.

use crate::{configurations, environment, folder};
use ringway::config::load;
use std::path::Path;

/// Changes of each configuration.
const CHANGES: u64 = 8;

/// What takes the place of bytes.
const INSTEAD: [&str; 12] = ["", "\"", "[", "]]", "=", "\n", "{", "}", "\u{0}", "\u{fffd}", "9", "${"];

/// Reads a text and shows what is wrong with it, both ways.
fn read(text: &str) {
    let loaded = load::load_text(Path::new("damaged.toml"), Path::new("/nowhere"), text, &environment);
    let shown = loaded.report.text(true);
    assert_eq!(shown.is_empty(), loaded.report.findings.is_empty());
    assert_eq!(loaded.report.json().lines().count(), loaded.report.findings.len());
}

#[test]
fn damage_is_told_and_nothing_panics() {
    // A generator of its own, so that a failure comes again.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below.max(1) as u64).unwrap_or(0)
    };
    for path in configurations(&folder("good")).into_iter().chain(configurations(&folder("bad"))) {
        let text = std::fs::read_to_string(&path).expect("it can be read");
        for _ in 0..CHANGES {
            let boundary =
                |at: usize| (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
            let from = boundary(random(text.len() + 1));
            let to = boundary((from + random(8)).min(text.len()));
            read(&format!("{}{}{}", &text[..from], INSTEAD[random(INSTEAD.len())], &text[to..]));
            read(&text[..from]);
        }
    }
}
