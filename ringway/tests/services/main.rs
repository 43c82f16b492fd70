//! Programs that are built on the façade. This test is such a program itself: it runs itself as one, in one process and as
//! supervisor and server process, on both drivers. Its tests run one after the other.

mod alone;
mod configured;
mod libraries;
mod program;
mod stand;

use std::panic::catch_unwind;
use std::process::ExitCode;

/// Tests by their names.
const TESTS: [(&str, fn()); 10] = [
    ("a_program_serves_in_one_process", alone::a_program_serves_in_one_process),
    ("wrong_use_is_told", alone::wrong_use_is_told),
    (
        "passed_sockets_are_served_and_the_manager_is_told",
        alone::passed_sockets_are_served_and_the_manager_is_told,
    ),
    (
        "pages_reload_themselves_where_they_are_developed",
        alone::pages_reload_themselves_where_they_are_developed,
    ),
    ("connections_are_encrypted_if_wanted", alone::connections_are_encrypted_if_wanted),
    ("a_configuration_names_the_programs_services", configured::a_configuration_names_the_programs_services),
    (
        "services_are_switched_and_reloaded_around_open_sockets",
        configured::services_are_switched_and_reloaded_around_open_sockets,
    ),
    ("wrong_settings_are_told_with_their_line", configured::wrong_settings_are_told_with_their_line),
    ("libraries_serve_confined_and_are_replaced", libraries::libraries_serve_confined_and_are_replaced),
    (
        "the_chat_in_c_runs_confined_and_a_browser_talks",
        libraries::the_chat_in_c_runs_confined_and_a_browser_talks,
    ),
];

fn main() -> ExitCode {
    if std::env::var_os(stand::SERVES).is_some() {
        return program::serve();
    }
    let filters: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if std::env::args().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    let is_wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let mut failed = 0;
    for (name, test) in TESTS.into_iter().filter(|(name, _)| is_wanted(name)) {
        let is_fine = catch_unwind(test).is_ok();
        eprintln!("test {name} ... {}", if is_fine { "ok" } else { "FAILED" });
        failed += u8::from(!is_fine);
    }
    ExitCode::from(failed)
}
