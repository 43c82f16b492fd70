//! Commands of developers: `new`, `dev`, and the hidden one of a program that is started by it.

use super::CANNOT_START;
use super::arguments::{Command, number, sentence, text};
use crate::develop::{self, Dev, Source, Template};
use crate::engine::ring::socket::Address;
use crate::listen;
use crate::serve::Serve;
use lexopt::prelude::{Long, Short, Value};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const DEV_HELP: &str = "\
Usage: ringway dev [PATH] [options] [-- ARGUMENT...]

Builds the package in PATH (the current directory), runs it, and watches its sources: when they change it is built again, and
takes over when it serves, so that no connection is refused meanwhile. While it does not compile, what served before serves
on; the compiler's words are shown here and in the browser. Pages reload themselves. A program that crashes is started again.
A PATH without Cargo.toml is a directory of files, which is served.

  -p, --port N            where to listen, on the loopback addresses (default: 8080)
  -l, --listen ADDR       8080, 127.0.0.1:8080, :8080 (every address); may be repeated
      --tls               HTTPS, with a certificate made for localhost and kept with what is built
      --set KEY=VALUE     a setting of the program in place of its configuration's; may be repeated
      --stats             have the program tell of its memory and its requests when it ends
      --release           build with optimisations
  -F, --features LIST     features of the package, separated by commas; may be repeated
      --bin NAME          which program, where the package has several
  -h, --help              this text

Exit codes: 0 stopped as asked, 2 wrong use or cannot start.
";

const NEW_HELP: &str = "\
Usage: ringway new PATH [--template NAME | --endpoint] [--ringway DIR]

Makes a project in PATH, which is called as the directory is.

  -t, --template NAME     what it begins with: hello, the smallest service (the default); api, a to-do list with a JSON API on
                          SQLite and a page that follows; chat, with rooms, history and presence on WebSockets; axum, an
                          application of axum's; endpoint, a protocol of your own in a library that an endpoint loads
  -e, --endpoint          --template endpoint
      --ringway DIR       Ringway's package in this directory, in place of the version of this program in the registry
  -h, --help              this text

Exit codes: 0 done, 2 not done.
";

/// A command of this file.
#[derive(Debug)]
pub(crate) enum Developing {
    /// Make a project.
    New {
        /// Its directory.
        at: PathBuf,
        /// What it begins with.
        template: Template,
        /// Where it has Ringway from.
        source: Source,
    },
    /// Develop a package.
    Dev(Box<Dev>),
    /// Become a program that is developed.
    Launch,
}

/// Reads the arguments of `new`.
pub(crate) fn parse_new(parser: &mut lexopt::Parser) -> Result<Command, String> {
    let (mut at, mut template, mut source) = (None, Template::default(), Source::Version);
    while let Some(argument) = parser.next().map_err(sentence)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(NEW_HELP)),
            Short('t') | Long("template") => {
                template = text(parser)?.parse().map_err(|sentence| format!("{sentence}."))?;
            }
            Short('e') | Long("endpoint") => template = Template::Endpoint,
            Long("ringway") => source = Source::Path(parser.value().map_err(sentence)?.into()),
            Value(path) if at.is_none() => at = Some(PathBuf::from(path)),
            other => return Err(sentence(other.unexpected())),
        }
    }
    let at = at.ok_or("new takes the directory that the project shall be in.")?;
    Ok(Command::Developing(Developing::New { at, template, source }))
}

/// Reads the arguments of `dev`.
pub(crate) fn parse_dev(parser: &mut lexopt::Parser) -> Result<Command, String> {
    let mut path = None;
    let mut dev = Dev {
        path: ".".into(),
        listen: Vec::new(),
        is_listen_optional: false,
        is_tls: false,
        is_release: false,
        features: Vec::new(),
        program: None,
        arguments: Vec::new(),
    };
    while let Some(argument) = parser.next().map_err(sentence)? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help(DEV_HELP)),
            Short('p') | Long("port") => {
                dev.listen.extend(on_port(number(parser, "--port", 0, u16::MAX)?));
                dev.is_listen_optional = true;
            }
            Short('l') | Long("listen") => dev.listen.extend(listen::parse(&text(parser)?)?),
            Long("tls") => dev.is_tls = true,
            Long("set") => {
                let setting = text(parser)?;
                if !setting.contains('=') {
                    return Err(format!("--set takes KEY=VALUE, not {setting:?}."));
                }
                dev.arguments.extend(["--set".to_owned(), setting]);
            }
            Long("stats") => dev.arguments.push("--stats".to_owned()),
            Long("release") => dev.is_release = true,
            Short('F') | Long("features") => dev.features.push(text(parser)?),
            Long("bin") => dev.program = Some(text(parser)?),
            Value(value) if path.is_none() => path = Some(value),
            // What stands behind `--` is the program's.
            Value(word) => dev.arguments.push(word.to_string_lossy().into_owned()),
            other => return Err(sentence(other.unexpected())),
        }
    }
    dev.path = path.map_or(dev.path, Into::into);
    if dev.listen.is_empty() {
        dev.listen = on_port(8080);
        dev.is_listen_optional = true;
    }
    command(dev)
}

/// The loopback addresses with this port; of port 0 only one can be had.
fn on_port(port: u16) -> Vec<Address> {
    match port {
        0 => vec![Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))],
        port => listen::parse(&port.to_string()).unwrap_or_default(),
    }
}

/// A package is developed; a directory of files is served.
fn command(dev: Dev) -> Result<Command, String> {
    if dev.path.join("Cargo.toml").is_file() {
        return Ok(Command::Developing(Developing::Dev(Box::new(dev))));
    }
    if !dev.path.is_dir() {
        return Err(format!("there is no directory {}.", dev.path.display()));
    }
    if is_crate(&dev.path) || !dev.arguments.is_empty() {
        return Err(format!("{} has no Cargo.toml: it is no package.", dev.path.display()));
    }
    let mut serve = Serve::new(dev.path);
    (serve.listen, serve.is_listen_optional) = (dev.listen, dev.is_listen_optional);
    serve.tls = dev.is_tls.then(|| crate::serve::ServeTls::SelfSigned(Vec::new()));
    Ok(Command::Serve(Box::new(serve)))
}

/// Whether it looks like Rust that lacks its manifest.
fn is_crate(path: &Path) -> bool {
    path.join("src/main.rs").exists() || path.join("main.rs").exists()
}

/// Does it.
pub(crate) fn execute(command: Developing) -> ExitCode {
    match command {
        Developing::Launch => develop::launch(),
        Developing::Dev(dev) => told(develop::develop(*dev)),
        Developing::New { at, template, source } => {
            let written = template.write(&at, &source);
            if written.is_ok() {
                eprintln!("It is in {}. Now: {}", at.display(), template.next_step(&at));
            }
            told(written)
        }
    }
}

fn told(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("ringway: {}.", sentence.trim_end().trim_end_matches('.'));
            ExitCode::from(CANNOT_START)
        }
    }
}
