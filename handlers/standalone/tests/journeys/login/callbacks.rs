//! What a provider's redirect may bring, and what its token endpoint may answer.

use std::time::Duration;

use mm_engine::{
    Offer,
    ports::{ConnectionStore as _, Consistency, Outcome},
};
use mm_model::{AttemptId, Step, limits::LEASE_STRICT, step::ForcedClaim};
use mm_oauth::Rotation;
use mm_sandbox::{Endpoint, Fault, FaultKind, Only, RetryAfter};

use super::{Before, fails, parameter, pending, sent_back, with_query};
use crate::{
    people::{SESSION, allowed, open},
    world::{Setup, World},
};

#[tokio::test]
async fn an_error_of_the_provider_consumes_the_state_and_becomes_a_code_of_the_list() {
    let world = World::new().await;
    let browser = world.browser();
    for (error, code) in [
        ("access_denied", "access_denied"),
        ("server_error", "provider_unavailable"),
        ("temporarily_unavailable", "provider_unavailable"),
        ("unauthorized_client", "not_configured"),
        ("invalid_scope", "not_configured"),
        ("unsupported_response_type", "not_configured"),
        ("invalid_request", "provider_refused"),
        ("something_new", "provider_refused"),
        ("<script>alert(1)</script>", "provider_refused"),
        ("ACCESS_DENIED", "provider_refused"),
        ("", "provider_refused"),
    ] {
        let callback = allowed(&browser, "soundcloud", "alice", "").await;
        let state = parameter(&callback, "state");
        let refused = with_query("/auth/soundcloud/callback", |pairs| {
            pairs.push(("error".to_owned(), error.to_owned()));
            pairs.push(("error_description".to_owned(), "<b>reflected</b> canary".to_owned()));
            pairs.push(("error_uri".to_owned(), "https://evil.test/".to_owned()));
            pairs.push(("state".to_owned(), state));
        });
        fails(&world, &browser, &refused, code, error).await;
        assert_eq!(pending(&world), 0, "{error}: consumed");
        // The code that was meant for that state is of no use any more.
        fails(&world, &browser, &callback, "login_expired", error).await;
    }
}

#[tokio::test]
async fn an_error_counts_even_when_a_code_comes_with_it() {
    let world = World::new().await;
    let browser = world.browser();
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    fails(&world, &browser, &format!("{callback}&error=access_denied"), "access_denied", "both").await;
}

#[tokio::test]
async fn a_callback_without_a_code_asks_nobody() {
    let world = World::new().await;
    let browser = world.browser();
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    let without = with_query(&callback, |pairs| pairs.retain(|(name, _)| name != "code"));
    fails(&world, &browser, &without, "provider_refused", "no code").await;
    assert_eq!(pending(&world), 0);
}

#[tokio::test]
async fn attack_code_of_somebody_elses_login() {
    let world = World::new().await;
    let victim = world.browser();
    let attacker = world.browser();
    // The attacker has stolen the code, but not the verifier: PKCE refuses the exchange (RFC 7636 §1).
    let stolen = parameter(&allowed(&victim, "soundcloud", "victim", "").await, "code");
    let callback = allowed(&attacker, "soundcloud", "attacker", "").await;
    let before = Before::of(&world, &attacker);
    let injected = with_query(&callback, |pairs| {
        for (name, value) in pairs {
            if name == "code" {
                value.clone_from(&stolen);
            }
        }
    });
    let rows = world.rows().written();
    sent_back(&open(&attacker, &injected).await, "soundcloud", "provider_refused", "injection");
    assert_eq!(world.rows().written(), rows);
    assert_eq!(attacker.cookie(SESSION), None);
    drop(before);
}

#[tokio::test]
async fn whatever_the_token_endpoint_answers_a_failed_exchange_writes_nothing_and_is_not_repeated() {
    let world = World::new().await;
    let browser = world.browser();
    let never = RetryAfter::Absent;
    for (kind, code) in [
        (FaultKind::ResetBefore, "provider_unavailable"),
        (FaultKind::ResetAfter, "provider_unavailable"),
        (FaultKind::ResetMidAnswer, "provider_unavailable"),
        (FaultKind::Error5xxBefore { status: 503 }, "provider_unavailable"),
        (FaultKind::Error5xxAfter { status: 500 }, "provider_unavailable"),
        (FaultKind::Throttle { retry_after: never, html: true }, "provider_unavailable"),
        (FaultKind::Html403, "provider_unavailable"),
        (FaultKind::Empty202, "provider_unavailable"),
        (FaultKind::Empty200, "provider_unavailable"),
        (FaultKind::Malformed, "provider_unavailable"),
        (FaultKind::MissingAccessToken, "provider_unavailable"),
    ] {
        let callback = allowed(&browser, "soundcloud", "alice", "").await;
        let fault = Fault { only: Only::Code, times: None, ..Fault::token("soundcloud", kind) };
        world.sandbox.plan(fault).unwrap();
        let (rows, asked) = (world.rows().written(), world.sandbox.log().last_seq());
        let answer = open(&browser, &callback).await;
        let why = kind.name();
        sent_back(&answer, "soundcloud", code, why);
        assert_eq!(world.rows().written(), rows, "{why}");
        let log = world.sandbox.log();
        assert_eq!(log.after(asked).count(), 1, "{why}: a code is sent once, whatever comes of it");
        assert_eq!(browser.cookie(SESSION), None, "{why}");
        world.sandbox.clear_faults(None);
    }
    browser.connect("soundcloud", "alice").await;
}

