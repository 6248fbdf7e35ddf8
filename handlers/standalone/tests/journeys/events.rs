//! What the outside is told: each transition, once.

use std::time::Duration;

use http::StatusCode;
use mm_embedded::queue::QueueSettings;
use mm_engine::Offer;
use mm_model::{
    Timestamp,
    event::EventMark::{Connected, Degraded, Disconnected, ReauthDue, ReauthRequired, Recovered},
};
use mm_sandbox::{BehaviourPatch, Fault, FaultKind, GrantLifetime, Only};

use crate::world::{Browser, Setup, World};

const STEP: Duration = Duration::from_secs(15);

const DAY: Duration = Duration::from_hours(24);

/// A grant's life.
const GRANT: Duration = Duration::from_hours(30 * 24);

#[tokio::test]
async fn each_transition_is_told_once() {
    let queue = QueueSettings { deliver_twice: true, ..QueueSettings::default() };
    let mut world = World::with(Setup { queue, ..Setup::default() }).await;
    let browser = world.browser();
    let told = |world: &World| {
        let mut events = world.backend.store.recent_events(100).unwrap();
        events.reverse();
        events.into_iter().map(|event| event.kind).collect::<Vec<_>>()
    };
    browser.connect("soundcloud", "alice").await;
    world.advance_by_steps(Duration::from_hours(2), STEP).await;
    assert_eq!(told(&world), [Connected]);

    world.sandbox.plan(Fault::token("soundcloud", FaultKind::Html403).only(Only::Refresh)).unwrap();
    world.advance_by_steps(Duration::from_hours(2), STEP).await;
    browser.get("/auth/soundcloud/token?wait=0").await;
    assert_eq!(told(&world), [Connected, Degraded]);
    let mut world = world.restart().await;
    world.advance_by_steps(Duration::from_mins(30), STEP).await;
    world.sandbox.clear_faults(None);
    world.advance_by_steps(Duration::from_hours(2), STEP).await;
    assert_eq!(browser.token("soundcloud").await["state"], "fresh");
    assert_eq!(told(&world), [Connected, Degraded, Recovered]);

    assert_eq!(world.sandbox.revoke_account("soundcloud", "alice"), 1);
    world.advance_by_steps(Duration::from_hours(2), STEP).await;
    let answer = browser.get("/auth/soundcloud/token").await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::CONFLICT, "reauthorization_required"));
    assert_eq!(browser.connection("soundcloud").await["reason"], "refused");
    assert_eq!(told(&world), [Connected, Degraded, Recovered, ReauthRequired]);

    browser.connect("soundcloud", "alice").await;
    world.advance_by_steps(Duration::from_hours(1), STEP).await;
    assert_eq!(told(&world), [Connected, Degraded, Recovered, ReauthRequired, Connected]);

    for _ in 0..2 {
        assert_eq!(browser.delete("/auth/soundcloud").await.status, StatusCode::NO_CONTENT);
        world.advance_by_steps(Duration::from_hours(1), STEP).await;
    }
    let all = [Connected, Degraded, Recovered, ReauthRequired, Connected, Disconnected];
    assert_eq!(told(&world), all);
    let mut world = world.restart().await;
    world.advance_by_steps(Duration::from_hours(1), STEP).await;
    assert_eq!(told(&world), all, "nor are they told again after a restart");
}

/// Lets time pass from refresh to refresh, with a read after each: with one connection nothing happens between them.
async fn read_on_until(world: &mut World, browser: &Browser, end: Timestamp) {
    while world.now() < end {
        let connection = browser.connection("spotify").await;
        let due = Timestamp::from_unix(connection["next_refresh_at"].as_u64().unwrap()).minus(Duration::from_mins(5));
        world.skip_to(due.max(world.now())).await;
        world.advance_by_steps(Duration::from_mins(10), Duration::from_mins(1)).await;
        assert_ne!(browser.connection("spotify").await["token_id"], connection["token_id"], "a refresh is not missed");
        assert_eq!(browser.token("spotify").await["state"], "fresh");
    }
}

/// A consent at Spotify ends at a fixed time, however often it is refreshed: who is awake is told before, the person is not
/// asked before it ends, and a new consent begins anew. After 30 days here instead of 182: the journey is shorter, and so is
/// the longest session.
#[tokio::test]
async fn the_end_of_a_grant_is_told_fourteen_seven_and_one_day_before_once_each() {
    let queue = QueueSettings { deliver_twice: true, ..QueueSettings::default() };
    let lifetime = Duration::from_hours(4);
    let edit = |offer: &mut Offer| {
        if let Some(grant_lifetime) = &mut offer.provider.grant_lifetime {
            *grant_lifetime = GRANT;
        }
    };
    let mut world =
        World::with(Setup { queue, token_lifetime: Some(lifetime.as_secs()), edit, ..Setup::default() }).await;
    let grant_lifetime_s = Some(GrantLifetime::Seconds(GRANT.as_secs()));
    world.adjust("spotify", BehaviourPatch { grant_lifetime_s, ..BehaviourPatch::default() });
    let browser = world.browser();
    browser.connect("spotify", "alice").await;
    world.settle().await;
    let end = world.now().plus(GRANT);
    let told = |world: &World| {
        let mut events = world.backend.store.recent_events(100).unwrap();
        events.reverse();
        events.into_iter().map(|event| (event.kind, event.at)).collect::<Vec<_>>()
    };
    let kinds = |world: &World| told(world).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    let mut expected = vec![Connected];
    for days in [14, 7, 1] {
        let due = end.minus(days * DAY);
        read_on_until(&mut world, &browser, due.minus(2 * lifetime)).await;
        assert_eq!(kinds(&world), expected, "nothing is told before its day");
        read_on_until(&mut world, &browser, due.plus(lifetime)).await;
        expected.push(ReauthDue);
        assert_eq!(kinds(&world), expected, "{days} days before");
        let at = told(&world).last().unwrap().1;
        assert!(due <= at && at <= due.plus(lifetime), "{days} days before: {at}, due {due}");
        world = world.restart().await;
        for shown in [browser.connection("spotify").await, browser.token("spotify").await] {
            assert_eq!(shown["reauth_by"], end.unix(), "{shown}");
        }
    }

    read_on_until(&mut world, &browser, end.minus(2 * lifetime)).await;
    assert_eq!(kinds(&world), expected, "each is told once");
    world.advance_by_steps(4 * lifetime, Duration::from_mins(1)).await;
    expected.push(ReauthRequired);
    assert_eq!(kinds(&world), expected);
    assert!(told(&world).last().unwrap().1 >= end, "the person is not asked before the end");
    let answer = browser.get("/auth/spotify/token").await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::CONFLICT, "reauthorization_required"));

    browser.connect("spotify", "alice").await;
    world.settle().await;
    let anew = world.now().plus(GRANT).unix();
    assert_eq!(browser.connection("spotify").await["reauth_by"], anew);
    let later = world.now().plus(2 * DAY);
    read_on_until(&mut world, &browser, later).await;
    expected.push(Connected);
    assert_eq!(kinds(&world), expected, "the old grant's end is forgotten");
}
