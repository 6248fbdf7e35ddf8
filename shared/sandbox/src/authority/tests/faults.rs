//! What each fault spends, and what the client sees of it.

use serde_json::Value;

use super::{CALLBACK, VERIFIER, World, answer, invalid_grant, json, refusal, tokens};
use crate::{
    answer::Ending,
    fault::{Endpoint, Fault, FaultKind, Only, RetryAfter},
    log::Outcome,
    profile::SOUNDCLOUD,
};

/// The faults that strike before anything is spent.
const BEFORE: [FaultKind; 7] = [
    FaultKind::Hang,
    FaultKind::ResetBefore,
    FaultKind::Error5xxBefore { status: 503 },
    FaultKind::Throttle { retry_after: RetryAfter::Absent, html: false },
    FaultKind::Html403,
    FaultKind::Empty202,
    FaultKind::ErrorBody200,
];

/// The faults that keep the answer to a request that was carried out from the client.
const AFTER: [FaultKind; 6] = [
    FaultKind::ResetAfter,
    FaultKind::ResetMidAnswer,
    FaultKind::Error5xxAfter { status: 504 },
    FaultKind::Malformed,
    FaultKind::Empty200,
    FaultKind::MissingAccessToken,
];

#[test]
fn a_fault_before_spends_nothing() {
    for kind in BEFORE {
        let mut world = World::new();
        let token = world.refresh_token();
        world.plan(kind);
        world.refresh(&token);
        let entry = world.last_entry();
        assert_eq!((entry.spent, entry.issued, entry.fault), (false, None, Some(kind.name())));
        assert!(entry.presented.is_some(), "{kind:?}");
        tokens(&world.refresh(&token));
        assert!(world.authority.log.tokens_sent_twice().is_empty(), "{kind:?}");
    }
}

#[test]
fn a_fault_after_spends_the_token_and_the_next_try_kills_the_grant() {
    for kind in AFTER {
        let mut world = World::new();
        let token = world.refresh_token();
        world.plan(kind);
        let reply = world.refresh(&token);
        let usable = match &reply.ending {
            Ending::Answer(answer) => serde_json::from_slice::<Value>(&answer.body)
                .is_ok_and(|body| answer.status == 200 && body["access_token"].is_string()),
            Ending::Half(_) | Ending::Hang | Ending::Reset => false,
        };
        assert!(!usable, "{kind:?} left a usable answer");
        let entry = world.last_entry();
        assert!(entry.spent && entry.issued.is_some(), "{kind:?}");
        assert_eq!(entry.outcome, Outcome::Fault(kind.name()));
        assert_eq!(refusal(&world.refresh(&token)), invalid_grant(), "{kind:?}");
        assert_eq!(world.last_entry().outcome, Outcome::ReuseKilledGrant, "{kind:?}");
    }
}

#[test]
fn a_code_is_spent_or_kept_by_the_same_rule() {
    for (kinds, kept) in [(&BEFORE[..], true), (&AFTER[..], false)] {
        for &kind in kinds {
            let mut world = World::new();
            let code = world.code("generic", &[]);
            world.plan(kind);
            world.redeem("generic", &code);
            assert_eq!(world.authority.ledger.grants.len(), usize::from(!kept), "{kind:?}");
            assert_eq!(answer(&world.redeem("generic", &code)).status == 200, kept, "{kind:?}");
        }
    }
}

#[test]
fn a_slow_answer_is_true_and_late() {
    let mut world = World::new();
    let token = world.refresh_token();
    world.plan(FaultKind::Slow { ms: 750 });
    let reply = world.refresh(&token);
    assert_eq!(reply.after_ms, 750);
    let next = tokens(&reply).refresh.unwrap();
    assert_eq!(world.last_entry().outcome, Outcome::Issued);
    assert_eq!(world.last_entry().fault, Some("slow"));
    tokens(&world.refresh(&next));
}

