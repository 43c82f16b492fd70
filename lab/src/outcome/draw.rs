//! Draws figures as SVG: light background, thin grid, labels at the ends of the lines instead of a legend.

use plotters::prelude::{DrawingArea, IntoDrawingArea, PathElement, Rectangle, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, ShapeStyle, TextStyle, WHITE};
use plotters::{coord::Shift, element::Circle};

use super::figure::{Bars, Figure, Lines, Plot, Scale, Series};
use super::scale::Laid;
use super::table::number;

/// The drawing's width in its own units; twice what a page shows, so that whole units are fine enough.
const WIDTH: u32 = 1600;
/// The height of a line chart.
const HEIGHT: u32 = 900;
const FONT: f64 = 26.0;
/// How wide a letter is on average, as a part of the font's height: there is no font here to ask.
const LETTER: f64 = 0.54;
/// Between the drawing's edge and what is in it.
const EDGE: f64 = 40.0;
/// Between the end of the horizontal axis and the names of the lines: room for leaders to names that were moved.
const LEADER: f64 = 52.0;
/// Lines with at most so many points show each of them.
const MARKED_POINTS_MAX: usize = 25;

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT: RGBColor = RGBColor(0x66, 0x66, 0x66);
const GRID: RGBColor = RGBColor(0xE2, 0xE2, 0xE2);
/// Told apart by people with any kind of colour vision, and dark enough for text on white.
const PALETTE: [RGBColor; 8] = [
    RGBColor(0x00, 0x5F, 0x9E),
    RGBColor(0xC8, 0x4E, 0x00),
    RGBColor(0x00, 0x80, 0x5E),
    RGBColor(0xA8, 0x3E, 0x82),
    RGBColor(0x8A, 0x68, 0x00),
    RGBColor(0x3B, 0x8F, 0xC7),
    RGBColor(0x5B, 0x4B, 0xA8),
    RGBColor(0x55, 0x55, 0x55),
];

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Drawing into a string cannot fail; what plotters says anyway is passed up to one place.
type Drawn = Result<(), String>;

/// The figure as SVG.
pub(super) fn svg(figure: &Figure) -> String {
    let mut text = String::new();
    let height = match &figure.plot {
        Plot::Lines(_) => HEIGHT,
        Plot::Bars(bars) => bars_height(bars, !figure.subtitle.is_empty()),
    };
    let drawn = {
        let canvas = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        draw(figure, &canvas, f64::from(height)).and_then(|()| canvas.present().map_err(|e| e.to_string()))
    };
    assert_eq!(drawn, Ok(()), "a figure is drawn into memory");
    text
}

fn draw(figure: &Figure, canvas: &Canvas<'_>, height: f64) -> Drawn {
    canvas.fill(&WHITE).map_err(|error| error.to_string())?;
    write(canvas, &figure.title, (EDGE, EDGE), Style::title())?;
    let mut top = EDGE + 50.0;
    if !figure.subtitle.is_empty() {
        write(canvas, &figure.subtitle, (EDGE, top), Style::plain(FAINT))?;
        top += 40.0;
    }
    match &figure.plot {
        Plot::Lines(lines) => draw_lines(lines, canvas, top, height),
        Plot::Bars(bars) => draw_bars(bars, canvas, top, height),
    }
}

/// How a text stands.
#[derive(Clone, Copy)]
struct Style {
    size: f64,
    colour: RGBColor,
    across: HPos,
    down: VPos,
}

impl Style {
    fn plain(colour: RGBColor) -> Style {
        Style { size: FONT, colour, across: HPos::Left, down: VPos::Top }
    }

    fn title() -> Style {
        Style { size: 34.0, ..Style::plain(INK) }
    }

    fn right(self) -> Style {
        Style { across: HPos::Right, ..self }
    }

    fn centred(self) -> Style {
        Style { across: HPos::Center, ..self }
    }

    fn beside(self) -> Style {
        Style { down: VPos::Center, ..self }
    }
}

