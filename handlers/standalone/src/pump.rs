//! What AWS does between the services, in one process: ticks, changes and messages become the events that the Lambda
//! handlers take, by way of the same JSON.

mod messages;
mod schedule;
mod stream;

use std::sync::Arc;

use mm_engine::ports::Lane;
use tokio::{sync::watch, task::JoinSet};

pub use messages::{lane_turn, nudge_turn};
pub use schedule::schedule_turn;
pub use stream::stream_turn;

use crate::Backend;

/// An event that no handler could read: a fault in this module.
#[derive(Debug, thiserror::Error)]
#[error("an event of the standalone server is not what the handler takes")]
pub struct EventError(#[from] serde_json::Error);

/// Runs every pump until `stop` says so; then lets what is under way finish. Ends before that only when a pump ended by a
/// panic: without it nobody would be kept fresh, and only a new start helps.
pub async fn run(backend: Arc<Backend>, stop: watch::Receiver<bool>) {
    let mut pumps = JoinSet::new();
    pumps.spawn(schedule::run(Arc::clone(&backend), stop.clone()));
    pumps.spawn(stream::run(Arc::clone(&backend), stop.clone()));
    pumps.spawn(schedule::purge(Arc::clone(&backend), stop));
    pumps.spawn(messages::run(Arc::clone(&backend), Lane::Due));
    pumps.spawn(messages::run(Arc::clone(&backend), Lane::Urgent));
    pumps.spawn(messages::run_lane(backend));
    while let Some(ended) = pumps.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "pump: ended by a panic");
            return;
        }
    }
}

/// Whether `wait` ended before the stop.
async fn unless_stopped(stop: &mut watch::Receiver<bool>, wait: impl Future<Output = ()>) -> bool {
    tokio::select! {
        // An error is a sender that is gone: the process is ending.
        _ = stop.wait_for(|stop| *stop) => false,
        () = wait => true,
    }
}
