//! Values at the edges of what a field may hold.

use mm_model::{
    Connection, Sealed, Seat, connection::Revocation, id::TEXT_ID_BYTES_MAX, limits::REVOCATIONS_MAX,
    wheel::SLOW_PERIOD,
};

use super::samples::{
    Checked, HOUR, NOW, Store, account, at, due, edited, first_link, gone_owing_nothing, issuer, key, plant, provider,
    sealed, seconds, strong, user, version,
};
use crate::ports::{LinkOutcome, Unlink};

/// The largest sealed token seen, and room: Google documents 2 KiB, JWTs grow with their claims.
const LARGE_TOKEN_BYTES: usize = 8 * 1024;

fn large(seed: u8) -> Sealed {
    Sealed::from_bytes((0..LARGE_TOKEN_BYTES).map(|n| seed.wrapping_add(u8::try_from(n % 251).unwrap_or(0))).collect())
}

pub(super) async fn large_tokens_come_back_whole(store: Store) -> Checked {
    let row = edited(&due(&key("ann"), 1), |active| {
        (active.access_token, active.refresh_token) = (large(1), Some(large(2)));
    });
    let owed = |n| Revocation {
        version: version(n),
        refresh_token: large(3),
        account: row.account.clone(),
        issuer: issuer(),
        lease: None,
        attempts: 7,
    };
    let most = u32::try_from(REVOCATIONS_MAX).unwrap_or(u32::MAX);
    plant(&store, &Connection { revocations: (100..100 + most).map(owed).collect(), ..row.clone() }).await
}

pub(super) async fn empty_and_binary_tokens_come_back_whole(store: Store) -> Checked {
    for (n, bytes) in (1..).zip([Vec::new(), vec![0], (0..=255).collect::<Vec<u8>>()]) {
        let row = edited(&due(&key(&format!("person-{n}")), n), |active| {
            active.access_token = Sealed::from_bytes(bytes.clone());
            active.refresh_token = Some(Sealed::from_bytes(bytes));
        });
        plant(&store, &row).await?;
    }
    Ok(())
}

pub(super) async fn odd_accounts_are_each_their_own(store: Store) -> Checked {
    let long = "x".repeat(TEXT_ID_BYTES_MAX);
    let names = [
        "1",
        "01",
        " 1",
        "1 ",
        "a#b",
        "a/b",
        "identity#soundcloud#1",
        "ü",
        "u\u{308}",
        "🎵",
        "'; --",
        "%",
        "_",
        "A",
        "a",
        "null",
        "\"",
        "\\",
        "\u{202e}evil",
        &long,
    ];
    for (n, name) in (1..).zip(names) {
        let row = Connection { account: account(name), ..due(&key(&format!("person-{n}")), n) };
        plant(&store, &row).await?;
    }
    for (n, name) in (1..).zip(names) {
        let owner = store.owner(&provider("soundcloud"), &account(name)).await?;
        assert_eq!(owner, Some(user(&format!("person-{n}"))), "{name:?}");
    }
    for (n, name) in (1..).zip(names) {
        let row = Connection { account: account(name), ..due(&key(&format!("person-{n}")), n) };
        let unlink = Unlink { tombstone: gone_owing_nothing(&row, 100 + n), expected: version(n) };
        assert_eq!(store.unlink(&unlink).await?, LinkOutcome::Done);
        assert_eq!(store.owner(&provider("soundcloud"), &account(name)).await?, None, "{name:?}");
    }
    Ok(())
}

pub(super) async fn odd_people_are_each_their_own(store: Store) -> Checked {
    let long = "x".repeat(TEXT_ID_BYTES_MAX);
    let names = ["ann", "Ann", "ANN", "an", "-", "_", "__", "0", "login", "tick", &long];
    for (n, name) in (1..).zip(names) {
        let row = Connection { account: account(&n.to_string()), ..due(&key("sample"), n) };
        plant(&store, &Connection { key: at(name, "a-2"), ..row }).await?;
    }
    for (n, name) in (1..).zip(names) {
        let found = strong(&store, &at(name, "a-2")).await?.map(|row| row.version);
        assert_eq!(found, Some(version(n)), "{name}");
    }
    Ok(())
}

