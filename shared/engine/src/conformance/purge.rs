//! What goes by time, and what never does.

use mm_model::{
    Connection,
    limits::{PENDING_LOGIN_LIFETIME, TOMBSTONE_LIFETIME},
};

use super::{
    logins::{pending, state},
    samples::{
        Checked, HOUR, NOW, Store, at, due, edited, flagged, gone, gone_owing_nothing, key, plant, rows, seconds,
        strong, user,
    },
};

pub(super) async fn a_tombstone_goes_when_its_time_is_over(store: Store) -> Checked {
    let tombstone = gone_owing_nothing(&due(&key("ann"), 1), 2);
    plant(&store, &tombstone).await?;
    let owing = gone(&due(&at("ann", "owing"), 3), 4);
    let owing = Connection { account: super::samples::account("owing"), ..owing };
    plant(&store, &owing).await?;
    let purge_at = NOW.minus(seconds(60)).plus(TOMBSTONE_LIFETIME);
    assert_eq!(store.purge(purge_at.minus(seconds(1))).await?, 0);
    assert_eq!(strong(&store, &tombstone.key).await?, Some(tombstone.clone()));
    assert_eq!(strong(&store, &owing.key).await?, Some(owing.clone()));
    assert_eq!(store.purge(purge_at.plus(seconds(1))).await?, 2);
    assert_eq!(strong(&store, &tombstone.key).await?, None);
    assert_eq!(strong(&store, &owing.key).await?, None, "whatever it owes");
    assert!(rows(&store, &user("ann")).await?.user.is_some(), "the person stays");
    assert_eq!(store.purge(purge_at.plus(seconds(1))).await?, 0);
    Ok(())
}

pub(super) async fn nothing_else_ever_goes(store: Store) -> Checked {
    let asleep = edited(&due(&at("ann", "asleep"), 1), |active| active.seat = None);
    let kept = [due(&at("ann", "active"), 2), asleep, flagged(&due(&at("ann", "flagged"), 3), 4)];
    for row in &kept {
        let account = super::samples::account(row.key.provider.as_str());
        plant(&store, &Connection { account, ..row.clone() }).await?;
    }
    let before = rows(&store, &user("ann")).await?;
    assert_eq!(store.purge(NOW.plus(HOUR * 24 * 3650)).await?, 0);
    assert_eq!(rows(&store, &user("ann")).await?, before);
    Ok(())
}

pub(super) async fn an_expired_login_goes(store: Store) -> Checked {
    store.begin_login(&state(1), &pending(1)).await?;
    let later = mm_model::login::PendingLogin { created_at: NOW.plus(HOUR), ..pending(2) };
    store.begin_login(&state(2), &later).await?;
    assert_eq!(store.purge(NOW.plus(PENDING_LOGIN_LIFETIME).minus(seconds(1))).await?, 0);
    assert_eq!(store.purge(NOW.plus(PENDING_LOGIN_LIFETIME).plus(seconds(1))).await?, 1);
    assert_eq!(store.take_login(&state(1), NOW).await?, None);
    assert_eq!(store.take_login(&state(2), NOW.plus(HOUR)).await?, Some(later));
    Ok(())
}
