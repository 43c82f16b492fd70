//! What the machine must have: the one table of it, the look-up and the installation.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::step::shown;
use crate::{Failure, repository_root};

/// Which command asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Test,
    Fuzz,
    Embedded,
}

/// Where something missing comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// A Debian package.
    Debian(&'static str),
    /// A component of the Rust toolchain.
    Component(&'static str),
    /// A compilation target of the Rust toolchain.
    Target(&'static str),
    /// A crate that installs a cargo subcommand.
    Crate(&'static str),
    /// A script of the repository, which installs what no package has.
    Script(&'static str),
}

/// One thing a command needs.
struct Need {
    purpose: Purpose,
    source: Source,
    /// A command that succeeds when the thing is there; its output is not looked at.
    probe: &'static [&'static str],
    why: &'static str,
}

/// Everything Ringway's developer commands need beyond a Rust toolchain. A test that starts using another program
/// adds its package here, and nowhere else.
const NEEDS: &[Need] = &[
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("gcc"),
        probe: &["cc", "--version"],
        why: "links every program and test",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("make"),
        probe: &["make", "--version"],
        why: "builds jemalloc, one of the heaps that the lab compares",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("cmake"),
        probe: &["cmake", "--version"],
        why: "builds the plug-ins in C as authors who use it do",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("openssl"),
        probe: &["openssl", "version"],
        why: "speaks TLS with the server in its tests, and makes certificates for them",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("curl"),
        probe: &["curl", "--version"],
        why: "fetches over TLS and HTTP/2 in tests",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("sslscan"),
        probe: &["sslscan", "--version"],
        why: "tells which versions and ciphers of TLS are offered",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("nghttp2-client"),
        probe: &["nghttp", "--version"],
        why: "asks the server over HTTP/2, many requests at a time",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("nginx"),
        probe: &["nginx", "-v"],
        why: "the server behind the proxy",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("nodejs"),
        probe: &["node", "--version"],
        why: "runs the WebSocket library behind the proxy",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("node-ws"),
        probe: &["sh", "-c", "NODE_PATH=/usr/share/nodejs node -e \"require('ws')\""],
        why: "the WebSocket library behind the proxy, and its client",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("litmus"),
        probe: &["litmus", "--version"],
        why: "tests what is changed over WebDAV",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("cadaver"),
        probe: &["sh", "-c", "command -v cadaver"],
        why: "uses a drive over WebDAV as people do",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Component("rustfmt"),
        probe: &["cargo", "fmt", "--version"],
        why: "checks the format",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Component("clippy"),
        probe: &["cargo", "clippy", "--version"],
        why: "checks the lints",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("slowhttptest"),
        probe: &["sh", "-c", "command -v slowhttptest"],
        why: "attacks by being slow",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("pebble"),
        probe: &["sh", "-c", "command -v pebble pebble-challtestsrv"],
        why: "the certificate authority that certificates are had from",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Target(crate::tools::EMBEDDED_TARGET),
        probe: &["rustc", "--print", "target-libdir", "--target", crate::tools::EMBEDDED_TARGET],
        why: "the static C library the embedded build links",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("chromium"),
        probe: &["chromium", "--version"],
        why: "shows the dashboard as a browser does",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("php8.2-fpm"),
        probe: &["php-fpm8.2", "--version"],
        why: "runs PHP behind FastCGI in tests",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("php8.2-sqlite3"),
        probe: &["sh", "-c", "php-fpm8.2 -m | grep -q pdo_sqlite"],
        why: "the database of the PHP that tests run",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("libfcgi-bin"),
        probe: &["sh", "-c", "command -v cgi-fcgi"],
        why: "speaks FastCGI as somebody else does",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("python3"),
        probe: &["/usr/bin/python3", "--version"],
        why: "runs CGI scripts",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("php8.2-cgi"),
        probe: &["php-cgi8.2", "--version"],
        why: "PHP that others start, one by one and behind a socket",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Script("xtask/autobahn.sh"),
        probe: &["sh", "xtask/autobahn.sh", "--probe"],
        why: "the Autobahn test suite, which plays against WebSockets; needs a Python 2.7 with pip",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("redis-server"),
        probe: &["redis-server", "--version"],
        why: "keeps sessions and passes messages on, is killed and comes back",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("memcached"),
        probe: &["memcached", "--version"],
        why: "keeps values, is killed and comes back",
    },
    Need {
        purpose: Purpose::Test,
        source: Source::Debian("liburing-dev"),
        probe: &["sh", "-c", "echo '#include <liburing.h>' | cc -E -x c - >/dev/null"],
        why: "builds the plain echo server that endpoints are compared with",
    },
    Need {
        purpose: Purpose::Fuzz,
        source: Source::Crate("cargo-fuzz"),
        probe: &["cargo", "fuzz", "--version"],
        why: "builds and runs the fuzz targets",
    },
    Need {
        purpose: Purpose::Fuzz,
        source: Source::Debian("g++"),
        probe: &["c++", "--version"],
        why: "builds the fuzzer's runtime",
    },
    Need {
        purpose: Purpose::Embedded,
        source: Source::Target(crate::tools::EMBEDDED_TARGET),
        probe: &["rustc", "--print", "target-libdir", "--target", crate::tools::EMBEDDED_TARGET],
        why: "the static C library the small binary links",
    },
];

/// Sees to it that everything for `purpose` is there: installs what is missing when `install` says so, names it and
/// how to get it otherwise.
pub(crate) fn provide(purpose: Purpose, install: bool) -> Result<(), Failure> {
    let missing: Vec<&Need> = missing(purpose).collect();
    if missing.is_empty() {
        if install {
            println!("nothing to install: all that is needed is here");
        }
        return Ok(());
    }
    let commands = install_commands(missing.iter().map(|need| need.source));
    if !install {
        return Err(Failure::Setup(report(&missing, &commands, purpose)));
    }
    for need in &missing {
        println!("missing: {} ({})", need.source.name(), need.why);
    }
    commands.iter().try_for_each(|command| install_with(command))?;
    match self::missing(purpose).next() {
        None => Ok(()),
        Some(need) => Err(Failure::Setup(format!(
            "{} was installed, yet `{}` still fails",
            need.source.name(),
            need.probe.join(" ")
        ))),
    }
}

fn missing(purpose: Purpose) -> impl Iterator<Item = &'static Need> {
    NEEDS.iter().filter(move |need| need.purpose == purpose && !need.is_there())
}

impl Need {
    fn is_there(&self) -> bool {
        let mut probe = Command::new(self.probe[0]);
        probe.args(&self.probe[1..]).current_dir(repository_root()).stdin(Stdio::null());
        let Ok(output) = probe.output() else { return false };
        if let Source::Target(_) = self.source {
            // The compiler names the folder of any target it knows; only an installed one has it.
            return Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir();
        }
        output.status.success()
    }
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Source::Debian(name)
            | Source::Component(name)
            | Source::Target(name)
            | Source::Crate(name)
            | Source::Script(name) => name,
        }
    }
}

