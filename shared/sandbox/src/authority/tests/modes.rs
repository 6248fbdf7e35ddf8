//! What happens to a refresh token when it is used, mode by mode.

use super::{World, answer, form, invalid_grant, posted, refusal, tokens};
use crate::{
    answer::Ending,
    behaviour::{Mode, Revokes},
    fault::Endpoint,
    hash::TokenHash,
    ledger::EndReason,
    log::Outcome,
};

fn next(world: &mut World, token: &str) -> String {
    let reply = world.refresh(token);
    tokens(&reply).refresh.unwrap()
}

#[test]
fn a_reusable_token_stays_and_is_not_repeated_in_the_answer() {
    let mut world = World::with_mode(Mode::Reusable);
    let token = world.refresh_token();
    for _ in 0..3 {
        let reply = world.refresh(&token);
        assert_eq!(tokens(&reply).refresh, None);
    }
    assert!(world.authority.log.tokens_sent_twice().is_empty());
    assert!(!world.last_entry().spent);
}

#[test]
fn a_rotated_token_is_good_until_its_successor_is_used() {
    let mut world = World::with_mode(Mode::Rotating);
    let first = world.refresh_token();
    let second = next(&mut world, &first);
    let again = next(&mut world, &first);
    assert_ne!(second, again);
    next(&mut world, &second);
    assert_eq!(refusal(&world.refresh(&first)), invalid_grant());
    assert_eq!(world.last_entry().outcome, Outcome::Refused("invalid_grant"));
    // The grant outlives the reuse.
    next(&mut world, &again);
    assert_eq!(world.authority.log.tokens_sent_twice(), [TokenHash::of(&first).short(), TokenHash::of(&first).short()]);
}

#[test]
fn grace_counts_from_the_first_use() {
    let mut world = World::with_mode(Mode::RotatingWithGrace { grace_s: 10 });
    let first = world.refresh_token();
    let second = next(&mut world, &first);
    world.now += 9;
    next(&mut world, &first);
    world.now += 1;
    assert_eq!(refusal(&world.refresh(&first)), invalid_grant());
    next(&mut world, &second);
}

#[test]
fn a_spent_token_that_comes_back_in_strict_mode_kills_the_whole_grant() {
    let mut world = World::with_mode(Mode::Strict);
    let first = world.refresh_token();
    let reply = world.refresh(&first);
    let second = tokens(&reply);
    assert!(world.last_entry().spent);
    assert_eq!(world.last_entry().issued, Some(TokenHash::of(second.refresh.as_ref().unwrap()).short()));
    assert!(world.opens(&second.access));

    assert_eq!(refusal(&world.refresh(&first)), invalid_grant());
    assert_eq!(world.last_entry().outcome, Outcome::ReuseKilledGrant);
    assert!(!world.opens(&second.access));
    assert_eq!(refusal(&world.refresh(&second.refresh.unwrap())), invalid_grant());
    assert_eq!(world.last_entry().outcome, Outcome::Refused("invalid_grant"));
    assert_eq!(world.authority.log.tokens_sent_twice(), [TokenHash::of(&first).short()]);
    let ended = world.authority.ledger.grants[&1].ended.unwrap();
    assert_eq!((ended.reason, ended.at), (EndReason::Reuse, world.now));
}

#[test]
fn another_grant_of_the_same_account_survives_the_reuse() {
    let mut world = World::with_mode(Mode::Strict);
    let (first, other) = (world.refresh_token(), world.refresh_token());
    next(&mut world, &first);
    world.refresh(&first);
    next(&mut world, &other);
}

#[test]
fn a_hundred_rotations_in_a_row_leave_one_good_token() {
    let mut world = World::with_mode(Mode::Strict);
    let mut token = world.refresh_token();
    for _ in 0..100 {
        world.now += 3_600;
        token = next(&mut world, &token);
    }
    assert_eq!(world.authority.ledger.grants[&1].refreshes, 100);
    assert_eq!(world.authority.ledger.grants[&1].current.len(), 1);
    assert!(world.authority.log.tokens_sent_twice().is_empty());
}

#[test]
fn without_refresh_tokens_none_is_issued() {
    let mut world = World::with_mode(Mode::NoRefreshToken);
    let issued = world.tokens();
    assert_eq!(issued.refresh, None);
    assert!(world.opens(&issued.access));
    assert_eq!(world.last_entry().outcome, Outcome::Issued);
    assert_eq!(world.last_entry().issued, None);
}

#[test]
fn an_access_token_ends_on_the_second_and_keeps_the_life_it_was_given() {
    let mut world = World::new();
    let twin = world.twin("generic");
    world.authority.twins[twin].behaviour.access_lifetime_s = 5;
    let access = world.tokens().access;
    world.authority.twins[twin].behaviour.access_lifetime_s = 500;
    world.now += 4;
    assert!(world.opens(&access));
    world.now += 1;
    assert!(!world.opens(&access));
}

