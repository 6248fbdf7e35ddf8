//! The accept loop: HTTP/1.1 connections that can be cut, and that know when an answer has left.
//!
//! `axum::serve` cannot do either: a handler there has no way to close its connection without an answer.

use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::ServiceExt as _;

use crate::{
    http::{Cut, Peer},
    sandbox::Sandbox,
};

/// Connections at once; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 1_024;

/// Longest wait for a request's head, and so for the next request on an idle connection. Longer than clients keep idle
/// connections (reqwest: 90 s): the client closes first, and no request meets a connection that is just being closed,
/// which would be a lost answer that no fault explains.
const HEAD_DEADLINE: Duration = Duration::from_mins(2);

/// Largest request head, in bytes (32 KiB): the longest query and as much again for header fields.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// How long requests under way may take to end after the shutdown; hanging ones never would.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Pause after a failed accept: the usual cause is too many open files, which passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The service's way of telling hyper to close the connection without an answer.
#[derive(Debug, Error)]
#[error("the connection is cut as planned")]
struct CutAsPlanned;

impl Sandbox {
    /// Runs the sandbox on a socket until `shutdown` completes; then requests under way get one second to end.
    ///
    /// Dropping the future ends every connection at once.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let router = self.router();
        let (stop, stopping) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, peer)) => {
                        connections.spawn(connection(self.clone(), router.clone(), stream, Peer(peer), stopping.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "sandbox could not accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        drop(stop);
        let _ = timeout(SHUTDOWN_GRACE, async { while connections.join_next().await.is_some() {} }).await;
        connections.shutdown().await;
    }
}

async fn connection(
    sandbox: Sandbox,
    router: Router,
    stream: TcpStream,
    peer: Peer,
    mut stopping: watch::Receiver<()>,
) {
    let wire = Arc::new(Wire { sandbox, given: AtomicU64::new(0), cut: AtomicBool::new(false) });
    let io = TokioIo::new(Socket { stream, wire: Arc::clone(&wire) });
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Arc::clone(&wire));
        let (router, wire) = (router.clone(), Arc::clone(&wire));
        async move {
            let response = match router.oneshot(request).await {
                Ok(response) => response,
                Err(error) => match error as Infallible {},
            };
            if response.extensions().get::<Cut>().is_some() {
                wire.cut.store(true, Ordering::Release);
                return Err(CutAsPlanned);
            }
            Ok(response)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(io, service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // The sender's end is the signal.
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "sandbox connection ended");
    }
}

/// What a connection and the answers on it tell each other.
pub(crate) struct Wire {
    sandbox: Sandbox,
    /// The logged request whose answer is in hyper's buffer whole; 0 when there is none.
    given: AtomicU64,
    /// Whether the connection is to end with a reset instead of an orderly close.
    cut: AtomicBool,
}

impl Wire {
    /// The answer to request `seq` is in hyper's hands; HTTP/1.1 has one answer at a time on a connection.
    pub(crate) fn answer_given(&self, seq: u64) {
        self.given.store(seq, Ordering::Release);
    }

    /// Everything that hyper had is in the socket: hyper flushes a transport only when its own buffer is empty.
    fn flushed(&self) {
        match self.given.swap(0, Ordering::AcqRel) {
            0 => {}
            seq => self.sandbox.mark_answered(seq),
        }
    }
}

/// A TCP stream that reports flushes, and resets when it is dropped after a cut.
struct Socket {
    stream: TcpStream,
    wire: Arc<Wire>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.wire.cut.load(Ordering::Acquire) {
            // If it fails the client sees an orderly close without an answer, which is as good.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.wire.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
