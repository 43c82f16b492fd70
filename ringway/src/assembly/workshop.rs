//! The workshop of a worker: it makes the worker's own sites, stages and handlers from plans, each once.

use super::authority::ProofStage;
use super::fastcgi::FastCgiPlan;
use super::plan::{HandlerPlan, Plans, SitePlan, StagePlan};
use super::proxy::ProxyPlan;
use crate::config::values::Label;
use crate::engine::{Conn, Description, Events, Protocol, Turn, WorkerHandle};
use crate::web::auth::Auth;
use crate::web::auth::gate::Gate;
#[cfg(feature = "cgi")]
use crate::web::cgi::Cgi;
use crate::web::dav::Dav;
use crate::web::fastcgi::FastCgi;
use crate::web::file_cache::CacheLimits;
use crate::web::file_store::FileStore;
use crate::web::limit::RequestLimitStage;
use crate::web::limits::WebLimits;
use crate::web::log::access::AccessLog;
use crate::web::log::errors::ErrorLog;
use crate::web::log::sink::LogSinks;
use crate::web::pipeline::{Handler, RequestStage};
use crate::web::protocol::Http;
use crate::web::proxy::Proxy;
use crate::web::respond::Respond;
use crate::web::routes::Route;
use crate::web::rules::RulesStage;
use crate::web::site::Site;
use crate::web::sites::Sites;
use crate::web::static_files::StaticFiles;
use crate::web::trust::Trust;
use crate::web::upstream::Upstream;
use crate::web::user_dirs::UserDirs;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What workshops of one assembly have in common.
#[derive(Debug)]
pub(super) struct Blueprint {
    number: u64,
    plans: Plans,
    gate: Gate,
    cache: CacheLimits,
}

impl Blueprint {
    pub(super) fn new(plans: Plans, gate: Gate, cache: CacheLimits) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Self { number: NUMBERS.fetch_add(1, Ordering::Relaxed), plans, gate, cache }
    }
}

thread_local! {
    /// The worker's workshop of the latest assembly, as long as something made in it lives.
    static LATEST: RefCell<(u64, Weak<Workshop>)> = const { RefCell::new((u64::MAX, Weak::new())) };
}

/// What a worker has made of an assembly.
pub(super) struct Workshop {
    blueprint: Arc<Blueprint>,
    worker: WorkerHandle,
    store: FileStore,
    sinks: LogSinks,
    /// Handlers by their plan: a site on several endpoints has one cache.
    handlers: RefCell<HashMap<*const HandlerPlan, Made>>,
    /// Hooks, each with its state here.
    #[cfg(feature = "libraries")]
    hooks: RefCell<super::hooks::MadeHooks>,
    /// Protocols by endpoint: an endpoint on several addresses has one.
    protocols: RefCell<HashMap<Label, Weak<Speaker>>>,
}

/// A handler that many may share.
#[derive(Clone)]
enum Made {
    Files(StaticFiles),
    UserDirs(UserDirs),
    FastCgi(FastCgi),
}

/// What speaks on an endpoint, and the workshop it was made in.
struct Speaker {
    http: Http,
    _workshop: Rc<Workshop>,
}

impl Protocol for Speaker {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        self.http.turn(conn, events)
    }

    fn closed(&self, context: [u64; 2]) {
        self.http.closed(context);
    }

    fn describe(&self, context: [u64; 2]) -> Description {
        self.http.describe(context)
    }
}

impl Workshop {
    /// The calling worker's.
    pub(super) fn of(blueprint: &Arc<Blueprint>, worker: &WorkerHandle) -> Rc<Self> {
        let known = LATEST.with_borrow(
            |(number, workshop)| {
                if *number == blueprint.number { workshop.upgrade() } else { None }
            },
        );
        known.unwrap_or_else(|| {
            let workshop = Rc::new(Self {
                blueprint: Arc::clone(blueprint),
                worker: worker.clone(),
                store: FileStore::of(worker, blueprint.cache),
                sinks: LogSinks::new(worker),
                handlers: RefCell::default(),
                #[cfg(feature = "libraries")]
                hooks: RefCell::default(),
                protocols: RefCell::default(),
            });
            LATEST.set((blueprint.number, Rc::downgrade(&workshop)));
            workshop
        })
    }

