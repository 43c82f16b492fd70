//! Plans: everything of a configuration's sites that can be made once, for all workers.

use super::authority::Shelf;
use super::fastcgi::FastCgiPlan;
use super::governor::SiteScope;
use super::logs::{Access, access_log};
use super::proxy::ProxyPlan;
use super::upstream::Upstreams;
use super::{AssemblyError, Kept, site};
use crate::config::settings::Config;
use crate::config::values::{Label, SiteName};
use crate::web::auth::AuthOptions;
use crate::web::clock::ServerField;
use crate::web::dav::Tree;
use crate::web::error_page::ErrorPages;
use crate::web::field_edits::FieldEdits;
use crate::web::limit::RequestLimit;
use crate::web::load::LoadOptions;
use crate::web::log::errors::ErrorLog;
use crate::web::pattern::Pattern;
use crate::web::redirect::Redirect;
use crate::web::rewrite::Rewrite;
use crate::web::root::OpenRoot;
use crate::web::rules::Rules;
use crate::web::site_counters::SiteBook;
use crate::web::static_files::FilesOptions;
use crate::web::user_dirs::UserDirsOptions;
use std::sync::Arc;

/// The services of a configuration; there are none without the feature.
#[cfg(feature = "services")]
pub(super) type Services<'a> = &'a [Arc<crate::hosting::Hosted>];
#[cfg(not(feature = "services"))]
pub(super) type Services<'a> = &'a [()];

/// A stage that decides on requests.
#[derive(Clone, Debug)]
pub(super) enum StagePlan {
    /// A certificate authority is shown proofs.
    Proofs(Arc<Shelf>),
    /// Requests by address are counted.
    Limit(Arc<RequestLimit>),
    /// Rules decide.
    Rules(Arc<Rules>),
    /// Who it is must be shown.
    Auth(Arc<AuthOptions>),
}

/// Who makes answers.
#[derive(Debug)]
pub(super) enum HandlerPlan {
    /// Files below a root.
    Files(FilesPlan),
    /// Files that clients change.
    Dav(DavPlan),
    /// Programs behind an upstream.
    FastCgi(FastCgiPlan),
    /// Directories of users.
    UserDirs(Arc<UserDirsOptions>),
    /// Scripts.
    #[cfg(feature = "cgi")]
    Cgi(super::cgi::CgiPlan),
    /// Clients are sent elsewhere.
    Redirect(Redirect),
    /// Another path answers.
    Rewrite(Rewrite),
    /// Always the same answer.
    Respond {
        /// Its status.
        status: u16,
        /// Type of the body.
        media_type: String,
        /// The body.
        body: Arc<[u8]>,
    },
    /// An upstream answers.
    Proxy(ProxyPlan),
    /// An application answers.
    #[cfg(feature = "services")]
    Service(super::services::ServicePlan),
}

/// Files below a root.
#[derive(Debug)]
pub(super) struct FilesPlan {
    pub(super) root: OpenRoot,
    pub(super) load: Arc<LoadOptions>,
    pub(super) options: FilesOptions,
}

/// Files that clients change.
#[derive(Debug)]
pub(super) struct DavPlan {
    pub(super) tree: Arc<Tree>,
    /// Who serves them.
    pub(super) files: Arc<HandlerPlan>,
}

/// A part of a site.
#[derive(Debug)]
pub(super) struct RoutePlan {
    pub(super) pattern: Pattern,
    pub(super) stages: Vec<StagePlan>,
    pub(super) handlers: Vec<Arc<HandlerPlan>>,
    pub(super) edits: FieldEdits,
}

/// A site.
#[derive(Debug)]
pub(super) struct SitePlan {
    pub(super) name: String,
    pub(super) names: Vec<SiteName>,
    pub(super) endpoints: Vec<Label>,
    pub(super) stages: Vec<StagePlan>,
    pub(super) routes: Vec<RoutePlan>,
    pub(super) handlers: Vec<Arc<HandlerPlan>>,
    #[cfg(feature = "libraries")]
    pub(super) hooks: Vec<Arc<crate::service::hooks::Hook>>,
    pub(super) pages: Arc<ErrorPages>,
    pub(super) edits: FieldEdits,
    pub(super) access: Option<Access>,
    pub(super) server: ServerField,
    /// What its requests are counted in, and whether they are.
    pub(super) book: Arc<SiteBook>,
    pub(super) is_counted: bool,
    /// Its number for the governor and its bandwidth, where it has one.
    pub(super) scope: Option<SiteScope>,
}

/// All sites of a configuration, and what they have in common.
#[derive(Debug)]
pub(super) struct Plans {
    pub(super) sites: Vec<Arc<SitePlan>>,
    /// For requests that no site wants.
    pub(super) access: Option<Access>,
    pub(super) server: ServerField,
    pub(super) errors: ErrorLog,
    /// What is put at the end of pages while they are developed.
    #[cfg(all(feature = "services", feature = "develop"))]
    pub(super) page_tag: Option<Arc<str>>,
    /// Health, metrics and dashboard.
    #[cfg(feature = "console")]
    pub(super) faces: super::faces::FacesPlan,
}

impl Plans {
    /// Plans the sites of `config`.
    pub(super) fn new(
        config: &Config,
        kept: &Kept,
        upstreams: &Upstreams,
        errors: &ErrorLog,
        services: Services<'_>,
    ) -> Result<Self, AssemblyError> {
        let common = site::Common::new(config, kept, upstreams, services, errors)?;
        let sites = config.site.iter().map(|site| common.plan(site).map(Arc::new));
        let sites = sites.collect::<Result<Vec<_>, _>>()?;
        let access = access_log(&config.log.access, kept)?;
        Ok(Self {
            sites,
            access,
            server: common.server,
            errors: errors.clone(),
            #[cfg(all(feature = "services", feature = "develop"))]
            page_tag: crate::develop::script_tag().map(Into::into),
            #[cfg(feature = "console")]
            faces: super::faces::FacesPlan::new(config, kept)?,
        })
    }
}

impl Plans {
    /// The sites with a bandwidth of their own.
    pub(super) fn scopes(&self) -> Vec<SiteScope> {
        self.sites.iter().filter_map(|site| site.scope.clone()).collect()
    }

    /// What the sites' requests are counted in.
    pub(super) fn books(&self) -> Vec<Arc<SiteBook>> {
        self.sites.iter().map(|site| Arc::clone(&site.book)).collect()
    }
}

impl SitePlan {
    /// Whether the site is on the endpoint of that name.
    pub(super) fn is_on(&self, endpoint: &Label) -> bool {
        self.endpoints.is_empty() || self.endpoints.contains(endpoint)
    }

    /// Whether it takes the requests that no other site wants.
    pub(super) fn is_default(&self) -> bool {
        self.names.iter().any(|name| name.as_str() == "*")
    }
}
