//! Reading tokens: one read of one person's rows, no lock, no wait while a token lives. Once an hour a read notes that it
//! happened, and gives that write a moment.

use std::time::Duration;

use futures_util::future::{Either, select};
use mm_model::{
    AccessToken, AccountId, Connection, Freshness, ProviderId, Seat, Timestamp, Version,
    connection::{Active, ReauthorizationReason, RefreshError, Status},
    limits::{PROVIDER_TIMEOUT, SEEN_RENEWAL},
    step::{Seen, Step},
    wheel::Wheel,
};

use crate::{
    CipherError, Engine, Offer, Session,
    causes::chain,
    ports::{Consistency, Lane, Nudge, PersonRows, StoreError, Trigger},
};

mod wait;

/// Longest wait for a refresh that a reader may ask for.
pub const WAIT_MAX: Duration = Duration::from_secs(3);

/// How long a reader of a living token may be kept by the note that it was read. A table on one machine takes it in a
/// millisecond or two, a remote one in ten; past this the next read notes it.
const SEEN_PATIENCE: Duration = Duration::from_millis(50);

/// What a reader is told to wait when nothing better is known.
const RETRY_USUAL: Duration = Duration::from_secs(1);

/// A lease older than the provider's deadline by this has lost its holder.
const HOLDER_LOST: Duration = Duration::from_secs(2);

/// What a reader asks for.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest {
    /// Life wanted; less makes the token stale, never unserved.
    pub min_ttl: Duration,
    /// How long to wait for the refresh of an expired token, at most [`WAIT_MAX`].
    pub wait: Duration,
}

/// A living access token and what a client does with it.
#[derive(Debug)]
pub struct TokenView {
    /// The token.
    pub access_token: AccessToken,
    /// The token pair's id: opaque.
    pub token_id: Version,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Life left.
    pub expires_in: Duration,
    /// When to ask again.
    pub refresh_in: Duration,
    /// The life asked for, as far as it can be promised.
    pub min_ttl: Duration,
    /// The scope granted.
    pub scope: Option<String>,
    /// Fresh or stale.
    pub state: Freshness,
    /// By when the person has to log in again.
    pub reauth_by: Option<Timestamp>,
    /// The provider's API.
    pub api_base_url: String,
    /// How the API wants the token presented: `Bearer` or `OAuth`.
    pub api_scheme: &'static str,
    /// Further headers that the API wants.
    pub api_headers: Vec<(String, String)>,
}

/// A connection as its owner may see it: no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionView {
    /// The provider.
    pub provider: ProviderId,
    /// The account.
    pub account: AccountId,
    /// The token pair's id.
    pub token_id: Version,
    /// The scope granted.
    pub scope: Option<String>,
    /// First connected.
    pub connected_at: Timestamp,
    /// Token pair or status last changed.
    pub updated_at: Timestamp,
    /// Its state.
    pub state: ConnectionState,
}

/// A connection's state as its owner may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Kept fresh.
    Active {
        /// How its token looks to a reader.
        freshness: Freshness,
        /// When the token was issued.
        issued_at: Timestamp,
        /// When it expires.
        expires_at: Timestamp,
        /// When it will be refreshed.
        next_refresh_at: Timestamp,
        /// Failed attempts since the last success.
        attempts: u32,
        /// What failed last.
        last_error: Option<RefreshError>,
        /// By when the person has to log in again.
        reauth_by: Option<Timestamp>,
    },
    /// The person has to log in again.
    ReauthorizationRequired {
        /// Why.
        reason: ReauthorizationReason,
        /// Since when.
        since: Timestamp,
    },
}

