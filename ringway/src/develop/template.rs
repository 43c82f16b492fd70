//! `ringway new`: projects that are made from examples, which are part of this program.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What a new project begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Template {
    /// The smallest service.
    #[default]
    Hello,
    /// A JSON API on SQLite, with a page.
    Api,
    /// Rooms, history, presence.
    Chat,
    /// An application of axum's.
    Axum,
    /// A protocol of one's own, in a library for an endpoint.
    Endpoint,
}

/// Where the new project has Ringway from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The registry: this version of it.
    Version,
    /// A directory.
    Path(PathBuf),
}

/// What a template is made of.
struct Parts {
    /// What its service, or its library, is called.
    service: &'static str,
    /// The package that it needs.
    package: &'static str,
    manifest: &'static str,
    files: &'static [(&'static str, &'static str)],
}

macro_rules! parts {
    ($example:literal: $($file:literal),+) => {
        Parts {
            service: $example,
            package: "ringway",
            manifest: include_str!(concat!("../../../examples/", $example, "/Cargo.toml")),
            files: &[$(($file, include_str!(concat!("../../../examples/", $example, "/", $file)))),+],
        }
    };
}

const HELLO: Parts = parts!("hello": "src/main.rs", "src/page.html");
const API: Parts = parts!("todo": "src/main.rs", "src/changes.rs", "src/todos.rs", "src/todo.html");
const CHAT: Parts = parts!("chat": "src/main.rs", "src/history.rs", "src/presence.rs", "src/visitor.rs", "src/chat.html",
    "src/chat.css", "src/chat.js");
const AXUM: Parts = parts!("axum": "src/main.rs", "src/page.html");

const ENDPOINT: Parts = Parts {
    service: "protocol",
    package: "ringway-sdk",
    manifest: include_str!("../../../contrib/plugin/endpoint/Cargo.toml"),
    files: &[
        ("src/lib.rs", include_str!("../../../contrib/plugin/endpoint/src/lib.rs")),
        ("ringway.toml", include_str!("../../../contrib/plugin/endpoint/ringway.toml")),
    ],
};

impl Template {
    /// What is done with the project next.
    #[must_use]
    pub fn next_step(self, at: &Path) -> String {
        let at = at.display();
        match self {
            Self::Endpoint => {
                format!("cd {at} && cargo build --release && ringway run --config ringway.toml")
            }
            _ => format!("ringway dev {at}"),
        }
    }

    fn parts(self) -> &'static Parts {
        match self {
            Self::Hello => &HELLO,
            Self::Api => &API,
            Self::Chat => &CHAT,
            Self::Axum => &AXUM,
            Self::Endpoint => &ENDPOINT,
        }
    }

    /// Makes the project `at`, a directory that is not there yet, or empty; it is called as that is.
    ///
    /// # Errors
    /// A sentence. What was written until then is left.
    pub fn write(self, at: &Path, source: &Source) -> Result<(), String> {
        let name = project_name(at)?;
        let parts = self.parts();
        let manifest = manifest(&name, parts, source, is_within_package(at))?;
        let sentence = |error: &io::Error| format!("{}: {error}", at.display());
        match fs::read_dir(at).map(|mut entries| entries.next().is_some()) {
            Ok(true) => return Err(format!("{} is there already, and not empty", at.display())),
            Ok(false) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(sentence(&error)),
        }
        let renamed = |text: &str| match self {
            Self::Endpoint => {
                let library = format!("lib{}.so", name.replace('-', "_"));
                text.replace("libprotocol.so", &library)
                    .replace("name = \"protocol\"", &format!("name = \"{name}\""))
            }
            _ => text
                .replace(&format!("Service::new(\"{}\"", parts.service), &format!("Service::new(\"{name}\"")),
        };
        let own = [("Cargo.toml", manifest), (".gitignore", "/target\n/data\n".to_owned())];
        let files = parts.files.iter().map(|(file, text)| (*file, renamed(text)));
        for (file, text) in own.into_iter().chain(files) {
            let path = at.join(file);
            let folder = path.parent().unwrap_or(at);
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(&path, text))
                .map_err(|error| sentence(&error))?;
        }
        Ok(())
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "hello" => Ok(Self::Hello),
            "api" => Ok(Self::Api),
            "chat" => Ok(Self::Chat),
            "axum" => Ok(Self::Axum),
            "endpoint" => Ok(Self::Endpoint),
            _ => Err(format!("{text:?} is no template; there are hello, api, chat, axum and endpoint")),
        }
    }
}

