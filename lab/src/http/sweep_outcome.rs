//! What a sweep found: a table and lines for every server, the ratios between them, the seed's figures beside.

use super::load::SATURATED;
use super::seeds::{REQUESTS, SEEDS};
use super::sweep::{Sample, SweepArguments, Swept};
use crate::measure::{Spread, geometric_mean};
use crate::outcome::{Axis, Cell, Column, Figure, Outcome, Series, Table};

/// Puts everything together.
pub(super) fn show(
    arguments: &SweepArguments,
    steps: &[usize],
    swept: &[Swept],
    client: &[usize],
    server: &[usize],
) -> Outcome {
    let names: Vec<&str> = swept.iter().map(|swept| swept.name.as_str()).collect();
    let mut outcome = Outcome::new(format!("HTTP sweep over numbers of connections: {}", names.join(", ")));
    outcome.setting("connections", format!("{} to {} by {}", arguments.from, arguments.to, arguments.step));
    outcome.setting("requests a step", arguments.requests);
    outcome.setting("rounds", format!("{}, servers in turn; medians are shown", arguments.rounds));
    outcome.setting("path", &arguments.path);
    outcome.setting("client", format!("{} threads on cores {client:?}", arguments.threads));
    outcome.setting("server cores", format!("{server:?} for servers that were started"));
    outcome.tables.extend(swept.iter().map(|swept| of_server(steps, swept)));
    outcome.tables.push(summary(swept));
    if let Some((first, others)) = swept.split_first()
        && !others.is_empty()
    {
        outcome.tables.push(ratios(steps, first, others, &mut outcome.notes));
    }
    outcome.figures.extend(figures(steps, swept));
    saturation(&mut outcome, steps, swept);
    outcome.note(
        "the seed's figures were measured on other hardware, over a real network, with 10 client workers and 500,000 requests a \
         step; only the shape of the lines compares",
    );
    outcome.note(
        "resident and high water count pages that a server's processes share in each of them; proportional counts them once",
    );
    for swept in swept {
        for wrong in &swept.wrong {
            outcome.note(format!("{}: {wrong}", swept.name));
        }
    }
    if let Some(broken) = swept.iter().find(|swept| !swept.wrong.is_empty()) {
        outcome.fail(format!("{} did not answer everything as it should", broken.name));
    }
    outcome
}

fn of_server(steps: &[usize], swept: &Swept) -> Table {
    let columns = vec![
        Column::number("connections", "", 0),
        Column::number("rate", "requests/s", 0),
        Column::number("user", "ms", 0),
        Column::number("system", "ms", 0),
        Column::number("CPU", "µs/request", 1),
        Column::number("resident", "MiB", 2),
        Column::number("proportional", "MiB", 2),
        Column::number("high water", "MiB", 2),
        Column::number("p99", "ms", 2),
        Column::number("server busy", "% of a core", 0),
        Column::number("client busy", "%", 0),
    ];
    let name = format!("sweep-{}", program_name(&swept.name));
    let mut table = Table::new(name, format!("{} by connections", swept.name), columns);
    for (step, connections) in steps.iter().enumerate() {
        let cell = |of: fn(&Sample) -> f64| Cell::from(swept.median(step, of));
        table.row([
            (*connections as f64).into(),
            cell(|sample| sample.requests_per_s),
            cell(|sample| sample.user_ms),
            cell(|sample| sample.system_ms),
            cell(|sample| sample.cpu_us_per_request),
            cell(|sample| sample.resident_kib as f64 / 1024.0),
            cell(|sample| sample.proportional_kib as f64 / 1024.0),
            cell(|sample| sample.high_water_kib as f64 / 1024.0),
            cell(|sample| sample.p99_us / 1000.0),
            cell(|sample| 100.0 * sample.server_busy),
            cell(|sample| 100.0 * sample.client_busy),
        ]);
    }
    table
}

/// Names of tables are for programs: lower case letters, digits and hyphens.
fn program_name(name: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    name.chars().map(plain).collect()
}

fn summary(swept: &[Swept]) -> Table {
    let columns = vec![
        Column::text("server"),
        Column::number("rate", "requests/s", 0),
        Column::number("memory", "MB", 2),
        Column::number("user for 500,000", "ms", 0),
        Column::number("system for 500,000", "ms", 0),
        Column::number("CPU", "µs/request", 1),
        Column::text("took"),
    ];
    let mut table = Table::new("sweep-summary", "Means over the whole sweep, and the seed's", columns);
    for swept in swept {
        let mean = |of: fn(&Sample) -> f64| {
            let all: Vec<f64> = swept.steps.iter().flatten().map(of).collect();
            Cell::from((!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64))
        };
        let seconds = swept.took.as_secs();
        table.row([
            swept.name.as_str().into(),
            mean(|sample| sample.requests_per_s),
            mean(|sample| sample.proportional_kib as f64 * 1024.0 / 1e6),
            mean(|sample| sample.user_ms * REQUESTS / sample.answers.max(1) as f64),
            mean(|sample| sample.system_ms * REQUESTS / sample.answers.max(1) as f64),
            mean(|sample| sample.cpu_us_per_request),
            format!("{}:{:02}", seconds / 60, seconds % 60).into(),
        ]);
    }
    for seed in &SEEDS {
        table.row([
            seed.name.into(),
            seed.requests_per_s.into(),
            seed.memory_mb.into(),
            seed.user_ms.into(),
            seed.system_ms.into(),
            seed.cpu_us_per_request().into(),
            seed.took.into(),
        ]);
    }
    table
}

