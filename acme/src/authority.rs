//! An authority: its directory, nonces, and signed requests to it (RFC 8555 sections 6 and 7.1 to 7.3).

use crate::account::AccountKey;
use crate::failure::Failure;
use crate::https::{self, Answer};
use crate::url::Url;
use ringway_tls::{Authorities, TlsClient};
use serde_json::{Value, json};

/// How often a request is made again because its nonce was not taken.
const NONCE_TRIES: usize = 4;

/// Which authority, and who asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityOptions {
    /// URL of its directory.
    pub directory: String,
    /// Where it writes to when something is wrong.
    pub email: Option<String>,
    /// Whether the operator agrees to its terms of service.
    pub agree: bool,
    /// Who vouches for its own certificate.
    pub authorities: Authorities,
}

/// An authority that knows our account.
#[derive(Debug)]
pub struct Authority {
    client: TlsClient,
    key: AccountKey,
    account: Option<String>,
    nonce: Option<String>,
    new_nonce: Url,
    new_account: Url,
    new_order: Url,
}

impl Authority {
    /// Reads the directory and makes the account with `key` known, or finds it. `key` is in PKCS #8; without one a new one
    /// is made, and given back to be kept.
    ///
    /// # Errors
    /// When the authority cannot be asked, or refuses.
    pub fn open(options: &AuthorityOptions, key: Option<&[u8]>) -> Result<(Self, Vec<u8>), Failure> {
        let directory = parse_url(&options.directory)?;
        let client = TlsClient::new(&options.authorities, vec![b"http/1.1".to_vec()])
            .map_err(|problem| Failure::Here(problem.to_string()))?;
        let answer = checked("its directory", https::ask(&client, "GET", &directory, None)?)?;
        let resources = json_of("its directory", &answer)?;
        let resource = |name: &str| -> Result<Url, Failure> {
            let text = resources[name].as_str().unwrap_or_default();
            Url::parse(text)
                .ok_or_else(|| nonsense("its directory", format!("{name} is {text:?}, no https URL")))
        };
        let key = key.map_or_else(AccountKey::generate, AccountKey::from_pkcs8)?;
        let mut authority = Self {
            new_nonce: resource("newNonce")?,
            new_account: resource("newAccount")?,
            new_order: resource("newOrder")?,
            client,
            key,
            account: None,
            nonce: answer.nonce,
        };
        authority.register(options, &resources)?;
        let kept = authority.key.pkcs8().to_vec();
        Ok((authority, kept))
    }

    fn register(&mut self, options: &AuthorityOptions, resources: &Value) -> Result<(), Failure> {
        let terms = resources["meta"]["termsOfService"].as_str();
        if let (Some(terms), false) = (terms, options.agree) {
            let sentence =
                format!("the authority wants its terms to be agreed to: read {terms} and set agree = true");
            return Err(Failure::Here(sentence));
        }
        let mut wanted = json!({"termsOfServiceAgreed": options.agree});
        if let Some(email) = &options.email {
            wanted["contact"] = json!([format!("mailto:{email}")]);
        }
        let url = self.new_account.clone();
        let answer = self.post("an account", &url, Some(&wanted))?;
        let account =
            answer.location.ok_or_else(|| nonsense("an account", "it has no Location".to_owned()))?;
        self.account = Some(account);
        Ok(())
    }

    /// Where orders go.
    pub(crate) fn new_order(&self) -> Url {
        self.new_order.clone()
    }

    /// What is shown to prove a name.
    pub(crate) fn authorization(&self, token: &str) -> String {
        self.key.authorization(token)
    }

    /// Asks for a resource without saying anything.
    pub(crate) fn get(&mut self, what: &str, url: &Url) -> Result<Answer, Failure> {
        self.post(what, url, None)
    }

    /// A signed request; made again with another nonce when the authority did not take that.
    pub(crate) fn post(&mut self, what: &str, url: &Url, payload: Option<&Value>) -> Result<Answer, Failure> {
        for _ in 1..NONCE_TRIES {
            let answer = self.post_once(url, payload)?;
            if !is_bad_nonce(&answer) {
                return checked(what, answer);
            }
        }
        checked(what, self.post_once(url, payload)?)
    }

    fn post_once(&mut self, url: &Url, payload: Option<&Value>) -> Result<Answer, Failure> {
        let nonce = match self.nonce.take() {
            Some(nonce) => nonce,
            None => {
                let answer = checked("a nonce", https::ask(&self.client, "HEAD", &self.new_nonce, None)?)?;
                answer.nonce.ok_or_else(|| nonsense("a nonce", "there is none".to_owned()))?
            }
        };
        let text = self.key.sign(self.account.as_deref(), &nonce, &url.to_string(), payload)?;
        let mut answer = https::ask(&self.client, "POST", url, Some(&text))?;
        self.nonce = answer.nonce.take();
        Ok(answer)
    }
}

/// A URL that the authority gave.
pub(crate) fn parse_url(text: &str) -> Result<Url, Failure> {
    Url::parse(text).ok_or_else(|| Failure::Here(format!("{text:?} is no https URL")))
}

/// The body of an answer.
pub(crate) fn json_of(what: &str, answer: &Answer) -> Result<Value, Failure> {
    serde_json::from_slice(&answer.body).map_err(|error| nonsense(what, error.to_string()))
}

pub(crate) fn nonsense(what: &str, reason: String) -> Failure {
    Failure::Nonsense { what: what.to_owned(), reason }
}

fn is_bad_nonce(answer: &Answer) -> bool {
    answer.status == 400 && kind_and_detail(&answer.body).0 == "badNonce"
}

/// The answer, if it is none of a refusal.
fn checked(what: &str, answer: Answer) -> Result<Answer, Failure> {
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    let (kind, detail) = kind_and_detail(&answer.body);
    Err(Failure::Refused { what: what.to_owned(), status: answer.status, kind, detail })
}

/// Of a problem document (RFC 7807): the end of its type, and its text.
fn kind_and_detail(body: &[u8]) -> (String, String) {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let kind = problem["type"].as_str().unwrap_or_default().rsplit(':').next().unwrap_or_default();
    (kind.to_owned(), printable(problem["detail"].as_str().unwrap_or("it does not say why")))
}

/// Text of the authority's, made fit for a log.
pub(crate) fn printable(text: &str) -> String {
    /// Characters of it that are kept.
    const KEPT: usize = 500;
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(KEPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, nonce: None, location: None, retry_after: None, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn refusals_are_told_with_kind_and_text() {
        let body = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"slow\ndown"}"#;
        let failure = checked("a certificate", answer(429, body)).expect_err("it is one");
        assert_eq!(failure.to_string(), "the authority refuses a certificate (429 rateLimited): slow down");
        let failure = checked("a certificate", answer(502, "<html>")).expect_err("it is one");
        assert_eq!(failure.to_string(), "the authority refuses a certificate (502 ): it does not say why");
        assert!(checked("a certificate", answer(201, "")).is_ok());
        assert!(is_bad_nonce(&answer(400, r#"{"type":"urn:ietf:params:acme:error:badNonce"}"#)));
        assert!(!is_bad_nonce(&answer(400, body)));
    }
}
