//! Strict reading of form bodies and queries.

use url::form_urlencoded;

use crate::refusal::Refusal;

/// Parameters of one request; more is no request that this server knows.
const MAX_PARAMETERS: usize = 32;

/// The parameters of a request, none of them twice (RFC 6749 §3.1, §3.2).
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded` text.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text) {
            if pairs.len() >= MAX_PARAMETERS {
                return Err(Refusal::request("too many parameters"));
            }
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Refusal::request("a parameter is given twice"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// A parameter's value; an empty one counts as absent (RFC 6749 §3.1).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

/// The first value of a parameter in text that may be anything.
pub(super) fn first(text: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(text).find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// Whether a Content-Type is that of a form, parameters aside.
pub(super) fn is_form(content_type: Option<&str>) -> bool {
    content_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}
