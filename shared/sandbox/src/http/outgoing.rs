//! From a reply to bytes: answers that note when they have left, half answers, and none.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode},
};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::{
    answer::{Answer, Ending},
    sandbox::Sandbox,
    serve::Wire,
};

/// Marks a response in whose place the connection is to be closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut;

/// Whom to tell that an answer has left.
pub(super) struct Receipt {
    pub(super) sandbox: Sandbox,
    /// The connection, if this is one of [`Sandbox::serve`]'s.
    pub(super) wire: Option<Arc<Wire>>,
    /// The request's number in the log.
    pub(super) seq: Option<u64>,
}

impl Receipt {
    /// The whole answer was given to the HTTP library.
    fn given(self) {
        match (self.wire, self.seq) {
            // Written to the socket is what counts; the connection knows when that is.
            (Some(wire), Some(seq)) => wire.answer_given(seq),
            (None, Some(seq)) => self.sandbox.mark_answered(seq),
            (_, None) => {}
        }
    }
}

/// Makes the response of an ending. [`Ending::Hang`] is the caller's to wait out.
pub(super) fn respond(ending: Ending, receipt: Receipt) -> Response<Body> {
    match ending {
        Ending::Answer(answer) => whole(answer, receipt),
        Ending::Half(answer) => {
            let full = answer.body.len();
            let half = Bytes::from(answer.body[..full / 2].to_vec());
            let body = Outgoing { data: Some(half), declared: full, receipt: None, cut: Some(Pause::Before) };
            with_head(answer.status, answer.headers, body)
        }
        Ending::Hang | Ending::Reset => {
            let body = Outgoing { data: None, declared: 1, receipt: None, cut: Some(Pause::Over) };
            let mut response = with_head(502, Vec::new(), body);
            response.extensions_mut().insert(Cut);
            response
        }
    }
}

fn whole(answer: Answer, receipt: Receipt) -> Response<Body> {
    let declared = answer.body.len();
    let data = (declared > 0).then(|| Bytes::from(answer.body));
    with_head(answer.status, answer.headers, Outgoing { data, declared, receipt: Some(receipt), cut: None })
}

fn with_head(status: u16, headers: Vec<(&'static str, String)>, body: Outgoing) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// Where a body that breaks off is between its data and its failure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// The library gets one turn to write what it has: a failure at once would make it drop that unsent.
    Before,
    /// Fail now.
    Over,
}

/// A body of at most one frame that says when it was taken, and may break off.
struct Outgoing {
    data: Option<Bytes>,
    declared: usize,
    receipt: Option<Receipt>,
    cut: Option<Pause>,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(data) = self.data.take() {
            if let Some(receipt) = self.receipt.take() {
                receipt.given();
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.cut {
            Some(Pause::Before) => {
                self.cut = Some(Pause::Over);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Pause::Over) => Poll::Ready(Some(Err(io::Error::other("planned reset")))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(if self.data.is_some() || self.cut.is_some() { self.declared as u64 } else { 0 })
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // An empty body is never asked for its frame; it is dropped when the head is written.
        if self.declared == 0
            && let Some(receipt) = self.receipt.take()
        {
            receipt.given();
        }
    }
}
