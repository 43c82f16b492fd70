//! Loading: from a file to a checked configuration, or to all that is wrong with it.

use crate::config::include;
use crate::config::meaning;
use crate::config::parse::{Environment, parse};
use crate::config::report::{Finding, Report};
use crate::config::settings::Config;
use crate::config::shape::Shape;
use crate::config::source::Place;
use crate::config::tree::Node;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// What came of loading.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration, as far as it could be read. Not to be used when the report has errors.
    pub config: Config,
    /// What the files say, with places; lists of tables have the order of `config`.
    pub tree: Node,
    /// What is wrong.
    pub report: Report,
}

/// The JSON schema of a configuration.
#[must_use]
pub fn schema() -> &'static serde_json::Value {
    static SCHEMA: LazyLock<serde_json::Value> = LazyLock::new(|| {
        let mut schema = schemars::schema_for!(Config).to_value();
        if let Some(table) = schema.as_object_mut() {
            table.insert("title".to_owned(), "Configuration of Ringway".into());
        }
        schema
    });
    &SCHEMA
}

/// Loads the configuration in the file `path`.
///
/// # Errors
/// One sentence when there is no such file to read; everything else is in the report.
pub fn load(path: &Path, environment: Environment<'_>) -> Result<Loaded, String> {
    let shown = path.display();
    let text = include::read(path).map_err(|error| format!("cannot read {shown}: {error}."))?;
    let absolute = std::path::absolute(path).map_err(|error| format!("cannot find {shown}: {error}."))?;
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let mut report = Report::default();
    let file = report.sources.add(path, text.clone());
    let mut tree = parse(&text, file, environment, &mut report.findings);
    let beside = path.parent().unwrap_or(Path::new(""));
    include::include(&mut tree, beside, environment, &mut report);
    let folders = folders(&report, &folder);
    Ok(finish(tree, report, &folders))
}

/// Loads a configuration that is no file, as if it were called `name` in `folder`. It includes nothing.
#[must_use]
pub fn load_text(name: &Path, folder: &Path, text: &str, environment: Environment<'_>) -> Loaded {
    let mut report = Report::default();
    let file = report.sources.add(name, text.to_owned());
    let tree = parse(text, file, environment, &mut report.findings);
    finish(tree, report, &[folder.to_owned()])
}

/// The directory of each file.
fn folders(report: &Report, main: &Path) -> Vec<PathBuf> {
    let folder = |(index, source): (usize, &crate::config::source::Source)| {
        let parent = || std::path::absolute(&source.path).ok()?.parent().map(Path::to_owned);
        if index == 0 { main.to_owned() } else { parent().unwrap_or_else(|| main.to_owned()) }
    };
    report.sources.iter().enumerate().map(folder).collect()
}

fn finish(mut tree: Node, mut report: Report, folders: &[PathBuf]) -> Loaded {
    let is_whole = !report.findings.iter().any(|finding| finding.is_syntax);
    let written = meaning::Written::of(&tree, is_whole);
    Shape { schema: schema(), folders, findings: &mut report.findings }.check(&mut tree);
    let config = match serde_json::from_value::<Config>(tree.to_json()) {
        Ok(config) => config,
        // What has the shape is read; should a type and its schema ever differ, it is told and not swallowed.
        Err(error) => {
            let message = format!("this cannot be read: {error}");
            report.add(Finding::error(Place { start: 0, end: 0, ..tree.place }, message));
            Config::default()
        }
    };
    meaning::check(&config, &tree, &written, &mut report.findings);
    report.sort();
    Loaded { config: Config { include: Vec::new(), ..config }, tree, report }
}
