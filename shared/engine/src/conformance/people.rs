//! One person's rows: read in one query, sessions ended, refreshes counted, and all of it forgotten.

use mm_model::{
    Connection, Minute, SessionId, User,
    limits::{ENDED_SESSIONS_MAX, FORCED_REFRESHES_PER_MINUTE, LEASE_REUSABLE},
    step::{ClaimRevocation, FinishRevocation, Step},
    user::{EndedSession, ForcedAdmission},
};

use super::samples::{
    Checked, HOUR, NOW, Store, at, attempt, due, flagged, gone, gone_owing_nothing, key, plant, rows, seconds, strong,
    user, version,
};
use crate::ports::{Consistency, LinkOutcome, Outcome, PersonRows};

fn session(n: u8) -> EndedSession {
    let began_at = NOW.minus(HOUR).plus(seconds(u64::from(n)));
    EndedSession { id: SessionId::from_bytes([n; 16]), forget_at: NOW.plus(HOUR * 24), began_at }
}

fn ann() -> User {
    User::new(user("ann"), NOW.minus(HOUR))
}

pub(super) async fn a_person_is_read_whole_and_in_order(store: Store) -> Checked {
    // Names that sort around each other, and a neighbour on each side that must not be read.
    let spotify = due(&at("ann", "spotify"), 3);
    let planted = [
        gone(&due(&at("ann", "youtube"), 1), 2),
        spotify.clone(),
        due(&at("ann", "a"), 4),
        flagged(&due(&at("ann", "soundcloud"), 5), 6),
        due(&at("ann", "apple-music"), 7),
    ];
    for (n, row) in planted.iter().enumerate() {
        let name = format!("account {n}");
        plant(&store, &Connection { account: super::samples::account(&name), ..row.clone() }).await?;
    }
    for neighbour in ["an", "ann-", "ann0", "Ann", "anna"] {
        plant(&store, &due(&key(neighbour), 8)).await?;
    }
    let read = rows(&store, &user("ann")).await?;
    let providers: Vec<_> = read.connections.iter().map(|row| row.key.provider.as_str()).collect();
    assert_eq!(providers, ["a", "apple-music", "soundcloud", "spotify", "youtube"]);
    assert!(read.connections.iter().all(|row| row.key.user == user("ann")));
    assert_eq!(read.user, Some(ann()));
    assert_eq!(read.connection(&spotify.key.provider).map(|row| row.version), Some(version(3)));
    assert_eq!(rows(&store, &user("nobody")).await?, PersonRows::default());
    Ok(())
}

pub(super) async fn an_eventual_read_is_late_but_invents_nothing(store: Store) -> Checked {
    let mut states = vec![PersonRows::default()];
    for (n, provider) in (1..).zip(["spotify", "soundcloud", "youtube"]) {
        plant(&store, &due(&at("ann", provider), n)).await?;
        states.push(rows(&store, &user("ann")).await?);
        let read = store.person(&user("ann"), Consistency::Eventual).await?;
        assert!(states.contains(&read), "an earlier state or the present one, whole: {read:?}");
    }
    Ok(())
}

pub(super) async fn a_session_ends(store: Store) -> Checked {
    plant(&store, &due(&key("ann"), 1)).await?;
    let mut expected = ann();
    let count = u8::try_from(ENDED_SESSIONS_MAX).unwrap_or(u8::MAX) + 3;
    for n in (0..count).chain([1, 1]) {
        store.end_session(&user("ann"), session(n), NOW).await?;
        expected = expected.end_session(session(n), NOW);
        assert_eq!(rows(&store, &user("ann")).await?.user.as_ref(), Some(&expected), "after session {n}");
    }
    Ok(())
}

pub(super) async fn every_session_ends(store: Store) -> Checked {
    plant(&store, &due(&key("ann"), 1)).await?;
    plant(&store, &due(&key("bob"), 2)).await?;
    store.end_session(&user("ann"), session(1), NOW).await?;
    store.end_all_sessions(&user("ann"), NOW).await?;
    let expected = ann().end_session(session(1), NOW).end_all_sessions(NOW);
    assert_eq!(rows(&store, &user("ann")).await?.user, Some(expected.clone()));
    store.end_all_sessions(&user("ann"), NOW).await?;
    assert_eq!(rows(&store, &user("ann")).await?.user, Some(expected.end_all_sessions(NOW)), "twice in one second");
    let bobs = rows(&store, &user("bob")).await?.user;
    assert_eq!(bobs, Some(User::new(user("bob"), NOW.minus(HOUR))), "nobody else's");
    Ok(())
}

pub(super) async fn nobody_has_no_session_to_end(store: Store) -> Checked {
    store.end_session(&user("nobody"), session(1), NOW).await?;
    store.end_all_sessions(&user("nobody"), NOW).await?;
    assert_eq!(rows(&store, &user("nobody")).await?, PersonRows::default(), "and gets no row by it");
    Ok(())
}