fn write(canvas: &Canvas<'_>, text: &str, at: (f64, f64), style: Style) -> Drawn {
    let font = TextStyle::from(("Helvetica, Arial, sans-serif", style.size).into_font());
    let font = font.color(&style.colour).pos(Pos::new(style.across, style.down));
    canvas.draw_text(text, &font, pixel(at)).map_err(|error| error.to_string())
}

fn line(canvas: &Canvas<'_>, points: &[(f64, f64)], colour: RGBColor, width: u32) -> Drawn {
    let points: Vec<(i32, i32)> = points.iter().map(|point| pixel(*point)).collect();
    let path = PathElement::new(points, colour.stroke_width(width));
    canvas.draw(&path).map_err(|error| error.to_string())
}

fn dot(canvas: &Canvas<'_>, at: (f64, f64), radius: i32, style: ShapeStyle) -> Drawn {
    canvas.draw(&Circle::new(pixel(at), radius, style)).map_err(|error| error.to_string())
}

fn rectangle(canvas: &Canvas<'_>, from: (f64, f64), to: (f64, f64), style: ShapeStyle) -> Drawn {
    canvas.draw(&Rectangle::new([pixel(from), pixel(to)], style)).map_err(|error| error.to_string())
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the drawing is a few thousand units wide and casts saturate"
)]
fn pixel(at: (f64, f64)) -> (i32, i32) {
    (at.0.round() as i32, at.1.round() as i32)
}

fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * FONT * LETTER
}

fn colour(series: &[Series], index: usize) -> RGBColor {
    let index = series[index].colour_of.unwrap_or(index);
    PALETTE[index % PALETTE.len()]
}

/// The colour, two thirds of the way to white.
fn tint(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let paler = |part: u8| part + (u8::MAX - part) / 3 * 2;
    RGBColor(paler(red), paler(green), paler(blue))
}

/// The least and the most of what an axis has to show.
fn extent(values: impl Iterator<Item = f64>, scale: Scale) -> (f64, f64) {
    let shown = values.filter(|value| value.is_finite() && (scale == Scale::Linear || *value > 0.0));
    let (least, most) = shown
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)));
    if least <= most { (least, most) } else { (1.0, 10.0) }
}

fn draw_lines(lines: &Lines, canvas: &Canvas<'_>, top: f64, height: f64) -> Drawn {
    let points = || lines.series.iter().flat_map(|series| &series.points);
    let labels = lines.series.iter().map(|series| width_of(&series.name)).fold(0.0, f64::max);
    let (upper, lower) = (top + 55.0, height - EDGE - 80.0);
    let y_data = extent(points().map(|point| point.1), lines.y.scale);
    let y = Laid::new(&lines.y, y_data, (lower, upper), true, true);
    let y_ticks = y.ticks(6.0);
    let left = EDGE + y_ticks.iter().map(|(_, label)| width_of(label)).fold(0.0, f64::max) + 15.0;
    let right = f64::from(WIDTH) - EDGE - labels - LEADER;
    let x = Laid::new(
        &lines.x,
        extent(points().map(|point| point.0), lines.x.scale),
        (left, right),
        false,
        false,
    );

    write(canvas, &lines.y.heading(), (EDGE, top), Style::plain(FAINT))?;
    for (value, label) in &y_ticks {
        let Some(at) = y.at(*value) else { continue };
        line(canvas, &[(left, at), (right, at)], GRID, 1)?;
        write(canvas, label, (left - 15.0, at), Style::plain(FAINT).right().beside())?;
    }
    for (value, label) in x.ticks(8.0) {
        let Some(at) = x.at(value) else { continue };
        line(canvas, &[(at, lower), (at, lower + 8.0)], FAINT, 1)?;
        write(canvas, &label, (at, lower + 16.0), Style::plain(FAINT).centred())?;
    }
    line(canvas, &[(left, lower), (right, lower)], FAINT, 1)?;
    write(canvas, &lines.x.heading(), (right, lower + 56.0), Style::plain(FAINT).right())?;
    let places = |series: &Series| -> Vec<Option<(f64, f64)>> {
        series.points.iter().map(|point| Some((x.at(point.0)?, y.at(point.1)?))).collect()
    };
    for (index, series) in lines.series.iter().enumerate() {
        draw_series(canvas, &places(series), series.seed, colour(&lines.series, index))?;
    }
    let ends: Vec<Option<(f64, f64)>> =
        lines.series.iter().map(|series| places(series).into_iter().flatten().last()).collect();
    draw_end_labels(canvas, lines, &ends, right, (upper, lower))
}

