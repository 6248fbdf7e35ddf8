use mm_engine::ports::{ConnectionStore, Consistency, Expected, LinkOutcome, StoreError};
use mm_model::{
    Connection, Seat, Step, Timestamp, User,
    connection::{Lease, ReauthorizationReason, RefreshError, Revocation, Status},
    event::EventMark,
    limits::REVOCATIONS_MAX,
    user::{EndedSession, ForcedRefreshes},
};
use proptest::prelude::*;
use rusqlite::Connection as Sql;

use super::fixture::{
    HOUR, NOW, attempt, claim, commit, connect, consent, key, link, read, row, sealed, store, version,
};
use crate::store::{SqliteStore, codec, people};

/// Any row that the model's check admits, with every field in play.
fn any_row() -> impl Strategy<Value = Connection> {
    let revocations = prop::collection::vec((any::<u64>(), any::<bool>(), any::<u32>()), 0..=REVOCATIONS_MAX);
    let head = (any::<u64>(), prop::option::of("[ -~äλ]{0,40}"), 0..3_u8, 0..7_u8, revocations);
    let body = (1..100_000_u64, any::<bool>(), any::<bool>(), any::<bool>(), 0..8_u8, any::<u32>(), any::<u8>());
    (head, body).prop_map(
        |((n, scope, state, event, owed), (lifetime, renewable, asleep, leased, error, count, small))| {
            let mut row = row("ann", n);
            row.scope = scope;
            row.event = [
                None,
                Some(EventMark::Connected),
                Some(EventMark::ReauthDue),
                Some(EventMark::ReauthRequired),
                Some(EventMark::Recovered),
                Some(EventMark::Degraded),
                Some(EventMark::Disconnected),
            ][usize::from(event)];
            row.revocations = owed
                .into_iter()
                .map(|(n, leased, attempts)| Revocation {
                    version: version(n),
                    refresh_token: sealed("owed"),
                    account: row.account.clone(),
                    issuer: row.issuer.clone(),
                    lease: leased.then_some(Lease { owner: attempt(n), expires_at: NOW }),
                    attempts,
                })
                .collect();
            let Status::Active(active) = &mut row.status else { panic!("a login is active") };
            active.lifetime = lifetime;
            active.refresh_token = renewable.then(|| sealed("refresh"));
            active.seat =
                Some(if renewable { Seat::fast(&key("ann"), active.lifetime()) } else { Seat::slow(&key("ann")) });
            active.seat = active.seat.filter(|_| !asleep);
            active.soon = leased.then_some(NOW);
            active.lease = leased.then_some(Lease { owner: attempt(n), expires_at: NOW.plus(HOUR) });
            active.misfits = small;
            active.unknown_outcomes = count.max(u32::from(leased));
            active.attempts = count.max(1);
            active.last_error = [
                None,
                Some(RefreshError::Throttled),
                Some(RefreshError::Unavailable),
                Some(RefreshError::Misconfigured),
                Some(RefreshError::ForeignIssuer),
                Some(RefreshError::BudgetExhausted),
                Some(RefreshError::CircuitOpen),
                Some(RefreshError::NotSent),
            ][usize::from(error)];
            active.grant.expires_at = active.grant.expires_at.filter(|_| asleep);
            active.grant.warned_days = asleep.then_some(small);
            match state {
                0 => row,
                1 => {
                    let reason = [
                        ReauthorizationReason::Refused,
                        ReauthorizationReason::InterruptedRotation,
                        ReauthorizationReason::NoRefreshToken,
                    ][usize::from(small % 3)];
                    row.status = Status::ReauthorizationRequired { reason, since: NOW };
                    row
                }
                _ => row.disconnect(version(n ^ 1), NOW, true),
            }
        },
    )
}

proptest! {
    #[test]
    fn a_row_comes_back_as_it_was_written(connection in any_row()) {
        let sql = Sql::open_in_memory().unwrap();
        sql.execute_batch(include_str!("../migrations/0001.sql")).unwrap();
        let values = codec::encode(&connection).unwrap();
        sql.prepare(&codec::INSERT).unwrap().execute(rusqlite::params_from_iter(values)).unwrap();
        let params = [connection.key.user.as_str(), connection.key.provider.as_str()];
        let found = sql.query_row(&codec::SELECT, params, |row| Ok(codec::decode(row).unwrap())).unwrap();
        prop_assert_eq!(found, connection);
    }
}

#[test]
fn a_persons_row_comes_back_as_it_was_written() {
    let sql = Sql::open_in_memory().unwrap();
    sql.execute_batch(include_str!("../migrations/0001.sql")).unwrap();
    let mut user = User::new("ann".parse().unwrap(), NOW);
    let session = mm_model::SessionId::from_bytes([3; 16]);
    user.ended_sessions = vec![EndedSession { id: session, forget_at: NOW.plus(HOUR), began_at: NOW }];
    user.sessions_end_at = Some(NOW);
    user.last_logout_at = Some(NOW.plus(HOUR));
    user.forced = Some(ForcedRefreshes { minute: NOW.minute(), count: 7, last: version(9) });
    assert!(people::insert_if_absent(&sql, &user).unwrap());
    assert_eq!(people::find(&sql, &user.id).unwrap(), Some(user.clone()));
    assert!(!people::insert_if_absent(&sql, &User::new(user.id.clone(), Timestamp::from_unix(1))).unwrap());
    assert_eq!(people::find(&sql, &user.id).unwrap(), Some(user));
}

