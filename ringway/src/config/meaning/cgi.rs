//! Scripts: that there are some, and that they can be told from files.

use super::Judge;
use crate::config::settings::{Cgi, Route, Site};
use crate::config::tree::Node;

impl Judge<'_> {
    pub(super) fn cgi(&mut self, site: &Site, route: &Route, node: &Node) {
        let Some(cgi) = &route.cgi else { return };
        let own = node.under("cgi");
        match &cgi.root {
            None if site.root.is_none() && !node.is_damaged => {
                let hint = "write `root` for the site, or in `cgi`";
                self.error_with_hint(node.key_place_of("cgi"), "there is no directory of scripts", hint);
            }
            Some(_) if !route.path.as_str().ends_with("/**") => {
                let hint = format!("write `path = \"{}/**\"`", route.path.as_str().trim_end_matches('/'));
                self.error_with_hint(
                    own.key_place_of("root"),
                    "`root` needs a path that ends with `/**`",
                    hint,
                );
            }
            _ => {}
        }
        if cgi.interpreters.is_empty() && !cgi.executables {
            let hint = "write `interpreters`, or leave `executables` out";
            self.error_with_hint(own.key_place_of("executables"), "nothing would be a script", hint);
        }
        if cgi.group.is_some() && cgi.user.is_none() {
            let hint = "write `user` as well";
            self.error_with_hint(own.key_place_of("group"), "a group needs a user", hint);
        }
        self.index(&cgi.index, own);
        self.cgi_names(cgi, own);
    }

    fn cgi_names(&mut self, cgi: &Cgi, own: &Node) {
        for name in cgi.environment.keys().map(|name| name.as_str()) {
            if !is_variable(name) {
                let hint = "it has letters, digits and `_`, and does not begin with a digit";
                let place = own.under("environment").key_place_of(name);
                self.error_with_hint(place, format!("`{name}` is no name of a variable"), hint);
            }
        }
        for (ending, program) in &cgi.interpreters {
            let place = own.under("interpreters").place_of(ending.as_str());
            if ending.as_str().starts_with('.') {
                let without = ending.as_str().trim_start_matches('.');
                let key_place = own.under("interpreters").key_place_of(ending.as_str());
                let hint = format!("write `{without} = ...`");
                self.error_with_hint(key_place, "endings are written without their dot", hint);
            }
            if cgi.root.as_ref().is_some_and(|root| program.as_path().starts_with(root.as_path())) {
                let hint = "whoever may change a script could change what runs all of them";
                self.warning(place, "this program lies among the scripts", hint);
            }
        }
        if cgi.user.as_ref().is_some_and(|user| matches!(user.to_string().as_str(), "root" | "0")) {
            let hint = "give them a user who owns nothing but what they write";
            self.warning(own.place_of("user"), "scripts would run as root", hint);
        }
    }
}

fn is_variable(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_part) && !name.starts_with(|first: char| first.is_ascii_digit())
}
