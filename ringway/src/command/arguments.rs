//! The command line.

#[cfg(all(feature = "config", feature = "sandbox"))]
use super::asking::{self, Ask};
#[cfg(feature = "develop")]
use super::developing::{self, Developing};
#[cfg(feature = "console")]
use super::operate;
#[cfg(all(feature = "config", feature = "sandbox"))]
use super::supervised::{self, Supervised};
#[cfg(feature = "console")]
use crate::console::shell::Shell;
use crate::engine::ring::DriverChoice;
use crate::engine::{Balance, WaitMode};
use crate::listen;
#[cfg(feature = "tls")]
use crate::serve::ServeTls;
use crate::serve::{LogTarget, Serve};
use crate::web::access_log::Format;
use crate::web::log::files::KEPT_MAX;
use lexopt::prelude::{Long, Short, Value};
use std::ffi::OsString;
#[cfg(any(feature = "config", feature = "tls"))]
use std::path::PathBuf;
use std::str::FromStr;

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print this.
    Help(&'static str),
    /// Print the version.
    Version {
        /// With what the kernel offers.
        verbose: bool,
    },
    /// Serve.
    Serve(Box<Serve>),
    /// Tell what is wrong with a configuration.
    #[cfg(feature = "config")]
    Check {
        /// The configuration.
        file: PathBuf,
        /// For editors.
        json: bool,
    },
    /// Print the JSON schema of configurations.
    #[cfg(feature = "config")]
    Schema,
    /// A supervisor, or something of one.
    #[cfg(all(feature = "config", feature = "sandbox"))]
    Supervised(Supervised),
    /// Something of developers.
    #[cfg(feature = "develop")]
    Developing(Developing),
    /// A user's password.
    #[cfg(feature = "config")]
    Passwd(super::passwd::Passwd),
    /// Talk to a running server.
    #[cfg(feature = "console")]
    Console(Shell, PathBuf),
    /// Show a running server's figures.
    #[cfg(feature = "console")]
    Top(PathBuf),
}

/// The configuration that is taken when none is named.
#[cfg(feature = "config")]
pub(crate) const CONFIGURATION: &str = "ringway.toml";

#[cfg(feature = "config")]
const HELP: &str = "\
Ringway serves sites of files over HTTP/1.1, HTTP/2 and TLS on a completion engine (io_uring, or epoll where that is refused).

Usage: ringway serve [DIR] [options]     serve a directory (the current one)
       ringway run [-c FILE]             serve what a configuration says
       ringway reload [-c FILE]          have a running server read its configuration anew
       ringway upgrade [-c FILE]         have a running server replaced by the program's new file
       ringway check [-c FILE] [--json]  tell everything that is wrong with a configuration
       ringway schema                    print the JSON schema of configurations, for editors
       ringway passwd [FILE] NAME        a user's password, into a file of users or printed
       ringway console [COMMAND...]      ask a running server, or tell it what to do
       ringway top                       a running server's figures, every second
       ringway new PATH                  make a project: a service, an API, a chat, an axum application
       ringway dev [PATH]                build and run a service, and again when its sources change
       ringway --version [--verbose]     version; with kernel features and choices
       ringway --help | ringway COMMAND --help

Exit codes: 0 stopped as asked, 1 a worker failed, 2 wrong use or cannot start.
";

#[cfg(not(feature = "config"))]
const HELP: &str = "\
Ringway serves files over HTTP/1.1 on a completion engine (io_uring, or epoll where that is refused).

Usage: ringway serve [DIR] [options]     serve a directory (the current one)
       ringway --version [--verbose]     version; with kernel features and choices
       ringway --help | ringway serve --help

Exit codes: 0 stopped as asked, 1 a worker failed, 2 wrong use or cannot start.
";