/// One line in pieces between its gaps; points with marks when they are few.
fn draw_series(canvas: &Canvas<'_>, places: &[Option<(f64, f64)>], seed: bool, colour: RGBColor) -> Drawn {
    for piece in places.split(Option::is_none) {
        let piece: Vec<(f64, f64)> = piece.iter().flatten().copied().collect();
        if seed {
            for dash in dashes(&piece) {
                line(canvas, &dash, colour, 3)?;
            }
        } else if piece.len() > 1 {
            line(canvas, &piece, colour, 4)?;
        }
        if piece.len() == 1 || places.len() <= MARKED_POINTS_MAX {
            for at in piece {
                let style = if seed { WHITE.filled() } else { colour.filled() };
                dot(canvas, at, 6, style)?;
                dot(canvas, at, 6, colour.stroke_width(3))?;
            }
        }
    }
    Ok(())
}

/// A polyline cut into dashes; its corners stay where they are.
fn dashes(points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    const ON: f64 = 14.0;
    const OFF: f64 = 10.0;
    let mut dashes = Vec::new();
    let mut dash: Vec<(f64, f64)> = points.first().copied().into_iter().collect();
    let (mut drawing, mut left) = (true, ON);
    for pair in points.windows(2) {
        let ((mut x, mut y), (to_x, to_y)) = (pair[0], pair[1]);
        let mut length = (to_x - x).hypot(to_y - y);
        while length > left {
            (x, y) = (x + (to_x - x) * left / length, y + (to_y - y) * left / length);
            length -= left;
            if drawing {
                dash.push((x, y));
                dashes.push(std::mem::take(&mut dash));
            } else {
                dash.push((x, y));
            }
            drawing = !drawing;
            left = if drawing { ON } else { OFF };
        }
        left -= length;
        if drawing {
            dash.push((to_x, to_y));
        }
    }
    if dash.len() > 1 {
        dashes.push(dash);
    }
    dashes
}

/// Each line's name where it ends, moved apart where lines end close to each other.
fn draw_end_labels(
    canvas: &Canvas<'_>,
    lines: &Lines,
    ends: &[Option<(f64, f64)>],
    right: f64,
    (upper, lower): (f64, f64),
) -> Drawn {
    let mut order: Vec<usize> = (0..ends.len()).filter(|index| ends[*index].is_some()).collect();
    let height = |index: usize| ends[index].map_or(0.0, |end| end.1);
    order.sort_by(|a, b| height(*a).total_cmp(&height(*b)));
    let mut places: Vec<f64> = order.iter().map(|index| height(*index)).collect();
    spread(&mut places, FONT * 1.25, (upper, lower));
    for (index, place) in order.into_iter().zip(places) {
        let (Some(end), colour) = (ends[index], colour(&lines.series, index)) else { continue };
        if (end.1 - place).abs() > 6.0 || right - end.0 > 20.0 {
            line(canvas, &[(end.0 + 10.0, end.1), (right + LEADER - 6.0, place)], tint(colour), 2)?;
        }
        write(canvas, &lines.series[index].name, (right + LEADER, place), Style::plain(colour).beside())?;
    }
    Ok(())
}

/// Moves sorted places apart until neighbours are `gap` from each other, each as little as its cluster allows, within
/// `upper` and `lower` where they fit.
fn spread(places: &mut [f64], gap: f64, (upper, lower): (f64, f64)) {
    // Clusters of touching labels: where the first one stands, and how many they are.
    let mut clusters: Vec<(f64, usize)> = Vec::new();
    for place in places.iter() {
        clusters.push((*place, 1));
        while let [.., (start, count), (next, more)] = clusters[..]
            && next < start + gap * count as f64
        {
            let all = (count + more) as f64;
            let shifted = next - gap * count as f64;
            clusters.pop();
            clusters.pop();
            clusters.push(((start * count as f64 + shifted * more as f64) / all, count + more));
        }
    }
    let mut index = 0;
    let mut least = upper;
    for (start, count) in clusters {
        let last = (lower - gap * (count as f64 - 1.0)).max(upper);
        let start = start.min(last).max(least);
        for at in 0..count {
            places[index] = start + gap * at as f64;
            index += 1;
        }
        least = start + gap * count as f64;
    }
}

