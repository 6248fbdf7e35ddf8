//! A disk that is full: nothing half-written, living tokens are read, and room heals it.
//!
//! A full disk is a small tmpfs: who may mount one runs these with `--ignored`, as `./scripts/test journeys` does.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::Command,
    time::Duration,
};

use mm_sandbox::FaultKind;
use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{
    person::{Answer, Person},
    product::Plan,
    provider::Provider,
};

/// How long a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Logins that a full disk may still take: SQLite's log has room of its own until it must grow.
const LOGINS_MAX: usize = 2_000;

/// A file system in memory. Unmounted when it is dropped.
pub(crate) struct Mount {
    directory: TempDir,
}

impl Mount {
    /// # Panics
    /// Where this machine does not let the test mount: whoever calls this is `#[ignore]`d, and run where it does.
    pub(crate) fn new(options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(directory.path());
        assert!(mount.status().unwrap().success(), "a tmpfs cannot be mounted here");
        Self { directory }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.path()).status().unwrap().success());
    }

    /// Takes every byte that is left.
    fn fill(&self) {
        let mut file = File::create(self.path().join("filler")).unwrap();
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process of a failed test may still be ending.
        let _unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn is_refused_cleanly(answer: &Answer) -> bool {
    match answer.status {
        StatusCode::SERVICE_UNAVAILABLE => {
            assert_eq!(answer.json()["code"], "store_unavailable", "{answer:?}");
            assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
            true
        }
        StatusCode::SEE_OTHER => {
            let connected = answer.parameter("mm_result").as_deref() == Some("connected");
            if !connected {
                assert_eq!(answer.parameter("mm_code").as_deref(), Some("provider_unavailable"), "{answer:?}");
            }
            !connected
        }
        _ => panic!("neither served nor refused cleanly: {answer:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the right to mount a tmpfs"]
async fn a_full_disk_refuses_logins_cleanly_serves_living_tokens_and_heals() {
    let mount = Mount::new("size=3m");
    let port = Provider::port();
    let plan = Plan::with_sandbox_at(&format!("http://localhost:{port}")).data_dir(&mount.path().join("data"));
    let provider = Provider::start(port, &plan.url(), 1, None).await;
    let mut product = plan.start().await;
    let alice = Person::at(&plan.url());
    alice.connect(&provider.sandbox, "soundcloud", "alice").await;
    let token = alice.token("soundcloud").await;

    mount.fill();
    let mut refused = false;
    for count in 0..LOGINS_MAX {
        let somebody = Person::at(&plan.url());
        let answer = somebody.login(&provider.sandbox, "spotify", &format!("person-{count}")).await.unwrap();
        refused = is_refused_cleanly(&answer);
        if refused {
            break;
        }
    }
    assert!(refused, "{LOGINS_MAX} logins found room on a full disk");
    for _ in 0..20 {
        let again = alice.token("soundcloud").await;
        assert_eq!((&again["access_token"], &again["token_id"]), (&token["access_token"], &token["token_id"]));
    }
    assert_eq!(alice.get("/auth/connections").await.status, StatusCode::OK);
    assert_eq!(alice.get("/health").await.status, StatusCode::OK);
    assert!(product.is_running());

    mount.free();
    let bob = Person::at(&plan.url());
    bob.connect(&provider.sandbox, "soundcloud", "bob").await;
    assert_eq!(bob.token("soundcloud").await["state"], "fresh");
    assert!(!product.stderr().contains("panicked"), "{}", product.stderr());
    product.kill();
    let _product = plan.start().await;
    assert_eq!(alice.token("soundcloud").await["token_id"], token["token_id"], "nothing acknowledged was lost");
    assert_eq!(bob.token("soundcloud").await["state"], "fresh");
}

/// The worst moment: the provider has spent the token, and there is no room for its answer.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the right to mount a tmpfs"]
async fn an_answer_that_finds_the_disk_full_waits_for_room() {
    let mount = Mount::new("size=3m");
    let port = Provider::port();
    let plan = Plan::with_sandbox_at(&format!("http://localhost:{port}")).data_dir(&mount.path().join("data"));
    let provider = Provider::start(port, &plan.url(), 1, Some(10)).await;
    let product = plan.start().await;
    let person = Person::at(&plan.url());
    person.connect(&provider.sandbox, "soundcloud", "alice").await;
    let before = person.token("soundcloud").await["token_id"].clone();
    provider.plan("soundcloud", FaultKind::Slow { ms: 2_000 }, Some(1));
    let in_flight = async {
        while provider.refreshes("soundcloud").is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, in_flight).await.expect("a refresh");
    mount.fill();
    let answered = async {
        while !provider.refreshes("soundcloud")[0].answered {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, answered).await.expect("its answer");
    // Long enough for several tries of the commit.
    sleep(Duration::from_secs(2)).await;
    mount.free();
    let committed = async {
        loop {
            let connection = person.connection("soundcloud").await.unwrap();
            assert_eq!(connection["status"], "active", "{connection}");
            if connection["token_id"] != before {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, committed).await.expect("the answer was kept until there was room");
    assert!(provider.sandbox.log().tokens_sent_twice().is_empty());
    assert!(!product.stderr().contains("panicked"));
}
