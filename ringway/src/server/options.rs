//! The command line of a program that is built on the façade.

use crate::engine::ring::DriverChoice;
use crate::listen;
use lexopt::prelude::{Long, Short, Value};
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

/// What is served on when nobody says where.
pub(super) const PORT: &str = "8080";

/// Most workers that may be asked for.
const WORKERS_MAX: usize = 1024;

/// What the options are about, behind the program's name.
pub(super) const HELP: &str = "\
[options]

Serves this program's services in one process, on the loopback addresses unless told otherwise. Stops on SIGINT or SIGTERM
when what is under way is finished, at once on a second signal.

  -l, --listen ADDR       8080, 127.0.0.1:8080, [::1]:8080, :8080 (every address), unix:/path; may be repeated
  -p, --port N            this port on the loopback addresses; 0: one that is free (default: 8080)
  -w, --workers N         worker threads, 1 to 1024 (default: one per core)
      --driver NAME       auto, uring or epoll (default: auto)
      --tls               HTTPS, with a certificate made at the start for localhost; for development
      --cert FILE         HTTPS, with this certificate and its chain (PEM)
      --key FILE          the certificate's private key (PEM)
  -s, --set KEY=VALUE     a setting of the service's own; with several services SERVICE.KEY=VALUE; may be repeated
      --data DIR          the directory in which each service has its data, under its name (default: data)
      --log FORMAT        the access log: combined, json or off (default: off)
      --log-file PATH     append it to PATH (default: standard output); SIGUSR1 opens it anew
      --drain S           seconds to finish what is under way when asked to stop (default: 10)
      --console PATH      a console on this Unix socket, for `console` and `top`
      --stats             tell at the end what the services did, and the memory that took
  -h, --help              this text

  -c, --config FILE       what `ringway run -c FILE` does, with this program's services known by their names: a supervisor,
                          a confined server process, reload and upgrade; no other option counts then

Commands of `ringway` itself are there too: run, check, reload, upgrade, console, top, schema, passwd, serve.

Under a service manager sockets that it passes (LISTEN_FDS) are served instead, and it is told when that is so.

Exit codes: 0 stopped as asked, 1 a worker failed, 2 wrong use or cannot start.
";

/// How an access log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LogFormat {
    #[default]
    Off,
    Combined,
    Json,
}

/// What was said on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) listen: Vec<String>,
    pub(super) workers: usize,
    pub(super) driver: DriverChoice,
    pub(super) tls: bool,
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
    /// Key and value, as they were written.
    pub(super) settings: Vec<(String, String)>,
    pub(super) data: Option<PathBuf>,
    pub(super) log: LogFormat,
    pub(super) log_file: Option<PathBuf>,
    pub(super) drain_s: Option<u64>,
    pub(super) console: Option<PathBuf>,
    pub(super) stats: bool,
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// To be told of the options.
    Help,
    /// To be served in this process.
    Serve(Box<Options>),
    /// To be served by what a configuration says.
    Configured { file: PathBuf, takes_over: bool, rehearses: bool },
}

/// Reads a command line that begins with an option, or has nothing.
///
/// # Errors
/// One sentence.
pub(super) fn parse(mut parser: lexopt::Parser) -> Result<Wanted, String> {
    let mut options = Options::default();
    let (mut file, mut takes_over, mut rehearses) = (None, false, false);
    let (mut certificate, mut key) = (None, None);
    while let Some(argument) = parser.next().map_err(sentence)? {
        match argument {
            Short('h') | Long("help") => return Ok(Wanted::Help),
            Short('c') | Long("config") => file = Some(path(&mut parser)?),
            // Said by another program of ours.
            Long("take-over") => takes_over = true,
            Long("rehearse") => rehearses = true,
            Short('l') | Long("listen") => options.listen.push(address(&mut parser)?),
            Short('p') | Long("port") => options.listen.push(port(&mut parser)?),
            Short('w') | Long("workers") => {
                options.workers = number(&mut parser, "--workers", 1, WORKERS_MAX)?
            }
            Long("driver") => options.driver = driver(&text(&mut parser)?)?,
            Long("tls") => options.tls = true,
            Long("cert") => certificate = Some(path(&mut parser)?),
            Long("key") => key = Some(path(&mut parser)?),
            Short('s') | Long("set") => options.settings.push(setting(&text(&mut parser)?)?),
            Long("data") => options.data = Some(path(&mut parser)?),
            Long("log") => options.log = log_format(&text(&mut parser)?)?,
            Long("log-file") => options.log_file = Some(path(&mut parser)?),
            Long("drain") => options.drain_s = Some(number(&mut parser, "--drain", 1, 86_400)?),
            Long("console") => options.console = Some(path(&mut parser)?),
            Long("stats") => options.stats = true,
            Value(word) => return Err(format!("{word:?} is no command and no option.")),
            other => return Err(sentence(other.unexpected())),
        }
    }
    if let Some(file) = file {
        return Ok(Wanted::Configured { file, takes_over, rehearses });
    }
    options.certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            return Err("--cert needs --key, the file with the certificate's private key.".to_owned());
        }
        (None, Some(_)) => return Err("--key needs --cert, the file with the certificate.".to_owned()),
    };
    if options.log_file.is_some() && options.log == LogFormat::Off {
        options.log = LogFormat::Combined;
    }
    Ok(Wanted::Serve(Box::new(options)))
}

