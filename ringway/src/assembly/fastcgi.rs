//! FastCGI: what the routes of a site run, and how.

use super::AssemblyError;
use super::plan::FilesPlan;
use super::upstream::Upstreams;
use crate::config::settings::{FastCgi, Route, Site};
use crate::config::values::FilePath;
use crate::web::fastcgi::FastCgiOptions;
use crate::web::root::{OpenRoot, RootOptions};
use crate::web::scripts::{EndingError, Endings};
use crate::web::spool::SpoolSpace;
use crate::web::upstream::Group;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// A route's handler of FastCGI.
#[derive(Debug)]
pub(super) struct FastCgiPlan {
    pub(super) options: Arc<FastCgiOptions>,
    pub(super) upstream: Arc<Group>,
    /// The files that are run, or sent; `None`: one program has all requests.
    pub(super) files: Option<FilesPlan>,
}

/// Plans what a route says; `files` are those that the route would serve without it.
pub(super) fn plan(
    settings: &FastCgi,
    route: &Route,
    files: Option<FilesPlan>,
    upstreams: &Upstreams,
    spool: SpoolSpace,
) -> Result<FastCgiPlan, AssemblyError> {
    let cannot = |why: &dyn std::fmt::Display| AssemblyError::new("cannot run programs over FastCGI", why);
    let path = |path: &FilePath| bytes_of(path.as_path());
    let files = files.filter(|_| settings.script.is_none());
    let root = files.as_ref().map(|files| bytes_of(files.root.path()));
    let send_dirs = settings.send_file.iter().map(|dir| {
        let root = OpenRoot::open(dir.root.as_path(), RootOptions::default());
        let root =
            root.map_err(|why| AssemblyError::new(format_args!("cannot send from {}", dir.root), why))?;
        Ok((dir.path.as_str().trim_end_matches('/').as_bytes().into(), root))
    });
    let prefix = route.path.as_str().strip_suffix("/**").unwrap_or(route.path.as_str());
    let options = FastCgiOptions {
        document_root: settings.document_root.as_ref().map(path).or(root).unwrap_or_default(),
        script: settings.script.as_ref().map(path),
        endings: Endings::parse(&settings.endings).map_err(|why| cannot(&why))?,
        prefix: prefix.as_bytes().into(),
        params: settings
            .params
            .iter()
            .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()))
            .collect(),
        body_bytes_max: settings.body_size.map(|size| size.bytes()),
        spool,
        send_dirs: send_dirs.collect::<Result<_, _>>()?,
        ..FastCgiOptions::default()
    };
    let upstream = upstreams.find(settings.upstream.as_str())?;
    Ok(FastCgiPlan { options: Arc::new(options), upstream, files })
}

/// The endings of what any route of a site runs: none of the site's files with one of them is ever sent.
pub(super) fn endings_of(site: &Site) -> Result<Option<Arc<Endings>>, EndingError> {
    let settings = site.route.iter().filter_map(|route| route.fastcgi.as_ref());
    let all: Vec<&str> = settings
        .filter(|settings| settings.script.is_none())
        .flat_map(|settings| settings.endings.iter().map(String::as_str))
        .collect();
    if all.is_empty() { Ok(None) } else { Endings::of_all(&all).map(|endings| Some(Arc::new(endings))) }
}

/// A directory or file, without a slash at its end.
fn bytes_of(path: &Path) -> Box<[u8]> {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_suffix(b"/").unwrap_or(bytes).into()
}
