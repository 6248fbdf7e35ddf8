//! What a client gets: an answer, part of one, or none.

use std::fmt;

use serde::Serialize;

/// A whole HTTP answer, free of any HTTP library.
///
/// `Debug` shows status and size only: bodies hold tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Header fields in order; names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

impl Answer {
    /// An answer without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: vec![("cache-control", "no-store".to_owned())], body: Vec::new() }
    }

    /// JSON that no cache may keep (RFC 6749 §5.1).
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        // Everything serialized here is a tree of strings and numbers, which cannot fail; an empty body would show it.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self {
            status,
            headers: vec![
                ("content-type", "application/json; charset=utf-8".to_owned()),
                ("cache-control", "no-store".to_owned()),
                ("pragma", "no-cache".to_owned()),
            ],
            body,
        }
    }

    /// A page of HTML.
    pub(crate) fn html(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: vec![
                ("content-type", "text/html; charset=utf-8".to_owned()),
                ("cache-control", "no-store".to_owned()),
            ],
            body: body.as_bytes().to_vec(),
        }
    }

    /// The same with one more header field.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// How an exchange ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With an answer.
    Answer(Answer),
    /// With the first half of an answer's body; then the connection closes.
    Half(Answer),
    /// Never.
    Hang,
    /// The connection closes without a byte.
    Reset,
}

/// What a request gets, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's number in the log, for [`Sandbox::mark_answered`](crate::Sandbox::mark_answered); `None` when it is not logged.
    pub seq: Option<u64>,
    /// Milliseconds from now until the ending.
    pub after_ms: u64,
    /// How it ends.
    pub ending: Ending,
}
