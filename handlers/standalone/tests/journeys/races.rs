//! What people do while a refresh, or a revocation, is under way.

use std::time::Duration;

use futures_util::future::join;
use http::StatusCode;
use mm_engine::Offer;
use mm_oauth::{Revokes, Rotation};
use mm_sandbox::{BehaviourPatch, EndReason, Endpoint, Fault, FaultKind, Mode, Only};

use crate::world::{Browser, Setup, World};

const PACE: Duration = Duration::from_millis(50);

/// How long an answer is under way: long enough for what happens meanwhile.
const UNDER_WAY: FaultKind = FaultKind::Slow { ms: 400 };

/// A whole login, a second round at the provider included where it left out the refresh token.
async fn log_in_again(browser: &Browser, provider: &str, account: &str) {
    let mut answer = browser.login(provider, account, "").await;
    if answer.parameter("mm_result").is_none() {
        let callback = browser.consent(answer.location().as_str(), account);
        answer = browser.navigate(&callback, "cross-site").await;
    }
    assert_eq!(answer.login_result(), "connected", "{}", answer.location());
}

/// Runs `meanwhile` while the answer to a forced refresh is under way; the reader's answer.
async fn during_a_refresh(
    world: &World,
    browser: &Browser,
    provider: &str,
    meanwhile: impl Future<Output = ()>,
) -> crate::world::Answer {
    let before = world.calls(provider, "refresh_token").len();
    world.sandbox.plan(Fault::token(provider, UNDER_WAY).only(Only::Refresh).times(1)).unwrap();
    let seen = browser.token(provider).await["token_id"].as_str().unwrap().to_owned();
    let meanwhile = async {
        world
            .until("the refresh is at the provider", |world| world.calls(provider, "refresh_token").len() > before)
            .await;
        meanwhile.await;
    };
    let reader = async { browser.post(&format!("/auth/{provider}/refresh?seen={seen}")).await };
    let (answer, ()) = world.drive(PACE, join(reader, meanwhile)).await;
    world.settle().await;
    let calls = world.calls(provider, "refresh_token");
    assert_eq!(calls.len(), before + 1);
    assert!(calls[before].answered, "the answer came after all: {:?}", calls[before]);
    answer
}

#[tokio::test]
async fn a_disconnect_during_a_refresh_revives_nothing() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    world.settle().await;
    let answer = during_a_refresh(&world, &browser, "soundcloud", async {
        assert_eq!(browser.delete("/auth/soundcloud").await.status, StatusCode::NO_CONTENT);
    })
    .await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "not_connected"), "{}", answer.text);
    assert_eq!(world.rows().column("connections", "status"), ["disconnected"]);
    let calls = world.calls("soundcloud", "refresh_token").len();
    world.advance_by_steps(Duration::from_hours(3), Duration::from_mins(1)).await;
    assert_eq!(browser.get("/auth/soundcloud/token").await.code(), "not_connected");
    assert_eq!(world.rows().column("connections", "status"), ["disconnected"]);
    assert_eq!(world.calls("soundcloud", "refresh_token").len(), calls, "nobody refreshes what is gone");
}

/// The twin of Google's endpoints, taught rotation and revocation of single tokens.
fn strict_and_revoking_tokens(offer: &mut Offer) {
    if offer.provider.id.as_str() == "youtube" {
        offer.provider.rotation = Rotation::Strict;
        offer.provider.revokes = Revokes::Token;
    }
}

#[tokio::test]
async fn the_late_answer_for_a_gone_connection_is_revoked() {
    let world = World::with(Setup { edit: strict_and_revoking_tokens, ..Setup::default() }).await;
    let revokes = Some(mm_sandbox::Revokes::Token);
    world.adjust("youtube", BehaviourPatch { mode: Some(Mode::Strict), revokes, ..BehaviourPatch::default() });
    let browser = world.browser();
    browser.connect("youtube", "alice").await;
    world.settle().await;
    // The disconnect's own revocation fails for good, so that only the orphan's can end the grant.
    let refused = FaultKind::Error5xxBefore { status: 503 };
    during_a_refresh(&world, &browser, "youtube", async {
        world.sandbox.plan(Fault::at("youtube", Endpoint::Revoke, refused).times(1)).unwrap();
        assert_eq!(browser.delete("/auth/youtube").await.status, StatusCode::NO_CONTENT);
    })
    .await;
    let late = world.calls("youtube", "refresh_token")[0].issued.clone();
    let log = world.sandbox.log();
    let revoked: Vec<_> = log.entries().filter(|entry| entry.endpoint == "revoke").collect();
    assert!(revoked.iter().any(|entry| entry.presented == late), "{revoked:?}");
    let grants = world.sandbox.grants();
    assert!(grants.iter().all(|grant| grant.ended.is_some_and(|end| end.reason == EndReason::Client)), "{grants:?}");
}

