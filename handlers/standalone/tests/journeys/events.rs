//! What the outside is told: each transition, once.

use std::time::Duration;

use http::StatusCode;
use mm_embedded::queue::QueueSettings;
use mm_model::event::EventMark::{Connected, Degraded, Disconnected, ReauthDue, ReauthRequired, Recovered};
use mm_sandbox::{Fault, FaultKind, Only};

use crate::world::{Setup, World};

const STEP: Duration = Duration::from_secs(15);

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
    assert!(!all.contains(&ReauthDue));
}
