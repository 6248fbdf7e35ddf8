//! Queries, read strictly.
//!
//! A parameter comes once or not at all (RFC 6749 §3.1), in valid UTF-8, within its length. What is doubled or garbled
//! is refused and not interpreted: two readers that pick different ones of two values are how parameter pollution works.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode;

use crate::problem::{Problem, ProblemKind};

/// Most bytes of a query as sent. A callback's is the longest: a code of up to [`VALUE_BYTES_MAX`], percent-encoded.
pub const QUERY_BYTES_MAX: usize = 8 * 1_024;

/// Most bytes of one value, decoded, unless its [`Parameter`] says less. The longest authorization codes seen in the wild
/// are under 2 KiB.
pub const VALUE_BYTES_MAX: usize = 4 * 1_024;

/// Most parameters in one query: ours have at most five, providers add a handful of their own.
pub const PARAMETERS_MAX: usize = 32;

/// A parameter that a call understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, as it is written without encoding.
    pub name: &'static str,
    /// Most bytes of its value, decoded.
    pub bytes_max: usize,
}

impl Parameter {
    /// A parameter of at most this many bytes; for constants.
    ///
    /// # Panics
    /// At compile time, when the bound is over [`VALUE_BYTES_MAX`].
    pub const fn new(name: &'static str, bytes_max: usize) -> Self {
        assert!(bytes_max <= VALUE_BYTES_MAX);
        Self { name, bytes_max }
    }
}

/// What happens to parameters that the call does not list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Skipped: callbacks (RFC 6749 §4.1.2: "the client MUST ignore unrecognized response parameters").
    Ignore,
    /// Refused: our own calls, so that a misspelt parameter is an error and not a silent default.
    Refuse,
}

/// Why a query is refused. Names only parameters that we know, never what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Longer than [`QUERY_BYTES_MAX`] or more than [`PARAMETERS_MAX`] parameters.
    #[error("the query is too long")]
    TooLong,
    /// A broken percent-encoding, bytes that are not UTF-8, or a control character.
    #[error("the query is not percent-encoded text")]
    Encoding,
    /// A parameter that the call does not have.
    #[error("the query has an unknown parameter")]
    Unknown,
    /// A parameter that came twice.
    #[error("the parameter {parameter} came more than once")]
    Doubled {
        /// Its name.
        parameter: &'static str,
    },
    /// A value beyond its parameter's limit.
    #[error("the parameter {parameter} is too long")]
    ValueTooLong {
        /// Its name.
        parameter: &'static str,
    },
    /// A parameter that the call cannot do without.
    #[error("the parameter {parameter} is missing")]
    Missing {
        /// Its name.
        parameter: &'static str,
    },
    /// A value of another form.
    #[error("the parameter {parameter} is invalid")]
    Invalid {
        /// Its name.
        parameter: &'static str,
        /// What it must look like, as a sentence.
        shape: &'static str,
    },
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::TooLong => Self::new(ProblemKind::BadRequest).with_detail("Send a shorter query."),
            QueryError::Encoding => {
                Self::new(ProblemKind::BadRequest).with_detail("Percent-encode every parameter's value as UTF-8.")
            }
            QueryError::Unknown => {
                Self::new(ProblemKind::BadRequest).with_detail("Send only the parameters that this call documents.")
            }
            QueryError::Doubled { parameter } => Self::parameter(parameter, "Send this parameter once."),
            QueryError::ValueTooLong { parameter } => Self::parameter(parameter, "Send a shorter value."),
            QueryError::Missing { parameter } => Self::parameter(parameter, "Send this parameter."),
            QueryError::Invalid { parameter, shape } => Self::parameter(parameter, shape),
        }
    }
}