pub(super) async fn a_bare_row_comes_back_bare(store: Store) -> Checked {
    let bare = edited(&due(&key("ann"), 1), |active| {
        (active.refresh_token, active.seat, active.misfits) = (None, None, 0);
        active.grant.expires_at = None;
    });
    plant(&store, &Connection { scope: None, ..bare }).await
}

pub(super) async fn a_full_row_comes_back_full(store: Store) -> Checked {
    let full = edited(&due(&key("ann"), 1), |active| {
        active.seat = Some(Seat::slow(&key("ann")));
        active.misfits = u8::MAX;
        active.soon = Some(NOW.plus(seconds(9)));
        active.lease = Some(super::samples::lease(1));
        active.unknown_outcomes = u32::MAX;
        active.attempts = u32::MAX;
        active.last_error = Some(mm_model::connection::RefreshError::ForeignIssuer);
        active.next_refresh_at = active.expires_at.plus(HOUR * 9000);
        active.grant.warned_days = Some(1);
        active.lifetime = u64::from(SLOW_PERIOD) * 60;
    });
    let scope = Some("a b ü 🎵 ".repeat(200));
    plant(&store, &Connection { scope, event: Some(mm_model::event::EventMark::Degraded), ..full }).await
}

pub(super) async fn every_word_survives_its_column(store: Store) -> Checked {
    use mm_model::{
        connection::{ReauthorizationReason, RefreshError, Status},
        event::EventMark,
    };

    let errors = [
        RefreshError::Throttled,
        RefreshError::Unavailable,
        RefreshError::Misconfigured,
        RefreshError::ForeignIssuer,
        RefreshError::BudgetExhausted,
        RefreshError::CircuitOpen,
        RefreshError::NotSent,
    ];
    for (n, error) in (1..).zip(errors) {
        let row = edited(&due(&key(&format!("error-{n}")), n), |active| {
            (active.attempts, active.last_error) = (n, Some(error));
        });
        plant(&store, &row).await?;
    }
    let events = [
        EventMark::Connected,
        EventMark::ReauthDue,
        EventMark::ReauthRequired,
        EventMark::Recovered,
        EventMark::Degraded,
        EventMark::Disconnected,
    ];
    for (n, event) in (1..).zip(events) {
        plant(&store, &Connection { event: Some(event), ..due(&key(&format!("event-{n}")), n) }).await?;
    }
    let reasons = [
        ReauthorizationReason::Refused,
        ReauthorizationReason::InterruptedRotation,
        ReauthorizationReason::NoRefreshToken,
    ];
    for (n, reason) in (1..).zip(reasons) {
        let row = super::samples::flagged(&due(&key(&format!("reason-{n}")), n), n);
        let status = Status::ReauthorizationRequired { reason, since: row.updated_at };
        plant(&store, &Connection { status, ..row }).await?;
    }
    Ok(())
}

pub(super) async fn tokens_of_one_provider_stay_there(store: Store) -> Checked {
    // The same account id at two providers, under two people: two identities.
    let one = Connection { account: account("same"), ..due(&at("ann", "spotify"), 1) };
    let two = Connection { account: account("same"), ..due(&at("bob", "soundcloud"), 2) };
    for row in [&one, &two] {
        assert_eq!(store.link(&first_link(row)).await?, LinkOutcome::Done);
    }
    assert_eq!(store.owner(&provider("spotify"), &account("same")).await?, Some(user("ann")));
    assert_eq!(store.owner(&provider("soundcloud"), &account("same")).await?, Some(user("bob")));
    let tokens = strong(&store, &one.key).await?.and_then(|row| Some(row.active()?.access_token.clone()));
    assert_eq!(tokens, Some(sealed(1)));
    Ok(())
}