#[tokio::test]
async fn an_account_that_cannot_be_read_connects_nobody() {
    let world = World::new().await;
    let browser = world.browser();
    for kind in [FaultKind::Html403, FaultKind::Error5xxBefore { status: 500 }, FaultKind::Malformed] {
        let callback = allowed(&browser, "soundcloud", "alice", "").await;
        let fault = Fault { times: None, ..Fault::at("soundcloud", Endpoint::Userinfo, kind) };
        world.sandbox.plan(fault).unwrap();
        let rows = world.rows().written();
        let answer = open(&browser, &callback).await;
        let code = answer.login_result();
        assert!(["provider_unavailable", "provider_refused"].contains(&code.as_str()), "{} {code}", kind.name());
        assert_eq!(world.rows().written(), rows, "{}", kind.name());
        assert_eq!(browser.cookie(SESSION), None, "{}", kind.name());
        world.sandbox.clear_faults(None);
    }
}

#[tokio::test]
async fn a_client_that_the_provider_refuses_is_the_operators_trouble() {
    let world = World::new().await;
    let browser = world.browser();
    world.sandbox.remove_secret("soundcloud", "multimusic-dev", "not-a-secret").unwrap();
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    let rows = world.rows().written();
    sent_back(&open(&browser, &callback).await, "soundcloud", "not_configured", "invalid_client");
    assert_eq!(world.rows().written(), rows);
}

/// Google tells the refresh token at the first consent only: a person whose row was lost is asked once more.
#[tokio::test]
async fn a_refresh_token_that_was_left_out_is_asked_for_once_more_and_never_a_third_time() {
    let world = World::new().await;
    let first = world.browser();
    first.connect("youtube", "alice").await;
    let before = first.token("youtube").await;
    // Logged in again by the same account: the answer leaves the refresh token out and the kept one goes on.
    assert_eq!(first.login("youtube", "alice", "").await.login_result(), "connected");
    let after = first.token("youtube").await;
    assert_ne!(before["token_id"], after["token_id"]);
    let refreshed = first.post("/auth/youtube/refresh").await;
    assert_eq!(refreshed.status, http::StatusCode::OK, "{}", refreshed.text);
    // Our row is gone, Google's grant lives: the provider is asked with `prompt=consent`.
    let kept = world.sandbox.grants().len();
    let fault =
        Fault { only: Only::Code, times: Some(1), ..Fault::token("youtube", FaultKind::NoRefreshTokenInAnswer) };
    world.sandbox.plan(fault).unwrap();
    let second = world.browser();
    let answer = second.login("youtube", "bob", "").await;
    assert_eq!(answer.status, http::StatusCode::SEE_OTHER);
    let again = answer.location();
    assert!(again.as_str().starts_with(world.sandbox.base_url().as_str()), "{again}");
    assert_eq!(answer.parameter("prompt").as_deref(), Some("consent"));
    assert_eq!(second.cookie(SESSION), None);
    assert!(world.sandbox.grants().len() >= kept);
    let callback = second.consent(again.as_str(), "bob");
    assert_eq!(open(&second, &callback).await.login_result(), "connected");
    assert_eq!(second.token("youtube").await["state"], "fresh");

    // A provider that never gives one is not asked a third time.
    let fault = Fault { only: Only::Code, times: None, ..Fault::token("youtube", FaultKind::NoRefreshTokenInAnswer) };
    world.sandbox.plan(fault).unwrap();
    let third = world.browser();
    let answer = third.login("youtube", "carol", "").await;
    let callback = third.consent(answer.location().as_str(), "carol");
    let answer = open(&third, &callback).await;
    assert_eq!(answer.login_result(), "connected", "{}", answer.location());
}

/// A stored refresh token that a refresh is spending would be sent twice if the login kept it: a strict provider ends the grant.
#[tokio::test]
async fn a_refresh_token_that_is_being_spent_is_not_kept_at_a_strict_provider() {
    for (rotation, kept) in [(Rotation::Strict, false), (Rotation::None, true)] {
        let edit: fn(&mut Offer) = match rotation {
            Rotation::Strict => |offer| offer.provider.rotation = Rotation::Strict,
            Rotation::None => |offer| offer.provider.rotation = Rotation::None,
        };
        let world = World::with(Setup { edit, ..Setup::default() }).await;
        let browser = world.browser();
        browser.connect("youtube", "alice").await;
        assert_eq!(browser.login("youtube", "alice", "").await.login_result(), "connected", "kept while nobody has it");
        let user = world.rows().column("connections", "user_id")[0].parse().unwrap();
        let rows = world.backend.store.person(&user, Consistency::Strong).await.unwrap();
        let row = &rows.connections[0];
        let (attempt, now, lease) = (AttemptId::from_bytes([7; 16]), world.now(), LEASE_STRICT);
        let claim = Step::ForcedClaim(ForcedClaim { attempt, now, lease, version: row.version });
        let claimed = world.backend.store.apply(&row.key, &claim).await.unwrap();
        assert!(matches!(claimed, Outcome::Applied(_)), "{claimed:?}");
        let answer = browser.login("youtube", "alice", "").await;
        if kept {
            assert_eq!(answer.login_result(), "connected");
            continue;
        }
        let again = answer.location();
        assert!(again.as_str().starts_with(world.sandbox.base_url().as_str()), "{again}");
        let callback = browser.consent(again.as_str(), "alice");
        assert_eq!(open(&browser, &callback).await.login_result(), "connected");
        let fresh = world.drive(Duration::from_millis(50), browser.post("/auth/youtube/refresh")).await;
        assert_eq!(fresh.status, http::StatusCode::OK, "with a token of its own: {}", fresh.text);
    }
}
