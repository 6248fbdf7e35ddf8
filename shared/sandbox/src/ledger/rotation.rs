//! The five ways of treating a refresh token that is used.

use super::{EndReason, Ledger, RefreshState};
use crate::{
    behaviour::Mode,
    hash::{Dice, TokenHash},
};

/// Why a refresh token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshRefusal {
    /// Never issued here, or forgotten.
    Unknown,
    /// Issued to another client.
    OtherClient,
    /// Its grant ended.
    Ended(EndReason),
    /// Its grant's life is over.
    Expired,
    /// Exchanged already.
    Spent,
    /// Exchanged already, in strict mode: its grant has just ended.
    SpentAndKilled,
}

/// What is known of a refresh token that was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Presentation {
    /// Its grant, if it is known.
    pub(crate) grant: Option<u64>,
    /// Whether it is accepted.
    pub(crate) verdict: Result<(), RefreshRefusal>,
}

impl Ledger {
    /// Looks at a refresh token without any effect: its grant, and whether it had been exchanged before.
    pub(crate) fn look(&self, hash: TokenHash) -> (Option<u64>, bool) {
        match self.refresh.get(&hash) {
            Some(row) if self.grants.contains_key(&row.grant) => (Some(row.grant), row.state != RefreshState::Current),
            _ => (None, false),
        }
    }

    /// Judges a refresh token; in strict mode a spent one ends its grant.
    pub(crate) fn present(
        &mut self,
        now: u64,
        hash: TokenHash,
        provider: &str,
        client_id: &str,
        mode: Mode,
    ) -> Presentation {
        let (grant, _) = self.look(hash);
        let mut presentation = Presentation { grant, verdict: Err(RefreshRefusal::Unknown) };
        let Some(row) = self.refresh.get(&hash).copied() else { return presentation };
        let Some(grant) = self.grants.get(&row.grant) else { return presentation };
        presentation.verdict = if grant.provider != provider || grant.client_id != client_id {
            Err(RefreshRefusal::OtherClient)
        } else if let Some(ended) = grant.ended {
            Err(RefreshRefusal::Ended(ended.reason))
        } else if !grant.lives(now) {
            Err(RefreshRefusal::Expired)
        } else {
            match (row.state, mode) {
                (RefreshState::Current, _)
                | (RefreshState::Replaced { .. }, Mode::Reusable | Mode::NoRefreshToken | Mode::Rotating) => Ok(()),
                (RefreshState::Replaced { at }, Mode::RotatingWithGrace { grace_s })
                    if now < at.saturating_add(grace_s) =>
                {
                    Ok(())
                }
                (_, Mode::Strict) => Err(RefreshRefusal::SpentAndKilled),
                _ => Err(RefreshRefusal::Spent),
            }
        };
        if presentation.verdict == Err(RefreshRefusal::SpentAndKilled) {
            self.end(row.grant, now, EndReason::Reuse);
        }
        presentation
    }

    /// Uses a refresh token that was accepted: marks it by the mode and issues its successor, if the mode has one.
    pub(crate) fn exchange(&mut self, now: u64, dice: Dice<'_>, hash: TokenHash, mode: Mode) -> Option<String> {
        let row = self.refresh.get(&hash).copied()?;
        if let Some(grant) = self.grants.get_mut(&row.grant) {
            grant.refreshes += 1;
        }
        self.changed = true;
        let state = match mode {
            Mode::Reusable | Mode::NoRefreshToken => return None,
            Mode::Strict => RefreshState::Spent { at: now },
            // Grace counts from the first use: a repetition inside it does not prolong it.
            Mode::Rotating | Mode::RotatingWithGrace { .. } => match row.state {
                RefreshState::Current => RefreshState::Replaced { at: now },
                other => other,
            },
        };
        self.retire(hash, state);
        if mode == Mode::Rotating
            && let Some(predecessor) = row.predecessor
        {
            // The successor is in use, so its answer arrived: the old token has done its duty.
            self.retire(predecessor, RefreshState::Spent { at: now });
        }
        Some(self.issue_refresh(dice, row.grant, Some(hash)))
    }

    /// Uses a refresh token without exchanging it, whatever the mode: the answer will carry no successor.
    pub(crate) fn keep(&mut self, hash: TokenHash) {
        let Some(row) = self.refresh.get(&hash) else { return };
        if let Some(grant) = self.grants.get_mut(&row.grant) {
            grant.refreshes += 1;
            self.changed = true;
        }
    }

    fn retire(&mut self, hash: TokenHash, state: RefreshState) {
        let Some(row) = self.refresh.get_mut(&hash) else { return };
        let first_time = row.state == RefreshState::Current;
        let grant = row.grant;
        if !matches!(row.state, RefreshState::Spent { .. }) {
            row.state = state;
        }
        if first_time {
            if let Some(grant) = self.grants.get_mut(&grant) {
                grant.current.retain(|current| *current != hash);
            }
            self.note_exchanged(hash);
        }
    }
}
