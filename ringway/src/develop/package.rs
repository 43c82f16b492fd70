//! The package that is developed: what cargo says of it, and how it is built.

use super::course::Build;
use super::program::{Program, Started};
use super::tail::Tail;
use super::{Dev, ansi};
use crate::voice::say;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Most bytes of one line of cargo's.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// How long the rest of cargo's lines may take when it has ended.
const REST_WITHIN: Duration = Duration::from_secs(5);

/// A package, as cargo describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Package {
    /// Its name.
    pub(super) name: String,
    /// Its directory.
    pub(super) folder: PathBuf,
    /// Where what is built lies.
    pub(super) target: PathBuf,
    /// Directories whose changes concern it: its own, and those of packages it depends on by path.
    pub(super) sources: Vec<PathBuf>,
    /// The program that is meant when it has several.
    program: Option<String>,
    programs: Vec<String>,
}

/// What came of a build.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Whether there is a program.
    pub(super) build: Build,
    /// Where it is.
    pub(super) program: Option<PathBuf>,
    /// What the compiler says, with its colours.
    pub(super) text: String,
}

/// A build. Who drops it ends it.
#[derive(Debug)]
pub(super) struct Building {
    /// Its number.
    pub(super) number: u64,
    cargo: Result<Cargo, String>,
}

/// cargo, building.
#[derive(Debug)]
struct Cargo {
    started: Started,
    said: Tail,
    lines: Receiver<Lines>,
    program: String,
}

/// What cargo's lines said.
#[derive(Debug, Default)]
struct Lines {
    errors: String,
    programs: Vec<(String, PathBuf)>,
}

impl Package {
    /// Asks cargo. Nothing is fetched for it.
    ///
    /// # Errors
    /// What cargo says, with its colours.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let output = Command::new("cargo")
            .args(["metadata", "--no-deps", "--format-version", "1", "--color", "always", "--manifest-path"])
            .arg(folder.join("Cargo.toml"))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cargo cannot be run: {error}\n"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let metadata = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("cargo's metadata cannot be understood: {error}\n"))?;
        Self::from_metadata(&metadata, folder)
    }

    fn from_metadata(metadata: &Value, folder: &Path) -> Result<Self, String> {
        let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let at = |folder: &Path| packages.iter().find(|package| folder_of(package) == Some(folder));
        let Some(package) = at(folder) else {
            let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
            return Err(format!(
                "{} is a workspace, and no package: name the directory of one of {}.\n",
                folder.display(),
                names.join(", ")
            ));
        };
        let name = package["name"].as_str().unwrap_or_default().to_owned();
        let is_program = |target: &&Value| {
            target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"))
        };
        let targets = package["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        let programs = targets.iter().filter(is_program).filter_map(|target| target["name"].as_str());
        Ok(Self {
            name,
            folder: folder.to_owned(),
            target: metadata["target_directory"]
                .as_str()
                .map_or_else(|| folder.join("target"), PathBuf::from),
            sources: sources(folder, &at),
            program: package["default_run"].as_str().map(str::to_owned),
            programs: programs.map(str::to_owned).collect(),
        })
    }

    /// The program to be run.
    ///
    /// # Errors
    /// A sentence: there is none, or it is not known which.
    pub(super) fn program(&self, wanted: Option<&str>) -> Result<String, String> {
        let all = || self.programs.join(", ");
        if let Some(wanted) = wanted {
            let is_there = self.programs.iter().any(|name| name == wanted);
            return match is_there {
                true => Ok(wanted.to_owned()),
                false => Err(format!("{} has no program {wanted:?}; it has {}.\n", self.name, all())),
            };
        }
        match (&self.program, self.programs.as_slice()) {
            (Some(program), _) => Ok(program.clone()),
            (None, [program]) => Ok(program.clone()),
            (None, []) => Err(format!("{} has no program: src/main.rs is missing.\n", self.name)),
            (None, several) if several.contains(&self.name) => Ok(self.name.clone()),
            (None, _) => Err(format!("{} has several programs; say which: --bin {}.\n", self.name, all())),
        }
    }

    /// Starts a build; `tell` is called when it has come to its end.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn build(
        &self,
        dev: &Dev,
        number: u64,
        tell: impl FnOnce() + Send + 'static,
    ) -> Result<Building, String> {
        let program = self.program(dev.program.as_deref())?;
        let mut words: Vec<OsString> =
            ["build", "--message-format", "json-diagnostic-rendered-ansi", "--bin"].map(Into::into).to_vec();
        words.extend([
            program.clone().into(),
            "--manifest-path".into(),
            self.folder.join("Cargo.toml").into(),
        ]);
        words.extend(dev.is_release.then(|| "--release".into()));
        if !dev.features.is_empty() {
            words.extend(["--features".into(), dev.features.join(",").into()]);
        }
        let cargo = Program {
            file: "cargo".into(),
            arguments: words,
            folder: self.folder.clone(),
            variables: vec![("CARGO_TERM_COLOR".to_owned(), Some("always".to_owned()))],
        };
        let sentence = |error: std::io::Error| format!("cargo cannot be started: {error}.\n");
        let mut started = cargo.start(&[], true).map_err(sentence)?;
        let (output, errors) = (started.take_stdout(), started.take_stderr());
        let (Some(output), Some(errors)) = (output, errors) else {
            return Err("cargo has no output.\n".to_owned());
        };
        let said = Tail::follow(errors).map_err(sentence)?;
        let lines = follow(output).map_err(sentence)?;
        started.on_end(tell).map_err(sentence)?;
        Ok(Building { number, cargo: Ok(Cargo { started, said, lines, program }) })
    }
}

