//! Samples as they come: lines, CSV or JSON on standard output, or a panel that renews itself on a terminal.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};

use super::sample::{self, METRICS, Sample};
use crate::outcome::table::number;

/// The panel shows the history of so many samples.
const HISTORY: usize = 60;

/// How samples are shown while they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A panel that renews itself; the default on a terminal.
    Panel,
    /// Aligned columns, a line a sample; the default elsewhere.
    Lines,
    /// Comma-separated values.
    Csv,
    /// A JSON object a line.
    Json,
    /// Nothing.
    None,
}

/// The place where samples are shown.
#[derive(Debug)]
pub(super) struct View {
    format: Format,
    name: String,
    history: VecDeque<Sample>,
    panel_lines: usize,
}

impl View {
    /// Without a wish, a panel on a terminal and lines elsewhere.
    pub(super) fn new(wish: Option<Format>, name: &str) -> View {
        let fitting = if io::stdout().is_terminal() { Format::Panel } else { Format::Lines };
        let format = wish.unwrap_or(fitting);
        View { format, name: name.to_owned(), history: VecDeque::new(), panel_lines: 0 }
    }

    /// Whether standard output belongs to a program that reads it.
    pub(super) fn is_for_programs(&self) -> bool {
        matches!(self.format, Format::Csv | Format::Json)
    }

    /// The headings, where there are any.
    pub(super) fn begin(&self) -> io::Result<()> {
        match self.format {
            Format::Lines => say(&format!("{}\n", sample::line_heading())),
            Format::Csv => say(&format!("{}\n", sample::csv_heading())),
            Format::Panel | Format::Json | Format::None => Ok(()),
        }
    }

    /// One sample. An error means that nobody reads any more.
    pub(super) fn show(&mut self, sample: &Sample) -> io::Result<()> {
        match self.format {
            Format::Lines => say(&format!("{}\n", sample::line(sample))),
            Format::Csv => say(&format!("{}\n", sample::csv(sample))),
            Format::Json => say(&format!("{}\n", sample::json(sample))),
            Format::None => Ok(()),
            Format::Panel => {
                if self.history.len() == HISTORY {
                    self.history.pop_front();
                }
                self.history.push_back(*sample);
                let panel = self.panel(sample);
                let up =
                    if self.panel_lines > 0 { format!("\x1b[{}A", self.panel_lines) } else { String::new() };
                self.panel_lines = panel.lines().count();
                say(&format!("{up}\r\x1b[J{panel}"))
            }
        }
    }

    /// One line a metric: its name, its value, its history.
    fn panel(&self, now: &Sample) -> String {
        let mut panel = format!("{}\n", self.name);
        for metric in METRICS {
            let value =
                (metric.value)(now).map_or_else(|| "–".to_owned(), |value| number(value, metric.decimals));
            let history: Vec<f64> = self.history.iter().filter_map(metric.value).collect();
            let curve = if metric.key == "time_s" { String::new() } else { sparkline(&history) };
            panel.push_str(&format!("  {:<12}{value:>14} {:<5} {curve}\n", metric.heading, metric.unit));
        }
        panel
    }
}

/// A curve of eighths of a letter's height, from zero to the highest value.
fn sparkline(values: &[f64]) -> String {
    const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = values.iter().copied().fold(0.0, f64::max);
    let eighth = |value: &f64| {
        let height = if most > 0.0 { value / most * 7.0 } else { 0.0 };
        (0..EIGHTHS.len())
            .rfind(|index| *index as f64 <= height + 0.5)
            .map_or(EIGHTHS[0], |index| EIGHTHS[index])
    };
    values.iter().map(eighth).collect()
}

fn say(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

#[test]
fn a_sparkline_goes_from_zero_to_the_highest() {
    assert_eq!(sparkline(&[0.0, 3.5, 7.0, 1.0]), "▁▅█▂");
    assert_eq!(sparkline(&[0.0, 0.0]), "▁▁");
    assert_eq!(sparkline(&[]), "");
}

#[test]
fn a_panel_has_a_line_for_each_metric() {
    let mut view = View::new(Some(Format::Panel), "a command");
    let sample = Sample { interval: std::time::Duration::from_secs(1), ..Sample::default() };
    view.history.push_back(sample);
    assert_eq!(view.panel(&sample).lines().count(), METRICS.len() + 1);
}
