//! Logs: files that are written by two, rotation of what is no file.

use super::Judge;
use crate::config::report::Finding;
use crate::config::settings::{AccessLog, LogFormat};
use crate::config::source::Place;
use crate::config::tree::Node;
use crate::config::values::LogTarget;
use std::collections::HashMap;

impl Judge<'_> {
    pub(super) fn logs(&mut self) {
        let (config, tree) = (self.config, self.tree);
        let mut seen = HashMap::new();
        self.log(&config.log.access, tree.under("log").under("access"), &mut seen);
        for (index, site) in config.site.iter().enumerate() {
            if let Some(log) = &site.access_log {
                self.log(log, tree.item("site", index).under("access_log"), &mut seen);
            }
        }
        if let LogTarget::File(_) = &config.log.error.path
            && let Some((_, first)) = seen.get(&config.log.error.path)
        {
            let place = tree.under("log").under("error").place_of("path");
            let finding = Finding::error(place, "the error log and an access log go to the same file");
            self.findings.push(finding.other(*first, "this one"));
        }
    }

    fn log<'b>(
        &mut self,
        log: &'b AccessLog,
        node: &Node,
        seen: &mut HashMap<&'b LogTarget, (&'b AccessLog, Place)>,
    ) {
        let LogTarget::File(_) = &log.path else {
            if log.rotate_size.is_some() && !node.is_damaged {
                let hint = "write the file's `path`";
                self.error_with_hint(
                    node.place_of("rotate_size"),
                    format!("{} is no file and cannot be rotated", log.path),
                    hint,
                );
            }
            return;
        };
        if log.format == LogFormat::Off {
            return;
        }
        let place = node.place_of("path");
        match seen.get(&log.path) {
            Some((other, first)) if *other != log => {
                let message = "this log goes to the same file as another one, with other settings";
                self.findings.push(Finding::error(place, message).other(*first, "the other one"));
            }
            Some(_) => {}
            None => {
                seen.insert(&log.path, (log, place));
            }
        }
    }
}
