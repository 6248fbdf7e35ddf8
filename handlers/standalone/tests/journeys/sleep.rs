//! Cost follows people: what nobody reads is let go, and comes back when it is read.

use std::time::Duration;

use mm_model::{Seat, Timestamp};

use crate::world::{Browser, World};

const MINUTE: Duration = Duration::from_mins(1);

const DAY: Duration = Duration::from_hours(24);

fn seat(world: &World) -> String {
    world.rows().column("connections", "seat")[0].to_owned()
}

#[tokio::test]
async fn a_connection_that_nobody_reads_sleeps_and_a_read_wakes_it_within_one_wait() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    world.advance_by_steps(Duration::from_mins(24 * 60 - 1), MINUTE).await;
    assert!(seat(&world).starts_with("fast-50-"), "{}", seat(&world));
    let awake = world.calls("soundcloud", "refresh_token").len();
    assert!((27..=31).contains(&awake), "{awake}");
    world.advance_by_steps(Duration::from_hours(2), MINUTE).await;
    let asleep = seat(&world);
    assert!(!asleep.starts_with("fast") && !asleep.starts_with("slow"), "its place is given away: {asleep}");
    let calls = world.calls("soundcloud", "refresh_token").len();
    assert!(calls <= awake + 1, "{calls}");
    world.advance_by_steps(2 * DAY, MINUTE).await;
    assert_eq!(world.calls("soundcloud", "refresh_token").len(), calls, "nobody reads it, nobody pays for it");

    let before = world.now();
    let token = world.drive(Duration::from_millis(50), browser.token("soundcloud")).await;
    assert!(world.now().since(before) <= Duration::from_secs(3), "one wait");
    assert_eq!(token["state"], "fresh");
    assert!(world.api_takes("soundcloud", &token));
    assert_eq!(world.calls("soundcloud", "refresh_token").len(), calls + 1);
    assert!(seat(&world).starts_with("fast-50-"), "{}", seat(&world));
    world.advance_by_steps(Duration::from_hours(3), MINUTE).await;
    assert_eq!(browser.token("soundcloud").await["state"], "fresh", "and it is kept fresh again");
}

#[tokio::test]
async fn where_an_unused_grant_would_die_the_slow_wheel_uses_it_every_twenty_days() {
    let mut world = World::new().await;
    let browser = world.browser();
    browser.connect("youtube", "alice").await;
    world.advance_by_steps(DAY + Duration::from_hours(2), MINUTE).await;
    let slow = seat(&world);
    assert!(slow.starts_with("slow-28800-"), "{slow}");
    let mut pass = slow.parse::<Seat>().unwrap().first_pass(world.now().minute().plus(2)).start();
    for turn in 1..=2 {
        let before = world.calls("youtube", "refresh_token").len();
        world.skip_to(pass.minus(Duration::from_mins(30))).await;
        world.advance_by_steps(Duration::from_mins(29), MINUTE).await;
        assert_eq!(world.calls("youtube", "refresh_token").len(), before, "turn {turn}: not before its pass");
        world.advance_by_steps(Duration::from_mins(5), MINUTE).await;
        let calls = world.calls("youtube", "refresh_token");
        assert_eq!(calls.len(), before + 1, "turn {turn}");
        assert!(Timestamp::from_unix(calls[before].at).since(pass) <= MINUTE, "turn {turn}");
        world.advance_by_steps(Duration::from_hours(3), MINUTE).await;
        assert_eq!(world.calls("youtube", "refresh_token").len(), before + 1, "turn {turn}: nor again after it");
        assert_eq!(seat(&world), slow);
        if turn == 1 {
            wakes_and_sleeps_again(&mut world, &browser).await;
            assert_eq!(seat(&world), slow);
        }
        pass = pass.plus(20 * DAY);
    }
    assert!(world.sandbox.grants().iter().all(|grant| grant.ended.is_none()));
}

async fn wakes_and_sleeps_again(world: &mut World, browser: &Browser) {
    let token = world.drive(Duration::from_millis(50), browser.token("youtube")).await;
    assert!(world.api_takes("youtube", &token));
    assert!(seat(world).starts_with("fast-50-"), "a read wakes it from there too: {}", seat(world));
    world.advance_by_steps(Duration::from_hours(3), MINUTE).await;
    assert_eq!(browser.token("youtube").await["state"], "fresh");
    world.advance_by_steps(DAY + Duration::from_hours(2), MINUTE).await;
}
