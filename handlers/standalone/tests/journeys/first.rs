//! The journey that everything else varies: log in, be kept fresh, read in one call.

use std::time::Duration;

use http::StatusCode;
use mm_model::Timestamp;

use crate::world::World;

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn a_person_connects_and_is_kept_fresh_for_a_day() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let mut token = browser.token("soundcloud").await;
    assert_eq!(token["state"], "fresh");
    assert_eq!(token["api"]["headers"]["Authorization"], format!("OAuth {}", token["access_token"].as_str().unwrap()));
    let mut seen = vec![token["token_id"].clone()];
    for _ in 0..24 * 12 {
        world.advance(Duration::from_mins(5)).await;
        token = browser.token("soundcloud").await;
        assert_eq!(token["state"], "fresh", "{token}");
        assert!(token["expires_in"].as_u64().unwrap() >= 480, "{token}");
        if seen.last() != Some(&token["token_id"]) {
            seen.push(token["token_id"].clone());
        }
    }
    let refreshes = world.calls("soundcloud", "refresh_token");
    assert_eq!(refreshes.len() + 1, seen.len(), "each refresh is one call, and each reached the reader");
    assert!((28..=30).contains(&refreshes.len()), "one per 50 minutes: {}", refreshes.len());
    assert!(world.sandbox.log().tokens_sent_twice().is_empty());
}

#[tokio::test]
async fn a_restart_forgets_nobody() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    world.advance(HOUR / 2).await;
    let before = world.calls("soundcloud", "refresh_token").len();
    // Away while its pass comes by, and back before the token dies.
    let due = Timestamp::from_unix(browser.connection("soundcloud").await["next_refresh_at"].as_u64().unwrap());
    world.sleep_through(due.plus(Duration::from_mins(4)).since(world.now()));
    let mut world = world.restart().await;
    assert_eq!(browser.token("soundcloud").await["state"], "stale", "its refresh is late, and it is served");
    world.advance(Duration::from_mins(1)).await;
    assert_eq!(browser.token("soundcloud").await["state"], "fresh");
    assert_eq!(world.calls("soundcloud", "refresh_token").len(), before + 1);
}

#[tokio::test]
async fn disconnecting_forgets_the_tokens() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    assert_eq!(browser.delete("/auth/soundcloud").await.status, StatusCode::NO_CONTENT);
    let answer = browser.get("/auth/soundcloud/token").await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "not_connected"));
    assert_eq!(browser.connection("soundcloud").await, serde_json::Value::Null);
    assert_eq!(browser.delete("/auth/soundcloud").await.status, StatusCode::NO_CONTENT, "again is harmless");
}