macro_rules! serve_help {
    ($tls:literal) => {
        concat!(
            "\
Usage: ringway serve [DIR] [options]

Serves the files below DIR (the current directory) over HTTP/1.1. Names that begin with a dot answer 404, except
.well-known; symbolic links that lead out of DIR are not followed. Stops on SIGINT or SIGTERM when what is under way is
finished, at the latest after the drain time; at once on a second signal.

  -l, --listen ADDR       8080, 127.0.0.1:8080, [::1]:8080, :8080 (every address), unix:/path; may be repeated
                          (default: 8080 on both loopback addresses)
  -w, --workers N         worker threads, 1 to 1024 (default: one per core)
      --driver NAME       auto, uring or epoll (default: auto)
      --wait MODE         event, adaptive or polled (default: event; polled keeps its cores busy)
      --balance NAME      reuseport or least-loaded (default: reuseport)
      --index NAME        index file; may be repeated (default: index.html)
      --no-listing        directories without index file answer 404
",
            $tls,
            "      --log FORMAT        combined, json or off (default: combined)
      --log-file PATH     append the access log to PATH (default: standard output); SIGUSR1 opens it anew
      --log-size MIB      begin a new file when it has so many MiB; 0: never (default: 0)
      --log-keep N        old log files to keep, as PATH.1, PATH.2 ... (default: 10)
      --max-connections N connections a worker keeps open (default: 100000)
      --max-per-address N connections of one address a worker keeps open; 0: no limit
                          (default: 0 on loopback, 1024 elsewhere)
      --idle-timeout S    seconds a connection may wait between requests (default: 60)
      --head-timeout S    seconds a request's head may take (default: 15)
      --body-timeout S    seconds a request's body may take (default: 60)
      --send-timeout S    seconds in which an answer must move 16 KiB (default: 30)
      --drain S           seconds to finish what is under way when asked to stop (default: 10)
      --fast-open N       pending TCP Fast Open requests; 0: off (default: 0)
  -h, --help              this text

Exit codes: 0 stopped as asked, 1 a worker failed, 2 wrong use or cannot start.
"
        )
    };
}

#[cfg(feature = "tls")]
const SERVE_HELP: &str = serve_help!(
    "      --tls               HTTPS, with a certificate made at the start for localhost; for development
      --tls-name NAME     a further name or address it is made for; may be repeated
      --cert FILE         HTTPS, with this certificate and its chain (PEM); SIGHUP reads it anew
      --key FILE          the certificate's private key (PEM)
"
);
#[cfg(not(feature = "tls"))]
const SERVE_HELP: &str = serve_help!("");

#[cfg(feature = "config")]
const COMMANDS: &str =
    "there are serve, run, reload, upgrade, check, schema, passwd, console, top, new and dev";
#[cfg(not(feature = "config"))]
const COMMANDS: &str = "there is serve";

#[cfg(feature = "config")]
const CHECK_HELP: &str = "\
Usage: ringway check [-c FILE] [--json]

Reads the configuration and everything it includes, and tells all that is wrong with it: what is misspelt or out of range,
names that lead nowhere or are there twice, files and certificates that cannot be used, hosts that do not resolve, ports that
somebody else has. Nothing is served.

  -c, --config FILE       the configuration (default: ringway.toml)
      --json              one JSON object a line, for editors: severity, message, hint, file, line, column, width
  -h, --help              this text

Exit codes: 0 nothing is wrong (there may be warnings), 2 the configuration cannot be used.
";

#[cfg(feature = "config")]
const SCHEMA_HELP: &str = "\
Usage: ringway schema

Prints the JSON schema of configurations. Editors with a TOML language server complete and check with it.
";

#[cfg(feature = "config")]
const PASSWD_HELP: &str = "\
Usage: ringway passwd [FILE | -c CONFIG] NAME
       ringway passwd --delete (FILE | -c CONFIG) NAME

Asks for NAME's password, twice and without showing it, or takes it from the first line of standard input when that is no
terminal. Its hash (argon2id) goes into FILE as a line NAME:HASH, in place of the user's line if there is one; FILE is made
when there is none, for its owner alone to read. Without FILE the line is printed. A running server sees the change with
the next password it verifies.

  -c, --config CONFIG     the file of users that this configuration names
  -d, --delete            take the user out of FILE
  -h, --help              this text