const BAR: f64 = 34.0;
const GROUP_GAP: f64 = 26.0;

/// What the groups take, and the title, legend and axis around them.
fn bars_height(bars: &Bars, subtitled: bool) -> u32 {
    let bars_a_group = u32::try_from(bars.series.len()).unwrap_or(1);
    let groups = u32::try_from(bars.groups.len()).unwrap_or(1);
    let around = 225 + if subtitled { 40 } else { 0 } + if has_legend(bars) { 40 } else { 0 };
    // A bar and the gap between groups are small whole numbers: 34 and 26.
    bars_a_group
        .saturating_mul(34)
        .saturating_add(26)
        .saturating_mul(groups)
        .saturating_add(around)
        .min(20_000)
}

/// A series without a name needs none.
fn has_legend(bars: &Bars) -> bool {
    bars.series.iter().any(|series| !series.name.is_empty())
}

fn draw_bars(bars: &Bars, canvas: &Canvas<'_>, top: f64, height: f64) -> Drawn {
    let groups = bars.groups.iter().map(|name| width_of(name)).fold(0.0, f64::max);
    let (left, right) = (EDGE + groups + 20.0, f64::from(WIDTH) - EDGE - 150.0);
    let values = bars.series.iter().flat_map(|series| &series.points).map(|point| point.1);
    let (_, most) = extent(values, Scale::Linear);
    let axis = super::figure::Axis { scale: Scale::Linear, from: Some(0.0), ..bars.value.clone() };
    let x = Laid::new(&axis, (0.0, most), (left, right), true, true);
    let (upper, lower) = (top + if has_legend(bars) { 50.0 } else { 10.0 }, height - EDGE - 80.0);
    if has_legend(bars) {
        draw_bar_legend(canvas, bars, left, top)?;
    }
    let ticks = x.ticks(6.0);
    for (value, label) in &ticks {
        let Some(at) = x.at(*value) else { continue };
        line(canvas, &[(at, upper), (at, lower)], GRID, 1)?;
        write(canvas, label, (at, lower + 14.0), Style::plain(FAINT).centred())?;
    }
    write(canvas, &bars.value.heading(), (right, lower + 54.0), Style::plain(FAINT).right())?;
    let group_height = BAR * bars.series.len() as f64 + GROUP_GAP;
    for (group, name) in bars.groups.iter().enumerate() {
        let begin = upper + group_height * group as f64 + GROUP_GAP / 2.0;
        let middle = begin + (group_height - GROUP_GAP) / 2.0;
        write(canvas, name, (left - 15.0, middle), Style::plain(INK).right().beside())?;
        draw_group(canvas, bars, group, begin, &x)?;
    }
    line(canvas, &[(left, upper), (left, lower)], FAINT, 1)
}

fn draw_group(canvas: &Canvas<'_>, bars: &Bars, group: usize, begin: f64, x: &Laid) -> Drawn {
    for (index, series) in bars.series.iter().enumerate() {
        let point = series.points.iter().find(|point| (point.0 - group as f64).abs() < 0.5);
        let Some(((_, value), end)) = point.and_then(|point| Some((*point, x.at(point.1)?))) else {
            continue;
        };
        let (colour, upper) = (colour(&bars.series, index), begin + BAR * index as f64 + 3.0);
        let (from, to) = ((x.at(0.0).unwrap_or(end), upper), (end, upper + BAR - 6.0));
        bar(canvas, from, to, series.seed, colour)?;
        let label = (end + 10.0, upper + BAR / 2.0 - 3.0);
        write(canvas, &value_label(value), label, Style::plain(colour).beside())?;
    }
    Ok(())
}