/// A token cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no such session, or it ended.
    #[error("there is no live session")]
    NoSession,
    /// The provider is not connected.
    #[error("the provider is not connected")]
    NotConnected,
    /// The person has to log in again.
    #[error("the person has to log in again")]
    ReauthorizationRequired(ReauthorizationReason),
    /// The token expired and its refresh is not done yet; it goes on.
    #[error("the refresh is not done yet")]
    RefreshPending {
        /// When to ask again.
        retry_after: Duration,
    },
    /// Too many forced refreshes.
    #[error("too many forced refreshes")]
    TooManyRequests {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The table.
    #[error("the table did not do its part")]
    Store(#[from] StoreError),
    /// The keys.
    #[error("the token could not be opened")]
    Cipher(#[from] CipherError),
}

/// What the rows say to a reader.
pub(crate) enum Reading<'a> {
    NoSession,
    NotConnected,
    Reauthorize(ReauthorizationReason),
    Alive(&'a Connection, &'a Active),
    Expired(&'a Connection, &'a Active),
}

impl Engine {
    /// The access token of one connection. A living one is answered from one eventually consistent read; everything else
    /// is read once more, strongly, before it is said. Only an expired one makes the reader wait.
    pub async fn token(
        &self,
        session: &Session,
        provider: &ProviderId,
        request: TokenRequest,
    ) -> Result<TokenView, FetchError> {
        let offer = self.offers.get(provider).ok_or(FetchError::NotConnected)?;
        let now = self.clock.now();
        let rows = self.store.person(&session.user, Consistency::Eventual).await?;
        if let Reading::Alive(row, active) = read(&rows, session, offer, now) {
            self.notice(row, active).await;
            return self.view(offer, row, active, request.min_ttl).await;
        }
        let rows = self.store.person(&session.user, Consistency::Strong).await?;
        match read(&rows, session, offer, now) {
            Reading::Expired(row, active) => {
                self.notice(row, active).await;
                if let Some(retry_after) = hopeless(offer, active, now) {
                    return Err(FetchError::RefreshPending { retry_after });
                }
                self.nudge_forced(row).await;
                self.wait_for_refresh(session, offer, row.version, request).await
            }
            reading => {
                if let Reading::Reauthorize(_) = reading {
                    self.end_noticed(&rows, provider).await;
                }
                self.answer(offer, reading, request.min_ttl).await
            }
        }
    }

    /// The tokens of every connection, or for each why not. Nudges, never waits.
    pub async fn tokens(
        &self,
        session: &Session,
        min_ttl: Duration,
    ) -> Result<Vec<(ProviderId, Result<TokenView, FetchError>)>, FetchError> {
        let now = self.clock.now();
        let all_alive = |rows: &PersonRows| {
            self.offers.iter().all(|offer| matches!(read(rows, session, offer, now), Reading::Alive(..)))
        };
        let mut rows = self.store.person(&session.user, Consistency::Eventual).await?;
        if !all_alive(&rows) {
            rows = self.store.person(&session.user, Consistency::Strong).await?;
        }
        let mut tokens = Vec::new();
        for offer in self.offers.iter() {
            let reading = read(&rows, session, offer, now);
            match &reading {
                Reading::NoSession => return Err(FetchError::NoSession),
                Reading::NotConnected => {}
                Reading::Reauthorize(_) => self.end_noticed(&rows, &offer.provider.id).await,
                Reading::Alive(row, active) => self.notice(row, active).await,
                Reading::Expired(row, active) => {
                    self.notice(row, active).await;
                    if hopeless(offer, active, now).is_none() {
                        self.nudge_forced(row).await;
                    }
                }
            }
            tokens.push((offer.provider.id.clone(), self.answer(offer, reading, min_ttl).await));
        }
        Ok(tokens)
    }

    /// Every connection of the person, as they may see it.
    pub async fn connections(&self, session: &Session) -> Result<Vec<ConnectionView>, FetchError> {
        let now = self.clock.now();
        let admits =
            |rows: &PersonRows| rows.user.as_ref().is_some_and(|user| user.admits(session.id, session.began_at));
        let mut rows = self.store.person(&session.user, Consistency::Eventual).await?;
        if !admits(&rows) {
            rows = self.store.person(&session.user, Consistency::Strong).await?;
        }
        if !admits(&rows) {
            return Err(FetchError::NoSession);
        }
        Ok(rows.connections.iter().filter_map(|row| connection_view(row, now)).collect())
    }

    /// Turns a reading into an answer, with no further thought of refreshing.
    pub(crate) async fn answer(
        &self,
        offer: &Offer,
        reading: Reading<'_>,
        min_ttl: Duration,
    ) -> Result<TokenView, FetchError> {
        match reading {
            Reading::NoSession => Err(FetchError::NoSession),
            Reading::NotConnected => Err(FetchError::NotConnected),
            Reading::Reauthorize(reason) => Err(FetchError::ReauthorizationRequired(reason)),
            Reading::Alive(row, active) => self.view(offer, row, active, min_ttl).await,
            Reading::Expired(_, active) => {
                let retry_after = hopeless(offer, active, self.clock.now()).unwrap_or(RETRY_USUAL);
                Err(FetchError::RefreshPending { retry_after })
            }
        }
    }

    pub(crate) async fn view(
        &self,
        offer: &Offer,
        row: &Connection,
        active: &Active,
        min_ttl: Duration,
    ) -> Result<TokenView, FetchError> {
        let access_token = self.cipher.open_access_token(&row.key, row.version, &active.access_token).await?;
        let now = self.clock.now();
        let api = &offer.provider.api;
        let client_id = offer.registration.client_id();
        Ok(TokenView {
            access_token,
            token_id: row.version,
            expires_at: active.expires_at,
            expires_in: active.expires_at.since(now),
            refresh_in: active.refresh_in(now),
            min_ttl: active.min_ttl(min_ttl),
            scope: row.scope.clone(),
            state: active.freshness(now, min_ttl),
            reauth_by: active.grant.reauth_by(),
            api_base_url: api.base_url.to_string(),
            api_scheme: api.authorization_scheme.as_str(),
            api_headers: api.headers_for(client_id).map(|(name, value)| (name.to_owned(), value)).collect(),
        })
    }

    /// What a read leaves behind: that it happened, at most once an hour, and a nudge when the refresh is late. Neither
    /// may fail the read.
    async fn notice(&self, row: &Connection, active: &Active) {
        let now = self.clock.now();
        let seat = active.seat.filter(|seat| seat.wheel() == Wheel::Fast);
        if seat.is_none() || now.since(active.seen_at) > SEEN_RENEWAL {
            // The seat goes with it even where the row has one: a SLEEP may take that away between our read and this
            // write, and an awake connection without a seat would be found by nobody. Writing the same seat is no index write.
            let seat = seat.unwrap_or_else(|| Seat::fast(&row.key, active.lifetime()));
            self.note_seen(row, Seen { now, seat: Some(seat) }).await;
        }
        let late = active.freshness(now, Duration::ZERO) == Freshness::Stale;
        // Nothing to renew it with, or a failed attempt that knows its own time.
        let waits = active.refresh_token.is_none() || (active.attempts > 0 && active.next_refresh_at > now);
        if late && !waits {
            self.nudge(row, Trigger::Due).await;
        }
    }

    /// One try: a write that fails or is slow is made up for by the next read, and is none of this reader's business.
    async fn note_seen(&self, row: &Connection, seen: Seen) {
        let step = Step::Seen(seen);
        match select(self.store.apply(&row.key, &step), self.clock.sleep_real(SEEN_PATIENCE)).await {
            Either::Left((Ok(_), _)) => {}
            Either::Left((Err(error), _)) => {
                tracing::warn!(connection = %row.key, error = %chain(&error), "connection.seen: not noted");
            }
            Either::Right(((), _)) => tracing::warn!(connection = %row.key, "connection.seen: slow, not waited for"),
        }
    }

    /// The first reader who finds that a token which cannot be renewed has ended has it told: the wheel's next pass may be
    /// days away.
    async fn end_noticed(&self, rows: &PersonRows, provider: &ProviderId) {
        if let Some(row) = rows.connection(provider).filter(|row| row.active().is_some()) {
            self.nudge(row, Trigger::Due).await;
        }
    }

    async fn nudge_forced(&self, row: &Connection) {
        self.nudge(row, Trigger::Forced { version: row.version }).await;
    }

    pub(crate) async fn nudge(&self, row: &Connection, trigger: Trigger) {
        if !self.recent.is_first(&row.key, row.version, self.clock.elapsed()) {
            return;
        }
        let nudge = Nudge { key: row.key.clone(), trigger };
        if let Err(error) = self.queue.nudge(Lane::Urgent, vec![(nudge, Duration::ZERO)]).await {
            tracing::warn!(connection = %row.key, error = %chain(&error), "fetch.nudge: not sent");
        }
    }
}

/// Whether waiting is in vain, and when it will not be: a failed attempt knows when it tries again, and a lease that
/// outlived its holder's call keeps everybody out until it ends.
pub(crate) fn hopeless(offer: &Offer, active: &Active, now: Timestamp) -> Option<Duration> {
    let lease = active.lease.filter(|lease| lease.is_live(now));
    let lost = lease.filter(|lease| {
        let claimed_at = lease.expires_at.minus(offer.lease());
        now.since(claimed_at) > PROVIDER_TIMEOUT + HOLDER_LOST
    });
    let backing_off = (active.attempts > 0 && active.next_refresh_at > now).then_some(active.next_refresh_at);
    let until = lost.map(|lease| lease.expires_at).max(backing_off)?;
    Some(until.since(now).max(RETRY_USUAL))
}

/// What the rows say to a reader of one connection.
pub(crate) fn read<'a>(rows: &'a PersonRows, session: &Session, offer: &Offer, now: Timestamp) -> Reading<'a> {
    let live = rows.user.as_ref().is_some_and(|user| user.admits(session.id, session.began_at));
    if !live {
        return Reading::NoSession;
    }
    let Some(row) = rows.connection(&offer.provider.id) else { return Reading::NotConnected };
    match &row.status {
        Status::Disconnected { .. } => Reading::NotConnected,
        Status::ReauthorizationRequired { reason, .. } => Reading::Reauthorize(*reason),
        Status::Active(active) if now < active.expires_at => Reading::Alive(row, active),
        Status::Active(active) if has_ended(active, now) => Reading::Reauthorize(ReauthorizationReason::NoRefreshToken),
        Status::Active(active) => Reading::Expired(row, active),
    }
}