#[test]
fn the_life_of_a_grant_counts_from_the_consent_and_refreshing_does_not_extend_it() {
    let mut world = World::with_mode(Mode::Reusable);
    let twin = world.twin("generic");
    world.authority.twins[twin].behaviour.grant_lifetime_s = Some(100);
    let code = world.code("generic", &[]);
    world.now += 50;
    let reply = world.redeem("generic", &code);
    let token = tokens(&reply).refresh.unwrap();
    world.now += 49;
    tokens(&world.refresh(&token));
    world.now += 1;
    assert_eq!(refusal(&world.refresh(&token)), invalid_grant());
}

#[test]
fn a_grant_that_the_user_revoked_is_dead_with_its_access_tokens() {
    let mut world = World::new();
    let issued = world.tokens();
    let (now, account) = (world.now, "alice");
    assert_eq!(world.authority.revoke_account(now, "generic", account), 1);
    assert_eq!(world.authority.revoke_account(now, "generic", account), 0);
    assert!(!world.opens(&issued.access));
    assert_eq!(refusal(&world.refresh(&issued.refresh.unwrap())), invalid_grant());
}

fn revoke(world: &mut World, token: &str) -> u16 {
    let body = form(&[("token", token), ("client_id", "client"), ("client_secret", "secret")]);
    let twin = world.twin("generic");
    let reply = world.authority.revoke(world.now, twin, &posted(&body), None);
    answer(&reply).status
}

#[test]
fn revoking_a_token_ends_its_grant_or_the_whole_authorization() {
    for (revokes, other_lives) in [(Revokes::Token, true), (Revokes::Grant, false)] {
        let mut world = World::with_mode(Mode::Reusable);
        let twin = world.twin("generic");
        world.authority.twins[twin].behaviour.revokes = revokes;
        let (token, other) = (world.refresh_token(), world.refresh_token());
        assert_eq!(revoke(&mut world, &token), 200);
        assert_eq!(world.last_entry().outcome, Outcome::Revoked);
        assert_eq!(world.last_entry().presented, Some(TokenHash::of(&token).short()));
        assert_eq!(refusal(&world.refresh(&token)), invalid_grant());
        assert_eq!(answer(&world.refresh(&other)).status == 200, other_lives, "{revokes:?}");
    }
}

#[test]
fn revoking_an_unknown_token_succeeds_and_a_missing_endpoint_is_missing() {
    let mut world = World::new();
    assert_eq!(revoke(&mut world, "never-issued"), 200);
    let twin = world.twin("generic");
    world.authority.twins[twin].behaviour.revokes = Revokes::Nothing;
    assert_eq!(revoke(&mut world, "never-issued"), 404);
}

#[test]
fn a_revocation_with_a_wrong_secret_revokes_nothing() {
    let mut world = World::new();
    let token = world.refresh_token();
    let body = form(&[("token", &token), ("client_id", "client"), ("client_secret", "wrong")]);
    let twin = world.twin("generic");
    let reply = world.authority.revoke(world.now, twin, &posted(&body), None);
    assert_eq!(refusal(&reply), (401, "invalid_client".to_owned()));
    next(&mut world, &token);
}

#[test]
fn google_brings_a_refresh_token_at_the_first_consent_and_on_demand() {
    let mut world = World::new();
    let mut issued = |extra: &[(&str, &str)]| {
        let code = world.code("youtube", extra);
        let reply = world.redeem("youtube", &code);
        tokens(&reply).refresh.is_some()
    };
    assert!(issued(&[("access_type", "offline")]));
    assert!(!issued(&[("access_type", "offline")]));
    assert!(issued(&[("access_type", "offline"), ("prompt", "consent")]));
    assert!(!issued(&[("prompt", "consent")]));
}

#[test]
fn google_drops_the_oldest_of_an_accounts_grants_silently() {
    let mut world = World::new();
    let keep = world.profile("youtube").grants_per_account.unwrap();
    let mut refresh = Vec::new();
    for _ in 0..=keep {
        let code = world.code("youtube", &[("access_type", "offline"), ("prompt", "consent")]);
        let reply = world.redeem("youtube", &code);
        refresh.push(tokens(&reply).refresh.unwrap());
    }
    let mut alive = |token: &str| {
        let reply = world.post("youtube", &[("grant_type", "refresh_token"), ("refresh_token", token)]);
        matches!(&reply.ending, Ending::Answer(answer) if answer.status == 200)
    };
    assert!(!alive(&refresh[0]));
    assert!(alive(&refresh[1]));
    assert!(alive(&refresh[keep]));
}

#[test]
fn an_access_token_opens_its_own_providers_api_only_and_by_its_own_scheme() {
    let mut world = World::new();
    let code = world.code("soundcloud", &[]);
    let reply = world.redeem("soundcloud", &code);
    let access = tokens(&reply).access;
    let status = |provider: &str, scheme: &str| {
        let authorization = format!("{scheme} {access}");
        let request = super::Request { authorization: Some(&authorization), ..super::Request::default() };
        let twin = world.twin(provider);
        answer(&world.authority.resource(world.now, twin, Endpoint::Api, &request, None)).status
    };
    assert_eq!(status("soundcloud", "OAuth"), 200);
    assert_eq!(status("soundcloud", "Bearer"), 401);
    assert_eq!(status("generic", "Bearer"), 401);
}