Exit codes: 0 done, 2 not done.
";

/// Reads the command line.
///
/// # Errors
/// One sentence.
pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Command, String> {
    let mut wants_version = false;
    let mut verbose = false;
    while let Some(argument) = parser.next().map_err(sentence)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(HELP)),
            Short('V') | Long("version") => wants_version = true,
            Short('v') | Long("verbose") => verbose = true,
            Value(command) if command == "serve" && !wants_version => return parse_serve(&mut parser),
            #[cfg(feature = "config")]
            Value(command) if command == "check" && !wants_version => return parse_check(&mut parser),
            #[cfg(all(feature = "config", feature = "sandbox"))]
            Value(command) if command == "run" && !wants_version => {
                return supervised::parse_run(&mut parser);
            }
            #[cfg(all(feature = "config", feature = "sandbox"))]
            Value(command) if command == "reload" && !wants_version => {
                return asking::parse(&mut parser, Ask::Reload);
            }
            #[cfg(all(feature = "config", feature = "sandbox"))]
            Value(command) if command == "upgrade" && !wants_version => {
                return asking::parse(&mut parser, Ask::Upgrade);
            }
            #[cfg(all(feature = "config", feature = "sandbox"))]
            Value(command) if command == crate::supervisor::COMMAND => {
                return Ok(Command::Supervised(Supervised::ServerProcess));
            }
            #[cfg(feature = "cgi")]
            Value(command) if command == crate::starter::COMMAND => {
                return Ok(Command::Supervised(Supervised::Starter));
            }
            #[cfg(feature = "develop")]
            Value(command) if command == "new" && !wants_version => {
                return developing::parse_new(&mut parser);
            }
            #[cfg(feature = "develop")]
            Value(command) if command == "dev" && !wants_version => {
                return developing::parse_dev(&mut parser);
            }
            #[cfg(feature = "develop")]
            Value(command) if command == crate::develop::LAUNCH => {
                return Ok(Command::Developing(Developing::Launch));
            }
            #[cfg(feature = "config")]
            Value(command) if command == "schema" && !wants_version => return parse_schema(&mut parser),
            #[cfg(feature = "config")]
            Value(command) if command == "passwd" && !wants_version => return parse_passwd(&mut parser),
            #[cfg(feature = "console")]
            Value(command) if command == "top" && !wants_version => return operate::parse_top(&mut parser),
            #[cfg(feature = "console")]
            Value(command) if command == "console" && !wants_version => {
                return operate::parse_console(&mut parser);
            }
            Value(command) if command == "help" => return Ok(Command::Help(HELP)),
            Value(other) => return Err(format!("{other:?} is no command; {COMMANDS}.")),
            other => return Err(sentence(other.unexpected())),
        }
    }
    if wants_version { Ok(Command::Version { verbose }) } else { Ok(Command::Help(HELP)) }
}

#[cfg(feature = "config")]
fn parse_passwd(parser: &mut lexopt::Parser) -> Result<Command, String> {
    let mut words: Vec<OsString> = Vec::new();
    let mut deletes = false;
    while let Some(argument) = parser.next().map_err(sentence)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(PASSWD_HELP)),
            Short('d') | Long("delete") => deletes = true,
            Short('c') | Long("config") => {
                words.push(
                    super::passwd::users_file(&PathBuf::from(parser.value().map_err(sentence)?))?.into(),
                );
            }
            Value(word) if words.len() < 2 => words.push(word),
            Value(more) => return Err(format!("a file and a name are enough; {more:?} is a third.")),
            other => return Err(sentence(other.unexpected())),
        }
    }
    let name = words.pop().ok_or("passwd takes the name of a user.")?;
    let name = name.into_string().map_err(|name| format!("{name:?} is not UTF-8."))?;
    let file = words.pop().map(Into::into);
    if deletes && file.is_none() {
        return Err("--delete takes a file and a name.".to_owned());
    }
    Ok(Command::Passwd(super::passwd::Passwd { file, name, deletes }))
}