/// Whether the token has run out and nothing can renew it: what the row says once the worker has come by.
fn has_ended(active: &Active, now: Timestamp) -> bool {
    active.refresh_token.is_none() && now >= active.expires_at
}

fn connection_view(row: &Connection, now: Timestamp) -> Option<ConnectionView> {
    let state = match &row.status {
        Status::Disconnected { .. } => return None,
        Status::ReauthorizationRequired { reason, since } => {
            ConnectionState::ReauthorizationRequired { reason: *reason, since: *since }
        }
        Status::Active(active) if has_ended(active, now) => ConnectionState::ReauthorizationRequired {
            reason: ReauthorizationReason::NoRefreshToken,
            since: active.expires_at,
        },
        Status::Active(active) => ConnectionState::Active {
            freshness: active.freshness(now, Duration::ZERO),
            issued_at: active.issued_at(),
            expires_at: active.expires_at,
            next_refresh_at: active.next_refresh_at,
            attempts: active.attempts,
            last_error: active.last_error,
            reauth_by: active.grant.reauth_by(),
        },
    };
    Some(ConnectionView {
        provider: row.key.provider.clone(),
        account: row.account.clone(),
        token_id: row.version,
        scope: row.scope.clone(),
        connected_at: row.created_at,
        updated_at: row.updated_at,
        state,
    })
}
