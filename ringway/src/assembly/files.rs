//! Files: roots, how they are loaded, pages of errors, directories of users.

use super::fastcgi;
use super::plan::FilesPlan;
use super::{AssemblyError, Kept};
use crate::config::settings::{self, Listing, Mime, Route, Site, Symlinks};
use crate::config::values::{FilePath, TryStep};
use crate::web::cache_rules::{CacheRule, CacheRules};
use crate::web::codings::{Coding, CodingSet};
use crate::web::compress::encoder::Levels;
use crate::web::compress::{Compression, CompressionLimit, CompressionOptions};
use crate::web::error_page::ErrorPages;
use crate::web::listing::Theme;
use crate::web::load::LoadOptions;
use crate::web::mime::MediaTypes;
use crate::web::root::{OpenRoot, RootOptions};
use crate::web::static_files::FilesOptions;
use crate::web::tries::Tries;
use crate::web::user_dirs::{self, UserDirsOptions};
use std::sync::Arc;

/// How the files of a site are served, where a route does not say otherwise.
pub(super) struct FilesOf {
    load: LoadOptions,
    caching: Vec<CacheRule>,
    root: RootOptions,
}

impl FilesOf {
    pub(super) fn site(site: &Site, mime: &Mime, kept: &Kept) -> Result<Self, AssemblyError> {
        let siblings =
            site.compression.prepared.iter().fold(CodingSet::NONE, |set, one| set.with(coding(*one)));
        let load = LoadOptions {
            index: site.index.clone(),
            listing: site.listing.enabled,
            theme: theme(&site.listing),
            siblings,
            types: media_types(site, mime)?,
            compression: compression(&site.compression, &kept.compressing),
            scripts: fastcgi::endings_of(site)
                .map_err(|why| AssemblyError::new("these endings cannot be run", why))?,
            ..LoadOptions::default()
        };
        let root = RootOptions { symlinks: site.symlinks == Symlinks::Inside, ..RootOptions::default() };
        let caching = site.cache.iter().map(cache_rule).collect();
        Ok(Self { load, caching, root })
    }