    /// What speaks on the endpoint of that name.
    pub(super) fn protocol(
        self: &Rc<Self>,
        endpoint: &Label,
        limits: WebLimits,
        trust: Option<Arc<Trust>>,
    ) -> io::Result<Rc<dyn Protocol>> {
        let known = self.protocols.borrow().get(endpoint).and_then(Weak::upgrade);
        if let Some(known) = known {
            return Ok(known);
        }
        let mut sites = self.sites(endpoint)?;
        sites.trust = trust;
        let http = Http::new(Rc::new(sites), limits, self.worker.pool().clone());
        let speaker = Rc::new(Speaker { http, _workshop: Rc::clone(self) });
        self.protocols.borrow_mut().insert(endpoint.clone(), Rc::downgrade(&speaker));
        Ok(speaker)
    }

    fn sites(&self, endpoint: &Label) -> io::Result<Sites> {
        let plans = &self.blueprint.plans;
        let here = || plans.sites.iter().filter(|plan| plan.is_on(endpoint));
        let default = here().find(|plan| plan.is_default());
        let mut sites = Sites::new(match default {
            Some(plan) => self.site(plan, endpoint)?,
            None => self.nobody(endpoint)?,
        });
        if let Some(plan) = default {
            sites.name_default(&names_of(plan)).map_err(io::Error::other)?;
        }
        for plan in here().filter(|plan| !plan.is_default()) {
            sites.add(self.site(plan, endpoint)?, &names_of(plan)).map_err(io::Error::other)?;
        }
        #[cfg(feature = "libraries")]
        for hook in here().flat_map(|plan| &plan.hooks) {
            let hook = self.hooks.borrow_mut().of(hook, &self.worker)?;
            sites.accepted.extend(hook.accepted());
            sites.closed.extend(hook.closed());
        }
        Ok(sites)
    }

    /// The site for requests that no site wants: they are answered 404, and logged.
    fn nobody(&self, endpoint: &Label) -> io::Result<Site> {
        let plans = &self.blueprint.plans;
        let mut site = Site::new("nobody");
        site.stages = self.faces(endpoint, &plans.errors)?;
        site.server = plans.server;
        if let Some((format, file)) = &plans.access {
            site.served.push(Box::new(AccessLog::new(*format, self.sinks.of(file)?)));
        }
        Ok(site)
    }

    fn site(&self, plan: &SitePlan, endpoint: &Label) -> io::Result<Site> {
        let mut site = Site::new(&plan.name);
        let log = self.blueprint.plans.errors.of_site(&plan.name);
        site.stages = self.faces(endpoint, &log)?;
        site.stages.extend(self.stages(&plan.stages, &log)?);
        site.handlers =
            plan.handlers.iter().map(|plan| self.handler(plan, &log)).collect::<io::Result<_>>()?;
        for route in &plan.routes {
            let stages = self.stages(&route.stages, &log)?;
            let handlers = route.handlers.iter().map(|plan| self.handler(plan, &log));
            let handlers = handlers.collect::<io::Result<_>>()?;
            let route =
                Route { pattern: route.pattern.clone(), stages, handlers, edits: route.edits.clone() };
            site.routes.add(route).map_err(io::Error::other)?;
        }
        site.pages = Arc::clone(&plan.pages);
        if let Some((format, file)) = &plan.access {
            site.served.push(Box::new(AccessLog::new(*format, self.sinks.of(file)?)));
        }
        #[cfg(feature = "libraries")]
        for hook in &plan.hooks {
            let hook = self.hooks.borrow_mut().of(hook, &self.worker)?;
            site.stages.extend(hook.request());
            site.answers.extend(hook.answer());
            site.served.extend(hook.served());
        }
        site.counters = plan.is_counted.then(|| plan.book.open());
        #[cfg(all(feature = "services", feature = "develop"))]
        if let Some(tag) = &self.blueprint.plans.page_tag {
            site.answers.push(Box::new(crate::hosting::ReloadedPages::new(Arc::clone(tag))));
        }
        site.scope = plan.scope.as_ref().map_or(0, |scope| scope.number);
        site.edits = plan.edits.clone();
        site.server = plan.server;
        Ok(site)
    }

    /// The stages of health, metrics and dashboard on an endpoint.
    #[cfg(feature = "console")]
    fn faces(&self, endpoint: &Label, log: &ErrorLog) -> io::Result<Vec<Box<dyn RequestStage>>> {
        self.blueprint.plans.faces.stages(endpoint, &self.worker, &self.blueprint.gate, log)
    }

    #[cfg(not(feature = "console"))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with the feature")]
    fn faces(&self, _endpoint: &Label, _log: &ErrorLog) -> io::Result<Vec<Box<dyn RequestStage>>> {
        Ok(Vec::new())
    }