/// Somebody else's hand in the file.
async fn tamper(store: &SqliteStore, text: &'static str) {
    let tamper = move |unit: &mut crate::store::writer::Unit<'_>| Ok(unit.sql.execute_batch(text)?);
    store.writer.write("tamper", tamper).await.unwrap();
}

#[tokio::test]
async fn an_impossible_row_is_named_and_never_shown() {
    let cases = [
        ("UPDATE connections SET lifetime = 0", "lifetime"),
        ("UPDATE connections SET lifetime = -1", "lifetime"),
        ("UPDATE connections SET access_token = NULL", "accessToken"),
        ("UPDATE connections SET seat = 'canary'", "seat"),
        ("UPDATE connections SET seat = 'fast-50-50'", "seat"),
        ("UPDATE connections SET misfits = 256", "misfits"),
        ("UPDATE connections SET event = 'canary'", "event"),
        ("UPDATE connections SET to_revoke = '[\"canary\"]'", "toRevoke"),
        ("UPDATE connections SET lease_owner = zeroblob(16)", "leaseOwner"),
        ("UPDATE connections SET status = 'disconnected'", "status"),
        ("UPDATE connections SET status = 'disconnected', since = 1, purge_at = 2", "accessToken"),
        ("UPDATE connections SET issuer = ''", "issuer"),
        ("UPDATE connections SET updated_at = 1", "updatedAt"),
    ];
    for (text, wrong) in cases {
        let (_directory, store) = store();
        connect(&store, "ann", 1).await;
        tamper(&store, text).await;
        let error = store.person(&key("ann").user, Consistency::Strong).await.expect_err(text);
        let StoreError::Impossible { table, row, field, .. } = &error else { panic!("{text}: {error:?}") };
        assert_eq!((*table, row.as_str(), *field), ("connections", "ann/spotify", wrong), "{text}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{text}");
        let error = store.apply(&key("ann"), &claim(1, NOW.plus(HOUR))).await.expect_err(text);
        assert!(matches!(error, StoreError::Impossible { field, .. } if field == wrong), "{text}: {error:?}");
    }
}

#[tokio::test]
async fn the_schema_itself_refuses_the_coarsest_nonsense() {
    let (_directory, store) = store();
    connect(&store, "ann", 1).await;
    for text in [
        "UPDATE connections SET status = 'asleep'",
        "UPDATE connections SET version = x'00'",
        "UPDATE connections SET next_refresh_at = 'soon'",
        "UPDATE identities SET user_id = 'bob'",
        "DELETE FROM connections",
        "INSERT INTO tick VALUES (2, 1)",
    ] {
        let tamper = move |unit: &mut crate::store::writer::Unit<'_>| Ok(unit.sql.execute_batch(text)?);
        let error = store.writer.write("tamper", tamper).await.expect_err(text);
        assert!(matches!(error, StoreError::Unavailable { .. }), "{text}: {error:?}");
    }
    assert_eq!(read(&store, "ann").await, Some(row("ann", 1)));
}

#[tokio::test]
async fn an_impossible_row_is_not_written() {
    let (_directory, store) = store();
    connect(&store, "ann", 1).await;
    let due = NOW.plus(HOUR);
    let claimed = super::fixture::applied(&store, "ann", claim(1, due)).await;
    let spoils: [fn(&mut mm_model::step::Commit); 2] = [
        |commit: &mut mm_model::step::Commit| commit.lifetime = 0,
        |commit: &mut mm_model::step::Commit| {
            commit.expires_at = Timestamp::from_unix(u64::MAX);
        },
    ];
    for spoil in spoils {
        let Step::Commit(mut spoilt) = commit(claimed.clone(), 2, HOUR, due) else { panic!("a commit") };
        spoil(&mut spoilt);
        let error = store.apply(&key("ann"), &Step::Commit(spoilt)).await.expect_err("spoilt");
        assert!(matches!(error, StoreError::Impossible { table: "connections", .. }), "{error:?}");
    }
    assert_eq!(read(&store, "ann").await, Some(claimed));
}

#[tokio::test]
async fn an_account_is_not_replaced_without_releasing_the_one_before() {
    let (_directory, store) = store();
    let before = connect(&store, "ann", 1).await;
    let other = Connection::establish(key("ann"), consent("another", 2, HOUR), Some(&before), true);
    let mut replace = link(&other, Expected::Version(before.version));
    let error = store.link(&replace).await.expect_err("the old identity would remain");
    assert!(matches!(error, StoreError::Impossible { table: "identities", .. }), "{error:?}");
    assert_eq!(read(&store, "ann").await, Some(before.clone()));
    replace.released = Some(before.account.clone());
    assert_eq!(store.link(&replace).await.unwrap(), LinkOutcome::Done);
    let provider = key("ann").provider;
    assert_eq!(store.owner(&provider, &before.account).await.unwrap(), None);
    assert_eq!(store.owner(&provider, &other.account).await.unwrap(), Some(key("ann").user));
}
