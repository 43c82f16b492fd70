//! Files: roots, certificates, keys, lists of users, directories of logs.

use super::Inspector;
use crate::config::settings::{AccessLog, Auth, Cgi};
use crate::config::source::Place;
use crate::config::tree::Node;
use crate::config::values::{FilePath, HandlerSource, LogTarget};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

impl Inspector<'_> {
    pub(super) fn files(&mut self) {
        let (config, tree) = (self.config, self.tree);
        self.access_log(&config.log.access, tree.under("log").under("access"));
        self.log_target(&config.log.error.path, tree.under("log").under("error").place_of("path"));
        if let Some(path) = &config.server.pid_file {
            self.parent(path.as_path(), tree.under("server").place_of("pid_file"));
        }
        self.directory(config.spool.directory.as_ref(), tree.under("spool").place_of("directory"));
        for (index, site) in config.site.iter().enumerate() {
            let node = tree.item("site", index);
            self.directory(site.root.as_ref(), node.place_of("root"));
            self.auth(site.auth.as_ref(), node);
            for (status, page) in &site.error_pages {
                self.readable(Some(page), node.under("error_pages").place_of(status));
            }
            if let Some(log) = &site.access_log {
                self.access_log(log, node.under("access_log"));
            }
            for (number, hook) in site.hook.iter().enumerate() {
                let place = node.item("hook", number).place_of("library");
                self.library(Some(hook.library.as_path()), place);
            }
            for (number, route) in site.route.iter().enumerate() {
                let node = node.item("route", number);
                self.directory(route.root.as_ref(), node.place_of("root"));
                self.directory(route.alias.as_ref(), node.place_of("alias"));
                for (at, dir) in route.fastcgi.iter().flat_map(|fastcgi| fastcgi.send_file.iter().enumerate())
                {
                    let dir_node = node.under("fastcgi").item("send_file", at);
                    self.directory(Some(&dir.root), dir_node.place_of("root"));
                }
                self.auth(route.auth.as_ref(), node);
                self.scripts(route.cgi.as_ref(), node.under("cgi"));
            }
        }
        self.auth(config.dashboard.auth.as_ref(), tree.under("dashboard"));
        let clients = tree.under("tls").under("client_certificates");
        self.readable(config.tls.client_certificates.ca.as_ref(), clients.place_of("ca"));
        let ca = config.acme.as_ref().and_then(|acme| acme.ca.as_ref());
        self.readable(ca, tree.under("acme").place_of("ca"));
        for (index, service) in config.service.iter().enumerate() {
            let node = tree.item("service", index);
            self.library(service.library.as_ref().map(FilePath::as_path), node.place_of("library"));
            self.directory(service.files.as_ref(), node.place_of("files"));
            if let Some(data) = &service.data {
                self.parent(data.as_path(), node.place_of("data"));
            }
            if let Some(log) = &service.log {
                self.log_target(log, node.place_of("log"));
            }
        }
        for (index, endpoint) in config.endpoint.iter().enumerate() {
            let node = tree.item("endpoint", index);
            let library = endpoint.handler.as_ref().and_then(HandlerSource::library);
            self.library(library, node.place_of("handler"));
            for (at, filter) in endpoint.filters.iter().enumerate() {
                self.library(filter.library(), node.place_in("filters", at));
            }
        }
        for (index, upstream) in config.upstream.iter().enumerate() {
            let ca = upstream.tls.as_ref().and_then(|tls| tls.ca.as_ref());
            self.readable(ca, tree.item("upstream", index).under("tls").place_of("ca"));
        }
    }

    fn auth(&mut self, auth: Option<&Auth>, node: &Node) {
        let file = auth.and_then(|auth| auth.users_file.as_ref());
        self.readable(file, node.under("auth").place_of("users_file"));
    }

    fn scripts(&mut self, cgi: Option<&Cgi>, node: &Node) {
        let Some(cgi) = cgi else { return };
        self.directory(cgi.root.as_ref(), node.place_of("root"));
        for (ending, program) in &cgi.interpreters {
            let place = node.under("interpreters").place_of(ending.as_str());
            self.executable(program.as_path(), place);
        }
    }

    fn executable(&mut self, path: &Path, place: Place) {
        let shown = path.display();
        match path.metadata() {
            Ok(state) if state.is_file() && state.permissions().mode() & 0o111 != 0 => {}
            Ok(_other) => self.error(place, format!("{shown} is no program that could be executed")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.error(place, format!("there is no program {shown}"))
            }
            Err(error) => self.error(place, format!("{shown} cannot be looked at: {error}")),
        }
    }

    /// A shared library is told by how it begins; its code is not run for that.
    fn library(&mut self, path: Option<&Path>, place: Place) {
        const ELF: &[u8] = b"\x7fELF";
        let before = self.findings.len();
        self.file(path, place);
        let Some(path) = path.filter(|_| self.findings.len() == before) else { return };
        let mut start = Vec::new();
        let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut start));
        if read.is_ok() && start != ELF {
            self.error(place, format!("{} is no shared library", path.display()));
        }
    }

    fn access_log(&mut self, log: &AccessLog, node: &Node) {
        self.log_target(&log.path, node.place_of("path"));
    }

    fn log_target(&mut self, target: &LogTarget, place: Place) {
        if let LogTarget::File(path) = target {
            self.parent(path, place);
            if path.is_dir() {
                self.error(place, format!("{} is a directory", path.display()));
            }
        }
    }

    /// A file that is to be written needs its directory.
    fn parent(&mut self, path: &Path, place: Place) {
        let parent = path.parent().unwrap_or(Path::new("/"));
        if !parent.is_dir() {
            self.error_with_hint(
                place,
                format!("there is no directory {}", parent.display()),
                "make it first",
            );
        }
    }

    fn directory(&mut self, path: Option<&FilePath>, place: Place) {
        let Some(path) = path.map(FilePath::as_path) else { return };
        let shown = path.display();
        match std::fs::read_dir(path) {
            Ok(_entries) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.error(place, format!("there is no directory {shown}"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                self.error(place, format!("{shown} is no directory"))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.error(place, format!("this user may not read {shown}"))
            }
            Err(error) => self.error(place, format!("{shown} cannot be read: {error}")),
        }
    }

    pub(super) fn readable(&mut self, path: Option<&FilePath>, place: Place) {
        self.file(path.map(FilePath::as_path), place);
    }

    fn file(&mut self, path: Option<&Path>, place: Place) {
        let Some(path) = path else { return };
        let shown = path.display();
        match File::open(path).and_then(|file| file.metadata()) {
            Ok(state) if state.is_file() => {}
            Ok(_other) => self.error(place, format!("{shown} is no file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.error(place, format!("there is no file {shown}"))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.error(place, format!("this user may not read {shown}"))
            }
            Err(error) => self.error(place, format!("{shown} cannot be read: {error}")),
        }
    }
}
