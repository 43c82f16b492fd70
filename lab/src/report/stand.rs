//! What the steps need around them: the files that servers serve, the peers' scripts, and where things are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::chapters::Step;
use crate::refusal::Refusal;

/// Sizes of the files that servers are asked for, by name.
const FILES: &[(&str, usize)] = &[("200k.bin", 200 * 1024)];

/// The scripts that start servers to compare with: what stands for them in steps, their names, what they are.
const PEERS: &[(&str, &str, &str)] = &[
    ("{nginx}", "nginx.sh", include_str!("../../peers/nginx.sh")),
    ("{lighttpd}", "lighttpd.sh", include_str!("../../peers/lighttpd.sh")),
    ("{nginx-tls}", "nginx-tls.sh", include_str!("../../peers/nginx-tls.sh")),
    ("{ringway-sites}", "ringway.sh", include_str!("../../peers/ringway.sh")),
    ("{nginx-proxy}", "nginx-proxy.sh", include_str!("../../peers/nginx-proxy.sh")),
    ("{haproxy-proxy}", "haproxy-proxy.sh", include_str!("../../peers/haproxy-proxy.sh")),
    ("{ringway-proxy}", "ringway-proxy.sh", include_str!("../../peers/ringway-proxy.sh")),
    ("{php-fpm}", "php-fpm.sh", include_str!("../../peers/php-fpm.sh")),
    ("{nginx-php}", "nginx-php.sh", include_str!("../../peers/nginx-php.sh")),
    ("{ringway-php}", "ringway-php.sh", include_str!("../../peers/ringway-php.sh")),
];

/// What stands for the project's own folder in steps.
const PROJECT: (&str, &str) = ("{project}", concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
/// What stands for the script that runs what is built from sources, which lie beside it.
const BUILT: (&str, &str) = ("{built}", concat!(env!("CARGO_MANIFEST_DIR"), "/peers/built.sh"));

/// Where the steps find what they need.
#[derive(Debug)]
pub(super) struct Stand {
    ringway: PathBuf,
    place: PathBuf,
    yardstick: Option<PathBuf>,
}

impl Stand {
    /// Lays everything out below `place`.
    ///
    /// # Errors
    /// Refuses when a file cannot be written.
    pub(super) fn set(place: &Path, ringway: PathBuf, yardstick: Option<PathBuf>) -> Result<Stand, Refusal> {
        let failed = |path: &Path| Refusal::because(format!("cannot write {}", path.display()));
        let www = place.join("www");
        fs::create_dir_all(&www).map_err(failed(&www))?;
        // Whoever a peer runs as must be able to read what it serves.
        let place = fs::canonicalize(place).map_err(failed(place))?;
        let www = place.join("www");
        for (name, bytes) in FILES {
            let path = www.join(name);
            fs::write(&path, vec![b'x'; *bytes]).map_err(failed(&path))?;
        }
        for (_, name, script) in PEERS {
            let path = place.join(name);
            fs::write(&path, script).map_err(failed(&path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(failed(&path))?;
        }
        Ok(Stand { ringway, place, yardstick })
    }

    /// A step's arguments with the places filled in.
    pub(super) fn arguments(&self, step: &Step) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        let yardstick = self.yardstick.clone().map(path);
        let has_it = |argument: &&&str| yardstick.is_some() || !argument.contains("{yardstick}");
        let filled = |argument: &&str| {
            let argument = argument
                .replace("{ringway}", &path(self.ringway.clone()))
                .replace("{www}", &path(self.place.join("www")))
                .replace("{yardstick}", yardstick.as_deref().unwrap_or_default())
                .replace(PROJECT.0, PROJECT.1)
                .replace(BUILT.0, BUILT.1);
            PEERS.iter().fold(argument, |argument, (mark, name, _script)| {
                argument.replace(mark, &path(self.place.join(name)))
            })
        };
        step.arguments.iter().filter(has_it).map(filled).collect()
    }

    /// A part without the places of this machine: as a reader may type them.
    pub(super) fn without_places(&self, part: &str) -> String {
        let place = |name: &str| self.place.join(name).display().to_string();
        let mut part = part.replace(&self.ringway.display().to_string(), "ringway");
        for (_mark, name, _script) in PEERS {
            part = part.replace(&place(name), &format!("lab/peers/{name}"));
        }
        part.replace(&place("www"), "www").replace(BUILT.1, "lab/peers/built.sh").replace(PROJECT.1, ".")
    }
}

/// A step's arguments as a reader may type them.
pub(super) fn shown(step: &Step) -> String {
    let words = step.arguments.iter().filter(|argument| !argument.contains("{yardstick}")).map(|argument| {
        let argument = argument.replace("{ringway}", "ringway").replace("{www}", "www");
        let argument = argument.replace(BUILT.0, "lab/peers/built.sh").replace(PROJECT.0, ".");
        let argument = PEERS.iter().fold(argument, |argument, (mark, name, _script)| {
            argument.replace(mark, &format!("lab/peers/{name}"))
        });
        if argument.contains(' ') { format!("{argument:?}") } else { argument }
    });
    words.collect::<Vec<_>>().join(" ")
}
