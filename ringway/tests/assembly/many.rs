//! A thousand sites, served.

use crate::served::{ENDPOINT, Served, drivers, files};
use std::fmt::Write;

const SITES: usize = 1000;

#[test]
fn a_thousand_sites_are_served_and_served_anew() {
    let folder = files("run-many", &[]);
    let mut text = ENDPOINT.to_owned();
    for number in 0..SITES {
        folder.file(&format!("{number}/index.html"), number.to_string().as_bytes());
        write!(
            text,
            "\n[[site]]\nnames = [\"s{number}.example\", \"*.s{number}.example\"]\nroot = \"{number}\"\n\
             [[site.route]]\npath = \"/old/**\"\nredirect = \"/{{1}}\"\n"
        )
        .expect("a string takes all");
    }
    let mut served = Served::new(&text, folder.path(), drivers()[0]);
    for number in [0, 1, 499, 998, 999] {
        assert_eq!(served.get(&format!("s{number}.example"), "/"), (200, number.to_string()));
        assert_eq!(served.get(&format!("deep.below.s{number}.example"), "/"), (200, number.to_string()));
    }
    assert_eq!(served.get("s1000.example", "/").0, 404);
    served.reload(&text, folder.path()).expect("it is taken");
    assert_eq!(served.get("s999.example", "/"), (200, "999".to_owned()));
}
