use std::sync::{Mutex, PoisonError};

use mm_model::{AttemptId, ConnectionKey, Sealed, Timestamp, Version, step::Commit};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

fn key() -> ConnectionKey {
    ConnectionKey { user: "ann".parse().unwrap(), provider: "soundcloud".parse().unwrap() }
}

fn rescue(n: u8) -> LaneMessage {
    let commit = Commit {
        consumed: Version::from_bytes([n; 16]),
        version: Version::from_bytes([n + 1; 16]),
        access_token: Sealed::from_bytes((0..=255).collect()),
        refresh_token: Some(Sealed::from_bytes(vec![n; 40])),
        expires_at: Timestamp::from_unix(1_800_003_600),
        lifetime: 3600,
        scope: Some("a \"quoted\\\" scope=\n\u{1b}[31m é".to_owned()),
        now: Timestamp::from_unix(1_800_000_000),
        next_refresh_at: Timestamp::from_unix(1_800_002_970),
        soon: None,
        reseat: None,
        misfits: 0,
        warned_days: None,
        event: None,
    };
    LaneMessage::Rescue { key: key(), commit: Box::new(commit) }
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What each way of logging makes of an event: JSON, a terminal with colours, one without.
fn logged(event: impl Fn()) -> [Vec<u8>; 3] {
    let format = tracing_subscriber::fmt;
    let [json, colours, plain] = [(); 3].map(|()| Written::default());
    let subscriber = format().with_writer(json.clone()).json().flatten_event(true).finish();
    tracing::subscriber::with_default(subscriber, &event);
    let subscriber = format().with_writer(colours.clone()).compact().with_ansi(true).finish();
    tracing::subscriber::with_default(subscriber, &event);
    let subscriber = format().with_writer(plain.clone()).compact().with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, &event);
    [json, colours, plain].map(|written| std::mem::take(&mut *written.0.lock().unwrap()))
}

#[test]
fn an_unsaved_answer_is_read_back_however_it_was_logged() {
    let messages = [rescue(1), rescue(7)];
    for log in logged(|| {
        tracing::info!(sealed = "nothing", "another line");
        for message in &messages {
            let (connection, sealed) = (message.key(), serde_json::to_string(message).unwrap());
            tracing::error!(%connection, sealed, "refresh.unsaved: neither table nor lane took this answer; replay it");
        }
    }) {
        let read = read(&mut &*log).unwrap();
        assert_eq!(read, Log { rescues: messages.to_vec(), unreadable: 0 }, "{}", String::from_utf8_lossy(&log));
    }
}

#[test]
fn what_cannot_be_read_is_counted_and_what_is_no_rescue_is_not_taken() {
    let retry = LaneMessage::Retry {
        key: key(),
        version: Version::from_bytes([1; 16]),
        from: AttemptId::from_bytes([2; 16]),
        urgent: false,
    };
    for log in logged(|| {
        for sealed in ["", "{}", &serde_json::to_string(&retry).unwrap()] {
            tracing::error!(sealed, "refresh.unsaved: and no rescue");
        }
        tracing::error!("refresh.unsaved: an answer could not even be written down");
    }) {
        assert_eq!(read(&mut &*log).unwrap(), Log { rescues: Vec::new(), unreadable: 4 });
    }
}

#[test]
fn a_line_that_was_cut_or_is_no_text_holds_up_nobody() {
    let [json, ..] = logged(|| {
        let sealed = serde_json::to_string(&rescue(1)).unwrap();
        tracing::error!(sealed, "refresh.unsaved: one");
    });
    let mut log = json[..json.len() - 20].to_vec();
    log.extend(b"\n\xff\xfe\n");
    log.extend(std::iter::repeat_n(b'x', 1 << 20));
    log.push(b'\n');
    log.extend(&json);
    let read = read(&mut &*log).unwrap();
    assert_eq!(read.rescues.last(), Some(&rescue(1)));
    assert!(read.rescues.len() + read.unreadable <= 2, "{read:?}");
}
