//! The way out: one connection, one session, everything.

use mm_model::{Connection, ProviderId, user::EndedSession};
use mm_oauth::Revokes;

use crate::{
    Engine, FetchError, Session,
    ports::{Consistency, LinkOutcome, PersonRows, StoreError, Unlink},
};

/// Tries to write over a row that others are changing.
const UNLINK_TRIES: u32 = 5;

impl Engine {
    /// Disconnects an account: gone here at once, whatever the provider says; revoked there by the worker, where it can be.
    /// Again is harmless.
    pub async fn disconnect(&self, session: &Session, provider: &ProviderId) -> Result<(), FetchError> {
        for _ in 0..UNLINK_TRIES {
            let rows = self.live_rows(session).await?;
            let row = rows.connection(provider).ok_or(FetchError::NotConnected)?;
            if !row.is_connected() || self.unlink(row, self.tombstone(row)).await? == LinkOutcome::Done {
                return Ok(());
            }
        }
        Err(contended("disconnect").into())
    }

    /// Disconnects everything, ends every session and forgets the person. What may still arrive for their rows finds none,
    /// which refuses it as well as a tombstone does.
    pub async fn delete_user(&self, session: &Session) -> Result<(), FetchError> {
        for _ in 0..UNLINK_TRIES {
            let rows = self.live_rows(session).await?;
            let mut done = true;
            for row in rows.connections.iter().filter(|row| row.is_connected()) {
                done &= self.unlink(row, self.tombstone(row)).await? == LinkOutcome::Done;
            }
            if done && self.store.forget(&session.user).await? == LinkOutcome::Done {
                tracing::info!(user = %session.user, "user.deleted");
                return Ok(());
            }
        }
        Err(contended("delete the user").into())
    }

    /// Ends this session, every copy of it. Disconnects nothing.
    pub async fn logout(&self, session: &Session) -> Result<(), StoreError> {
        let ended = EndedSession { id: session.id, forget_at: session.ends_at, began_at: session.began_at };
        self.store.end_session(&session.user, ended, self.clock.now()).await
    }

    /// Ends every session of the person.
    pub async fn logout_everywhere(&self, session: &Session) -> Result<(), FetchError> {
        self.live_rows(session).await?;
        Ok(self.store.end_all_sessions(&session.user, self.clock.now()).await?)
    }

    async fn live_rows(&self, session: &Session) -> Result<PersonRows, FetchError> {
        let rows = self.store.person(&session.user, Consistency::Strong).await?;
        let live = rows.user.as_ref().is_some_and(|user| user.admits(session.id, session.began_at));
        if live { Ok(rows) } else { Err(FetchError::NoSession) }
    }

    fn tombstone(&self, row: &Connection) -> Connection {
        // A registration that is not ours (any more) can revoke nothing; the intent is kept until it is offered again or the
        // tombstone's time is over.
        let revocable = self.offers.get(&row.key.provider).is_none_or(|offer| offer.provider.revokes != Revokes::None);
        row.clone().disconnect(self.new_version(), self.clock.now(), revocable)
    }

    async fn unlink(&self, row: &Connection, tombstone: Connection) -> Result<LinkOutcome, StoreError> {
        let outcome = self.store.unlink(&Unlink { tombstone, expected: row.version }).await?;
        tracing::info!(connection = %row.key, ?outcome, "connection.disconnect");
        Ok(outcome)
    }
}

const fn contended(doing: &'static str) -> StoreError {
    StoreError::Contended { doing }
}
