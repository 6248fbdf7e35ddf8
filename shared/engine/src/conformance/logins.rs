//! Pending logins: kept once, taken once, gone when their time is over.

use std::time::Duration;

use mm_model::{
    SessionId,
    limits::PENDING_LOGIN_LIFETIME,
    login::{Intent, PendingLogin, Person},
};

use super::samples::{Checked, NOW, Store, provider, seconds, user};
use crate::ports::StateHash;

pub(super) fn state(n: u8) -> StateHash {
    StateHash([n; 32])
}

/// A provisional person's login that no other number has.
pub(super) fn pending(n: u32) -> PendingLogin {
    PendingLogin {
        provider: provider("soundcloud"),
        person: Person::Provisional { user: user(&format!("maybe-{n}")) },
        browser: n.to_be_bytes().repeat(8),
        code_verifier: format!("verifier-{n}-~._"),
        redirect_uri: "https://music.example/auth/soundcloud/callback".to_owned(),
        return_to: format!("https://music.example/list?page={n}&q=%C3%BC#top"),
        intent: Intent::Plain,
        reconsent: false,
        created_at: NOW,
    }
}

pub(super) async fn a_login_comes_back_whole(store: Store) -> Checked {
    let session = Person::Session { user: user("ann"), session: SessionId::from_bytes([0xfb; 16]) };
    let logins = [
        pending(1),
        PendingLogin { person: session, intent: Intent::Replace, reconsent: true, ..pending(2) },
        PendingLogin { intent: Intent::Switch, browser: Vec::new(), ..pending(3) },
        PendingLogin { intent: Intent::Move, return_to: "x".repeat(2000), ..pending(4) },
    ];
    for (n, login) in (1..).zip(&logins) {
        store.begin_login(&state(n), login).await?;
    }
    for (n, login) in (1..=4).rev().zip(logins.iter().rev()) {
        assert_eq!(store.take_login(&state(n), NOW).await?.as_ref(), Some(login), "each under its own hash");
        assert_eq!(store.take_login(&state(n), NOW).await?, None, "once");
    }
    Ok(())
}

pub(super) async fn an_unknown_state_is_nobodys(store: Store) -> Checked {
    store.begin_login(&state(1), &pending(1)).await?;
    assert_eq!(store.take_login(&state(2), NOW).await?, None);
    assert_eq!(store.take_login(&state(1), NOW).await?, Some(pending(1)), "the other one is untouched");
    Ok(())
}

pub(super) async fn a_used_state_is_refused(store: Store) -> Checked {
    store.begin_login(&state(1), &pending(1)).await?;
    let again = store.begin_login(&state(1), &pending(2)).await;
    assert!(again.is_err(), "another login under the same hash must not be acknowledged");
    assert_eq!(store.take_login(&state(1), NOW).await?, Some(pending(1)), "the first is kept");
    Ok(())
}

pub(super) async fn an_expired_login_is_gone(store: Store) -> Checked {
    let ends = NOW.plus(PENDING_LOGIN_LIFETIME);
    store.begin_login(&state(1), &pending(1)).await?;
    store.begin_login(&state(2), &pending(2)).await?;
    assert_eq!(store.take_login(&state(1), ends.minus(seconds(1))).await?, Some(pending(1)));
    let too_late = ends.plus(Duration::from_secs(1));
    assert_eq!(store.take_login(&state(2), too_late).await?, None, "whatever a timer did");
    Ok(())
}