fn parse_serve(parser: &mut lexopt::Parser) -> Result<Command, String> {
    let mut serve = Serve::new(".");
    let mut has_root = false;
    let mut index = Vec::new();
    let mut per_address = None;
    #[cfg(feature = "tls")]
    let mut tls = Tls::default();
    while let Some(argument) = parser.next().map_err(sentence)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(SERVE_HELP)),
            Short('l') | Long("listen") => serve.listen.extend(listen::parse(&text(parser)?)?),
            Short('w') | Long("workers") => serve.workers = number(parser, "--workers", 1, 1024)?,
            Long("driver") => serve.driver = driver(&text(parser)?)?,
            Long("wait") => serve.wait = wait(&text(parser)?)?,
            Long("balance") => serve.balance = balance(&text(parser)?)?,
            Long("index") => index.push(text(parser)?),
            Long("no-listing") => serve.listing = false,
            Long("log") => log_format(&text(parser)?, &mut serve)?,
            Long("log-file") => serve.log = LogTarget::File(parser.value().map_err(sentence)?.into()),
            Long("log-size") if cfg!(feature = "rotation") => {
                serve.log_rotation.bytes_max = number(parser, "--log-size", 0, 1024 * 1024_u64)? << 20
            }
            Long("log-keep") if cfg!(feature = "rotation") => {
                serve.log_rotation.kept = number(parser, "--log-keep", 1, KEPT_MAX)?
            }
            Long("max-connections") => {
                serve.connections_max = number(parser, "--max-connections", 1, 10_000_000)?
            }
            Long("max-per-address") => per_address = Some(number(parser, "--max-per-address", 0, u32::MAX)?),
            Long("idle-timeout") => serve.limits.idle_ms_max = seconds(parser, "--idle-timeout")?,
            Long("head-timeout") => serve.limits.head_ms_max = seconds(parser, "--head-timeout")?,
            Long("body-timeout") => serve.limits.body_ms_max = seconds(parser, "--body-timeout")?,
            Long("send-timeout") => serve.limits.send_window_ms = seconds(parser, "--send-timeout")?,
            Long("drain") => serve.drain_ms = seconds(parser, "--drain")?,
            #[cfg(feature = "console")]
            Long("console") => {
                serve.console = Some(parser.value().map_err(sentence)?.into());
                serve.book = Some(std::sync::Arc::default());
            }
            Long("fast-open") => serve.fast_open_queue = number(parser, "--fast-open", 0, 65_535)?,
            #[cfg(feature = "tls")]
            Long("tls") => tls.is_wanted = true,
            #[cfg(feature = "tls")]
            Long("tls-name") => tls.names.push(text(parser)?),
            #[cfg(feature = "tls")]
            Long("cert") => tls.certificate = Some(parser.value().map_err(sentence)?.into()),
            #[cfg(feature = "tls")]
            Long("key") => tls.key = Some(parser.value().map_err(sentence)?.into()),
            Value(root) if !has_root => {
                serve.root = root.into();
                has_root = true;
            }
            Value(more) => return Err(format!("one directory is served, and {more:?} is a second.")),
            other => return Err(sentence(other.unexpected())),
        }
    }
    if !index.is_empty() {
        serve.index = index;
    }
    #[cfg(feature = "tls")]
    {
        serve.tls = tls.resolved()?;
    }
    finish(&mut serve, per_address);
    Ok(Command::Serve(Box::new(serve)))
}

#[cfg(feature = "config")]
fn parse_check(parser: &mut lexopt::Parser) -> Result<Command, String> {
    let (mut file, mut json) = (PathBuf::from(CONFIGURATION), false);
    while let Some(argument) = parser.next().map_err(sentence)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(CHECK_HELP)),
            Short('c') | Long("config") => file = parser.value().map_err(sentence)?.into(),
            Long("json") => json = true,
            other => return Err(sentence(other.unexpected())),
        }
    }
    Ok(Command::Check { file, json })
}

