//! Why a run gives no result: one clear sentence and an exit code.

use std::fmt;
use std::process::ExitCode;

/// Why a run ended without a result. Its sentence starts in lower case and has no full stop, as it follows `ringway-lab: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    sentence: String,
    code: u8,
}

impl Refusal {
    /// Exit code of a refused set-up, the same as for arguments that cannot be read.
    pub const SETUP: u8 = 2;
    /// Exit code of a run that was started and broke.
    pub const FAILED: u8 = 1;

    /// Bad arguments or an impossible set-up: who started the lab must act. Exit code 2.
    #[must_use]
    pub fn new(sentence: impl Into<String>) -> Refusal {
        Refusal { sentence: sentence.into(), code: Refusal::SETUP }
    }

    /// The run was possible but broke. Exit code 1.
    #[must_use]
    pub fn failed(sentence: impl Into<String>) -> Refusal {
        Refusal { sentence: sentence.into(), code: Refusal::FAILED }
    }

    /// A closure for `map_err`: what was tried (`"cannot open /x"`), then what the system said. Exit code 2.
    pub fn because<E: fmt::Display>(tried: impl Into<String>) -> impl FnOnce(E) -> Refusal {
        let tried = tried.into();
        move |error| Refusal::new(format!("{tried}: {error}"))
    }

    /// The code that the process ends with.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Refusal {}

#[test]
fn a_cause_follows_what_was_tried() {
    let refusal = Refusal::because("cannot open /x")(std::io::Error::from_raw_os_error(2));
    assert!(refusal.to_string().starts_with("cannot open /x: No such file"));
    assert_eq!(refusal.code, Refusal::SETUP);
}
