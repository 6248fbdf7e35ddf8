//! What a restart remembers.

use std::{error::Error as _, fs, sync::Arc};

use mm_sandbox::{Client, Fault, FaultKind, Outcome, Sandbox, SandboxError, Settings};
use url::Url;

use crate::stage::{Stage, tokens};

#[tokio::test]
async fn grants_tokens_and_spent_tokens_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sandbox.json");
    let stage = Stage::with_state_file(Some(file.clone())).await;
    let (_, first) = stage.tokens("generic").await;
    let (access, second) = tokens(stage.refresh("generic", &first).await.unwrap()).await;
    let (_, other) = stage.tokens("generic").await;
    stage.end().await;

    let kept = fs::read_to_string(&file).unwrap();
    for secret in [&access, &first, &second, &other] {
        assert!(!kept.contains(secret.as_str()), "the state file holds a token");
    }

    let stage = Stage::with_state_file(Some(file.clone())).await;
    let userinfo = stage.http.get(stage.url("/provider.test/userinfo")).bearer_auth(&access).send().await.unwrap();
    assert_eq!(userinfo.status(), 200);
    tokens(stage.refresh("generic", &second).await.unwrap()).await;
    // A token spent before the restart is still known as spent after it.
    assert_eq!(stage.refresh("generic", &first).await.unwrap().status(), 400);
    let log = stage.sandbox.log();
    let last = log.entries().last().unwrap();
    assert_eq!((last.outcome, last.presented_again), (Outcome::ReuseKilledGrant, true));
    tokens(stage.refresh("generic", &other).await.unwrap()).await;
    let grants = stage.tokens("generic").await;
    assert!(!grants.1.is_empty());
    let ids: Vec<u64> = stage.sandbox.grants().iter().map(|grant| grant.id).collect();
    assert_eq!(ids, [1, 2, 3]);
    let beside = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(beside, 1, "something was left beside the state file");
}

#[tokio::test]
async fn an_answer_lost_just_before_a_restart_stays_spent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sandbox.json");
    let stage = Stage::with_state_file(Some(file.clone())).await;
    let (_, token) = stage.tokens("generic").await;
    stage.sandbox.plan(Fault::token("generic", FaultKind::ResetAfter)).unwrap();
    stage.refresh("generic", &token).await.unwrap_err();
    stage.end().await;
    let stage = Stage::with_state_file(Some(file)).await;
    assert_eq!(stage.refresh("generic", &token).await.unwrap().status(), 400);
}

fn built(settings: Settings) -> Result<Sandbox, SandboxError> {
    Sandbox::new(settings, Arc::new(|| 0), Box::new(|bytes| bytes.fill(0)))
}

fn settings() -> Settings {
    Settings::new(Url::parse("http://localhost:8081").unwrap())
}

#[test]
fn a_state_file_that_is_not_ours_stops_the_start_and_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sandbox.json");
    for content in ["", "{", r#"{"format":2}"#, "not json at all"] {
        fs::write(&file, content).unwrap();
        let error = built(Settings { state_file: Some(file.clone()), ..settings() }).unwrap_err();
        assert!(error.source().unwrap().to_string().contains("delete it to start afresh"), "{content}");
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    for base_url in ["https://localhost:8081", "http://192.168.1.5:8081", "http://localhost:8081/path"] {
        let settings = Settings::new(Url::parse(base_url).unwrap());
        assert!(matches!(built(settings), Err(SandboxError::BaseUrl { .. })), "{base_url}");
    }
    let twice = Settings { profiles: vec![mm_sandbox::profile::GENERIC; 2], ..settings() };
    assert!(matches!(built(twice), Err(SandboxError::Profile { id: "generic" })));
    let client = Client {
        provider: "nobody".into(),
        client_id: "client".into(),
        secrets: Vec::new(),
        redirect_uris: Vec::new(),
    };
    assert!(matches!(built(Settings { clients: vec![client], ..settings() }), Err(SandboxError::Client { .. })));
}
