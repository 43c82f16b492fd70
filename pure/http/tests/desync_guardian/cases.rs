//! The request smuggling cases of the `http_desync_guardian` package, read from its source as cargo keeps it, as they would be on
//! the wire. The tests of the binary read them with this file too.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use yaml_rust2::{Yaml, YamlLoader};

const PACKAGE: &str = "http_desync_guardian-0.1.3";

/// How many there are.
pub(crate) const COUNT: usize = 159;

/// One request.
pub(crate) struct Case {
    pub(crate) name: String,
    /// What its authors think of it: `Compliant`, `Acceptable`, `Ambiguous`, `Severe`.
    pub(crate) tier: String,
    /// The head, without a body.
    pub(crate) bytes: Vec<u8>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name, self.tier, self.bytes.escape_ascii())
    }
}

/// All of them, in the order of their files.
pub(crate) fn cases() -> Vec<Case> {
    let mut files: Vec<PathBuf> =
        package_folder().join("tests").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let cases: Vec<Case> = files.iter().flat_map(|path| cases_in(path)).collect();
    assert_eq!(cases.len(), COUNT);
    cases
}

/// Where cargo keeps the source of the package; asking for metadata makes it fetch what is missing.
fn package_folder() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = |extra: &[&str]| {
        let mut command = Command::new(&cargo);
        command.args(["metadata", "--format-version", "1", "--manifest-path"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).args(extra).output().unwrap()
    };
    let mut output = metadata(&["--offline"]);
    if !output.status.success() {
        output = metadata(&[]);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json = String::from_utf8(output.stdout).unwrap();
    let manifest = format!("{PACKAGE}/Cargo.toml\"");
    let at = json.find(&manifest).expect("the package is a dependency");
    let start = json[..at].rfind('"').unwrap() + 1;
    PathBuf::from(&json[start..at]).join(PACKAGE)
}

fn cases_in(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap();
    let documents = YamlLoader::load_from_str(&text).unwrap();
    let cases = documents[0].as_vec().unwrap();
    cases
        .iter()
        .map(|case| Case {
            name: scalar(&case["name"]),
            tier: scalar(&case["expected"]["tier"]),
            bytes: render(case),
        })
        .collect()
}

fn scalar(yaml: &Yaml) -> String {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        other => panic!("{other:?} is no text"),
    }
}

/// The request as it would be on the wire.
fn render(case: &Yaml) -> Vec<u8> {
    let (method, uri, version) = (scalar(&case["method"]), scalar(&case["uri"]), scalar(&case["version"]));
    let mut head =
        if version.is_empty() { format!("{method} {uri}") } else { format!("{method} {uri} {version}") };
    head.push_str("\r\n");
    let fields = case["headers"].as_vec().map(Vec::as_slice).unwrap_or_default();
    // The cases are about other things and most leave Host out, which alone would have them refused.
    if !fields.iter().any(|field| scalar(&field["name"]).eq_ignore_ascii_case("host")) {
        head.push_str("Host: localhost\r\n");
    }
    for field in fields {
        head.push_str(&format!("{}: {}\r\n", scalar(&field["name"]), scalar(&field["value"])));
    }
    head.push_str("\r\n");
    bytes(&head)
}

/// Escapes such as `\xa0` mean that byte; other letters are UTF-8.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for letter in text.chars() {
        match u8::try_from(u32::from(letter)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}