#[test]
fn odd_answers_are_odd_in_one_member_and_good_otherwise() {
    let odd = |kind| {
        let mut world = World::new();
        let token = world.refresh_token();
        world.plan(kind);
        let reply = world.refresh(&token);
        let body = json(&reply);
        let refresh = body["refresh_token"].as_str().unwrap_or(&token).to_owned();
        assert_eq!(world.last_entry().outcome, Outcome::Issued, "{kind:?}");
        tokens(&world.refresh(&refresh));
        assert!(world.authority.log.tokens_sent_twice().is_empty(), "{kind:?}");
        body
    };
    assert_eq!(odd(FaultKind::MissingExpiresIn)["expires_in"], Value::Null);
    assert_eq!(odd(FaultKind::StringExpiresIn)["expires_in"], "3600");
    assert_eq!(odd(FaultKind::ScopeArray)["scope"], serde_json::json!(["music"]));
    let kept = odd(FaultKind::NoRefreshTokenInAnswer);
    assert_eq!(kept["refresh_token"], Value::Null);
    assert!(kept["access_token"].is_string());
}

#[test]
fn a_throttle_says_when_to_come_back_in_the_form_that_was_planned() {
    let retry_after = |retry_after, html| {
        let mut world = World::new();
        world.now = 784_111_770;
        let token = world.refresh_token();
        world.plan(FaultKind::Throttle { retry_after, html });
        let answer = answer(&world.refresh(&token));
        assert_eq!(answer.status, 429);
        assert_eq!(world.last_entry().outcome, Outcome::Throttled);
        let header = |name| answer.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        assert_eq!(header("content-type").unwrap().starts_with("text/html"), html);
        header("retry-after")
    };
    assert_eq!(retry_after(RetryAfter::Absent, false), None);
    assert_eq!(retry_after(RetryAfter::Seconds(7), true).as_deref(), Some("7"));
    // The example of RFC 9110 §5.6.7.
    assert_eq!(retry_after(RetryAfter::Date(7), false).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
}

#[test]
fn soundclouds_429_is_its_own() {
    let mut world = World::new();
    let kind = FaultKind::Throttle { retry_after: RetryAfter::Absent, html: false };
    world.authority.faults.add(Fault::token("soundcloud", kind)).unwrap();
    world.authority.faults.add(Fault::at("soundcloud", Endpoint::Api, kind)).unwrap();
    let reply = world.post("soundcloud", &[("grant_type", "refresh_token"), ("refresh_token", "x")]);
    assert_eq!(json(&reply)["error"], "rate_limit_exceeded");
    let twin = world.twin(SOUNDCLOUD.id);
    let request = super::Request::default();
    let fault = world.authority.strike(twin, Endpoint::Api, &request);
    let reply = world.authority.resource(world.now, twin, Endpoint::Api, &request, fault);
    assert!(json(&reply)["errors"][0]["meta"]["reset_time"].is_u64());
}

#[test]
fn a_fault_for_refreshes_spares_codes_and_the_other_way_round() {
    let mut world = World::new();
    let refreshes = Fault::token("generic", FaultKind::Html403).only(Only::Refresh).times(1);
    world.authority.faults.add(refreshes).unwrap();
    let token = world.refresh_token();
    assert_eq!(answer(&world.refresh(&token)).status, 403);
    world.authority.faults.add(Fault::token("generic", FaultKind::Html403).only(Only::Code).times(1)).unwrap();
    tokens(&world.refresh(&token));
    let code = world.code("generic", &[]);
    assert_eq!(answer(&world.redeem("generic", &code)).status, 403);
}

#[test]
fn a_refused_request_stays_refused_under_a_fault_after() {
    let mut world = World::new();
    world.plan(FaultKind::Slow { ms: 1 });
    let reply = world.post(
        "generic",
        &[
            ("grant_type", "authorization_code"),
            ("code", "never"),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ],
    );
    assert_eq!(refusal(&reply), invalid_grant());
    assert_eq!(world.last_entry().outcome, Outcome::Refused("invalid_grant"));
}
