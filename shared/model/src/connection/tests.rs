use proptest::prelude::*;

use super::*;
use crate::samples::*;

#[test]
fn a_disconnect_leaves_a_tombstone_that_owes_its_grant() {
    let row = Connection { revocations: vec![owed(4)], ..claimed() };
    let expected = Connection {
        version: version(9),
        updated_at: NOW,
        scope: None,
        event: Some(EventMark::Disconnected),
        revocations: vec![owed(4), Revocation { refresh_token: sealed(2), ..owed(1) }],
        status: Status::Disconnected { since: NOW, purge_at: NOW.plus(TOMBSTONE_LIFETIME) },
        ..row.clone()
    };
    assert_eq!(row.disconnect(version(9), NOW, true), expected);
    assert_eq!(expected.check(), Ok(()));
}

#[test]
fn a_disconnect_owes_nothing_where_nothing_can_be_revoked() {
    assert_eq!(due().disconnect(version(9), NOW, false).revocations, []);
    assert_eq!(flagged().disconnect(version(8), NOW, true).revocations, [], "its tokens are gone already");
    let no_refresh_token = due_with(|active| active.refresh_token = None);
    assert_eq!(no_refresh_token.disconnect(version(9), NOW, true).revocations, []);
}

#[test]
fn a_disconnect_keeps_the_newest_intents_within_the_limit() {
    let revocations = (10..).take(REVOCATIONS_MAX).map(owed).collect();
    let row = Connection { revocations, ..due() }.disconnect(version(9), NOW, true);
    let versions: Vec<_> = row.revocations.iter().map(|owed| owed.version).collect();
    assert_eq!(versions, [version(11), version(12), version(13), version(1)]);
    assert_eq!(row.check(), Ok(()));
}

#[test]
fn a_disconnect_is_told_once() {
    assert_eq!(flagged().disconnect(version(8), NOW, true).event, Some(EventMark::Disconnected));
    assert_eq!(tombstone().disconnect(version(8), NOW, true).event, None);
}

#[test]
fn a_disconnect_by_a_slow_clock_is_still_a_possible_row() {
    let row = Connection { created_at: NOW.plus(seconds(9)), updated_at: NOW.plus(seconds(9)), ..due() };
    assert_eq!(row.disconnect(version(9), NOW, true).check(), Ok(()));
}

#[test]
fn only_a_tombstone_is_not_connected() {
    assert!(due().is_connected() && flagged().is_connected());
    assert!(!tombstone().is_connected());
    assert!(flagged().active().is_none() && tombstone().active().is_none());
}

#[test]
fn an_impossible_row_is_named() {
    let with = |edit: fn(&mut Active)| due_with(edit);
    let rewritten = |edit: fn(&mut Connection)| {
        let mut row = due();
        edit(&mut row);
        row
    };
    let table = [
        ("updatedAt", rewritten(|row| row.updated_at = row.created_at.minus(seconds(1)))),
        ("toRevoke", rewritten(|row| row.revocations = (0..=REVOCATIONS_MAX).map(|_| owed(1)).collect())),
        ("lifetime", with(|active| active.lifetime = 0)),
        ("nextRefreshAt", with(|active| active.next_refresh_at = active.expires_at.plus(LAST_RETRY + seconds(1)))),
        ("unknownOutcomes", with(|active| active.lease = Some(lease(1)))),
        ("lastError", with(|active| active.last_error = Some(RefreshError::Throttled))),
        (
            "since",
            rewritten(|row| {
                let since = row.created_at.minus(seconds(1));
                row.status = Status::ReauthorizationRequired { reason: ReauthorizationReason::Refused, since };
            }),
        ),
        ("ttl", rewritten(|row| row.status = Status::Disconnected { since: NOW, purge_at: NOW })),
    ];
    for (field, row) in table {
        let impossible = row.check().unwrap_err();
        assert_eq!(impossible.field, field);
        assert!(impossible.to_string().contains(field));
    }
}

#[test]
fn a_token_is_fresh_until_its_refresh_is_two_minutes_late() {
    let row = due_with(|active| active.next_refresh_at = NOW.minus(NUDGE_SLACK));
    let active = row.active().unwrap();
    // The pass is the minute that begins NOW; a refresh is expected by its end.
    let late = NOW.plus(seconds(60)).plus(LATE_AFTER);
    assert_eq!(active.refresh_expected_at(), NOW.plus(seconds(60)));
    assert_eq!(active.freshness(late, seconds(0)), Freshness::Fresh);
    assert_eq!(active.freshness(late.plus(seconds(1)), seconds(0)), Freshness::Stale);
    assert_eq!(active.freshness(active.expires_at.minus(seconds(1)), seconds(0)), Freshness::Stale);
    assert_eq!(active.freshness(active.expires_at, seconds(0)), Freshness::Expired);
}

#[test]
fn asking_for_more_life_moves_only_the_border_between_fresh_and_stale() {
    let row = due_with(|active| active.next_refresh_at = NOW);
    let active = row.active().unwrap();
    assert_eq!(active.expires_at, NOW.plus(seconds(600)));
    assert_eq!(active.freshness(NOW, seconds(570)), Freshness::Fresh);
    let later = NOW.plus(seconds(31));
    assert_eq!(active.freshness(later, seconds(570)), Freshness::Stale);
    assert_eq!(active.freshness(later, seconds(569)), Freshness::Fresh);
    assert_eq!(active.min_ttl(HOUR * 9), wheel::margin(HOUR), "clamped: else every token is stale before its refresh");
}

#[test]
fn a_short_life_is_expected_to_be_refreshed_at_its_own_instant() {
    let row = due_with(|active| active.soon = Some(NOW.plus(seconds(7))));
    assert_eq!(row.active().unwrap().refresh_expected_at(), NOW.plus(seconds(7)));
}

#[test]
fn a_client_asks_again_just_after_the_expected_refresh() {
    let row = due_with(|active| active.next_refresh_at = NOW.plus(seconds(120)));
    let active = row.active().unwrap();
    assert_eq!(active.refresh_in(NOW), seconds(120 + 30 + 60 + 5));
    assert_eq!(active.refresh_in(NOW.plus(seconds(300))), POLL_WHEN_LATE, "the refresh is late");
    assert_eq!(active.refresh_in(NOW.plus(seconds(595))), seconds(5), "never beyond the token's life");
    assert_eq!(active.refresh_in(NOW.plus(seconds(900))), seconds(1), "never at once");
}

#[test]
fn a_token_s_life_has_a_beginning() {
    let active = due().active().unwrap().clone();
    assert_eq!(active.issued_at(), NOW.minus(seconds(3000)));
    assert_eq!(active.lifetime(), HOUR);
}

proptest! {
    #[test]
    fn a_living_token_is_served_and_a_dead_one_never(
        age in 0u64..5000, next in 0u64..5000, soon in prop::option::of(0u64..5000), min_ttl in 0u64..4000,
    ) {
        let row = due_with(|active| {
            active.next_refresh_at = active.issued_at().plus(seconds(next));
            active.soon = soon.map(|soon| active.issued_at().plus(seconds(soon)));
        });
        let active = row.active().unwrap();
        let now = active.issued_at().plus(seconds(age));
        let freshness = active.freshness(now, seconds(min_ttl));
        prop_assert_eq!(freshness == Freshness::Expired, age >= 3600);
        if freshness == Freshness::Fresh {
            prop_assert!(active.expires_at.since(now) >= active.min_ttl(seconds(min_ttl)));
        }
        let wait = active.refresh_in(now);
        prop_assert!(wait >= seconds(1) && wait <= active.expires_at.since(now).max(seconds(1)));
    }
}
