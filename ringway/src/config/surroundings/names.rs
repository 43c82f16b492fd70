//! Names: hosts that must resolve, users and groups of the machine.

use super::Inspector;
use crate::config::source::Place;
use crate::config::suggest;
use rustix::thread::CpuSet;
use std::net::ToSocketAddrs;

impl Inspector<'_> {
    /// Users and groups exist, as far as this machine's own files say.
    pub(super) fn users(&mut self) {
        let server = self.tree.under("server");
        let wanted = [
            ("user", &self.config.server.user, "/etc/passwd"),
            ("group", &self.config.server.group, "/etc/group"),
        ];
        for (key, name, file) in wanted {
            let Some(name) = name else { continue };
            let place = server.place_of(key);
            self.system_name(key, name.as_str(), file, place);
        }
    }

    fn system_name(&mut self, what: &str, name: &str, file: &str, place: Place) {
        if name.parse::<u32>().is_ok() {
            return;
        }
        let list = std::fs::read_to_string(file).unwrap_or_default();
        let names = || list.lines().filter_map(|line| line.split(':').next());
        if !names().any(|known| known == name) {
            let hint = suggest::did_you_mean(name, names());
            let hint = hint.unwrap_or_else(|| format!("{file} does not list it; a number works too"));
            self.error_with_hint(place, format!("there is no {what} `{name}` on this machine"), hint);
        }
    }

    /// The cores that workers are bound to are there, and this process may use them.
    pub(super) fn cpus(&mut self) {
        let Ok(allowed) = rustix::thread::sched_getaffinity(None) else { return };
        for (at, cpu) in self.config.server.cpus.iter().enumerate() {
            let is_usable = usize::from(*cpu) < CpuSet::MAX_CPU && allowed.is_set(usize::from(*cpu));
            if !is_usable {
                let place = self.tree.under("server").place_in("cpus", at);
                let hint = format!("this process may use {}", counted(allowed.count()));
                self.error_with_hint(place, format!("there is no core {cpu} for this process"), hint);
            }
        }
    }

    /// Hosts resolve.
    pub(super) fn hosts(&mut self) {
        let (config, tree) = (self.config, self.tree);
        for (index, endpoint) in config.endpoint.iter().enumerate() {
            for (at, listen) in endpoint.listen.iter().enumerate() {
                if let Err(message) = listen.resolve() {
                    self.error(tree.item("endpoint", index).place_in("listen", at), message);
                }
            }
        }
        if let Some(acme) = &config.acme {
            let (host, port) = (acme.directory.host(), acme.directory.port());
            if let Err(error) = (host, port).to_socket_addrs() {
                let place = tree.under("acme").place_of("directory");
                self.error(place, format!("the name `{host}` cannot be resolved: {error}"));
            }
        }
    }
}

fn counted(cores: u32) -> String {
    if cores == 1 { "one core".to_owned() } else { format!("{cores} cores") }
}
