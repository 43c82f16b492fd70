//! The console's commands: their names, shortcuts and arguments, and how they are read.

use crate::config::settings::Trace as TraceLevel;
use crate::config::suggest;
use crate::console::Request;
use crate::web::log::errors::Level;
use std::fmt::Write;

/// Connections that are listed unless somebody says how many.
pub const CONNECTIONS_LISTED: usize = 50;

/// Most connections that are listed.
pub const CONNECTIONS_LISTED_MAX: usize = 10_000;

/// Longest time that a server may be told to drain for, in seconds.
pub const DRAIN_S_MAX: u64 = 86_400;

/// Seconds to drain for unless somebody says how many.
pub const DRAIN_S: u64 = 10;

/// Whoever writes a longer word meant no command; in bytes.
const WORD_BYTES_MAX: usize = 32;

/// A command, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// What there is.
    Help,
    /// The configuration in force.
    Config,
    /// What is part of the server.
    Modules,
    /// How it is.
    Status,
    /// For how long it has run.
    Uptime,
    /// Its sites.
    Sites,
    /// Its workers.
    Workers,
    /// Its endpoints.
    Endpoints,
    /// At most so many of its connections.
    Connections(usize),
    /// Its upstreams and their backends.
    Upstreams,
    /// Takes a backend out, or in again: upstream, address, whether it is taken out.
    DrainBackend(String, String, bool),
    /// Its services.
    Services,
    /// One of them, with its routes and what it has logged.
    Service(String),
    /// Switches a service on or off.
    EnableService(String, bool),
    /// One of its endpoints that has a handler.
    Endpoint(String),
    /// What is told of an endpoint's traffic from now on: endpoint, level.
    Trace(String, TraceLevel),
    /// Takes an endpoint's handler anew: its library.
    Replace(String),
    /// Its limits.
    Limits,
    /// Its governors.
    Governors,
    /// Changes a governor's figure: name, bits per second or no limit.
    Govern(String, Option<u64>),
    /// Which messages the error log takes.
    LogLevel,
    /// Which it shall take.
    SetLogLevel(Level),
    /// Opens the log files anew.
    Reopen,
    /// Finishes what is under way within so many seconds, and stops.
    Drain(u64),
    /// Takes the configuration anew. The supervisor's.
    Reload,
    /// Starts a new binary and hands over to it. The supervisor's.
    Upgrade,
    /// All figures.
    Snapshot,
    /// Clears the screen. The shell's own.
    Clear,
    /// Leaves the shell. The shell's own.
    Quit,
}

/// What is known of a command.
struct Entry {
    name: &'static str,
    /// Other names.
    also: &'static [&'static str],
    shortcut: Option<char>,
    arguments: &'static str,
    help: &'static str,
}

const fn entry(name: &'static str, shortcut: char, help: &'static str) -> Entry {
    Entry { name, also: &[], shortcut: Some(shortcut), arguments: "", help }
}