#[cfg(feature = "config")]
fn parse_schema(parser: &mut lexopt::Parser) -> Result<Command, String> {
    match parser.next().map_err(sentence)? {
        None => Ok(Command::Schema),
        Some(Short('h') | Long("help")) => Ok(Command::Help(SCHEMA_HELP)),
        Some(other) => Err(sentence(other.unexpected())),
    }
}

/// What was said of TLS.
#[cfg(feature = "tls")]
#[derive(Default)]
struct Tls {
    is_wanted: bool,
    names: Vec<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[cfg(feature = "tls")]
impl Tls {
    fn resolved(self) -> Result<Option<ServeTls>, String> {
        match (self.certificate, self.key) {
            (Some(_), Some(_)) if !self.names.is_empty() => {
                Err("--tls-name is for a certificate that is made, and --cert names one that is there."
                    .to_owned())
            }
            (Some(certificate), Some(key)) => Ok(Some(ServeTls::Files { certificate, key })),
            (Some(_), None) => {
                Err("--cert needs --key, the file with the certificate's private key.".to_owned())
            }
            (None, Some(_)) => Err("--key needs --cert, the file with the certificate.".to_owned()),
            (None, None) if self.is_wanted => Ok(Some(ServeTls::SelfSigned(self.names))),
            (None, None) if self.names.is_empty() => Ok(None),
            (None, None) => Err("--tls-name needs --tls.".to_owned()),
        }
    }
}

/// Defaults that depend on other settings.
fn finish(serve: &mut Serve, per_address: Option<u32>) {
    if serve.listen.is_empty() {
        serve.listen = listen::parse("8080").unwrap_or_default();
        serve.is_listen_optional = true;
    }
    let is_local = serve.listen.iter().all(listen::is_local);
    serve.connections_per_address_max = per_address.unwrap_or(if is_local { 0 } else { 1024 });
}

pub(super) fn text(parser: &mut lexopt::Parser) -> Result<String, String> {
    let value: OsString = parser.value().map_err(sentence)?;
    value.into_string().map_err(|value| format!("{value:?} is not UTF-8."))
}

pub(super) fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    parser: &mut lexopt::Parser,
    name: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    let text = text(parser)?;
    let number = text.parse().ok().filter(|number: &T| *number >= least && *number <= most);
    number.ok_or_else(|| format!("{name} takes a whole number from {least} to {most}, not {text:?}."))
}

/// A time limit in whole seconds, as milliseconds.
fn seconds(parser: &mut lexopt::Parser, name: &str) -> Result<u64, String> {
    number(parser, name, 1, 86_400_u64).map(|seconds| seconds * 1000)
}

fn driver(text: &str) -> Result<DriverChoice, String> {
    match text {
        "auto" => Ok(DriverChoice::Auto),
        "uring" => Ok(DriverChoice::Uring),
        "epoll" => Ok(DriverChoice::Epoll),
        _ => Err(format!("{text:?} is no driver; there are auto, uring and epoll.")),
    }
}

fn wait(text: &str) -> Result<WaitMode, String> {
    text.parse().map_err(|reason: String| format!("{reason}."))
}

fn balance(text: &str) -> Result<Balance, String> {
    match text {
        "reuseport" => Ok(Balance::ReusePort),
        "least-loaded" => Ok(Balance::LeastLoaded),
        _ => Err(format!("{text:?} is no balance; there are reuseport and least-loaded.")),
    }
}

fn log_format(text: &str, serve: &mut Serve) -> Result<(), String> {
    match text {
        "off" => serve.log = LogTarget::Off,
        "combined" => serve.log_format = Format::Combined,
        "json" => serve.log_format = Format::Json,
        _ => return Err(format!("{text:?} is no log format; there are combined, json and off.")),
    }
    Ok(())
}

pub(crate) fn sentence(error: lexopt::Error) -> String {
    format!("{error}.")
}