/// What a package in this directory is called: names that cargo takes, and a host takes for a service.
fn project_name(at: &Path) -> Result<String, String> {
    let name = at.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !is_plain || !name.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return Err(format!("{name:?} cannot be a project's name: letters, digits, - and _, a letter first"));
    }
    // What a program depends on cannot be called as it is called.
    if [
        "ringway",
        "axum",
        "tokio",
        "serde",
        "serde_json",
        "ringway_sdk",
        "core",
        "std",
        "alloc",
        "test",
        "proc_macro",
    ]
    .contains(&name)
    {
        return Err(format!("{name:?} is a name that programs use for something else: take another one"));
    }
    Ok(name.to_owned())
}

/// Whether it would be taken for a part of a package or workspace around it.
fn is_within_package(at: &Path) -> bool {
    let at = std::path::absolute(at).unwrap_or_else(|_gone| at.to_owned());
    at.ancestors().skip(1).any(|folder| folder.join("Cargo.toml").exists())
}

fn manifest(name: &str, parts: &Parts, source: &Source, is_within: bool) -> Result<String, String> {
    let ringway = match source {
        Source::Version => format!("\"{}\"", env!("CARGO_PKG_VERSION")),
        Source::Path(path) => {
            // What libraries are made with lies beside it, in the same sources.
            let own = if parts.package == "ringway" { path.clone() } else { path.join("../sys/sdk") };
            let found = fs::canonicalize(own).map_err(|error| format!("{}: {error}", path.display()))?;
            if !found.join("Cargo.toml").is_file() {
                return Err(format!("{} has no Cargo.toml: it is not Ringway's package", path.display()));
            }
            // JSON writes texts as TOML reads them.
            format!("{{ path = {} }}", serde_json::json!(found.to_string_lossy()))
        }
    };
    let is_library = parts.manifest.contains("cdylib");
    let library = if is_library { "[lib]\ncrate-type = [\"cdylib\"]\n\n" } else { "" };
    let mut text = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\nrust-version = \"{}\"\n\n{library}[dependencies]\n{} = {ringway}\n",
        env!("CARGO_PKG_RUST_VERSION"),
        parts.package,
    );
    let others = parts.manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    for line in others.take_while(|line| !line.starts_with('[')) {
        if !line.is_empty() && !line.starts_with("ringway") && !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    if is_within {
        text.push_str("\n# A workspace of its own, not a part of the one around it.\n[workspace]\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_cargo_takes() {
        for name in ["chat", "my-chat", "a_1", "some/where/chat"] {
            assert!(project_name(Path::new(name)).is_ok(), "{name}");
        }
        for name in ["", "1a", "-a", "a b", "ä", "..", "axum", "test"] {
            assert!(project_name(Path::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn manifests_have_what_the_example_has_but_its_path() {
        let text = manifest("talk", &CHAT, &Source::Version, false).expect("a manifest");
        assert!(text.contains("name = \"talk\"") && text.contains("\nserde_json = \"1.0\"\n"), "{text}");
        assert!(text.contains(&format!("ringway = \"{}\"\n", env!("CARGO_PKG_VERSION"))), "{text}");
        assert!(
            !text.contains("../..") && !text.contains("testkit") && !text.contains("[workspace]"),
            "{text}"
        );
        let within = manifest("talk", &HELLO, &Source::Path(".".into()), true).expect("a manifest");
        assert!(within.contains("path = \"/") && within.ends_with("[workspace]\n"), "{within}");
        assert!(manifest("talk", &HELLO, &Source::Path("/nowhere".into()), true).is_err());
        let library = manifest("talk", &ENDPOINT, &Source::Version, false).expect("a manifest");
        let needs = format!("\n[dependencies]\nringway-sdk = \"{}\"\n", env!("CARGO_PKG_VERSION"));
        assert!(library.contains("crate-type = [\"cdylib\"]\n") && library.contains(&needs), "{library}");
    }

    #[test]
    fn every_file_of_an_example_is_in_its_template() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        for parts in [&HELLO, &API, &CHAT, &AXUM] {
            let folder = examples.join(parts.service).join("src");
            let files = fs::read_dir(folder).expect("it is there").flatten();
            let mut there: Vec<String> =
                files.map(|file| format!("src/{}", file.file_name().to_string_lossy())).collect();
            let mut here: Vec<&str> = parts.files.iter().map(|(name, _)| *name).collect();
            there.sort();
            here.sort_unstable();
            assert_eq!(there, here);
        }
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let at = std::env::temp_dir().join(format!("new-{}", std::process::id()));
        Template::Hello.write(&at, &Source::Version).expect("a project");
        let main = fs::read_to_string(at.join("src/main.rs")).expect("it is there");
        let name = at.file_name().expect("a name").to_string_lossy();
        assert!(main.contains(&format!("Service::new(\"{name}\"")), "{main}");
        let refused = Template::Chat.write(&at, &Source::Version).expect_err("it is not empty");
        assert!(refused.contains("not empty"), "{refused}");
        fs::remove_dir_all(at).expect("it is ours");
    }
}
