//! From the provider's answer to something durable: the table, the lane behind it, and a sealed log line when both are away.

use std::{pin::pin, time::Duration};

use mm_model::{
    ConnectionKey, Refusal,
    step::{Commit, Step},
};
use mm_oauth::Revokes;
use tokio::sync::Notify;

use crate::{
    Engine, EngineError, Invocation,
    causes::chain,
    ports::{Clock, LaneMessage, Outcome, StoreError},
};

/// A commit that is not acknowledged within this goes on the lane as well.
const COMMIT_PATIENCE: Duration = Duration::from_millis(300);

/// The wait before what was refused is tried again, doubled each time up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// The longest wait between two tries.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Kept of the invocation's time for saying that nothing was durable.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What table and lane get at least, however little time an answer's own delay has left.
const KEEP_FOR_MIN: Duration = Duration::from_secs(1);

/// Where an answer has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The table has said what becomes of it, or the lane holds it.
    Safe,
    /// It stands in the log, sealed, for the replay command; nowhere else.
    LoggedOnly,
}

/// An answer that nothing durable holds. Dropped so, whether at the invocation's end or because the process stops in the
/// middle, it is written to the log: sealed through and through, ciphertext that only the worker's keys open.
struct Unsaved<'a> {
    rescue: &'a LaneMessage,
    armed: bool,
}

impl<'a> Unsaved<'a> {
    const fn new(rescue: &'a LaneMessage) -> Self {
        Self { rescue, armed: true }
    }
}

impl Drop for Unsaved<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let connection = self.rescue.key();
        match serde_json::to_string(self.rescue) {
            Ok(sealed) => {
                tracing::error!(%connection, sealed, "refresh.unsaved: neither table nor lane took this answer; replay it");
            }
            Err(error) => {
                tracing::error!(%connection, %error, "refresh.unsaved: an answer could not even be written down");
            }
        }
    }
}

/// How far [`keep`] came.
#[derive(Debug, PartialEq, Eq)]
enum Progress<T> {
    /// The table answered.
    Written(T),
    /// The lane took it; the table had not answered when the time was over.
    Rescued,
    /// Nobody took it in time.
    Neither,
}

/// Runs `write` and `rescue` side by side for `time`: one that hangs, as a disk does, does not keep the other from its work.
async fn keep<T>(
    clock: &dyn Clock,
    time: Duration,
    mut unsaved: Unsaved<'_>,
    write: impl Future<Output = T>,
    rescue: impl Future<Output = ()>,
) -> Progress<T> {
    let (mut write, mut rescue, mut end) = (pin!(write), pin!(rescue), pin!(clock.sleep(time)));
    loop {
        tokio::select! {
            biased;
            outcome = &mut write => {
                unsaved.armed = false;
                return Progress::Written(outcome);
            }
            () = &mut rescue, if unsaved.armed => unsaved.armed = false,
            () = &mut end => return if unsaved.armed { Progress::Neither } else { Progress::Rescued },
        }
    }
}

impl Engine {
    /// Makes an answer durable within the invocation: in the table, after [`COMMIT_PATIENCE`] or a refusal on the lane too, and
    /// where neither takes it, in one sealed log line that the replay command reads.
    pub(crate) async fn store_answer(
        &self,
        key: &ConnectionKey,
        commit: Commit,
        invocation: Invocation,
    ) -> Result<Kept, EngineError> {
        let step = Step::Commit(Box::new(commit.clone()));
        let rescue = LaneMessage::Rescue { key: key.clone(), commit: Box::new(commit) };
        let time = self.remaining(invocation).saturating_sub(LAST_WORDS).max(KEEP_FOR_MIN);
        let refused = Notify::new();
        let write = self.commit_until_settled(key, &step, &refused);
        let progress = keep(&*self.clock, time, Unsaved::new(&rescue), write, self.rescue(&rescue, &refused)).await;
        match progress {
            Progress::Written(outcome) => self.committed(key, &rescue, outcome).await.map(|()| Kept::Safe),
            Progress::Rescued => Ok(Kept::Safe),
            Progress::Neither => Ok(Kept::LoggedOnly),
        }
    }

    /// Commits until the table says what became of it; tells `refused` each time that it does not.
    async fn commit_until_settled(&self, key: &ConnectionKey, step: &Step, refused: &Notify) -> Outcome {
        let mut pause = RETRY_FIRST;
        loop {
            let error = match self.store.apply(key, step).await {
                // The row changed between the write and the look at it: not an answer yet, and never a reason to drop one.
                Ok(Outcome::Refused(Refusal::Raced, _)) => StoreError::Contended { doing: "commit" },
                Ok(outcome) => return outcome,
                Err(error) => error,
            };
            tracing::warn!(connection = %key, error = %chain(&error), "refresh.commit: not taken, tried again");
            refused.notify_one();
            self.clock.sleep_real(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Puts the answer on the lane once the table has refused it or has been silent for too long. Ends when the lane has it.
    async fn rescue(&self, rescue: &LaneMessage, refused: &Notify) {
        tokio::select! {
            () = refused.notified() => {}
            () = self.clock.sleep_real(COMMIT_PATIENCE) => {}
        }
        let mut pause = RETRY_FIRST;
        while let Err(error) = self.queue.put_on_lane(rescue).await {
            tracing::error!(connection = %rescue.key(), error = %chain(&error), "refresh.rescue: the lane refused it");
            self.clock.sleep_real(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
        tracing::warn!(connection = %rescue.key(), "refresh.rescue: the answer is on the lane");
    }

    /// What the table said to a commit, by whichever way it came.
    pub(crate) async fn committed(
        &self,
        key: &ConnectionKey,
        rescue: &LaneMessage,
        outcome: Outcome,
    ) -> Result<(), EngineError> {
        match outcome {
            Outcome::Applied(_) | Outcome::Refused(Refusal::AlreadyMine, _) => Ok(()),
            Outcome::Refused(refusal, old) => {
                tracing::info!(connection = %key, ?refusal, "refresh.commit: superseded, the answer is dropped");
                let gone = old.as_ref().is_none_or(|row| !row.is_connected());
                match rescue {
                    LaneMessage::Rescue { commit, .. } if gone => self.revoke_orphan(key, commit).await,
                    LaneMessage::Rescue { .. } | LaneMessage::Retry { .. } => Ok(()),
                }
            }
        }
    }

    /// The connection went while its refresh was under way: the pair that came back belongs to nobody. Where revoking one
    /// token ends the whole authorization, the disconnect's own intent has seen to it, and a newer login may be alive.
    async fn revoke_orphan(&self, key: &ConnectionKey, commit: &Commit) -> Result<(), EngineError> {
        let Some(offer) = self.offers.get(&key.provider).filter(|offer| offer.provider.revokes == Revokes::Token)
        else {
            return Ok(());
        };
        let Some(sealed) = &commit.refresh_token else { return Ok(()) };
        let token = self.cipher.open_refresh_token(key, commit.version, sealed).await?;
        let outcome = self
            .client
            .revoke_with(&offer.provider, &offer.registration, &*self.secrets, &token, self.clock.now())
            .await;
        tracing::info!(connection = %key, ?outcome, "refresh.orphan: a late answer for a gone connection was revoked");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
