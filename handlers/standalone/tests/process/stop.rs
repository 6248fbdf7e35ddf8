//! SIGTERM and Ctrl-C: what is under way ends, within ten seconds, and nothing that a provider answered is lost.

use std::time::Duration;

use mm_sandbox::FaultKind;
use reqwest::StatusCode;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{person::Person, product::Plan, provider::Provider};

/// What a stop may take.
const STOP_MAX: Duration = Duration::from_secs(10);

/// How long a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A product at a strict provider with tokens of ten seconds, its clock twice as fast as the real one.
async fn stage(speed: u32) -> (Plan, Provider) {
    let port = Provider::port();
    let speed_flag = speed.to_string();
    let plan = Plan::with_sandbox_at(&format!("http://localhost:{port}")).flag("--speed").flag(&speed_flag);
    let provider = Provider::start(port, &plan.url(), speed, Some(10)).await;
    (plan, provider)
}

/// Waits until a refresh that no answer has left for is at the provider.
async fn refresh_in_flight(provider: &Provider) {
    let in_flight = async {
        while provider.refreshes("soundcloud").last().is_none_or(|entry| entry.answered) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, in_flight).await.expect("a refresh");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_ends_within_ten_seconds() {
    let (plan, provider) = stage(2).await;
    let product = plan.start().await;
    let person = Person::at(&plan.url());
    person.connect(&provider.sandbox, "soundcloud", "alice").await;
    let before = person.token("soundcloud").await;
    provider.plan("soundcloud", FaultKind::Slow { ms: 4_000 }, Some(1));
    refresh_in_flight(&provider).await;
    let expired = async {
        while person.get("/auth/soundcloud/token?wait=0").await.status == StatusCode::OK {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, expired).await.expect("the token's end");
    let reader = tokio::spawn({
        let person = person.clone();
        async move { person.get("/auth/soundcloud/token?wait=3").await }
    });
    // Enough for the request to arrive; if it did not, the reader finds nobody and the test fails.
    sleep(Duration::from_millis(300)).await;
    assert!(!reader.is_finished(), "it waits");
    product.signal("TERM");
    let ended = product.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.took < STOP_MAX, "{ended:?}");
    let answer = reader.await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "the reader got what it waited for: {answer:?}");
    assert_ne!(answer.json()["token_id"], before["token_id"]);
    assert!(ended.last_line.contains("stopping") && !ended.stderr.contains("WARN"), "{ended:?}");

    let product = plan.start().await;
    let sent = provider.refreshes("soundcloud").len();
    let refreshed = async {
        while provider.refreshes("soundcloud").iter().filter(|entry| entry.answered).count() <= sent {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, refreshed).await.expect("the next start goes on refreshing");
    assert!(provider.sandbox.log().tokens_sent_twice().is_empty());
    product.signal("TERM");
    assert_eq!(product.ended().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_within_ten_seconds_though_the_provider_never_answers() {
    let (plan, provider) = stage(1).await;
    let product = plan.start().await;
    let person = Person::at(&plan.url());
    person.connect(&provider.sandbox, "soundcloud", "alice").await;
    provider.plan("soundcloud", FaultKind::Hang, Some(1));
    refresh_in_flight(&provider).await;
    product.signal("INT");
    let ended = product.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.took < STOP_MAX, "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_finish_do_not_hold_up_the_end() {
    let plan = Plan::developer();
    let product = plan.start().await;
    let mut unfinished = Vec::new();
    for bytes in [
        "GET /hea",
        "GET /health HTTP/1.1\r\nhost: x\r\n",
        "POST /auth/logout HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n",
    ] {
        let mut client = TcpStream::connect(("127.0.0.1", plan.port)).await.unwrap();
        client.write_all(bytes.as_bytes()).await.unwrap();
        unfinished.push(client);
    }
    assert_eq!(Person::at(&plan.url()).get("/health").await.status, StatusCode::OK, "they were accepted before");
    product.signal("TERM");
    let ended = product.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.took < STOP_MAX, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_ends_at_once_even_right_after_its_start() {
    for signal in ["TERM", "INT"] {
        let product = Plan::developer().start().await;
        product.signal(signal);
        let ended = product.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.took < Duration::from_secs(3), "{ended:?}");
    }
}

/// The sandbox in the process ends after the refreshes that wait for its answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_loses_no_answer_of_the_sandbox_in_the_process() {
    let plan = Plan::developer().flag("--speed").flag("2").flag("--token-lifetime").flag("10");
    let product = plan.start().await;
    let person = Person::at(&plan.url());
    person.connect_by_forms("soundcloud", "alice").await;
    let sandbox = Person::at(&format!("http://localhost:{}", plan.sandbox_port));
    let slow = serde_json::json!({
        "provider": "soundcloud", "endpoint": "token", "kind": "slow", "ms": 3000, "times": 1, "only": "refresh",
    });
    sandbox.post_json("/_sandbox/faults", &slow).await;
    let in_flight = async {
        loop {
            let log = sandbox.get("/_sandbox/log").await.json();
            let entries = log["entries"].as_array().unwrap().clone();
            if entries.iter().any(|entry| entry["fault"] == "slow" && entry["answered"] == false) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, in_flight).await.expect("a slow refresh");
    product.signal("TERM");
    let ended = product.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.took < STOP_MAX, "{ended:?}");

    let _product = plan.start().await;
    let stored = person.connection("soundcloud").await.unwrap();
    assert_eq!((&stored["status"], &stored["attempts"]), (&"active".into(), &0.into()), "{stored}");
    let refreshed = async {
        while person.connection("soundcloud").await.unwrap()["token_id"] == stored["token_id"] {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, refreshed).await.expect("the answer before the stop was stored: its token refreshes again");
}