/// The first server's CPU time a request in parts of each other's, step by step.
fn ratios(steps: &[usize], first: &Swept, others: &[Swept], notes: &mut Vec<String>) -> Table {
    let cpu = |sample: &Sample| sample.cpu_us_per_request;
    let mut columns = vec![Column::number("connections", "", 0)];
    columns.extend(others.iter().enumerate().map(|(index, other)| {
        // Two servers may have one name; two columns may not.
        let twin = others[..index].iter().any(|earlier| earlier.name == other.name);
        let suffix = if twin { format!(" ({})", index + 1) } else { String::new() };
        Column::ratio(format!("{} / {}{suffix}", first.name, other.name))
    }));
    let title = format!("Server CPU time a request, {} against the others", first.name);
    let mut table = Table::new("sweep-ratios", title, columns);
    let spreads: Vec<Vec<Option<Spread>>> = others
        .iter()
        .map(|other| {
            let of_step = |step| Spread::of_ratios(&first.rounds(step, cpu), &other.rounds(step, cpu));
            (0..steps.len()).map(of_step).collect()
        })
        .collect();
    for (step, connections) in steps.iter().enumerate() {
        let mut row = vec![Cell::from(*connections as f64)];
        row.extend(spreads.iter().map(|of| of[step].map_or(Cell::Missing, Spread::as_ratio)));
        table.row_of(row);
    }
    for (other, spreads) in others.iter().zip(&spreads) {
        let medians: Vec<f64> = spreads.iter().flatten().map(|spread| spread.median).collect();
        let worst = medians.iter().copied().fold(0.0, f64::max);
        let at = medians.iter().position(|median| *median >= worst).and_then(|step| steps.get(step));
        if let (Some(mean), Some(at)) = (geometric_mean(&medians), at) {
            notes.push(format!(
                "CPU time a request, {} / {}: geometric mean {mean:.3} ×, worst step {worst:.3} × (at {at} connections)",
                first.name, other.name
            ));
        }
    }
    table
}

fn figures(steps: &[usize], swept: &[Swept]) -> [Figure; 3] {
    let lines = |of: fn(&Sample) -> f64| -> Vec<Series> {
        let of_server = |swept: &Swept| {
            let point =
                |(step, connections): (usize, &usize)| Some((*connections as f64, swept.median(step, of)?));
            Series::new(swept.name.clone(), steps.iter().enumerate().filter_map(point).collect())
        };
        swept.iter().map(of_server).collect()
    };
    let ends = [steps.first(), steps.last()].map(|end| end.map_or(0.0, |connections| *connections as f64));
    let with_seeds = |mut series: Vec<Series>, value: fn(&super::seeds::Seed) -> f64| {
        let seed =
            |seed: &super::seeds::Seed| Series::seed(seed.name, ends.map(|x| (x, value(seed))).to_vec());
        series.extend(SEEDS.iter().map(seed));
        series
    };
    let x = || Axis::linear("connections", "");
    let subtitle = "medians; the seed's are means over its sweep, on other hardware";
    [
        Figure::lines(
            "sweep-rate",
            "Requests a second",
            x(),
            Axis::linear("rate", "requests/s"),
            with_seeds(lines(|sample| sample.requests_per_s), |seed| seed.requests_per_s),
        ),
        Figure::lines(
            "sweep-cpu",
            "The server's CPU time for one request",
            x(),
            Axis::linear("CPU time", "µs/request"),
            with_seeds(lines(|sample| sample.cpu_us_per_request), |seed| seed.cpu_us_per_request()),
        ),
        Figure::lines(
            "sweep-memory",
            "The server's memory",
            x(),
            Axis::linear("memory, shared pages counted once", "MB"),
            with_seeds(lines(|sample| sample.proportional_kib as f64 * 1024.0 / 1e6), |seed| seed.memory_mb),
        ),
    ]
    .map(|figure| figure.subtitled(subtitle))
}

/// Says at which steps the client was the bottleneck.
fn saturation(outcome: &mut Outcome, steps: &[usize], swept: &[Swept]) {
    for swept in swept {
        let is_client = |step: &usize| {
            let client = swept.median(*step, |sample| sample.client_busy).unwrap_or(0.0);
            let server = swept.median(*step, |sample| sample.server_busy).unwrap_or(0.0);
            client >= SATURATED && server < SATURATED
        };
        let count = (0..steps.len()).filter(is_client).count();
        if count > 0 {
            outcome.note(format!(
                "client saturated: at {count} of {} steps the client was the bottleneck of {}; its rate there is the client's, \
                 its CPU time a request is its own",
                steps.len(),
                swept.name
            ));
        } else {
            outcome.note(format!("the client was not the bottleneck of {} at any step", swept.name));
        }
    }
}
