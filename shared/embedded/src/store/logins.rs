//! Pending logins, taken once.

use mm_engine::ports::StateHash;
use mm_model::{
    SessionId, Timestamp,
    limits::PENDING_LOGIN_LIFETIME,
    login::{PendingLogin, Person},
};
use rusqlite::{Row, params};

use super::{
    fault::Fault,
    query::{self, Fields},
    writer::Unit,
};

const TABLE: &str = "pending_logins";

/// What errors call every row: its key is made from a secret that is still in use.
const ROW: &str = "login#";

/// Keeps a login. A hash that is taken by the very same login is that login's own earlier write.
pub(super) fn begin(unit: &mut Unit<'_>, state: &StateHash, login: &PendingLogin) -> Result<(), Fault> {
    let (user, session) = match &login.person {
        Person::Session { user, session } => (user, Some(session.as_bytes())),
        Person::Provisional { user } => (user, None),
    };
    let text = "INSERT INTO pending_logins (state_hash, provider, user_id, session_id, browser, code_verifier, \
                redirect_uri, return_to, intent, reconsent, created_at) \
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (state_hash) DO NOTHING";
    let params = params![
        state.0,
        login.provider.as_str(),
        user.as_str(),
        session,
        login.browser,
        login.code_verifier,
        login.redirect_uri,
        login.return_to,
        query::word(login.intent, TABLE, &ROW, "intent")?,
        login.reconsent,
        query::integer(login.created_at.unix(), TABLE, &ROW, "createdAt")?,
    ];
    if query::execute(unit.sql, text, params)? == 1 {
        unit.tally.writes += 1;
        return Ok(());
    }
    unit.tally.refused += 1;
    let text = "SELECT provider, user_id, session_id, browser, code_verifier, redirect_uri, return_to, intent, \
                reconsent, created_at FROM pending_logins WHERE state_hash = ?1";
    let kept = query::first(unit.sql, text, [state.0], decode)?;
    if kept.as_ref() == Some(login) {
        return Ok(());
    }
    Err(Fault::Impossible { table: TABLE, row: ROW.to_owned(), field: "state", rule: "unused" })
}

/// Takes a login. One that is too old is gone all the same.
pub(super) fn take(unit: &mut Unit<'_>, state: &StateHash, now: Timestamp) -> Result<Option<PendingLogin>, Fault> {
    let text = "DELETE FROM pending_logins WHERE state_hash = ?1 RETURNING provider, user_id, session_id, browser, \
                code_verifier, redirect_uri, return_to, intent, reconsent, created_at";
    let taken = query::first(unit.sql, text, [state.0], decode)?;
    match &taken {
        Some(_) => unit.tally.writes += 1,
        None => unit.tally.refused += 1,
    }
    Ok(taken.filter(|login| now < login.expires_at()))
}

/// Deletes at most `limit` of the logins that can no longer be completed; says how many.
pub(super) fn purge(sql: &rusqlite::Connection, now: Timestamp, limit: i64) -> Result<usize, Fault> {
    let Some(begun_by) = now.unix().checked_sub(PENDING_LOGIN_LIFETIME.as_secs()) else { return Ok(0) };
    let begun_by = query::integer(begun_by, TABLE, &ROW, "createdAt")?;
    let text = "DELETE FROM pending_logins WHERE state_hash IN \
                (SELECT state_hash FROM pending_logins WHERE created_at <= ?1 ORDER BY created_at LIMIT ?2)";
    query::execute(sql, text, [begun_by, limit])
}

fn decode(row: &Row<'_>) -> Result<PendingLogin, Fault> {
    let mut fields = Fields::new(row, TABLE, 0);
    let provider = fields.need("platform", Fields::parsed)?;
    let user = fields.need("userId", Fields::parsed)?;
    let session = fields.take::<Option<_>>("sessionId")?.map(SessionId::from_bytes);
    Ok(PendingLogin {
        provider,
        person: match session {
            Some(session) => Person::Session { user, session },
            None => Person::Provisional { user },
        },
        browser: fields.take("browser")?,
        code_verifier: fields.take("codeVerifier")?,
        redirect_uri: fields.take("redirectUri")?,
        return_to: fields.take("returnTo")?,
        intent: fields.need("intent", Fields::word)?,
        reconsent: fields.take("reconsent")?,
        created_at: fields.need("createdAt", Fields::time)?,
    })
}