    fn stages(&self, plans: &[StagePlan], log: &ErrorLog) -> io::Result<Vec<Box<dyn RequestStage>>> {
        let stage = |plan: &StagePlan| -> io::Result<Box<dyn RequestStage>> {
            Ok(match plan {
                StagePlan::Proofs(shelf) => Box::new(ProofStage(Arc::clone(shelf))),
                StagePlan::Limit(limit) => Box::new(RequestLimitStage::new(Arc::clone(limit))),
                StagePlan::Rules(rules) => Box::new(RulesStage::new(Arc::clone(rules), Some(log.clone()))),
                StagePlan::Auth(options) => {
                    Box::new(Auth::new(Arc::clone(options), self.blueprint.gate.clone(), Some(log.clone()))?)
                }
            })
        };
        plans.iter().map(stage).collect()
    }

    fn handler(&self, plan: &Arc<HandlerPlan>, log: &ErrorLog) -> io::Result<Box<dyn Handler>> {
        Ok(match &**plan {
            #[cfg(feature = "cgi")]
            HandlerPlan::Cgi(cgi) => {
                let (options, starter) = (Arc::clone(&cgi.options), Arc::clone(&cgi.starter));
                Box::new(Cgi::new(options, starter, &self.worker, log.clone()))
            }
            HandlerPlan::Redirect(redirect) => Box::new(redirect.clone()),
            HandlerPlan::Rewrite(rewrite) => Box::new(rewrite.clone()),
            HandlerPlan::Respond { status, media_type, body } => {
                Box::new(Respond::new(*status, media_type, Arc::clone(body)).map_err(io::Error::other)?)
            }
            HandlerPlan::Dav(dav) => match self.made(&dav.files, log)? {
                Made::Files(files) => {
                    Box::new(Dav::new(Arc::clone(&dav.tree), files, &self.worker, Some(log.clone())))
                }
                _ => return Err(io::Error::other("nobody changes directories of users")),
            },
            #[cfg(feature = "services")]
            HandlerPlan::Service(plan) => plan.hosted.handler(&self.worker, &self.store, &plan.mount)?,
            HandlerPlan::Proxy(ProxyPlan { options, group }) => {
                let upstream = Upstream::of(group, &self.worker);
                Box::new(Proxy::new(Arc::clone(options), upstream, &self.worker, Some(log.clone())))
            }
            HandlerPlan::Files(_) | HandlerPlan::UserDirs(_) | HandlerPlan::FastCgi(_) => {
                match self.made(plan, log)? {
                    Made::Files(files) => Box::new(files),
                    Made::UserDirs(directories) => Box::new(directories),
                    Made::FastCgi(fastcgi) => Box::new(fastcgi),
                }
            }
        })
    }

    /// The handler of a plan, made when it is first wanted.
    fn made(&self, plan: &Arc<HandlerPlan>, log: &ErrorLog) -> io::Result<Made> {
        let key = Arc::as_ptr(plan);
        if let Some(made) = self.handlers.borrow().get(&key) {
            return Ok(made.clone());
        }
        let made = match &**plan {
            HandlerPlan::Files(files) => {
                let load = Arc::clone(&files.load);
                Made::Files(StaticFiles::new(&files.root, load, files.options.clone(), &self.store)?)
            }
            HandlerPlan::FastCgi(plan) => self.fastcgi(plan, log)?,
            HandlerPlan::UserDirs(options) => Made::UserDirs(UserDirs::new(Arc::clone(options), &self.store)),
            _ => return Err(io::Error::other("this handler is not shared")),
        };
        self.handlers.borrow_mut().insert(key, made.clone());
        Ok(made)
    }

    /// Who has programs answer: for files that are run, those who serve the files.
    fn fastcgi(&self, plan: &FastCgiPlan, log: &ErrorLog) -> io::Result<Made> {
        let upstream = Rc::new(Upstream::of(&plan.upstream, &self.worker));
        let options = Arc::clone(&plan.options);
        let fastcgi = FastCgi::new(options, upstream, log.clone(), &self.worker, &self.store)?;
        let Some(files) = &plan.files else { return Ok(Made::FastCgi(fastcgi)) };
        let (load, options) = (Arc::clone(&files.load), files.options.clone());
        let files = StaticFiles::with_scripts(&files.root, load, options, &self.store, Rc::new(fastcgi));
        files.map(Made::Files)
    }
}

/// The names of a site but for the one that means all others.
fn names_of(plan: &SitePlan) -> Vec<&str> {
    plan.names.iter().map(|name| name.as_str()).filter(|name| *name != "*").collect()
}
