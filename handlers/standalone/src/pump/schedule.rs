//! EventBridge's part: one event a minute. And the timer's: rows past their time are deleted, and revocations that are owed
//! and have no message get one.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mm_embedded::store::OwedNudge;
use mm_engine::{
    EngineError, TickReport, chain,
    ports::{Lane, Nudge, RefreshQueue as _},
};
use serde_json::json;
use tokio::sync::watch;

use super::{EventError, unless_stopped};
use crate::Backend;

/// How soon a failed tick is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How often rows past their time are deleted, and revocations looked for that stand still: a message's longest delay is a
/// quarter of it.
const PURGE_EVERY: Duration = Duration::from_hours(1);

const _: () = assert!(PURGE_EVERY.as_secs() > 2 * mm_engine::ports::NUDGE_DELAY_MAX.as_secs());

/// The revocations that were owed at the last look, with the attempts that had failed by then.
type LastLook = HashMap<Nudge, u32>;

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

/// Deletes what is past its time, and reminds of what is owed, now and then.
pub(super) async fn purge(backend: Arc<Backend>, mut stop: watch::Receiver<bool>) {
    use mm_engine::ports::ConnectionStore as _;
    let mut last_look = LastLook::default();
    loop {
        match backend.store.purge(backend.clock.now()).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "purge: rows past their time were deleted"),
            Err(error) => tracing::warn!(error = %chain(&error), "purge: failed, tried again in an hour"),
        }
        remind(&backend, &mut last_look).await;
        if !unless_stopped(&mut stop, backend.clock.sleep(PURGE_EVERY)).await {
            return;
        }
    }
}

/// Queues a message for each revocation that stands still. Without it, one whose message ended because its registration was
/// not ours would wait for a restart.
async fn remind(backend: &Backend, last_look: &mut LastLook) {
    let nudges = match backend.store.revocations_owed(backend.clock.now()).await {
        Ok(owed) => standing_still(last_look, owed),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "remind: what is owed could not be read, tried again in an hour");
            return;
        }
    };
    if nudges.is_empty() {
        return;
    }
    tracing::debug!(nudges = nudges.len(), "remind: revocations that stood still for an hour");
    if let Err(error) = backend.queue.nudge(Lane::Due, nudges).await {
        tracing::warn!(error = %chain(&error), "remind: not queued, tried again in an hour");
    }
}

/// Those that no attempt has failed at since the last look. The others have a message that comes again by itself, and one
/// more would be one more row of attempts beside it.
fn standing_still(last_look: &mut LastLook, owed: Vec<OwedNudge>) -> Vec<(Nudge, Duration)> {
    let before = std::mem::take(last_look);
    let mut still = Vec::new();
    for owed in owed {
        last_look.insert(owed.nudge.clone(), owed.attempts);
        if before.get(&owed.nudge) == Some(&owed.attempts) {
            still.push((owed.nudge, owed.delay));
        }
    }
    still
}

#[cfg(test)]
mod tests {
    use mm_engine::ports::Trigger;
    use mm_model::{ConnectionKey, Version};

    use super::*;

    fn owed(n: u8, attempts: u32) -> OwedNudge {
        let key = ConnectionKey { user: "ann".parse().unwrap(), provider: "soundcloud".parse().unwrap() };
        let trigger = Trigger::Revoke { revocation: Version::from_bytes([n; 16]) };
        OwedNudge { nudge: Nudge { key, trigger }, delay: Duration::from_secs(n.into()), attempts }
    }

    #[test]
    fn only_what_stood_still_for_an_hour_is_reminded_of_and_that_each_hour() {
        let mut last = LastLook::default();
        let mut reminded = |owed: &[OwedNudge]| standing_still(&mut last, owed.to_vec());
        let message = |owed: OwedNudge| (owed.nudge, owed.delay);
        assert_eq!(reminded(&[owed(1, 0), owed(2, 0)]), [], "each has had a message, at the start or when it was made");
        assert_eq!(reminded(&[owed(1, 0), owed(2, 5), owed(3, 0)]), [message(owed(1, 0))]);
        assert_eq!(reminded(&[owed(1, 0), owed(2, 5)]), [message(owed(1, 0)), message(owed(2, 5))]);
        assert_eq!(reminded(&[owed(2, 5)]), [message(owed(2, 5))]);
        assert_eq!(reminded(&[owed(1, 0)]), [], "what was paid is forgotten");
    }
}
