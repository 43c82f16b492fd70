//! Figures as people read them: tables, sizes, rates, times.

use std::fmt::Write;
use std::time::Duration;

/// Lines with their columns under each other; the first row is the heading. Columns whose heading begins with `>` are
/// flush right. Cells may say anything: what could command a terminal is taken out.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let Some(heading) = rows.first() else { return String::new() };
    let is_right: Vec<bool> = heading.iter().map(|cell| cell.starts_with('>')).collect();
    let clean = |cell: &String| plain(cell.strip_prefix('>').unwrap_or(cell));
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(clean).collect()).collect();
    let widest = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(widest).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, (width, is_right)) in row.iter().zip(widths.iter().zip(&is_right)) {
            let (width, gap) = (*width, if line.is_empty() { "" } else { "  " });
            let _infallible = match is_right {
                true => write!(line, "{gap}{cell:>width$}"),
                false => write!(line, "{gap}{cell:<width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Names and values, the values under each other.
#[must_use]
pub fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let rows: Vec<(&str, String)> = pairs.into_iter().collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in rows {
        let _infallible = writeln!(text, "{:<width$}  {}", plain(name), plain(&value));
    }
    text
}

/// Text without what could command a terminal: some of it comes from peers and files.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Bytes with a unit: `1.5 MiB`.
#[must_use]
pub fn bytes(count: f64) -> String {
    scaled(count, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

/// Bits per second with a unit: `12.3 Mbit/s`.
#[must_use]
pub fn bits(per_s: f64) -> String {
    scaled(per_s, 1000.0, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

/// A count or a rate of something, short: `1234`, `12.3 k`, `4.5 M`.
#[must_use]
pub fn count(count: f64) -> String {
    if count < 10_000.0 {
        let digits = usize::from(count < 100.0 && count.fract() > 0.05);
        return format!("{count:.digits$}");
    }
    scaled(count, 1000.0, &["", "k", "M", "G", "T"])
}

/// A latency in microseconds with a unit; a dash for none.
#[must_use]
pub fn latency(us: Option<u64>) -> String {
    match us {
        None => "-".to_owned(),
        Some(us) if us < 1000 => format!("{us} µs"),
        Some(us) if us < 10_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        Some(us) if us < 1_000_000 => format!("{} ms", us / 1000),
        Some(us) => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// A span of time in its two largest units: `3 d 4 h`, `12 min 5 s`.
#[must_use]
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    if days > 0 {
        format!("{days} d {hours} h")
    } else if hours > 0 {
        format!("{hours} h {minutes} min")
    } else if minutes > 0 {
        format!("{minutes} min {} s", seconds % 60)
    } else {
        format!("{seconds} s")
    }
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut place = 0;
    // What would be rounded up to a step is one of the next unit.
    while value >= step - 0.05 && place + 1 < units.len() {
        value /= step;
        place += 1;
    }
    let digits = usize::from(place > 0 && value < 99.95);
    format!("{value:.digits$} {}", units[place]).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units_that_keep_them_short() {
        assert_eq!([bytes(0.0), bytes(1023.98), bytes(1536.0)], ["0 B", "1.0 KiB", "1.5 KiB"]);
        assert_eq!(bytes(200.0 * 1024.0 * 1024.0), "200 MiB");
        assert_eq!([bits(999.0), bits(12_345_678.0)], ["999 bit/s", "12.3 Mbit/s"]);
        assert_eq!(
            [count(0.0), count(12.34), count(9_999.0), count(12_345.0)],
            ["0", "12.3", "9999", "12.3 k"]
        );
        assert_eq!([latency(None), latency(Some(999)), latency(Some(1_250))], ["-", "999 µs", "1.2 ms"]);
        assert_eq!([latency(Some(12_345)), latency(Some(2_500_000))], ["12 ms", "2.5 s"]);
        let spans = [5, 65, 3_700, 90_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]);
    }

    #[test]
    fn tables_stand_in_columns_and_cannot_command_a_terminal() {
        let row = |one: &str, other: &str| vec![one.to_owned(), other.to_owned()];
        let text = table(&[row("SITE", ">REQUESTS"), row("a", "5"), row("lön\u{1b}[2Jg", "12345678")]);
        assert_eq!(text, "SITE      REQUESTS\na                5\nlön\u{fffd}[2Jg  12345678\n");
        assert_eq!(table(&[]), "");
        assert_eq!(
            pairs([("state", "serving".to_owned()), ("up", "5\n s".to_owned())]),
            "state  serving\nup     5\u{fffd} s\n"
        );
    }
}
