//! What a restart keeps, and how soon it serves.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::{person::Person, product::Plan};

/// How long a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

async fn refreshed_after(person: &Person, token_id: &serde_json::Value) -> serde_json::Value {
    let refreshed = async {
        loop {
            let connection = person.connection("soundcloud").await.unwrap();
            assert_eq!(connection["status"], "active", "{connection}");
            if connection["token_id"] != *token_id {
                return connection["token_id"].clone();
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, refreshed).await.expect("a refresh")
}

async fn keeps_everything(kill: bool) {
    // A token's life is six seconds, its refresh some three: hours pass while the test runs.
    let plan = Plan::developer().flag("--speed").flag("100").flag("--token-lifetime").flag("600");
    let mut product = plan.start().await;
    let person = Person::at(&plan.url());
    person.connect_by_forms("soundcloud", "alice").await;
    let mut token_id = person.token("soundcloud").await["token_id"].clone();
    for _ in 0..2 {
        refreshed_after(&person, &token_id).await;
        let before = person.get("/dev/info").await.json()["now"].as_u64().unwrap();
        if kill {
            product.kill();
        } else {
            product.signal("TERM");
            assert_eq!(product.ended().await.code, Some(0));
        }
        product = plan.start().await;
        let after = person.get("/dev/info").await.json()["now"].as_u64().unwrap();
        // Ten seconds are what the product forgives between two clocks.
        assert!(after + 10 >= before, "time went back by {} s", before - after);
        let token = person.token("soundcloud").await;
        assert!(token["expires_in"].as_u64().unwrap() <= 600, "no token lives longer than it was issued for: {token}");
        token_id = token["token_id"].clone();
    }
    refreshed_after(&person, &token_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_sessions_connections_and_the_twins_grants() {
    keeps_everything(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_keeps_sessions_connections_and_the_twins_grants() {
    keeps_everything(true).await;
}

/// A fast clock's rows lie in the future, for a slow one too.
#[tokio::test(flavor = "multi_thread")]
async fn another_speed_goes_on_with_the_time_that_was() {
    let plan = Plan::developer().flag("--token-lifetime").flag("10").flag("--speed");
    let fast = plan.flag("120");
    let product = fast.start().await;
    let person = Person::at(&fast.url());
    person.connect_by_forms("soundcloud", "alice").await;
    sleep(Duration::from_secs(2)).await;
    let before = person.get("/dev/info").await.json()["now"].as_u64().unwrap();
    product.signal("TERM");
    assert_eq!(product.ended().await.code, Some(0));

    let slow = fast.instead_of_last_flag("1");
    let _product = slow.start().await;
    let after = person.get("/dev/info").await.json()["now"].as_u64().unwrap();
    assert!((before - 10..before + 70).contains(&after), "{before} and then {after}");
    let token_id = person.connection("soundcloud").await.unwrap()["token_id"].clone();
    refreshed_after(&person, &token_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_start_is_quick() {
    let plan = Plan::developer();
    plan.start().await.kill();
    let started = Instant::now();
    let _product = plan.start().await;
    let took = started.elapsed();
    println!("second start: {} ms", took.as_millis());
    assert!(took < Duration::from_secs(10), "{took:?}");
}
