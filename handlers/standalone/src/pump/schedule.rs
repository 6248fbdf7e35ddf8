//! EventBridge's part: one event a minute. And the timer's: rows past their time are deleted.

use std::{sync::Arc, time::Duration};

use mm_engine::{EngineError, TickReport, chain};
use serde_json::json;
use tokio::sync::watch;

use super::{EventError, unless_stopped};
use crate::Backend;

/// How soon a failed tick is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How often rows past their time are deleted.
const PURGE_EVERY: Duration = Duration::from_hours(1);

/// Brings one schedule event to its handler.
pub async fn schedule_turn(backend: &Backend) -> Result<Result<TickReport, EngineError>, EventError> {
    let event = json!({
        "version": "0",
        "id": "00000000-0000-0000-0000-000000000000",
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "detail": {},
    });
    let event = serde_json::from_str(&event.to_string())?;
    Ok(mm_schedule::handle(&backend.engine, event).await)
}

/// A tick at once, which makes up for the minutes in which no process ran, and one at the start of each minute.
pub(super) async fn run(backend: Arc<Backend>, mut stop: watch::Receiver<bool>) {
    loop {
        let ticked = match schedule_turn(&backend).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => {
                tracing::error!(error = %chain(&error), "schedule: the tick failed and is tried again");
                false
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "schedule: the event could not be brought");
                false
            }
        };
        let now = backend.clock.now();
        let wait = if ticked { now.minute().plus(1).start().since(now) } else { RETRY };
        if !unless_stopped(&mut stop, backend.clock.sleep(wait)).await {
            return;
        }
    }
}

/// Deletes what is past its time, now and then.
pub(super) async fn purge(backend: Arc<Backend>, mut stop: watch::Receiver<bool>) {
    use mm_engine::ports::ConnectionStore as _;
    loop {
        match backend.store.purge(backend.clock.now()).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "purge: rows past their time were deleted"),
            Err(error) => tracing::warn!(error = %chain(&error), "purge: failed, tried again in an hour"),
        }
        if !unless_stopped(&mut stop, backend.clock.sleep(PURGE_EVERY)).await {
            return;
        }
    }
}