fn address(parser: &mut lexopt::Parser) -> Result<String, String> {
    let text = text(parser)?;
    listen::parse(&text).map(|_addresses| text)
}

fn port(parser: &mut lexopt::Parser) -> Result<String, String> {
    number(parser, "--port", 0, u16::MAX).map(|port| port.to_string())
}

fn setting(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| format!("--set takes KEY=VALUE, not {text:?}."))?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "off" => Ok(LogFormat::Off),
        "combined" => Ok(LogFormat::Combined),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is no log format; there are combined, json and off.")),
    }
}

fn driver(text: &str) -> Result<DriverChoice, String> {
    match text {
        "auto" => Ok(DriverChoice::Auto),
        "uring" => Ok(DriverChoice::Uring),
        "epoll" => Ok(DriverChoice::Epoll),
        _ => Err(format!("{text:?} is no driver; there are auto, uring and epoll.")),
    }
}

fn path(parser: &mut lexopt::Parser) -> Result<PathBuf, String> {
    parser.value().map(Into::into).map_err(sentence)
}

fn text(parser: &mut lexopt::Parser) -> Result<String, String> {
    let value: OsString = parser.value().map_err(sentence)?;
    value.into_string().map_err(|value| format!("{value:?} is not UTF-8."))
}

fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    parser: &mut lexopt::Parser,
    name: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    let text = text(parser)?;
    let number = text.parse().ok().filter(|number: &T| *number >= least && *number <= most);
    number.ok_or_else(|| format!("{name} takes a whole number from {least} to {most}, not {text:?}."))
}

fn sentence(error: lexopt::Error) -> String {
    format!("{error}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Wanted, String> {
        parse(lexopt::Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn options_are_read() {
        let line = "--port 0 -l unix:/x --workers 3 --driver epoll --tls --set a.b=1 -s greeting=x=y --log-file l --stats";
        let Ok(Wanted::Serve(options)) = read(line) else { panic!("{line}") };
        let expected = Options {
            listen: vec!["0".to_owned(), "unix:/x".to_owned()],
            workers: 3,
            driver: DriverChoice::Epoll,
            tls: true,
            settings: vec![("a.b".to_owned(), "1".to_owned()), ("greeting".to_owned(), "x=y".to_owned())],
            log: LogFormat::Combined,
            log_file: Some("l".into()),
            stats: true,
            ..Options::default()
        };
        assert_eq!(*options, expected);
        assert_eq!(read("--port 1 -h"), Ok(Wanted::Help));
        let configured = Wanted::Configured { file: "f".into(), takes_over: true, rehearses: false };
        assert_eq!(read("--config f --take-over"), Ok(configured));
    }

    #[test]
    fn wrong_use_is_told_in_a_sentence() {
        for line in [
            "--port 70000",
            "--port",
            "--listen nowhere",
            "--workers 0",
            "--workers 1025",
            "--driver x",
            "--set novalue",
            "--set =1",
            "--cert a",
            "--key a",
            "--log loud",
            "--nonsense",
            "--drain 0",
        ] {
            let sentence = read(line).expect_err(line);
            assert!(sentence.ends_with('.') && sentence.len() > 10, "{line}: {sentence}");
        }
    }
}