const COMMANDS: &[Entry] = &[
    Entry { also: &["?"], ..entry("help", 'h', "this list") },
    entry("status", 's', "how the server is: state, requests, connections, traffic, latencies"),
    entry("uptime", 'u', "for how long it has run"),
    entry("workers", 'w', "its workers and how busy they are"),
    Entry { also: &["vhosts"], ..entry("sites", 'v', "its sites and what they have answered") },
    Entry {
        arguments: "[NAME]",
        ..entry("endpoints", 'e', "where it listens, and what came; or one that has a handler")
    },
    Entry {
        name: "trace",
        also: &[],
        shortcut: None,
        arguments: "ENDPOINT off|sizes|bytes",
        help: "what the error log tells of the traffic with a handler, until the next reload",
    },
    Entry {
        name: "replace",
        also: &[],
        shortcut: None,
        arguments: "ENDPOINT",
        help: "takes a handler's library anew; connections that are open end with the old one",
    },
    Entry { arguments: "[COUNT]", ..entry("connections", 'n', "open connections, 50 unless told how many") },
    Entry {
        also: &["backends"],
        ..entry("upstreams", 'p', "servers behind this one, how they are, what they have done")
    },
    Entry {
        name: "drain-backend",
        also: &[],
        shortcut: None,
        arguments: "UPSTREAM ADDRESS",
        help: "gives a backend no more requests; those under way are finished",
    },
    Entry {
        name: "undrain-backend",
        also: &[],
        shortcut: None,
        arguments: "UPSTREAM ADDRESS",
        help: "gives a backend requests again",
    },
    Entry {
        arguments: "[NAME]",
        ..entry("services", 'a', "its services; or one, with its routes and what it has logged last")
    },
    Entry {
        name: "enable-service",
        also: &[],
        shortcut: None,
        arguments: "NAME",
        help: "has a service answer that was switched off",
    },
    Entry {
        name: "disable-service",
        also: &[],
        shortcut: None,
        arguments: "NAME",
        help: "has a service answer 503; what is under way is finished, and its WebSockets stay",
    },
    entry("limits", 'l', "the limits in force"),
    Entry {
        also: &["governors"],
        arguments: "[NAME RATE|off]",
        ..entry("governor", 'b', "governors of bandwidth; or a new figure for one, such as: server 10Mbit/s")
    },
    entry("config", 'f', "the configuration in force"),
    Entry { also: &["plugins"], ..entry("modules", 'g', "what is part of the server, and at which stage") },
    Entry {
        name: "log-level",
        also: &["loglevel"],
        shortcut: None,
        arguments: "[LEVEL]",
        help: "which messages the error log takes: error, warn, notice, info or debug",
    },
    Entry {
        name: "reopen",
        also: &[],
        shortcut: None,
        arguments: "",
        help: "opens the log files anew, after they were moved",
    },
    Entry {
        name: "reload",
        also: &[],
        shortcut: None,
        arguments: "",
        help: "takes the configuration anew; connections live on",
    },
    Entry {
        name: "upgrade",
        also: &[],
        shortcut: None,
        arguments: "",
        help: "hands over to a new binary without refusing anybody",
    },
    Entry {
        name: "drain",
        also: &["stop"],
        shortcut: None,
        arguments: "[SECONDS]",
        help: "finishes what is under way, within 10 seconds unless told, and stops",
    },
    Entry {
        name: "snapshot",
        also: &[],
        shortcut: None,
        arguments: "",
        help: "all figures at once, for machines",
    },
    entry("clear", 'c', "clears the screen"),
    entry("quit", 'q', "leaves the console"),
];

/// What `help` says.
#[must_use]
pub fn help() -> String {
    let mut text = String::new();
    for entry in COMMANDS {
        let shortcut = entry.shortcut.map_or_else(String::new, |letter| format!("\\{letter}"));
        let usage = format!("{} {}", entry.name, entry.arguments);
        let _infallible = writeln!(text, "  {shortcut:<3} {:<27} {}", usage.trim_end(), entry.help);
    }
    text
}

/// Reads a line; `None` when it is empty.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_line(line: &str) -> Result<Option<(Request, Command)>, String> {
    let mut words = line.split_whitespace().map(str::to_owned);
    let Some(command) = words.next() else { return Ok(None) };
    let request = Request { command, arguments: words.collect() };
    let command = parse(&request)?;
    Ok(Some((request, command)))
}

/// Reads a request.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse(request: &Request) -> Result<Command, String> {
    let entry = find(&request.command)?;
    let arguments: Vec<&str> = request.arguments.iter().map(String::as_str).collect();
    if let (true, Some(first)) = (entry.arguments.is_empty(), arguments.first()) {
        return Err(format!("{} takes nothing behind it, and there is {first:?}.", entry.name));
    }
    match entry.name {
        "help" => Ok(Command::Help),
        "config" => Ok(Command::Config),
        "modules" => Ok(Command::Modules),
        "status" => Ok(Command::Status),
        "uptime" => Ok(Command::Uptime),
        "sites" => Ok(Command::Sites),
        "workers" => Ok(Command::Workers),
        "endpoints" => match arguments.as_slice() {
            [] => Ok(Command::Endpoints),
            [name] => Ok(Command::Endpoint((*name).to_owned())),
            _ => Err("endpoints takes nothing, or one name.".to_owned()),
        },
        "trace" => trace(&arguments),
        "replace" => match arguments.as_slice() {
            [name] => Ok(Command::Replace((*name).to_owned())),
            _ => Err("replace takes the name of an endpoint.".to_owned()),
        },
        "upstreams" => Ok(Command::Upstreams),
        "drain-backend" | "undrain-backend" => match arguments.as_slice() {
            [upstream, address] => {
                let is_drained = entry.name == "drain-backend";
                Ok(Command::DrainBackend((*upstream).to_owned(), (*address).to_owned(), is_drained))
            }
            _ => Err(format!("{} takes the name of an upstream and a backend's address.", entry.name)),
        },
        "services" => match arguments.as_slice() {
            [] => Ok(Command::Services),
            [name] => Ok(Command::Service((*name).to_owned())),
            _ => Err("services takes nothing, or one name.".to_owned()),
        },
        "enable-service" | "disable-service" => match arguments.as_slice() {
            [name] => Ok(Command::EnableService((*name).to_owned(), entry.name == "enable-service")),
            _ => Err(format!("{} takes the name of a service.", entry.name)),
        },
        "limits" => Ok(Command::Limits),
        "reopen" => Ok(Command::Reopen),
        "reload" => Ok(Command::Reload),
        "upgrade" => Ok(Command::Upgrade),
        "snapshot" => Ok(Command::Snapshot),
        "clear" => Ok(Command::Clear),
        "connections" => {
            let most = CONNECTIONS_LISTED_MAX as u64;
            let count = number(entry, &arguments, CONNECTIONS_LISTED as u64, 1, most)?;
            Ok(Command::Connections(usize::try_from(count).unwrap_or(CONNECTIONS_LISTED_MAX)))
        }
        "drain" => Ok(Command::Drain(number(entry, &arguments, DRAIN_S, 0, DRAIN_S_MAX)?)),
        "log-level" => match arguments.as_slice() {
            [] => Ok(Command::LogLevel),
            [level] => level.parse().map(Command::SetLogLevel).map_err(|reason| format!("{reason}.")),
            _ => Err("log-level takes one level.".to_owned()),
        },
        "governor" => governor(&arguments),
        _ => Ok(Command::Quit),
    }
}