fn bar(canvas: &Canvas<'_>, from: (f64, f64), to: (f64, f64), seed: bool, colour: RGBColor) -> Drawn {
    if seed {
        rectangle(canvas, from, to, WHITE.filled())?;
        return rectangle(canvas, from, to, colour.stroke_width(3));
    }
    rectangle(canvas, from, to, colour.filled())
}

fn draw_bar_legend(canvas: &Canvas<'_>, bars: &Bars, left: f64, top: f64) -> Drawn {
    let mut at = left;
    for (index, series) in bars.series.iter().enumerate() {
        let colour = colour(&bars.series, index);
        bar(canvas, (at, top + 4.0), (at + 24.0, top + 26.0), series.seed, colour)?;
        write(canvas, &series.name, (at + 34.0, top + 15.0), Style::plain(colour).beside())?;
        at += width_of(&series.name) + 80.0;
    }
    Ok(())
}

/// Three digits are what a bar can show.
fn value_label(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    number(value, decimals)
}

#[cfg(test)]
mod tests {
    use super::super::figure::Axis;
    use super::*;

    #[test]
    fn a_line_chart_has_its_labels_and_units() {
        let series = vec![
            Series::new("ours <fast>", vec![(1.0, 2.0), (2.0, f64::NAN), (3.0, 4.0)]),
            Series::seed("seed", vec![(1.0, 20.0), (3.0, 40.0)]).coloured_as(0),
        ];
        let (x, y) = (Axis::linear("connections", ""), Axis::linear("latency", "µs"));
        let svg = Figure::lines("f", "A title", x, y, series).subtitled("loopback").to_svg();
        for part in ["A title", "loopback", "connections", "latency [µs]", "ours &lt;fast&gt;", "seed"] {
            assert!(svg.contains(part), "{part}");
        }
    }

    #[test]
    fn a_bar_chart_shows_each_value() {
        let series =
            vec![Series::bars("a", [Some(12.5), None]), Series::bars("b", [Some(1234.0), Some(0.5)])];
        let groups = vec!["one".to_owned(), "two".to_owned()];
        let svg = Figure::bars("f", "Bars", Axis::linear("CPU", "µs"), groups, series).to_svg();
        for part in ["12.5", "1,234", "0.500", "one", "two", "CPU [µs]"] {
            assert!(svg.contains(part), "{part}");
        }
    }

    #[test]
    fn nothing_can_be_drawn_too() {
        for axis in [Axis::linear("x", ""), Axis::log("x", "")] {
            assert!(Figure::lines("f", "t", axis.clone(), axis, vec![]).to_svg().ends_with("</svg>\n"));
        }
        assert!(Figure::bars("f", "t", Axis::linear("x", ""), vec![], vec![]).to_svg().contains("</svg>"));
    }

    #[test]
    fn dashes_cover_the_line_in_its_proportion() {
        let length = |dash: &Vec<(f64, f64)>| {
            dash.windows(2).map(|p| (p[1].0 - p[0].0).hypot(p[1].1 - p[0].1)).sum::<f64>()
        };
        let drawn: f64 = dashes(&[(0.0, 0.0), (30.0, 40.0), (240.0, 40.0)]).iter().map(length).sum::<f64>();
        // 260 units are ten dashes of 14 and ten gaps of 10, then 14 and 6.
        assert!((drawn - 154.0).abs() < 1e-6, "{drawn}");
    }

    #[test]
    fn labels_are_moved_apart() {
        let mut places = [10.0, 11.0, 12.0, 99.0];
        spread(&mut places, 20.0, (0.0, 100.0));
        // Three around eleven would begin above the edge.
        assert_eq!(places, [0.0, 20.0, 40.0, 99.0]);
        let mut close = [49.0, 50.0, 51.0];
        spread(&mut close, 20.0, (0.0, 100.0));
        assert_eq!(close, [30.0, 50.0, 70.0]);
        let mut low = [95.0, 96.0];
        spread(&mut low, 20.0, (0.0, 100.0));
        assert_eq!(low, [80.0, 100.0]);
    }
}
