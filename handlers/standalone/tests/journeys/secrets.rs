//! A client secret that is rotated, with and without mistakes.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use mm_model::event::EventMark;

use crate::world::{Browser, OperatorsSecrets, World};

const STEP: Duration = Duration::from_secs(15);

/// What the twins know at first.
const OLD: &str = "not-a-secret";

const NEW: &str = "not-a-secret-either";

const CLIENT_ID: &str = "multimusic-dev";

async fn world_of_secrets(current: &str, previous: Option<&str>) -> (World, Browser, Arc<OperatorsSecrets>) {
    let mut world = World::new().await;
    let secrets = Arc::new(OperatorsSecrets::new(current, previous));
    let mut wiring = world.wiring(41);
    wiring.secrets = Arc::clone(&secrets) as _;
    let backend = world.process(wiring);
    world.adopt(backend);
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    (world, browser, secrets)
}

fn good_refreshes(world: &World) -> usize {
    world.calls("soundcloud", "refresh_token").iter().filter(|call| call.spent).count()
}

#[tokio::test]
async fn of_two_secrets_whichever_the_provider_knows_is_found() {
    let (mut world, browser, _) = world_of_secrets(NEW, Some(OLD)).await;
    world.advance_by_steps(Duration::from_hours(2), STEP).await;
    assert_eq!(browser.token("soundcloud").await["state"], "fresh");
    let with_the_old = good_refreshes(&world);
    assert!(with_the_old >= 2, "the provider knows the old one: {with_the_old}");

    world.sandbox.add_secret("soundcloud", CLIENT_ID, NEW).unwrap();
    world.sandbox.remove_secret("soundcloud", CLIENT_ID, OLD).unwrap();
    world.advance_by_steps(Duration::from_hours(2), STEP).await;
    assert_eq!(browser.token("soundcloud").await["state"], "fresh");
    assert!(good_refreshes(&world) >= with_the_old + 2);
    assert_eq!(world.sandbox.log().tokens_sent_twice(), Vec::<String>::new());
    let other = world.browser();
    other.connect("soundcloud", "bob").await;
}

#[tokio::test]
async fn with_no_good_secret_nobody_is_logged_out_and_all_is_well_when_it_is_right_again() {
    let (mut world, browser, secrets) = world_of_secrets(OLD, None).await;
    world.advance_by_steps(Duration::from_mins(1), STEP).await;
    world.sandbox.add_secret("soundcloud", CLIENT_ID, NEW).unwrap();
    world.sandbox.remove_secret("soundcloud", CLIENT_ID, OLD).unwrap();
    world.advance_by_steps(Duration::from_secs(3510), STEP).await;
    assert_eq!(browser.token("soundcloud").await["state"], "stale", "a living token is served");
    world.advance_by_steps(Duration::from_hours(2), STEP).await;
    let connection = browser.connection("soundcloud").await;
    assert_eq!((&connection["status"], &connection["last_error"]), (&"active".into(), &"misconfigured".into()));
    let answer = browser.get("/auth/soundcloud/token?wait=0").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key("retry-after"));
    let calls = world.calls("soundcloud", "refresh_token").len();
    assert!(calls <= 40, "two hours of a wrong secret make no storm: {calls}");

    secrets.set(NEW, Some(OLD));
    world.advance_by_steps(Duration::from_mins(15), STEP).await;
    let token = browser.token("soundcloud").await;
    assert_eq!(token["state"], "fresh");
    assert!(world.api_takes("soundcloud", &token));
    let mut events: Vec<EventMark> =
        world.backend.store.recent_events(100).unwrap().iter().map(|event| event.kind).collect();
    events.reverse();
    assert_eq!(events, [EventMark::Connected, EventMark::Degraded, EventMark::Recovered]);
    assert_eq!(world.sandbox.log().tokens_sent_twice(), Vec::<String>::new());
}
