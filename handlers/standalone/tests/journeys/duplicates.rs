//! At least once, taken at its word.

use std::time::Duration;

use futures_util::future::join;
use mm_embedded::queue::QueueSettings;
use mm_engine::ports::{Lane, Nudge, Trigger};
use mm_model::Timestamp;
use mm_sandbox::{Fault, FaultKind, Only};

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

#[tokio::test]
async fn a_message_that_comes_while_its_first_delivery_is_at_work_sends_nothing() {
    for forced in [false, true] {
        let world = World::new().await;
        let browser = world.browser();
        browser.connect("soundcloud", "alice").await;
        world.settle().await;
        let version = browser.token("soundcloud").await["token_id"].as_str().unwrap().parse().unwrap();
        world.clock.advance(Duration::from_mins(58));
        let key = world.backend.store.recent_events(1).unwrap().remove(0).key;
        let trigger = if forced { Trigger::Forced { version } } else { Trigger::Due };
        let nudge = || {
            let nudge = Nudge { key: key.clone(), trigger };
            world.backend.queue.nudges.nudge(Lane::Due, &[(nudge, Duration::ZERO)]).unwrap();
        };
        world
            .sandbox
            .plan(Fault::token("soundcloud", FaultKind::Slow { ms: 400 }).only(Only::Refresh).times(1))
            .unwrap();
        nudge();
        let again = async {
            let at_the_provider = |world: &World| !world.calls("soundcloud", "refresh_token").is_empty();
            world.until("the first is at the provider", at_the_provider).await;
            nudge();
            // The lane too, where an attempt goes that follows one whose fate is unknown.
            world.settle().await;
            assert_eq!(world.backend.queue.lane.depth(), 0);
        };
        join(world.settle(), again).await;
        world.settle().await;
        assert_eq!(world.calls("soundcloud", "refresh_token").len(), 1, "forced: {forced}");
        assert!(world.api_takes("soundcloud", &browser.token("soundcloud").await));
    }
}
