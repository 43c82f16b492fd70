//! A stage hook: lets in who shows the token of the configuration as `Authorization: Bearer`, and says who that is.

use ringway_sdk::{Answer, Reply, Setup, StageHook, Staged};

struct Token {
    expected: String,
}

impl StageHook for Token {
    fn create(setup: &Setup<'_>) -> Result<Self, String> {
        let line = setup.config().lines().find_map(|line| line.strip_prefix("token = "));
        let token = line.map(|token| token.trim().trim_matches('"')).filter(|token| !token.is_empty());
        let token = token.ok_or("write `config = { token = \"...\" }`")?;
        Ok(Self { expected: format!("Bearer {token}") })
    }

    fn request(&self, request: &Staged<'_>) -> Reply {
        let shown = request.field("authorization").unwrap_or_default();
        // The time that this takes says nothing of where the two differ.
        let differs = shown.iter().zip(self.expected.bytes()).fold(0, |sum, (one, other)| sum | (one ^ other));
        if shown.len() != self.expected.len() || differs != 0 {
            return Answer::text("Who are you?\n").status(401).into();
        }
        match request.set_user("bearer") {
            Ok(()) => Reply::Pass,
            Err(_no_name) => Answer::text("Not now.\n").status(503).into(),
        }
    }
}

ringway_sdk::export!("token"; stage: Token);