fn trace(arguments: &[&str]) -> Result<Command, String> {
    let [name, level] = arguments else {
        return Err("trace takes the name of an endpoint, and off, sizes or bytes.".to_owned());
    };
    let level = match *level {
        "off" => TraceLevel::Off,
        "sizes" => TraceLevel::Sizes,
        "bytes" => TraceLevel::Bytes,
        other => return Err(format!("trace takes off, sizes or bytes, not {other:?}.")),
    };
    Ok(Command::Trace((*name).to_owned(), level))
}

fn governor(arguments: &[&str]) -> Result<Command, String> {
    // Names have spaces: the rate is the last word, or the last two.
    let is_number = |word: &str| word.starts_with(|letter: char| letter.is_ascii_digit());
    match arguments {
        [] => Ok(Command::Governors),
        [name @ .., "off"] if !name.is_empty() => Ok(Command::Govern(name.join(" "), None)),
        [name @ .., number, unit] if !name.is_empty() && is_number(number) && !is_number(unit) => {
            Ok(Command::Govern(name.join(" "), Some(rate(&format!("{number}{unit}"))?)))
        }
        [name @ .., figure] if !name.is_empty() && is_number(figure) => {
            Ok(Command::Govern(name.join(" "), Some(rate(figure)?)))
        }
        _ => {
            Err("governor takes nothing, or a name and a rate such as 10Mbit/s, or a name and off."
                .to_owned())
        }
    }
}

/// A rate in bits per second: a number and `bit/s`, `kbit/s`, `Mbit/s` or `Gbit/s`.
fn rate(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no rate; write a number and bit/s, kbit/s, Mbit/s or Gbit/s.");
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.to_ascii_lowercase().trim_end_matches("bit/s") {
        "" if !unit.is_empty() => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        _ => return Err(wrong()),
    };
    let bits = number.parse::<f64>().map_err(|_no_number| wrong())? * factor;
    if !(1.0..=1e15).contains(&bits) {
        return Err(format!("{text:?} is beyond what a rate can be: 1 bit/s to 1000000 Gbit/s."));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(bits.round() as u64)
}

fn number(entry: &Entry, arguments: &[&str], default: u64, least: u64, most: u64) -> Result<u64, String> {
    match arguments {
        [] => Ok(default),
        [text] => {
            let number = text.parse().ok().filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| {
                format!("{} takes a whole number from {least} to {most}, not {text:?}.", entry.name)
            })
        }
        _ => Err(format!("{} takes one number.", entry.name)),
    }
}