#[tokio::test]
async fn a_login_during_a_refresh_wins() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    world.settle().await;
    let answer = during_a_refresh(&world, &browser, "soundcloud", log_in_again(&browser, "soundcloud", "alice")).await;
    assert_eq!(answer.status, StatusCode::OK, "the reader gets the login's token: {}", answer.text);
    let token = browser.token("soundcloud").await;
    assert_eq!(answer.json()["token_id"], token["token_id"]);
    assert!(world.api_takes("soundcloud", &token));
    let login = world.calls("soundcloud", "authorization_code").pop().unwrap();

    world.advance_by_steps(Duration::from_hours(2), Duration::from_secs(30)).await;
    let refreshes = world.calls("soundcloud", "refresh_token");
    assert_eq!(refreshes[1].presented, login.issued, "the login's refresh token is the one that lives on");
    assert_eq!(refreshes[1].grant, login.grant);
    assert_eq!(browser.token("soundcloud").await["state"], "fresh");
    assert_eq!(world.sandbox.log().tokens_sent_twice(), Vec::<String>::new());
}

#[tokio::test]
async fn a_disconnect_and_login_at_once_at_a_provider_that_revokes_whole_grants_stays_alive() {
    let mut world = World::new().await;
    assert_eq!(world.sandbox.behaviour("youtube").unwrap().revokes, mm_sandbox::Revokes::Grant);
    let browser = world.browser();
    browser.connect("youtube", "alice").await;
    world.settle().await;
    // The intent to revoke is written; nobody has followed it yet.
    assert_eq!(browser.delete("/auth/youtube").await.status, StatusCode::NO_CONTENT);
    log_in_again(&browser, "youtube", "alice").await;
    world.settle().await;
    stays_alive(&mut world, &browser).await;
}

#[tokio::test]
async fn a_login_waits_for_a_revocation_that_is_under_way_where_it_would_end_the_new_grant() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("youtube", "alice").await;
    world.settle().await;
    // Takes effect when it answers: a login that did not wait would be granted first and ended then.
    world.sandbox.plan(Fault::at("youtube", Endpoint::Revoke, FaultKind::Late { ms: 400 }).times(1)).unwrap();
    assert_eq!(browser.delete("/auth/youtube").await.status, StatusCode::NO_CONTENT);
    let login = async {
        world.until("the revocation is at the provider", |world| world.sandbox.planned_faults().is_empty()).await;
        log_in_again(&browser, "youtube", "alice").await;
    };
    world.drive(PACE, login).await;
    world.settle().await;
    let ended: Vec<_> =
        world.sandbox.grants().iter().filter(|grant| grant.ended.is_some()).map(|grant| grant.id).collect();
    let first = world.calls("youtube", "authorization_code")[0].grant.unwrap();
    assert_eq!(ended, [first], "the old grant was ended, which is what the person had asked for");
    stays_alive(&mut world, &browser).await;
}

async fn stays_alive(world: &mut World, browser: &Browser) {
    assert!(world.api_takes("youtube", &browser.token("youtube").await));
    for _ in 0..4 {
        world.advance_by_steps(Duration::from_mins(45), Duration::from_secs(30)).await;
        let token = browser.token("youtube").await;
        assert_eq!(token["state"], "fresh");
        assert!(world.api_takes("youtube", &token));
    }
    let login = world.calls("youtube", "authorization_code").pop().unwrap();
    let refreshes = world.calls("youtube", "refresh_token");
    assert!(refreshes.iter().all(|call| call.grant == login.grant), "{refreshes:?}");
    assert!(refreshes.len() >= 3, "{refreshes:?}");
}
