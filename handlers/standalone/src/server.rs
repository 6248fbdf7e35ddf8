//! Listening: HTTP/1.1 with a bound on everything a client can make the server wait for or keep.

mod patience;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body, response::IntoResponse as _};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::http1::{Builder, Connection},
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use mm_web::{Problem, ProblemKind, rate_limit::Peer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch},
};
use tower::ServiceExt as _;

use patience::{Patient, Timely};

/// Connections at once. Each may hold [`HEADER_BYTES_MAX`]: 128 MiB at worst.
const CONNECTIONS_MAX: usize = 4096;

/// Descriptors kept for everything else: files, and calls to providers, which must not starve under a crowd of clients.
const DESCRIPTORS_KEPT: usize = 256;

/// How long the head of a request may take to arrive; also how long a connection may be idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a body may take to arrive: it is under a kilobyte, and thrown away.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a request may take from its head to its answer. The longest wait of the contract is 3 s; a callback waits
/// for a provider twice, and before that up to 10 s for revocations that are under way.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take to make room for more of an answer. Answers are small: one that asks and does not read is
/// broken or means harm, and would hold its connection for ever.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// Most bytes of a request's head.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Most header fields of a request.
const HEADERS_MAX: usize = 64;

/// How long answers under way may take after a stop.
const DRAIN: Duration = Duration::from_secs(8);

/// How long accepting rests when the machine has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a connection's requests are answered by.
trait Answers: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Send {}

impl<S> Answers for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Send
{
}

/// Serves `router` until `stop` says so, then lets work and answers under way finish for a few seconds.
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(connections_max()));
    let work = Work::default();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        if let Some((stream, peer, slot)) = accepted {
            let connection = graceful.watch(connection(stream, router.clone(), Peer(peer), work.clone()));
            tokio::spawn(async move {
                // An error is a client that went away or was too slow: nothing of ours.
                let _ended = connection.await;
                drop(slot);
            });
        }
    }
    drop(listener);
    let drained = tokio::time::timeout(DRAIN, async {
        graceful.shutdown().await;
        work.ended().await;
    });
    if drained.await.is_err() {
        tracing::warn!("stop: some answers were not finished in time");
    }
}

/// As many as the machine lets this process have, descriptors for everything else put aside.
fn connections_max() -> usize {
    let asked = u64::try_from(CONNECTIONS_MAX + DESCRIPTORS_KEPT).unwrap_or(u64::MAX);
    match rlimit::increase_nofile_limit(asked) {
        Ok(limit) => {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            limit.saturating_sub(DESCRIPTORS_KEPT).clamp(1, CONNECTIONS_MAX)
        }
        Err(error) => {
            tracing::warn!(%error, "the limit of descriptors could not be read");
            DESCRIPTORS_KEPT
        }
    }
}

/// The requests at work. Each runs on a task of its own, so that it ends as it would have when its client goes away in the
/// middle: a login whose code is redeemed is stored, whoever still waits for its answer.
#[derive(Clone)]
struct Work {
    /// Held by each task; the last one that is dropped ends `all_ended`.
    holder: mpsc::Sender<Infallible>,
    all_ended: Arc<Mutex<mpsc::Receiver<Infallible>>>,
}

impl Default for Work {
    fn default() -> Self {
        let (holder, all_ended) = mpsc::channel(1);
        Self { holder, all_ended: Arc::new(Mutex::new(all_ended)) }
    }
}

impl Work {
    /// The answer to a request, or the problem that takes its place; the work goes on after [`REQUEST_TIMEOUT`] too.
    async fn answer(self, router: Router, request: Request<Body>) -> Response<Body> {
        let holder = self.holder.clone();
        let answer = tokio::spawn(async move {
            let answer = router.oneshot(request).await;
            drop(holder);
            answer
        });
        match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Err(error)) => {
                tracing::error!(%error, "a request's task ended by a fault");
                Problem::new(ProblemKind::Internal).into_response()
            }
            Err(_late) => Problem::store_unavailable().into_response(),
        }
    }

    /// Waits until no request is at work.
    async fn ended(self) {
        let Self { holder, all_ended } = self;
        drop(holder);
        let _nobody_holds = all_ended.lock().await.recv().await;
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, std::net::IpAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Answers are small and single: waiting for more to send only delays them.
            let _unsupported = stream.set_nodelay(true);
            Some((stream, peer.ip(), slot))
        }
        Err(error) => {
            tracing::warn!(%error, "accept: failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn connection(
    stream: TcpStream,
    router: Router,
    peer: Peer,
    work: Work,
) -> Connection<TokioIo<Patient<TcpStream>>, impl Answers> {
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, work) = (router.clone(), work.clone());
        async move {
            let mut request = request.map(|body| Body::new(Timely::new(body, BODY_TIMEOUT)));
            request.extensions_mut().insert(peer);
            Ok::<_, Infallible>(work.answer(router, request).await)
        }
    });
    Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream, WRITE_TIMEOUT)), service)
}
