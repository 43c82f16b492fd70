//! What `ringway dev` and the program that it runs have agreed on: where pages find the script that reloads them.

/// The environment variable that says where the script is: a base address that ends with a slash, such as
/// `http://127.0.0.1:40001/5f0c…/3/`. Only programs under `ringway dev` have it.
pub const VARIABLE: &str = "RINGWAY_DEV";

/// What is put at the end of every HTML page (content type `text/html`, status of any kind) while `ringway dev` runs the program:
/// one element that loads the script. `None` elsewhere, and for a value that is no such address.
///
/// Read it once, at the start. A page whose own policy (`Content-Security-Policy`) forbids scripts of other origins does not reload
/// itself, and is otherwise as it was.
#[must_use]
pub fn script_tag() -> Option<String> {
    tag_for(&std::env::var(VARIABLE).ok()?)
}

fn tag_for(base: &str) -> Option<String> {
    let rest = base.strip_prefix("http://127.0.0.1:")?.strip_suffix('/')?;
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
    is_plain.then(|| format!("<script src=\"{base}reload.js\" async></script>\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ours_becomes_a_tag_and_nothing_else_does() {
        assert_eq!(
            tag_for("http://127.0.0.1:40001/5f0c/3/").as_deref(),
            Some("<script src=\"http://127.0.0.1:40001/5f0c/3/reload.js\" async></script>\n")
        );
        for other in
            ["", "1", "http://127.0.0.1:1/a", "http://evil.example/", "http://127.0.0.1:1/\"></script>/"]
        {
            assert_eq!(tag_for(other), None, "{other}");
        }
    }
}