fn find(word: &str) -> Result<&'static Entry, String> {
    let is_shortcut = |entry: &Entry| match word.strip_prefix('\\') {
        Some("?") => entry.name == "help",
        Some(letter) => entry.shortcut.is_some_and(|shortcut| letter.chars().eq([shortcut])),
        None => false,
    };
    let is_it = |entry: &&Entry| entry.name == word || entry.also.contains(&word) || is_shortcut(entry);
    if let Some(entry) = COMMANDS.iter().find(is_it) {
        return Ok(entry);
    }
    let hint = match nearest(word) {
        Some(name) => format!("did you mean {name}?"),
        None => "help lists what there is.".to_owned(),
    };
    Err(format!("{word:?} is no command; {hint}"))
}

/// The command that an unknown word was most likely meant for.
fn nearest(word: &str) -> Option<&'static str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let mut begun = COMMANDS.iter().filter(|entry| word.len() > 1 && entry.name.starts_with(word));
    if let (Some(only), None) = (begun.next(), begun.next()) {
        return Some(only.name);
    }
    let names =
        COMMANDS.iter().flat_map(|entry| std::iter::once(entry.name).chain(entry.also.iter().copied()));
    suggest::nearest(word, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        parse_line(line).map(|read| read.expect("there is a word").1)
    }

    #[test]
    fn commands_are_known_by_name_other_name_and_shortcut() {
        for (line, command) in [
            ("help", Command::Help),
            ("?", Command::Help),
            ("\\?", Command::Help),
            ("\\h", Command::Help),
            ("\\f", Command::Config),
            ("plugins", Command::Modules),
            ("\\g", Command::Modules),
            ("\\s", Command::Status),
            ("\\u", Command::Uptime),
            ("vhosts", Command::Sites),
            ("\\v", Command::Sites),
            ("\\w", Command::Workers),
            ("\\c", Command::Clear),
            ("\\q", Command::Quit),
            ("  connections  7 ", Command::Connections(7)),
            ("\\n", Command::Connections(CONNECTIONS_LISTED)),
            ("drain", Command::Drain(10)),
            ("drain 0", Command::Drain(0)),
            ("backends", Command::Upstreams),
            (
                "drain-backend app [::1]:80",
                Command::DrainBackend("app".to_owned(), "[::1]:80".to_owned(), true),
            ),
            (
                "undrain-backend app unix:/x",
                Command::DrainBackend("app".to_owned(), "unix:/x".to_owned(), false),
            ),
            ("services", Command::Services),
            ("\\a chat", Command::Service("chat".to_owned())),
            ("enable-service chat", Command::EnableService("chat".to_owned(), true)),
            ("disable-service chat", Command::EnableService("chat".to_owned(), false)),
            ("log-level debug", Command::SetLogLevel(Level::Debug)),
            ("governor", Command::Governors),
            ("governor server 10Mbit/s", Command::Govern("server".to_owned(), Some(10_000_000))),
            ("governor site a b/sent 1.5 kbit/s", Command::Govern("site a b/sent".to_owned(), Some(1_500))),
            ("\\b server off", Command::Govern("server".to_owned(), None)),
        ] {
            assert_eq!(read(line), Ok(command), "{line}");
        }
        assert_eq!(parse_line("  \t"), Ok(None));
        let names = COMMANDS.iter().filter_map(|entry| entry.shortcut);
        let distinct: std::collections::BTreeSet<char> = names.clone().collect();
        assert_eq!(distinct.len(), names.count(), "a shortcut stands for one command");
    }

    #[test]
    fn mistakes_are_told_with_what_was_meant() {
        for (line, told) in [
            ("staus", "did you mean status?"),
            ("conn", "did you mean connections?"),
            ("reoad", "did you mean reload?"),
            ("xyzzy", "help lists"),
            ("\\x", "help lists"),
            ("status now", "takes nothing behind it"),
            ("connections 0", "from 1 to 10000"),
            ("connections 5 5", "takes one number"),
            ("drain soon", "whole number"),
            ("drain-backend app", "the name of an upstream"),
            ("services a b", "one name"),
            ("disable-service", "the name of a service"),
            ("drain-backen a b", "did you mean drain-backend?"),
            ("log-level loud", "no level"),
            ("governor server", "a name and a rate"),
            ("governor server 10", "no rate"),
            ("governor server 10 parsec", "no rate"),
            ("governor server 0bit/s", "beyond"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(told), "{line}: {error}");
        }
        let endless = "s".repeat(4000);
        assert!(read(&endless).is_err());
    }

    #[test]
    fn help_names_every_command() {
        let help = help();
        assert!(COMMANDS.iter().all(|entry| help.contains(entry.name) && help.contains(entry.help)));
        assert!(help.lines().all(|line| line.len() <= 118), "{help}");
    }
}
