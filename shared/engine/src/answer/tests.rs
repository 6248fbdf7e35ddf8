use std::{
    future::{pending, ready},
    io,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use mm_model::{Sealed, Timestamp, Version};
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::testing::ManualClock;

const TIME: Duration = Duration::from_secs(10);

fn rescue() -> LaneMessage {
    let now = Timestamp::from_unix(1_800_000_000);
    LaneMessage::Rescue {
        key: ConnectionKey { user: "ann".parse().unwrap(), provider: "soundcloud".parse().unwrap() },
        commit: Box::new(Commit {
            consumed: Version::from_bytes([1; 16]),
            version: Version::from_bytes([2; 16]),
            access_token: Sealed::from_bytes(vec![3; 40]),
            refresh_token: Some(Sealed::from_bytes(vec![4; 40])),
            expires_at: now.plus(Duration::from_hours(1)),
            lifetime: 3600,
            scope: None,
            now,
            next_refresh_at: now.plus(Duration::from_mins(50)),
            soon: None,
            reseat: None,
            misfits: 0,
            warned_days: None,
            event: None,
        }),
    }
}

#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl io::Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Tape {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Runs `work` on this thread; the answers that it left in the log.
fn unsaved_in_the_log(work: impl FnOnce()) -> Vec<LaneMessage> {
    let tape = Tape::default();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(tape.clone()).finish();
    tracing::subscriber::with_default(subscriber, work);
    let written = String::from_utf8(tape.0.lock().unwrap().clone()).unwrap();
    let lines = written.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let unsaved = lines.filter(|line| line["message"].as_str().unwrap().starts_with("refresh.unsaved"));
    unsaved
        .map(|line| {
            assert_eq!((line["level"].as_str(), line["connection"].as_str()), (Some("ERROR"), Some("ann/soundcloud")));
            serde_json::from_str(line["sealed"].as_str().unwrap()).unwrap()
        })
        .collect()
}

/// Keeps an answer for [`TIME`] by `write` and `rescued`; the clock passes the end only when `ends` says so.
fn kept(
    write: impl Future<Output = u8>,
    rescued: impl Future<Output = ()>,
    ends: bool,
) -> (Poll<Progress<u8>>, Vec<LaneMessage>) {
    let clock = ManualClock::new(Timestamp::from_unix(1_800_000_000));
    let message = rescue();
    let mut progress = Poll::Pending;
    let unsaved = unsaved_in_the_log(|| {
        let mut keeping = pin!(keep(&clock, TIME, Unsaved::new(&message), write, rescued));
        let context = &mut Context::from_waker(Waker::noop());
        progress = keeping.as_mut().poll(context);
        if ends && progress.is_pending() {
            clock.advance(TIME.saturating_sub(Duration::from_millis(1)));
            assert!(keeping.as_mut().poll(context).is_pending(), "they have all of the time");
            clock.advance(Duration::from_millis(1));
            progress = keeping.as_mut().poll(context);
        }
    });
    (progress, unsaved)
}

#[test]
fn what_the_table_takes_is_in_no_log() {
    assert_eq!(kept(ready(7), pending(), false), (Poll::Ready(Progress::Written(7)), vec![]));
}

#[test]
fn what_the_lane_takes_while_the_table_hangs_is_in_no_log() {
    assert_eq!(kept(pending(), ready(()), true), (Poll::Ready(Progress::Rescued), vec![]));
}

#[test]
fn what_hangs_at_both_to_the_end_is_in_the_log_whole() {
    assert_eq!(kept(pending(), pending(), true), (Poll::Ready(Progress::Neither), vec![rescue()]));
}

#[test]
fn a_process_that_stops_in_the_middle_writes_the_answer_to_the_log_unless_the_lane_has_it() {
    assert_eq!(kept(pending(), pending(), false), (Poll::Pending, vec![rescue()]));
    assert_eq!(kept(pending(), ready(()), false), (Poll::Pending, vec![]));
}