pub(super) async fn forced_refreshes_are_counted_by_pair_and_minute(store: Store) -> Checked {
    assert_eq!(store.force(&user("ann"), version(1), NOW).await?, None, "nobody is not counted");
    assert_eq!(rows(&store, &user("ann")).await?, PersonRows::default());
    plant(&store, &due(&key("ann"), 1)).await?;
    let (mut model, minute) = (ann(), NOW.minute());
    let asked = (0..FORCED_REFRESHES_PER_MINUTE + 2).flat_map(|n| [(n, NOW), (n, NOW.plus(seconds(1)))]);
    let next = minute.plus(1).start();
    for (n, now) in asked.chain([(0, next), (0, next), (1, next)]) {
        let (after, admission) = model.force(version(n), now);
        model = after;
        assert_eq!(store.force(&user("ann"), version(n), now).await?, Some(admission), "pair {n} at {now}");
        assert_eq!(rows(&store, &user("ann")).await?.user.as_ref(), Some(&model));
    }
    let forced = model.forced.map(|forced| (forced.minute, forced.count));
    assert_eq!(forced, Some((Minute::new(minute.number() + 1), 2)), "the case has come as far as it should");
    Ok(())
}

pub(super) async fn the_limit_says_when_it_ends(store: Store) -> Checked {
    plant(&store, &due(&key("ann"), 1)).await?;
    for n in 0..FORCED_REFRESHES_PER_MINUTE {
        let counted = store.force(&user("ann"), version(n), NOW).await?;
        assert_eq!(counted, Some(ForcedAdmission::Counted), "{n}");
    }
    let until = NOW.minute().plus(1).start();
    let answer = store.force(&user("ann"), version(999), NOW).await?;
    assert_eq!(answer, Some(ForcedAdmission::Exceeded { until }));
    assert_eq!(store.force(&user("ann"), version(999), until).await?, Some(ForcedAdmission::Counted));
    Ok(())
}

pub(super) async fn a_person_is_forgotten(store: Store) -> Checked {
    let owing = gone(&due(&at("ann", "spotify"), 1), 2);
    plant(&store, &owing).await?;
    plant(&store, &gone_owing_nothing(&due(&at("ann", "soundcloud"), 3), 4)).await?;
    plant(&store, &due(&key("bob"), 5)).await?;
    let bobs = rows(&store, &user("bob")).await?;
    assert_eq!(store.forget(&user("ann")).await?, LinkOutcome::Done);
    let left = rows(&store, &user("ann")).await?;
    assert_eq!(left, PersonRows { user: None, connections: vec![owing.clone()] }, "what is owed is kept");
    assert_eq!(rows(&store, &user("bob")).await?, bobs, "nobody else");
    assert_eq!(store.forget(&user("ann")).await?, LinkOutcome::Done, "twice is once");

    let claim = ClaimRevocation { revocation: version(1), attempt: attempt(1), now: NOW, lease: LEASE_REUSABLE };
    let outcome = store.apply(&owing.key, &Step::ClaimRevocation(claim)).await?;
    assert!(matches!(outcome, Outcome::Applied(_)), "it can still be carried out: {outcome:?}");
    let finish = FinishRevocation { revocation: version(1), attempt: attempt(1) };
    let outcome = store.apply(&owing.key, &Step::FinishRevocation(finish)).await?;
    assert!(matches!(outcome, Outcome::Applied(_)), "{outcome:?}");
    // At the latest when the tombstone's own time is over.
    store.purge(NOW.plus(HOUR * 24 * 365)).await?;
    assert_eq!(rows(&store, &user("ann")).await?, PersonRows::default(), "then nothing is left");
    Ok(())
}

pub(super) async fn who_is_connected_is_not_forgotten(store: Store) -> Checked {
    plant(&store, &gone_owing_nothing(&due(&at("ann", "spotify"), 1), 2)).await?;
    for connected in [due(&key("ann"), 3), flagged(&due(&at("ann", "youtube"), 4), 5)] {
        let connected = Connection { account: super::samples::account(connected.key.provider.as_str()), ..connected };
        plant(&store, &connected).await?;
        let before = rows(&store, &user("ann")).await?;
        let answer = store.forget(&user("ann")).await;
        assert!(!matches!(answer, Ok(LinkOutcome::Done)), "{answer:?}");
        assert_eq!(rows(&store, &user("ann")).await?, before, "nothing of it");
        let own = store.owner(&connected.key.provider, &connected.account).await?;
        assert_eq!(own, Some(user("ann")));
        let tombstone = gone_owing_nothing(&connected, connected_version(&connected) + 100);
        let unlink = crate::ports::Unlink { tombstone, expected: connected.version };
        assert_eq!(store.unlink(&unlink).await?, LinkOutcome::Done);
    }
    assert_eq!(store.forget(&user("ann")).await?, LinkOutcome::Done, "once all is disconnected");
    assert_eq!(strong(&store, &key("ann")).await?, None);
    Ok(())
}

/// A sample version's number.
fn connected_version(row: &Connection) -> u32 {
    (1..100).find(|n| version(*n) == row.version).unwrap_or_default()
}