impl IntoResponse for QueryError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// The parameters of a query that a call understands. Its Debug shows their names: values may be codes and states.
#[derive(Clone, PartialEq, Eq)]
pub struct Query {
    values: Vec<(&'static str, String)>,
}

impl Query {
    /// Reads a query as the request carries it (`uri.query()`), without its question mark.
    pub fn parse(raw: Option<&str>, known: &[Parameter], unknown: Unknown) -> Result<Self, QueryError> {
        let raw = raw.unwrap_or_default();
        if raw.len() > QUERY_BYTES_MAX {
            return Err(QueryError::TooLong);
        }
        let mut values: Vec<(&'static str, String)> = Vec::new();
        let pairs = raw.split('&').filter(|pair| !pair.is_empty());
        for (index, pair) in pairs.enumerate() {
            if index >= PARAMETERS_MAX {
                return Err(QueryError::TooLong);
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            let Some(parameter) = known.iter().find(|parameter| parameter.name == name) else {
                match unknown {
                    Unknown::Ignore => continue,
                    Unknown::Refuse => return Err(QueryError::Unknown),
                }
            };
            let parameter_name = parameter.name;
            if values.iter().any(|(earlier, _)| *earlier == parameter_name) {
                return Err(QueryError::Doubled { parameter: parameter_name });
            }
            let value = decode(value)?;
            if value.len() > parameter.bytes_max {
                return Err(QueryError::ValueTooLong { parameter: parameter_name });
            }
            values.push((parameter_name, value));
        }
        Ok(Self { values })
    }

    /// A parameter's value. One without a value counts as not sent (RFC 6749 §3.1).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The value of a parameter that must be there.
    pub fn required(&self, name: &'static str) -> Result<&str, QueryError> {
        self.get(name).ok_or(QueryError::Missing { parameter: name })
    }

    /// A whole number within a range. Digits only: no sign, no exponent, no spaces.
    pub fn whole_number(
        &self,
        name: &'static str,
        range: RangeInclusive<u64>,
        shape: &'static str,
    ) -> Result<Option<u64>, QueryError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && range.contains(number));
        number.map(Some).ok_or(QueryError::Invalid { parameter: name, shape })
    }

    /// A switch: `1` is on, absent is off, anything else is refused.
    pub fn flag(&self, name: &'static str) -> Result<bool, QueryError> {
        match self.get(name) {
            None => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(QueryError::Invalid { parameter: name, shape: "Send 1 to switch it on, or leave it out." }),
        }
    }

    /// A value of a closed list of words.
    pub fn word<T: Copy>(
        &self,
        name: &'static str,
        words: &[(&str, T)],
        shape: &'static str,
    ) -> Result<Option<T>, QueryError> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let known = words.iter().find(|(word, _)| *word == text);
        known.map(|(_, value)| Some(*value)).ok_or(QueryError::Invalid { parameter: name, shape })
    }

    /// A value of any type that reads itself from text.
    pub fn parsed<T: FromStr>(&self, name: &'static str, shape: &'static str) -> Result<Option<T>, QueryError> {
        let invalid = QueryError::Invalid { parameter: name, shape };
        let parsed = self.get(name).map(|text| text.parse().map_err(|_| invalid));
        parsed.transpose()
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.values.iter().map(|(name, _)| name);
        f.debug_set().entries(names).finish()
    }
}

/// Decodes a name or a value (`application/x-www-form-urlencoded`).
fn decode(raw: &str) -> Result<String, QueryError> {
    if !raw.is_ascii() || !has_whole_escapes(raw.as_bytes()) {
        return Err(QueryError::Encoding);
    }
    let spaced = raw.replace('+', " ");
    let text = percent_decode(spaced.as_bytes()).decode_utf8().map_err(|_| QueryError::Encoding)?;
    if text.chars().any(char::is_control) {
        return Err(QueryError::Encoding);
    }
    Ok(text.into_owned())
}

/// Whether every `%` begins an escape of two hexadecimal digits; decoders differ in what they make of the others.
fn has_whole_escapes(raw: &[u8]) -> bool {
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let Some([high, low, after @ ..]) = rest.get(at + 1..) else {
            return false;
        };
        if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
            return false;
        }
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests;