impl Building {
    /// One that could not begin.
    pub(super) fn failed(number: u64, text: String) -> Self {
        Self { number, cargo: Err(text) }
    }

    /// What came of it, when it has come to its end.
    pub(super) fn outcome(self) -> Outcome {
        match self.cargo {
            Ok(cargo) => cargo.outcome(),
            Err(text) => Outcome { build: Build::Broken, program: None, text },
        }
    }
}

impl Cargo {
    fn outcome(mut self) -> Outcome {
        let lines = self.lines.recv_timeout(REST_WITHIN).unwrap_or_default();
        let said = self.said.last_words();
        let is_done = self.started.reap().is_some_and(|status| status.success());
        let file = lines.programs.into_iter().find(|(name, _)| *name == self.program).map(|(_, file)| file);
        match file.as_deref().and_then(identity).filter(|_| is_done) {
            Some(identity) => Outcome { build: Build::Program(identity), program: file, text: String::new() },
            None => {
                let text = if lines.errors.is_empty() { said } else { lines.errors };
                Outcome { build: Build::Broken, program: None, text }
            }
        }
    }
}

/// What tells a program's file from others: when it was written, and its length.
fn identity(file: &Path) -> Option<u64> {
    let found = std::fs::metadata(file).ok()?;
    let parts = [found.mtime(), found.mtime_nsec(), found.size().cast_signed(), found.ino().cast_signed()];
    let mix =
        |hash: u64, part: i64| (hash ^ part.cast_unsigned()).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    Some(parts.into_iter().fold(0xcbf2_9ce4_8422_2325, mix))
}

fn folder_of(package: &Value) -> Option<&Path> {
    package["manifest_path"].as_str().and_then(|manifest| Path::new(manifest).parent())
}

/// The directories of a package and of all that it depends on by path.
fn sources<'a>(folder: &Path, at: &impl Fn(&Path) -> Option<&'a Value>) -> Vec<PathBuf> {
    let mut found = BTreeSet::from([folder.to_owned()]);
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let dependencies = at(&folder).and_then(|package| package["dependencies"].as_array());
        for path in dependencies.into_iter().flatten().filter_map(|dependency| dependency["path"].as_str()) {
            if found.insert(path.into()) {
                waiting.push(path.into());
            }
        }
    }
    // What lies in another one is watched with that.
    let all: Vec<PathBuf> = found.into_iter().collect();
    let is_within = |path: &PathBuf| all.iter().any(|other| other != path && path.starts_with(other));
    all.iter().filter(|path| !is_within(path)).cloned().collect()
}

