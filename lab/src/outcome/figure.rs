//! Figures as descriptions: what is shown, on which axes, in which units. `draw` turns them into SVG.
//!
//! ```
//! use ringway_lab::{Axis, Figure, Series};
//!
//! let x = Axis::linear("connections", "");
//! let y = Axis::linear("server CPU", "µs/request");
//! let ours = Series::new("ringway", vec![(100.0, 41.0), (1000.0, 43.5)]);
//! let seed = Series::seed("Monkey, 2012", vec![(100.0, 80.0), (1000.0, 84.0)]);
//! let figure = Figure::lines("sweep-cpu", "CPU time a request", x, y, vec![ours, seed]);
//! assert!(figure.to_svg().starts_with("<svg"));
//! ```

use serde_json::{Value, json};

use super::draw;

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The stem of its file's name: lower case letters, digits and hyphens.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// A second line, smaller: the set-up, or how to read it. May be empty.
    pub subtitle: String,
    /// What is drawn.
    pub plot: Plot,
}

/// The kind of a figure.
#[derive(Clone, Debug, PartialEq)]
pub enum Plot {
    /// Lines over a common axis.
    Lines(Lines),
    /// Horizontal bars in groups.
    Bars(Bars),
}

/// Lines over a common axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
}

/// Horizontal bars in groups, from zero on a linear axis, as the lengths are what is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    /// The axis of the values; its scale and beginning are not used.
    pub value: Axis,
    /// The names of the groups, from the top.
    pub groups: Vec<String>,
    /// One bar in each group for each series: the point `(index of the group, value)`. A group may lack one.
    pub series: Vec<Series>,
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What is along it.
    pub label: String,
    /// In which unit; empty for counts.
    pub unit: String,
    /// How it is divided.
    pub scale: Scale,
    /// Where it begins; otherwise vertical linear axes begin at zero and others with the data.
    pub from: Option<f64>,
    /// Where it ends; otherwise with the data.
    pub to: Option<f64>,
}

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By powers of ten. What is not above zero is not drawn.
    Log,
}

/// One line, or one bar a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its label.
    pub name: String,
    /// Its points. One that is not finite is a gap.
    pub points: Vec<(f64, f64)>,
    /// Figures from a seed's article, not measured here: drawn dashed (bars: outlined).
    pub seed: bool,
    /// Drawn in the colour of the series with this index, to show what belongs together.
    pub colour_of: Option<usize>,
}

impl Figure {
    /// A line chart.
    #[must_use]
    pub fn lines(
        name: impl Into<String>,
        title: impl Into<String>,
        x: Axis,
        y: Axis,
        series: Vec<Series>,
    ) -> Figure {
        let plot = Plot::Lines(Lines { x, y, series });
        Figure { name: name.into(), title: title.into(), subtitle: String::new(), plot }
    }

    /// A bar chart.
    #[must_use]
    pub fn bars(
        name: impl Into<String>,
        title: impl Into<String>,
        value: Axis,
        groups: Vec<String>,
        series: Vec<Series>,
    ) -> Figure {
        let plot = Plot::Bars(Bars { value, groups, series });
        Figure { name: name.into(), title: title.into(), subtitle: String::new(), plot }
    }

    /// With a second line under the title.
    #[must_use]
    pub fn subtitled(mut self, subtitle: impl Into<String>) -> Figure {
        self.subtitle = subtitle.into();
        self
    }

    /// The drawing.
    #[must_use]
    pub fn to_svg(&self) -> String {
        draw::svg(self)
    }

    pub(super) fn to_json(&self) -> Value {
        let (kind, axes, series) = match &self.plot {
            Plot::Lines(lines) => {
                ("lines", json!({ "x": lines.x.to_json(), "y": lines.y.to_json() }), &lines.series)
            }
            Plot::Bars(bars) => {
                ("bars", json!({ "value": bars.value.to_json(), "groups": bars.groups }), &bars.series)
            }
        };
        let series: Vec<Value> = series.iter().map(Series::to_json).collect();
        json!({ "name": self.name, "title": self.title, "subtitle": self.subtitle, "kind": kind, "axes": axes,
                "series": series })
    }
}

impl Axis {
    /// A linear axis.
    #[must_use]
    pub fn linear(label: impl Into<String>, unit: impl Into<String>) -> Axis {
        Axis { label: label.into(), unit: unit.into(), scale: Scale::Linear, from: None, to: None }
    }

    /// A logarithmic axis.
    #[must_use]
    pub fn log(label: impl Into<String>, unit: impl Into<String>) -> Axis {
        Axis { scale: Scale::Log, ..Axis::linear(label, unit) }
    }

    /// The same axis, beginning at `from`.
    #[must_use]
    pub fn starting(mut self, from: f64) -> Axis {
        self.from = Some(from);
        self
    }

    /// The same axis, ending at `to`.
    #[must_use]
    pub fn ending(mut self, to: f64) -> Axis {
        self.to = Some(to);
        self
    }

    pub(super) fn heading(&self) -> String {
        if self.unit.is_empty() { self.label.clone() } else { format!("{} [{}]", self.label, self.unit) }
    }

    fn to_json(&self) -> Value {
        let scale = match self.scale {
            Scale::Linear => "linear",
            Scale::Log => "log",
        };
        json!({ "label": self.label, "unit": self.unit, "scale": scale })
    }
}

impl Series {
    /// Something measured in this run.
    #[must_use]
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Series {
        Series { name: name.into(), points, seed: false, colour_of: None }
    }

    /// Figures of a seed.
    #[must_use]
    pub fn seed(name: impl Into<String>, points: Vec<(f64, f64)>) -> Series {
        Series { seed: true, ..Series::new(name, points) }
    }

    /// The bars of one series: a value for each group, in their order.
    #[must_use]
    pub fn bars(name: impl Into<String>, values: impl IntoIterator<Item = Option<f64>>) -> Series {
        let points = values.into_iter().enumerate().filter_map(|(group, value)| Some((group as f64, value?)));
        Series::new(name, points.collect())
    }

    /// The same, drawn in the colour of the series with index `other`.
    #[must_use]
    pub fn coloured_as(mut self, other: usize) -> Series {
        self.colour_of = Some(other);
        self
    }

    fn to_json(&self) -> Value {
        json!({ "name": self.name, "seed": self.seed, "points": self.points })
    }
}