    /// The files of the site's own root.
    pub(super) fn handler(&self, site: &Site) -> Result<Option<FilesPlan>, AssemblyError> {
        let Some(root) = &site.root else { return Ok(None) };
        let options = FilesOptions { tries: tries(&site.r#try)?, ..FilesOptions::default() };
        self.below(root, self.load.clone(), options, &self.caching).map(Some)
    }

    /// The files of a route that has some of its own, or serves the site's in another way.
    pub(super) fn route(&self, route: &Route, site: &Site) -> Result<Option<FilesPlan>, AssemblyError> {
        let is_other = route.index.is_some()
            || route.listing.is_some()
            || route.r#try.is_some()
            || route.cache_control.is_some()
            || route.dav.is_some();
        self.of_route(route, site, is_other)
    }

    /// The files of a route whose scripts are run.
    pub(super) fn run(&self, route: &Route, site: &Site) -> Result<Option<FilesPlan>, AssemblyError> {
        self.of_route(route, site, true)
    }

    fn of_route(
        &self,
        route: &Route,
        site: &Site,
        is_other: bool,
    ) -> Result<Option<FilesPlan>, AssemblyError> {
        let root = route.root.as_ref().or(route.alias.as_ref()).or(site.root.as_ref().filter(|_| is_other));
        let Some(root) = root else { return Ok(None) };
        let mut load = self.load.clone();
        if let Some(index) = &route.index {
            load.index.clone_from(index);
        }
        if let Some(listing) = &route.listing {
            (load.listing, load.theme) = (listing.enabled, theme(listing));
        }
        let prefix = match route.alias {
            Some(_) => route.path.as_str().trim_end_matches("/**").as_bytes().into(),
            None => Box::default(),
        };
        // The site's own list is about the site's own root.
        let is_sites = route.root.is_none() && route.alias.is_none();
        let steps = route.r#try.as_deref().unwrap_or(if is_sites { &site.r#try } else { &[] });
        let options = FilesOptions { prefix, tries: tries(steps)?, ..FilesOptions::default() };
        match &route.cache_control {
            Some(control) => {
                let rule = CacheRule { control: control.as_str().into(), ..CacheRule::default() };
                self.below(root, load, options, &[rule]).map(Some)
            }
            None => self.below(root, load, options, &self.caching).map(Some),
        }
    }

    /// The directories of users, if the site serves them.
    pub(super) fn user_dirs(&self, site: &Site) -> Result<Option<Arc<UserDirsOptions>>, AssemblyError> {
        let settings = &site.user_directories;
        if !settings.enabled {
            return Ok(None);
        }
        let cannot =
            |why: &dyn std::fmt::Display| AssemblyError::new("cannot serve the directories of users", why);
        let passwd = std::fs::read_to_string("/etc/passwd").map_err(|error| cannot(&error))?;
        let users = match &settings.users[..] {
            [] => user_dirs::Users::Ordinary,
            named => user_dirs::Users::Named(named.iter().map(ToString::to_string).collect()),
        };
        let accounts = user_dirs::accounts(&passwd);
        let load = Arc::new(self.load.clone());
        let options = UserDirsOptions::new(&accounts, &users, settings.folder.as_str(), self.root, load);
        options.map(|options| Some(Arc::new(options))).map_err(|error| cannot(&error))
    }

    fn below(
        &self,
        root: &FilePath,
        mut load: LoadOptions,
        options: FilesOptions,
        caching: &[CacheRule],
    ) -> Result<FilesPlan, AssemblyError> {
        load.caching = CacheRules::new(&options.prefix);
        for rule in caching {
            load.caching
                .add(rule.clone())
                .map_err(|why| AssemblyError::new("a cache rule cannot be kept", why))?;
        }
        let path = root.as_path();
        let cannot = |error| AssemblyError::new(format_args!("cannot serve {}", path.display()), error);
        let opened = OpenRoot::open(path, self.root).map_err(cannot)?;
        opened.dir().check_readable().map_err(cannot)?;
        Ok(FilesPlan { root: opened, load: Arc::new(load), options })
    }
}

/// The pages of a site that are sent with errors; they are read once and kept.
pub(super) fn pages(site: &Site) -> Result<Arc<ErrorPages>, AssemblyError> {
    let cannot = |why: &dyn std::fmt::Display| AssemblyError::new("errors cannot be told", why);
    let mut pages = ErrorPages::default();
    for (status, path) in &site.error_pages {
        let status: u16 = status.parse().map_err(|error| cannot(&error))?;
        let file = path.to_string();
        pages.load(&file, [status], &MediaTypes::default()).map_err(|error| cannot(&error))?;
    }
    Ok(Arc::new(pages))
}

fn theme(listing: &Listing) -> Theme {
    match listing.theme {
        settings::Theme::Default => Theme::Default,
        settings::Theme::Compact => Theme::Compact,
        settings::Theme::Plain => Theme::Plain,
    }
}

fn coding(coding: settings::Coding) -> Coding {
    match coding {
        settings::Coding::Br => Coding::Brotli,
        settings::Coding::Zstd => Coding::Zstd,
        settings::Coding::Gzip => Coding::Gzip,
    }
}

fn compression(settings: &settings::Compression, limit: &CompressionLimit) -> Option<Arc<Compression>> {
    if !settings.enabled {
        return None;
    }
    let options = CompressionOptions {
        codings: settings.codings.iter().copied().map(coding).collect(),
        types: settings.types.iter().map(|range| range.as_str().into()).collect(),
        len_min: settings.min_size.bytes(),
        len_max: settings.max_size.bytes(),
        levels: Levels::of_effort(settings.level),
    };
    Some(Arc::new(Compression::new(options, limit.clone())))
}

fn media_types(site: &Site, mime: &Mime) -> Result<MediaTypes, AssemblyError> {
    let mut types = MediaTypes::default();
    let set = || {
        if let Some(default) = &mime.default_type {
            types.set_default(default.as_str())?;
        }
        mime.types
            .iter()
            .try_for_each(|(ending, media_type)| types.set(ending.as_str(), media_type.as_str()))?;
        match site.charset.as_ref().map(|charset| charset.as_str()) {
            None => Ok(()),
            Some("off") => types.set_charset(None),
            Some(charset) => types.set_charset(Some(charset)),
        }
    };
    let mut set = set;
    set().map_err(|why: crate::web::mime::InvalidType| AssemblyError::new("cannot send this type", why))?;
    Ok(types)
}

fn cache_rule(rule: &settings::CacheRule) -> CacheRule {
    let seconds = rule.expires.map_or(0, |span| span.ms() / 1000);
    CacheRule {
        // What is configured has been read as a pattern before.
        paths: rule.path.as_ref().and_then(|path| crate::web::pattern::Pattern::parse(path.as_str()).ok()),
        types: rule.types.iter().map(|range| range.as_str().into()).collect(),
        control: rule.control.as_ref().map_or("", |control| control.as_str()).into(),
        expires_s: u32::try_from(seconds).unwrap_or(u32::MAX),
    }
}

fn tries(steps: &[TryStep]) -> Result<Tries, AssemblyError> {
    Tries::parse(steps).map_err(|why| AssemblyError::new("`try` cannot be followed", why))
}