/// Shows what the compiler says as it comes, and keeps what matters of it.
fn follow(output: ChildStdout) -> std::io::Result<Receiver<Lines>> {
    let (tell, told) = channel();
    thread::Builder::new().name("ringway-dev-cargo".to_owned()).spawn(move || {
        let mut reader = BufReader::new(output);
        let mut lines = Lines::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    if let Ok(message) = serde_json::from_slice(&line) {
                        lines.take(&message);
                    }
                }
            }
        }
        let _nobody_waits = tell.send(lines);
    })?;
    Ok(told)
}

impl Lines {
    fn take(&mut self, message: &Value) {
        match message["reason"].as_str() {
            Some("compiler-message") => {
                let Some(text) = message["message"]["rendered"].as_str() else { return };
                say!("{}", text.trim_end_matches('\n'));
                if message["message"]["level"] == "error" && self.errors.len() < ansi::TEXT_BYTES_MAX {
                    self.errors.push_str(text);
                }
            }
            Some("compiler-artifact") => {
                let name = message["target"]["name"].as_str();
                let file = message["executable"].as_str();
                self.programs.extend(name.zip(file).map(|(name, file)| (name.to_owned(), file.into())));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata() -> Value {
        let package = |name: &str, dependencies: Value, programs: &[&str]| {
            let targets: Vec<Value> =
                programs.iter().map(|name| json!({ "kind": ["bin"], "name": name })).collect();
            json!({ "name": name, "manifest_path": format!("/w/{name}/Cargo.toml"), "default_run": null,
                "dependencies": dependencies, "targets": targets })
        };
        json!({
            "target_directory": "/w/target",
            "packages": [
                package("app", json!([{ "path": "/w/lib" }, { "name": "serde" }]), &["app", "tool"]),
                package("lib", json!([{ "path": "/w/lib/inner" }, { "path": "/w/app" }]), &[]),
                package("one", json!([]), &["single"]),
                package("two", json!([]), &["a", "b"]),
            ]
        })
    }

    fn package(name: &str) -> Package {
        Package::from_metadata(&metadata(), &Path::new("/w").join(name)).expect("it is one")
    }

    #[test]
    fn what_is_depended_on_by_path_is_watched() {
        let app = package("app");
        assert_eq!(app.sources, [PathBuf::from("/w/app"), PathBuf::from("/w/lib")]);
        assert_eq!(app.target, Path::new("/w/target"));
        let none = Package::from_metadata(&metadata(), Path::new("/w")).expect_err("a workspace");
        assert!(none.contains("app, lib, one, two"), "{none}");
    }

    #[test]
    fn the_program_is_the_one_that_is_meant() {
        assert_eq!(package("app").program(None).as_deref(), Ok("app"));
        assert_eq!(package("app").program(Some("tool")).as_deref(), Ok("tool"));
        assert_eq!(package("one").program(None).as_deref(), Ok("single"));
        for (name, wanted, said) in
            [("two", None, "--bin a, b"), ("lib", None, "src/main.rs"), ("app", Some("x"), "app, tool")]
        {
            let refused = package(name).program(wanted).expect_err("it is not known");
            assert!(refused.contains(said), "{refused}");
        }
    }

    #[test]
    fn errors_and_programs_are_taken_from_cargos_lines() {
        let mut lines = Lines::default();
        for (level, text) in [("warning", "unused"), ("error", "E1"), ("error", "E2")] {
            lines.take(
                &json!({ "reason": "compiler-message", "message": { "level": level, "rendered": text } }),
            );
        }
        lines
            .take(&json!({ "reason": "compiler-artifact", "target": { "name": "lib" }, "executable": null }));
        lines.take(
            &json!({ "reason": "compiler-artifact", "target": { "name": "app" }, "executable": "/t/app" }),
        );
        assert_eq!(lines.errors, "E1E2");
        assert_eq!(lines.programs, [("app".to_owned(), PathBuf::from("/t/app"))]);
    }
}
