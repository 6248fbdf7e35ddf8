//! The replay of what only the log holds, from outside: the real process, a log file and a data directory.
#![expect(clippy::unwrap_used, reason = "clippy does not see that the helpers of an integration test are tests")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use mm_embedded::{clock::SystemClock, journal::JournalLane};
use mm_engine::ports::LaneMessage;
use mm_model::{ConnectionKey, Sealed, Timestamp, Version, step::Commit};
use tempfile::TempDir;

fn rescue() -> LaneMessage {
    let commit = Commit {
        consumed: Version::from_bytes([1; 16]),
        version: Version::from_bytes([2; 16]),
        access_token: Sealed::from_bytes(vec![3; 40]),
        refresh_token: Some(Sealed::from_bytes(vec![4; 40])),
        expires_at: Timestamp::from_unix(1_800_003_600),
        lifetime: 3600,
        scope: None,
        now: Timestamp::from_unix(1_800_000_000),
        next_refresh_at: Timestamp::from_unix(1_800_002_970),
        soon: None,
        reseat: None,
        misfits: 0,
        warned_days: None,
        event: None,
    };
    let key = ConnectionKey { user: "ann".parse().unwrap(), provider: "soundcloud".parse().unwrap() };
    LaneMessage::Rescue { key, commit: Box::new(commit) }
}

/// A line as the log writes it.
fn unsaved(sealed: &str) -> String {
    let line = serde_json::json!({
        "timestamp": "2027-01-15T08:00:00.000000Z",
        "level": "ERROR",
        "message": "refresh.unsaved: neither table nor lane took this answer; replay it",
        "connection": "ann/soundcloud",
        "sealed": sealed,
        "target": "mm_engine::answer",
    });
    format!("{line}\n")
}

fn replay(home: &Path, log: &str) -> Output {
    replay_as(home, log, ("PUBLIC_URL", "http://127.0.0.1:8080"))
}

fn replay_as(home: &Path, log: &str, variable: (&str, &str)) -> Output {
    fs::write(home.join("log"), log).unwrap();
    Command::new(env!("CARGO_BIN_EXE_mm-standalone"))
        .env_clear()
        .env(variable.0, variable.1)
        .current_dir(home)
        .args(["--data-dir", "data", "--replay", "log"])
        .output()
        .unwrap()
}

fn lane(home: &Path) -> JournalLane {
    JournalLane::open(&home.join("data"), Arc::new(SystemClock::new())).unwrap()
}

fn assert_told(output: &Output, code: i32, words: &str) {
    let told = [&output.stdout[..], &output.stderr[..]].concat();
    let told = String::from_utf8(told).unwrap();
    assert!(output.status.code() == Some(code) && told.contains(words), "{output:?}\n{told}");
}

#[tokio::test]
async fn an_answer_in_the_log_is_on_the_lane_after_its_replay() {
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join("data")).unwrap();
    let message = rescue();
    let log = format!("some words\n{}", unsaved(&serde_json::to_string(&message).unwrap()));
    assert_told(&replay(home.path(), &log), 0, "1 unsaved answers found, 1 put on the lane, 0 unreadable");
    let lane = lane(home.path());
    assert_eq!(lane.depth(), 1);
    let received = lane.receive().await;
    assert_eq!(received[0].group, message.key().to_string());
    assert!(serde_json::from_str::<LaneMessage>(&received[0].body).unwrap() == message);
}

#[test]
fn an_answer_of_the_twins_goes_on_the_twins_lane() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("data/sandbox");
    fs::create_dir_all(&data).unwrap();
    let log = unsaved(&serde_json::to_string(&rescue()).unwrap());
    assert_told(&replay_as(home.path(), &log, ("DEV_PAGE", "1")), 0, "1 put on the lane");
    assert_eq!(JournalLane::open(&data, Arc::new(SystemClock::new())).unwrap().depth(), 1);
}

#[test]
fn a_log_without_such_lines_says_so_and_makes_nothing() {
    let home = TempDir::new().unwrap();
    assert_told(&replay(home.path(), "{\"message\":\"all is well\"}\n"), 0, "holds no answers to replay");
    assert!(!home.path().join("data").exists());
}

#[test]
fn what_cannot_be_read_fails_the_replay_and_the_rest_is_queued() {
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join("data")).unwrap();
    let log = unsaved("{}") + &unsaved(&serde_json::to_string(&rescue()).unwrap());
    let output = replay(home.path(), &log);
    assert_told(&output, 1, "2 unsaved answers found, 1 put on the lane, 1 unreadable");
    assert_told(&output, 1, "keep the log");
    assert_eq!(lane(home.path()).depth(), 1);
}

#[test]
fn while_the_server_runs_nothing_is_queued() {
    let home = TempDir::new().unwrap();
    let log = unsaved(&serde_json::to_string(&rescue()).unwrap());
    assert_told(&replay(home.path(), &log), 2, "data is not there");
    assert!(!home.path().join("data").exists(), "a mistyped name makes no directory");
    let server = mm_embedded::store::SqliteStore::open(&home.path().join("data")).unwrap();
    assert_told(&replay(home.path(), &log), 1, "in use by another process");
    drop(server);
    assert_eq!(lane(home.path()).depth(), 0);
}