/// The commands that install all of `sources`, packages of one kind together, scripts one by one.
fn install_commands(sources: impl Iterator<Item = Source>) -> Vec<Vec<&'static str>> {
    let mut kinds = [
        (vec!["apt-get", "install", "--yes", "--no-install-recommends"], Vec::new()),
        (vec!["rustup", "component", "add"], Vec::new()),
        (vec!["rustup", "target", "add"], Vec::new()),
        (vec!["cargo", "install", "--locked"], Vec::new()),
    ];
    let mut scripts = Vec::new();
    for source in sources {
        let kind = match source {
            Source::Script(path) => {
                scripts.push(vec!["sh", path]);
                continue;
            }
            Source::Debian(_) => 0,
            Source::Component(_) => 1,
            Source::Target(_) => 2,
            Source::Crate(_) => 3,
        };
        kinds[kind].1.push(source.name());
    }
    let wanted = kinds.into_iter().filter(|(_, names)| !names.is_empty());
    wanted.map(|(command, names)| [command, names].concat()).chain(scripts).collect()
}

fn report(missing: &[&Need], commands: &[Vec<&'static str>], purpose: Purpose) -> String {
    let mut text = String::from("this machine lacks:\n");
    for need in missing {
        text += &format!("  {} ({})\n", need.source.name(), need.why);
    }
    text += "get it with:\n";
    for command in commands {
        text += &format!("  {}\n", command.join(" "));
    }
    if purpose == Purpose::Test {
        text += "or let `cargo xtask test --install` do it";
    }
    text.trim_end().to_owned()
}

fn install_with(command: &[&'static str]) -> Result<(), Failure> {
    if command[0] == "apt-get" {
        if !is_root() {
            return Err(Failure::Setup(format!(
                "installing packages needs root: `sudo {}`",
                command.join(" ")
            )));
        }
        // A machine that was never updated has no package lists; a failed update shows when the package is asked for.
        let _ = carry_out(&["apt-get", "update", "--quiet"]);
    }
    carry_out(command)
}

fn carry_out(command: &[&str]) -> Result<(), Failure> {
    let mut process = Command::new(command[0]);
    process.args(&command[1..]).current_dir(repository_root());
    process.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    println!("running: {}", shown(&process));
    match process.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::Setup(format!("`{}` failed ({status})", command.join(" ")))),
        Err(error) => Err(Failure::Setup(format!("cannot run `{}`: {error}", command.join(" ")))),
    }
}

/// A process's own entry in /proc belongs to its effective user.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_a_kind_are_installed_by_one_command() {
        let sources =
            [Source::Debian("a"), Source::Script("d.sh"), Source::Component("b"), Source::Debian("c")];
        assert_eq!(
            install_commands(sources.into_iter()),
            [
                vec!["apt-get", "install", "--yes", "--no-install-recommends", "a", "c"],
                vec!["rustup", "component", "add", "b"],
                vec!["sh", "d.sh"]
            ]
        );
        assert!(install_commands(std::iter::empty()).is_empty());
    }

    #[test]
    fn a_report_names_the_thing_the_reason_and_the_remedy() {
        let need = &NEEDS[0];
        let text = report(&[need], &install_commands([need.source].into_iter()), Purpose::Test);
        for part in [need.source.name(), need.why, "apt-get install", "cargo xtask test --install"] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }

    #[test]
    fn a_probe_tells_what_is_there_from_what_is_not() {
        let probe = |source, probe| Need { purpose: Purpose::Test, source, probe, why: "" }.is_there();
        assert!(probe(Source::Debian("x"), &["cargo", "--version"]));
        assert!(!probe(Source::Debian("x"), &["cargo", "no-such-subcommand"]));
        assert!(!probe(Source::Debian("x"), &["no-such-program-anywhere"]));
        assert!(!probe(
            Source::Target("x"),
            &["rustc", "--print", "target-libdir", "--target", "no-such-target"]
        ));
    }
}
