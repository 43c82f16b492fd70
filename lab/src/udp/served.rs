//! What a receiver has done: its table, and reading that back.

use serde_json::Value;

use super::kernel;
use super::trial::{Counts, Span, Trial};
use crate::outcome::{Cell, Column, Table};

/// What a receiver knew before its sockets were closed.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// Datagrams that the kernel dropped at its sockets.
    pub(super) dropped: Option<u64>,
    /// Its own counters.
    pub(super) counters: Vec<(String, f64)>,
}

/// What a receiver has done, as its table says it and as `udp matrix` reads it back from there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Served {
    pub(super) datagrams: f64,
    pub(super) seconds: f64,
    pub(super) cpu_ns: f64,
    pub(super) user_ns: Option<f64>,
    pub(super) kernel_ns: Option<f64>,
    pub(super) dropped: Option<f64>,
    pub(super) dropped_by_host: Option<f64>,
    pub(super) locked_kib: Option<f64>,
    pub(super) resident_kib: Option<f64>,
    pub(super) longer: f64,
    pub(super) disordered: f64,
}

/// Names and units of the rows.
const ROWS: [(&str, &str); 12] = [
    ("datagrams", ""),
    ("time", "s"),
    ("rate", "datagrams/s"),
    ("CPU per datagram", "ns"),
    ("user time per datagram", "ns"),
    ("kernel time per datagram", "ns"),
    ("dropped at the sockets", ""),
    ("dropped in the network namespace", ""),
    ("memory locked", "KiB"),
    ("memory at its peak", "KiB"),
    ("longer than expected", ""),
    ("out of order", ""),
];

impl Served {
    pub(super) fn of(trial: &Trial, closing: &Closing, errors: Option<u64>) -> Served {
        let Counts { datagrams, longer, disordered } = trial.counts();
        let Span { wall, cpu, kernel_share } = trial.span();
        let count = datagrams as f64;
        let cpu_ns = if datagrams == 0 { 0.0 } else { cpu.as_nanos() as f64 / count };
        let kib = |name| kernel::status_kib(name).map(|kib| kib as f64);
        Served {
            datagrams: count,
            seconds: wall.as_secs_f64(),
            cpu_ns,
            user_ns: kernel_share.map(|share| cpu_ns * (1.0 - share)),
            kernel_ns: kernel_share.map(|share| cpu_ns * share),
            dropped: closing.dropped.map(|dropped| dropped as f64),
            dropped_by_host: errors.map(|errors| errors as f64),
            locked_kib: kib("VmLck").zip(kib("VmPin")).map(|(locked, pinned)| locked + pinned),
            resident_kib: kib("VmHWM"),
            longer: longer as f64,
            disordered: disordered as f64,
        }
    }

    /// Datagrams a second.
    pub(super) fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.datagrams / self.seconds } else { 0.0 }
    }

    pub(super) fn table(&self, counters: &[(String, f64)]) -> Table {
        let columns = vec![Column::text("what"), Column::number("value", "", 0)];
        let mut table = Table::new("served", "What the receiver did", columns);
        for ((name, unit), value) in ROWS.iter().zip(self.values()) {
            table.row([(*name).into(), quantity(value, unit)]);
        }
        for (name, value) in counters {
            table.row([name.as_str().into(), (*value).into()]);
        }
        table
    }

    /// Reads what [`Served::table`] wrote into the JSON of an outcome.
    pub(super) fn read(outcome: &Value) -> Option<Served> {
        let mut values = [None; ROWS.len()];
        for ((name, _), value) in ROWS.iter().zip(&mut values) {
            *value = row_of(outcome, name)?["value"].as_f64();
        }
        let [
            datagrams,
            seconds,
            _rate,
            cpu_ns,
            user_ns,
            kernel_ns,
            dropped,
            dropped_by_host,
            locked_kib,
            resident_kib,
            longer,
            disordered,
        ] = values;
        Some(Served {
            datagrams: datagrams?,
            seconds: seconds?,
            cpu_ns: cpu_ns?,
            user_ns,
            kernel_ns,
            dropped,
            dropped_by_host,
            locked_kib,
            resident_kib,
            longer: longer?,
            disordered: disordered?,
        })
    }

    fn values(&self) -> [Option<f64>; ROWS.len()] {
        [
            Some(self.datagrams),
            Some(self.seconds),
            Some(self.rate()),
            Some(self.cpu_ns),
            self.user_ns,
            self.kernel_ns,
            self.dropped,
            self.dropped_by_host,
            self.locked_kib,
            self.resident_kib,
            Some(self.longer),
            Some(self.disordered),
        ]
    }
}

/// A value with its unit, or that there is none.
pub(super) fn quantity(value: Option<f64>, unit: &str) -> Cell {
    let decimals = match unit {
        "s" => 3,
        "ns" => 1,
        _ => 0,
    };
    value.map_or(Cell::Missing, |value| Cell::Quantity { value, unit: unit.to_owned(), decimals })
}

/// The value in the row of an outcome's first table that is called `name`.
pub(super) fn row_of<'a>(outcome: &'a Value, name: &str) -> Option<&'a Value> {
    let rows = outcome["tables"][0]["rows"].as_array()?;
    rows.iter().find(|row| row["what"] == name).map(|row| &row["value"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;

    #[test]
    fn what_the_table_says_can_be_read_back() {
        let served = Served {
            datagrams: 1e6,
            seconds: 1.25,
            cpu_ns: 512.5,
            user_ns: Some(100.0),
            kernel_ns: Some(412.5),
            dropped: Some(7.0),
            dropped_by_host: None,
            locked_kib: Some(0.0),
            resident_kib: Some(9000.0),
            longer: 3.0,
            disordered: 0.0,
        };
        let mut outcome = Outcome::new("a trial");
        outcome.tables.push(served.table(&[("batches".to_owned(), 5.0)]));
        assert_eq!(Served::read(&outcome.to_json()), Some(served));
        assert_eq!(Served::read(&Outcome::new("nothing").to_json()), None);
    }
}
