//! Scripts: the rules their starter keeps to, and the handlers that ask it.

use super::AssemblyError;
use super::{Kept, Provisions};
use crate::config::settings::{self, Config, Route, Site};
use crate::config::values::{FilePath, Size};
use crate::sandbox::Identity;
use crate::starter::{self, Numbers, Rules};
use crate::web::cgi::CgiOptions;
use ringway_http::reply::Limits;
use ringway_lock::Mutex;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

/// Whom a process asks for scripts, and what that one keeps to.
#[derive(Clone, Debug, Default)]
pub(super) struct Starter(Arc<Mutex<Option<Known>>>);

#[derive(Debug)]
struct Known {
    wanted: Vec<Wanted>,
    socket: Arc<OwnedFd>,
}

/// A handler of scripts.
#[derive(Debug)]
pub(super) struct CgiPlan {
    pub(super) options: Arc<CgiOptions>,
    pub(super) starter: Arc<OwnedFd>,
}

/// Scripts as a configuration wants them. The process that serves and the one that starts scripts both make a list of these,
/// and name the rules by their places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    cgi: settings::Cgi,
    root: PathBuf,
    document_root: PathBuf,
}

impl Wanted {
    fn of(cgi: &settings::Cgi, site: &Site) -> Option<Self> {
        let site_root = site.root.as_ref().map(FilePath::as_path);
        let root = cgi.root.as_ref().map(FilePath::as_path).or(site_root)?;
        let document_root = site_root.unwrap_or(root);
        Some(Self { cgi: cgi.clone(), root: root.to_owned(), document_root: document_root.to_owned() })
    }

    /// All scripts of a configuration, each once, in its order.
    fn all(config: &Config) -> Vec<Self> {
        let mut all = Vec::new();
        for site in &config.site {
            for route in &site.route {
                let wanted = route.cgi.as_ref().and_then(|cgi| Self::of(cgi, site));
                all.extend(wanted.filter(|wanted| !all.contains(wanted)));
            }
        }
        all
    }

    fn rules(self, config: &Config) -> Result<Rules, String> {
        let Self { cgi, root, document_root } = self;
        Ok(Rules {
            root,
            document_root,
            run_as: run_as(&cgi, &config.server)?,
            index: cgi.index,
            interpreters: cgi
                .interpreters
                .iter()
                .map(|(ending, program)| (format!(".{ending}"), program.as_path().to_owned()))
                .collect(),
            executables: cgi.executables,
            environment: cgi.environment.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
            cpu_seconds: Some(cgi.cpu_time.ms().div_ceil(1000)),
            memory_bytes: Some(cgi.memory.bytes()),
            processes: Some(cgi.processes.into()),
            open_files: Some(cgi.open_files.into()),
            run_ms_max: cgi.run_time.ms(),
            at_once: cgi.at_once,
            waiting: cgi.queue,
            wait_ms_max: cgi.queue_time.ms(),
        })
    }
}

/// The rules of all scripts of a configuration. Made by who starts them: a process that is confined cannot look users up.
///
/// # Errors
/// A sentence: who scripts shall run as cannot be had.
pub fn rules(config: &Config) -> Result<Vec<Rules>, String> {
    Wanted::all(config).into_iter().map(|wanted| wanted.rules(config)).collect()
}

fn run_as(cgi: &settings::Cgi, server: &settings::Server) -> Result<Option<Numbers>, String> {
    let (user, group) = match &cgi.user {
        Some(user) => (user, &cgi.group),
        None => match &server.user {
            Some(user) => (user, &server.group),
            None => return Ok(None),
        },
    };
    let group = group.as_ref().map(ToString::to_string);
    let identity = Identity::find(&user.to_string(), group.as_deref())?;
    if identity.is_own() {
        return Ok(None);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(format!("scripts cannot run as {}: only root can change the user", identity.name));
    }
    Ok(Some(Numbers { user: identity.user, group: identity.group, groups: identity.groups }))
}

/// The handler of a route's scripts.
pub(super) fn plan(
    cgi: &settings::Cgi,
    route: &Route,
    site: &Site,
    kept: &Kept,
) -> Result<CgiPlan, AssemblyError> {
    let cannot = |why: &dyn std::fmt::Display| {
        AssemblyError::new(format_args!("the scripts of {} cannot be served", route.path), why)
    };
    let own = Wanted::of(cgi, site).ok_or_else(|| cannot(&"there is no directory of them"))?;
    let (place, starter) = kept.starter.find(&own).ok_or_else(|| cannot(&"nobody starts them"))?;
    let mount: Box<[u8]> = match cgi.root {
        Some(_) => route.path.as_str().trim_end_matches("/**").as_bytes().into(),
        None => Box::default(),
    };
    let options = CgiOptions {
        rules: place,
        mount,
        endings: cgi.interpreters.keys().map(|ending| format!(".{ending}").into_bytes().into()).collect(),
        has_index: !cgi.index.is_empty(),
        executables: cgi.executables,
        falls_through: cgi.root.is_none(),
        silence_ms_max: cgi.timeout.ms(),
        body_bytes_max: cgi.body_size.map(Size::bytes),
        spool: kept.spool.space(),
        tells_authorization: cgi.authorization,
        limits: Limits::default(),
    };
    Ok(CgiPlan { options: Arc::new(options), starter })
}

impl Starter {
    /// Has somebody who starts the scripts of `config`: whom the provisions name, who was there for the same rules, or a new
    /// thread.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn prepare(&self, config: &Config, provisions: &Provisions<'_>) -> Result<(), AssemblyError> {
        let cannot = |why: &dyn std::fmt::Display| AssemblyError::new("scripts cannot be started", why);
        let wanted = Wanted::all(config);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| known.wanted == wanted) {
            return Ok(());
        }
        if wanted.is_empty() {
            // Who was there goes when its last handler has.
            *known = None;
            return Ok(());
        }
        let socket = match &provisions.starter {
            Some(socket) => Arc::clone(socket),
            None => {
                let rules = rules(config).map_err(|why| cannot(&why))?;
                Arc::new(starter::thread(rules).map_err(|why| cannot(&why))?)
            }
        };
        *known = Some(Known { wanted, socket });
        Ok(())
    }

    fn find(&self, wanted: &Wanted) -> Option<(u16, Arc<OwnedFd>)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref()?;
        let place = known.wanted.iter().position(|other| other == wanted)?;
        Some((u16::try_from(place).ok()?, Arc::clone(&known.socket)))
    }
}
