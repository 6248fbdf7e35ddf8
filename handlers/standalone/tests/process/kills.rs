//! kill -9 in a loop of real refreshes at a strict provider, judged by the provider's log.

mod judge;

use std::{sync::Arc, time::Duration};

use mm_engine::{ports::Rng, testing::SeededRng};
use mm_sandbox::FaultKind;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{person::Person, product::Plan, provider::Provider};
use judge::{Judge, Watch};

/// How often the product is killed.
const KILLS: usize = 30;

/// Longest time between a start and the kill after it. A lease is two seconds at this speed: some lives are long enough
/// to see one end, most are not.
const LIFE_MAX: Duration = Duration::from_millis(2_600);

/// Product and provider: a minute in a second.
const SPEED: u32 = 60;

/// Life of an access token in seconds: each connection is refreshed about once in a real second.
const TOKEN_LIFETIME: u64 = 60;

/// How late every answer of the strict provider is, so that kills find refreshes under way.
const ANSWER_DELAY_MS: u64 = 60;

/// How long the sandbox gets to take in what a killed process had sent.
const STRAGGLERS: Duration = Duration::from_millis(50);

/// How often each person looks at their connection.
const LOOK_AGAIN: Duration = Duration::from_millis(40);

/// How long the last start may take until everybody is refreshed again: leases of the dead, and a token's life.
const RECOVERY_MAX: Duration = Duration::from_secs(20);

/// Dice of the kills' moments.
const SEED: u64 = 20_261;

const STRICT: [&str; 6] = ["ada", "bela", "cleo", "dora", "emil", "finn"];
const REUSABLE: [&str; 2] = ["gus", "hana"];

/// Looks at one person's connection again and again; logs in anew where the provider ended the grant.
async fn watch(person: Person, provider: Arc<Provider>, service: &'static str, account: &'static str, watch: Watch) {
    loop {
        sleep(LOOK_AGAIN).await;
        // Nobody listens between a kill and the next start.
        let Ok(connection) = person.connection(service).await else { continue };
        assert_ne!(connection, serde_json::Value::Null, "{account}: a connection that was acknowledged is gone");
        if connection["status"] == "active" {
            watch.seen(connection["token_id"].as_str().unwrap());
            continue;
        }
        watch.flagged(connection["reason"].as_str().unwrap_or_default());
        // If a kill comes in between, the connection says next time what came of it.
        let _login = person.login(&provider.sandbox, service, account).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_in_a_loop_of_real_refreshes_at_a_strict_provider() {
    let port = Provider::port();
    let speed = SPEED.to_string();
    let plan = Plan::with_sandbox_at(&format!("http://localhost:{port}")).flag("--speed").flag(&speed);
    let provider = Arc::new(Provider::start(port, &plan.url(), SPEED, Some(TOKEN_LIFETIME)).await);
    let dice: &dyn Rng = &SeededRng::new(SEED);
    let judge = Judge::new(Arc::clone(&provider));
    let mut product = plan.start().await;
    let mut watchers = JoinSet::new();
    let everybody = STRICT
        .iter()
        .map(|account| ("soundcloud", *account))
        .chain(REUSABLE.iter().map(|account| ("spotify", *account)));
    for (service, account) in everybody {
        let person = Person::at(&plan.url());
        person.connect(&provider.sandbox, service, account).await;
        let account_id = provider.sandbox.account_id(service, account).unwrap();
        watchers.spawn(watch(person, Arc::clone(&provider), service, account, judge.watch(service, &account_id)));
    }
    provider.plan("soundcloud", FaultKind::Slow { ms: ANSWER_DELAY_MS }, None);

    for _ in 0..KILLS {
        let life = LIFE_MAX.mul_f64(f64::from(u32::from_be_bytes(dice.bytes())) / f64::from(u32::MAX));
        sleep(life).await;
        let log = product.kill();
        sleep(STRAGGLERS).await;
        judge.killed(&log);
        // A watcher that gave up found a fault; say so now.
        if let Some(ended) = watchers.try_join_next() {
            ended.unwrap();
        }
        product = plan.start().await;
    }

    let recovered = timeout(RECOVERY_MAX, async {
        while !judge.waiting().is_empty() {
            sleep(LOOK_AGAIN).await;
            if let Some(ended) = watchers.try_join_next() {
                ended.unwrap();
            }
        }
    });
    assert!(recovered.await.is_ok(), "somebody was forgotten: {}\n{}", judge.waiting(), product.stderr());
    watchers.abort_all();
    judge.killed(&product.kill());
    judge.verdict();
}
