//! Faults as a client sees them on the wire, and what the log says of them.

use std::{error::Error as _, io, time::Duration};

use mm_sandbox::{Fault, FaultKind, Log, LogEntry, Only, Outcome, Sandbox};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::stage::{Stage, header, tokens};

fn last(sandbox: &Sandbox) -> LogEntry {
    sandbox.log().entries().last().unwrap().clone()
}

fn plan(stage: &Stage, kind: FaultKind) {
    stage.sandbox.plan(Fault::token("generic", kind).times(1)).unwrap();
}

/// Writes a refresh request by hand and leaves the rest to the caller.
async fn send_refresh(stage: &Stage, token: &str) -> TcpStream {
    let body = format!("grant_type=refresh_token&refresh_token={token}&client_id=client&client_secret=secret");
    let mut stream = stage.connect().await;
    let head = format!(
        "POST /provider.test/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn an_undisturbed_answer_is_logged_as_given() {
    let stage = Stage::new().await;
    let (_, token) = stage.tokens("generic").await;
    assert!(last(&stage.sandbox).answered);
    let (_, next) = tokens(stage.refresh("generic", &token).await.unwrap()).await;
    let entry = last(&stage.sandbox);
    assert!(entry.answered && entry.spent);
    assert_eq!(entry.outcome, Outcome::Issued);
    assert_eq!(entry.presented, Some(mm_sandbox::TokenHash::of(&token).short()));
    assert_eq!(entry.issued, Some(mm_sandbox::TokenHash::of(&next).short()));
    assert_eq!(stage.sandbox.log().answers_given().len(), 2);
}

#[tokio::test]
async fn a_reset_before_is_a_reset_and_spends_nothing() {
    let stage = Stage::new().await;
    let (_, token) = stage.tokens("generic").await;
    plan(&stage, FaultKind::ResetBefore);
    let mut stream = send_refresh(&stage, &token).await;
    let mut answer = Vec::new();
    let error = stream.read_to_end(&mut answer).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(answer.is_empty());
    assert!(!last(&stage.sandbox).answered);
    tokens(stage.refresh("generic", &token).await.unwrap()).await;
    assert!(stage.sandbox.log().tokens_sent_twice().is_empty());
}

#[tokio::test]
async fn a_reset_after_spends_the_token_without_an_answer() {
    let stage = Stage::new().await;
    let (_, token) = stage.tokens("generic").await;
    plan(&stage, FaultKind::ResetAfter);
    let error = stage.refresh("generic", &token).await.unwrap_err();
    assert!(error.is_request() && !error.is_timeout() && !error.is_connect(), "{error:?}");
    assert!(error.source().is_some());
    let entry = last(&stage.sandbox);
    assert_eq!(entry.outcome, Outcome::Fault("reset_after"));
    assert!(entry.spent && !entry.answered);
    assert_eq!(stage.refresh("generic", &token).await.unwrap().status(), 400);
    assert_eq!(last(&stage.sandbox).outcome, Outcome::ReuseKilledGrant);
    assert_eq!(stage.sandbox.log().tokens_sent_twice().len(), 1);
    // Only the code's exchange was answered whole and well.
    assert_eq!(stage.sandbox.log().answers_given().len(), 1);
}

#[tokio::test]
async fn a_reset_in_the_middle_comes_after_half_the_answer() {
    let stage = Stage::new().await;
    let (_, token) = stage.tokens("generic").await;
    plan(&stage, FaultKind::ResetMidAnswer);
    let mut stream = send_refresh(&stage, &token).await;
    let mut answer = Vec::new();
    // Whether the half arrives with a close or a reset behind it is the network's business.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let declared: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .expect("a declared length")
        .parse()
        .unwrap();
    assert_eq!(body.len(), declared / 2);
    assert!(body.starts_with('{'));
    let entry = last(&stage.sandbox);
    assert!(entry.spent && !entry.answered);
}

#[tokio::test]
async fn a_hanging_request_is_waited_for_in_vain_and_spends_nothing() {
    let stage = Stage::new().await;
    let (_, token) = stage.tokens("generic").await;
    plan(&stage, FaultKind::Hang);
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    let hanging = stage.token_request("generic", &fields).timeout(Duration::from_millis(150));
    assert!(hanging.send().await.unwrap_err().is_timeout());
    assert!(!last(&stage.sandbox).answered);
    tokens(stage.refresh("generic", &token).await.unwrap()).await;
}

#[tokio::test]
async fn the_sandbox_ends_although_a_request_hangs() {
    let stage = Stage::new().await;
    plan(&stage, FaultKind::Hang);
    let _hanging = send_refresh(&stage, "x").await;
    stage.until(|log| log.entries().count() == 1).await;
    stage.end().await;
}

#[tokio::test]
async fn a_slow_answer_to_a_client_that_left_was_never_given() {
    let stage = Stage::new().await;
    let (_, token) = stage.tokens("generic").await;
    plan(&stage, FaultKind::Slow { ms: 300 });
    let stream = send_refresh(&stage, &token).await;
    stage.until(|log| log.entries().last().is_some_and(|entry| entry.spent)).await;
    drop(stream);
    let sandbox = stage.end().await;
    assert!(!last(&sandbox).answered);
    assert_eq!(sandbox.log().answers_given().len(), 1);
}

#[tokio::test]
async fn a_slow_answer_to_a_client_that_stays_is_given() {
    let stage = Stage::new().await;
    let (_, token) = stage.tokens("generic").await;
    plan(&stage, FaultKind::Slow { ms: 30 });
    tokens(stage.refresh("generic", &token).await.unwrap()).await;
    assert!(last(&stage.sandbox).answered);
}

#[tokio::test]
async fn a_late_provider_acts_although_the_client_left() {
    let stage = Stage::new().await;
    let (_, token) = stage.tokens("generic").await;
    plan(&stage, FaultKind::Late { ms: 60 });
    let stream = send_refresh(&stage, &token).await;
    // The fault is taken when the request arrives; nothing is logged before the provider acts.
    while !stage.sandbox.planned_faults().is_empty() {
        tokio::task::yield_now().await;
    }
    drop(stream);
    assert!(!stage.sandbox.log().entries().any(|entry| entry.spent));
    stage.until(|log| log.entries().any(|entry| entry.spent)).await;
    assert_eq!(last(&stage.sandbox).fault, Some("late"));
}

#[tokio::test]
async fn answers_that_are_no_answers_look_as_they_were_seen_in_the_wild() {
    let stage = Stage::new().await;
    let answer = async |kind| {
        plan(&stage, kind);
        let response = stage.refresh("generic", "x").await.unwrap();
        let head = (response.status().as_u16(), header(&response, "content-type").to_owned());
        let challenge = header(&response, "x-amzn-waf-action").to_owned();
        (head, challenge, response.text().await.unwrap())
    };
    let ((status, kind), _, body) = answer(FaultKind::Html403).await;
    assert_eq!((status, kind.as_str()), (403, "text/html; charset=utf-8"));
    assert!(body.contains("could not be satisfied"), "{body}");
    let ((status, _), challenge, body) = answer(FaultKind::Empty202).await;
    assert_eq!((status, challenge.as_str(), body.as_str()), (202, "challenge", ""));
    let ((status, _), _, body) = answer(FaultKind::ErrorBody200).await;
    assert_eq!(status, 200);
    assert!(body.contains("server_error"), "{body}");
    let ((status, kind), _, _) = answer(FaultKind::Error5xxBefore { status: 502 }).await;
    assert_eq!((status, kind.as_str()), (502, "text/html; charset=utf-8"));
}

#[tokio::test]
async fn an_empty_answer_counts_as_given_and_not_as_tokens_given() {
    let stage = Stage::new().await;
    let (_, token) = stage.tokens("generic").await;
    plan(&stage, FaultKind::Empty200);
    let response = stage.refresh("generic", &token).await.unwrap();
    assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (200, ""));
    let entry = last(&stage.sandbox);
    assert!(entry.answered && entry.spent);
    assert_eq!(stage.sandbox.log().answers_given().len(), 1);
}

#[tokio::test]
async fn one_connection_carries_many_requests_and_each_is_marked() {
    let stage = Stage::new().await;
    let (_, mut token) = stage.tokens("soundcloud").await;
    for _ in 0..20 {
        (_, token) = tokens(stage.refresh("soundcloud", &token).await.unwrap()).await;
    }
    let log: Log = stage.sandbox.log();
    assert_eq!(log.answers_given().len(), 21);
    assert!(log.tokens_sent_twice().is_empty());
}

#[tokio::test]
async fn through_the_router_alone_a_cut_is_a_body_that_fails() {
    use tower::ServiceExt as _;
    let stage = Stage::new().await;
    stage.sandbox.plan(Fault::token("generic", FaultKind::ResetBefore).only(Only::Any).times(1)).unwrap();
    let request = axum::http::Request::post("/provider.test/token").body(axum::body::Body::empty()).unwrap();
    let response = stage.sandbox.router().oneshot(request).await.unwrap();
    assert!(axum::body::to_bytes(response.into_body(), 1024).await.is_err());
}
