//! Somebody else's cookie is a mistake that has to be loud, and must not be repeated by being reported.

use std::{
    io,
    sync::{Arc, Mutex},
};

use mm_sandbox::Outcome;
use tracing_subscriber::fmt::MakeWriter;

use crate::stage::{Stage, header};

/// Everything that is logged on this thread.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

// The default of `tokio::test` is one thread, so the sandbox's tasks log to this thread's subscriber.
#[tokio::test]
async fn a_foreign_cookie_fails_loudly_and_its_value_is_nowhere() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt().with_writer(captured.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let stage = Stage::new().await;
    let mut answers = String::new();
    for path in ["/provider.test/authorize", "/api.soundcloud.com/me", "/_sandbox/log", "/_sandbox/style.css", "/"] {
        let request =
            stage.http.get(stage.url(path)).header("cookie", "sandbox_session=mine; __Host-mm_session=canary");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 500, "{path}");
        assert_eq!(header(&answer, "set-cookie"), "");
        answers += &answer.text().await.unwrap();
    }
    let token = stage.token_request("generic", &[("grant_type", "refresh_token"), ("refresh_token", "x")]);
    let answer = token.header("cookie", "__Host-mm_browser=canary").send().await.unwrap();
    assert_eq!(answer.status(), 500);
    answers += &answer.text().await.unwrap();

    let log = stage.sandbox.log();
    let noted: Vec<_> = log.entries().map(|entry| (entry.provider.as_str(), entry.endpoint, entry.outcome)).collect();
    let foreign = |provider, endpoint| (provider, endpoint, Outcome::ForeignCookie);
    assert_eq!(
        noted,
        [
            foreign("generic", "other"),
            foreign("soundcloud", "other"),
            foreign("", "other"),
            foreign("", "other"),
            foreign("", "other"),
            foreign("generic", "token"),
        ]
    );
    let logged = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert_eq!(logged.matches("ERROR").count(), 6, "{logged}");
    assert!(logged.contains("__Host-mm_session"));
    assert!(answers.contains("__Host-mm_session") && answers.contains("__Host-mm_browser"));
    assert!(!logged.contains("canary") && !answers.contains("canary"));
    assert!(!format!("{log:?}").contains("canary"));
}
