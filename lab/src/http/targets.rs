//! Files of URLs: one a line, with its weight or rate and what its answers must be like.

use super::plan::{TARGETS_MAX, Target};
use crate::refusal::Refusal;
use std::path::Path;

/// Largest file of URLs, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Reads a file.
///
/// # Errors
/// Refuses one that cannot be read, and says which line cannot be understood.
pub(super) fn read(file: &Path) -> Result<Vec<Target>, Refusal> {
    let shown = file.display();
    let cannot = || format!("cannot read {shown}");
    let bytes = std::fs::metadata(file).map_err(Refusal::because(cannot()))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(Refusal::new(format!("{shown} is larger than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(file).map_err(Refusal::because(cannot()))?;
    parse(&text).map_err(|refusal| Refusal::new(format!("{shown}: {refusal}")))
}

fn parse(text: &str) -> Result<Vec<Target>, Refusal> {
    let mut targets = Vec::new();
    for (index, line) in text.lines().enumerate() {
        // A fragment is no part of what is asked for, so `#` is free for comments.
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(url) = words.next() else { continue };
        let read = words.try_fold(Target::get(url)?, set);
        let target = read.map_err(|refusal| Refusal::new(format!("line {}: {refusal}", index + 1)))?;
        targets.push(target);
        if targets.len() > TARGETS_MAX {
            return Err(Refusal::new(format!("more than {TARGETS_MAX} URLs")));
        }
    }
    if targets.is_empty() { Err(Refusal::new("no URL in it")) } else { Ok(targets) }
}

fn set(mut target: Target, word: &str) -> Result<Target, Refusal> {
    let unknown = || Refusal::new(format!("{word:?} is none of weight=N, rate=N, status=N, length=N"));
    let (name, value) = word.split_once('=').ok_or_else(unknown)?;
    let no_number = |_| Refusal::new(format!("{value:?} is no number for {name}"));
    match name {
        "weight" => target.weight = value.parse().map_err(no_number)?,
        "status" => target.expect.status = Some(value.parse().map_err(no_number)?),
        "length" => target.expect.length = Some(value.parse().map_err(no_number)?),
        "rate" => {
            let rate = value.parse().map_err(|_no_number: std::num::ParseFloatError| {
                Refusal::new(format!("{value:?} is no number for rate"))
            })?;
            target.rate = Some(rate);
        }
        _ => return Err(unknown()),
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::plan::Expect;

    #[test]
    fn lines_are_urls_with_settings() {
        let text = "# all of them\nhttp://h/a weight=3\n\n  http://h/b status=404 length=9 rate=2.5 # slow\n";
        let targets = parse(text).expect("a file");
        assert_eq!((targets[0].url.target.as_str(), targets[0].weight, targets[0].rate), ("/a", 3, None));
        assert_eq!(targets[1].expect, Expect { status: Some(404), length: Some(9) });
        assert_eq!(targets[1].rate, Some(2.5));
    }

    #[test]
    fn lines_that_cannot_be_understood_are_named() {
        for (text, words) in [
            ("", "no URL"),
            ("http://h/\nhttp://h/ wait=3", "line 2: \"wait=3\" is none of"),
            ("http://h/ heavy", "line 1: \"heavy\" is none of"),
            ("http://h/ weight=x", "\"x\" is no number for weight"),
            ("http://h/ rate=x", "\"x\" is no number for rate"),
            ("h/a", "http://"),
        ] {
            let refusal = parse(text).expect_err(text).to_string();
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
