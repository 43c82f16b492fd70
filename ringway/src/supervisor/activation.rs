//! Sockets that a service manager has bound (systemd's socket activation, `sd_listen_fds(3)`).

use std::os::fd::OwnedFd;

/// Sockets with the names the service manager has for them (`FileDescriptorName=`).
pub(crate) type Passed = Vec<(String, OwnedFd)>;

/// The sockets that were passed to this process; none when they were meant for another one.
///
/// # Errors
/// A sentence: what was passed is not there.
pub(crate) fn passed() -> Result<Passed, String> {
    let variable = |name: &str| std::env::var(name).ok();
    let Some(count) =
        count(variable("LISTEN_PID").as_deref(), variable("LISTEN_FDS").as_deref(), std::process::id())
    else {
        return Ok(Vec::new());
    };
    let adopted = ringway_confine::inherited::adopt(count).map_err(|error| {
        format!("the {count} sockets that were passed (LISTEN_FDS) cannot be had: {error}")
    })?;
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    Ok(named(&names, adopted))
}

/// Puts names, which colons separate, to what they are the names of.
fn named<T>(names: &str, passed: Vec<T>) -> Vec<(String, T)> {
    let names = names.split(':').chain(std::iter::repeat(""));
    names.map(str::to_owned).zip(passed).collect()
}

fn count(process: Option<&str>, count: Option<&str>, own: u32) -> Option<i32> {
    let is_ours = process?.parse() == Ok(own);
    count?.parse().ok().filter(|count| is_ours && *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_to_sockets() {
        let all = |names, passed| named(names, passed).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(all("web:tls", vec![3, 4]), ["web", "tls"]);
        assert_eq!(all("web", vec![3, 4]), ["web", ""]);
        assert_eq!(all("", vec![3]), [""]);
    }

    #[test]
    fn only_what_is_meant_for_this_process_is_taken() {
        assert_eq!(count(Some("7"), Some("2"), 7), Some(2));
        assert_eq!(count(Some("8"), Some("2"), 7), None);
        assert_eq!(count(None, Some("2"), 7), None);
        assert_eq!(count(Some("7"), Some("many"), 7), None);
        assert_eq!(count(Some("7"), Some("0"), 7), None);
    }
}
