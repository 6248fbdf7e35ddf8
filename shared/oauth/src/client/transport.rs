//! Sending, and receiving within bounds.

use std::time::Duration;

use reqwest::{Client, Request, Response, header::RETRY_AFTER, redirect::Policy, retry};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Deadlines, ProviderClient};
use crate::verdict::{UnavailableCause, Verdict};

/// Largest answer that is read, in bytes: the largest tokens, the id token beside them and the JSON around fit four times.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// First room for a body: token answers are 1 to 4 KiB, and growing would leave unwiped copies behind.
const BODY_BYTES_USUAL: usize = 8 * 1024;

/// How long an idle connection is used again. Common servers close after 5 s and more; a request on a connection that
/// the other side is closing has an unknown fate, which at a rotating provider costs a lease.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// Who is asking.
const USER_AGENT: &str = concat!("MultiMusic/", env!("CARGO_PKG_VERSION"));

pub(super) fn build_client(deadlines: Deadlines) -> Result<Client, reqwest::Error> {
    Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(deadlines.connect)
        .pool_idle_timeout(IDLE_MAX)
        // A redirect would carry the credentials to wherever it points (RFC 9700 §4.12).
        .redirect(Policy::none())
        .referer(false)
        // A second sending is decided above, where it is known whether the first may have spent the token.
        .retry(retry::never())
        .no_proxy()
        .build()
}

/// What came back.
pub(super) enum Reception {
    /// A whole answer.
    Whole(Answer),
    /// A status, and a body that ended early.
    Cut { status: u16, retry_after: Option<String>, cause: UnavailableCause },
    /// Nothing.
    Failed(Failure),
}

/// A whole answer. No `Debug`: the body holds tokens. It is wiped when dropped.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<String>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Why nothing came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) cause: UnavailableCause,
    pub(super) may_have_been_processed: bool,
}

impl From<Failure> for Verdict {
    fn from(Failure { cause, may_have_been_processed }: Failure) -> Self {
        Self::Unavailable { cause, may_have_been_processed, retry_after: None }
    }
}

impl ProviderClient {
    /// Sends the request and reads the answer, until `deadline`.
    pub(super) async fn send<B: Into<reqwest::Body>>(
        &self,
        request: oauth2::http::Request<B>,
        deadline: Instant,
    ) -> Reception {
        let Ok(mut request) = Request::try_from(request) else {
            return Reception::Failed(Failure { cause: UnavailableCause::Connect, may_have_been_processed: false });
        };
        *request.timeout_mut() = Some(deadline.saturating_duration_since(Instant::now()));
        match self.http.execute(request).await {
            Ok(response) => receive(response).await,
            Err(error) => Reception::Failed(failure(&error)),
        }
    }
}

async fn receive(mut response: Response) -> Reception {
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = Zeroizing::new(Vec::with_capacity(BODY_BYTES_USUAL));
    loop {
        let cause = match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= BODY_BYTES_MAX => {
                body.extend_from_slice(&chunk);
                continue;
            }
            Ok(None) => return Reception::Whole(Answer { status, retry_after, body }),
            Ok(Some(_)) => UnavailableCause::TooLarge,
            Err(error) if error.is_timeout() => UnavailableCause::Timeout,
            Err(_) => UnavailableCause::Interrupted,
        };
        return Reception::Cut { status, retry_after, cause };
    }
}

/// The error's class; the error itself is dropped. Only where no connection stood is it certain that nothing was sent.
fn failure(error: &reqwest::Error) -> Failure {
    if error.is_connect() || error.is_builder() {
        Failure { cause: UnavailableCause::Connect, may_have_been_processed: false }
    } else if error.is_timeout() {
        Failure { cause: UnavailableCause::Timeout, may_have_been_processed: true }
    } else {
        Failure { cause: UnavailableCause::Interrupted, may_have_been_processed: true }
    }
}
