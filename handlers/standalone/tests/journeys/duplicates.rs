//! At least once, taken at its word.

use std::time::Duration;

use mm_embedded::queue::QueueSettings;
use mm_model::Timestamp;

use crate::world::{Setup, World};

#[tokio::test]
async fn every_message_twice_for_thirty_days_at_a_strict_provider_sends_no_token_twice() {
    let queue = QueueSettings { deliver_twice: true, ..QueueSettings::default() };
    let mut world = World::with(Setup { queue, ..Setup::default() }).await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let end = world.now().plus(Duration::from_hours(30 * 24));
    while world.now() < end {
        // Between two passes there is nothing to be delivered.
        let due = browser.connection("soundcloud").await["next_refresh_at"].as_u64().unwrap();
        world.skip_to(Timestamp::from_unix(due).minus(Duration::from_mins(2))).await;
        world.advance_by_steps(Duration::from_mins(5), Duration::from_secs(15)).await;
        assert_eq!(browser.token("soundcloud").await["state"], "fresh");
    }
    let log = world.sandbox.log();
    assert_eq!(log.tokens_sent_twice(), Vec::<String>::new());
    let mut issued = world.calls("soundcloud", "authorization_code")[0].issued.clone();
    let mut last = crate::world::START;
    for call in world.calls("soundcloud", "refresh_token") {
        assert_eq!(call.presented, issued, "each refresh spends what the one before brought: {call:?}");
        assert!(Timestamp::from_unix(call.at).since(last) < Duration::from_mins(55), "and in time: {call:?}");
        (issued, last) = (call.issued, Timestamp::from_unix(call.at));
    }
    assert!(end.since(last) < Duration::from_mins(55), "to the end");
    assert!(world.api_takes("soundcloud", &browser.token("soundcloud").await));
}
