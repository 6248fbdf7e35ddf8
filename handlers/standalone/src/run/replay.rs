//! The replay of answers that only the log holds: those that neither the table nor the lane took.
//!
//! What is put on the lane is a rescue like any other: the next start applies it, on condition that the row still waits for
//! it. So a log may be replayed again, and lines that are out of date do no harm.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
    sync::Arc,
};

use mm_boot::Config;
use mm_embedded::{
    clock::SystemClock,
    journal::JournalLane,
    queue::{EmbeddedQueue, InProcessQueue, QueueSettings},
    store::SqliteStore,
};
use mm_engine::{
    chain,
    ports::{LANE_MESSAGE_BYTES_MAX, LaneMessage, RefreshQueue as _},
};
use mm_standalone::StartError;

use super::{Failure, refused_start, sandbox};
use crate::flags::tell;

/// How the log says that an answer is nowhere else.
const UNSAVED: &str = "refresh.unsaved:";

/// What stands before the sealed message, a quoted string, in a line of JSON and in one of a terminal.
const BEFORE_SEALED: [&str; 2] = ["\"sealed\":", "sealed="];

/// Longest line that is read in one piece, in bytes: a message with every quote escaped, and what the log puts around it.
const LINE_BYTES_MAX: u64 = 3 * LANE_MESSAGE_BYTES_MAX as u64;

/// What a log holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Log {
    /// The messages that can be read, in their order.
    rescues: Vec<LaneMessage>,
    /// Lines that tell of an unsaved answer and hold none.
    unreadable: usize,
}

/// Puts the answers of a log file on the lane of the stopped server.
pub(super) async fn run(file: &Path, config: &Config, twins: bool, speed: u32) -> Result<(), Failure> {
    let unread = |error: io::Error| {
        Failure::Config(format!("--replay: {} cannot be read ({error}); name a log file", file.display()))
    };
    let log = read(&mut BufReader::new(File::open(file).map_err(unread)?)).map_err(unread)?;
    let found = log.rescues.len() + log.unreadable;
    if found == 0 {
        tell(&format!("multimusic: {} holds no answers to replay", file.display()));
        return Ok(());
    }
    let queued = if log.rescues.is_empty() { 0 } else { put(&log.rescues, config, twins, speed).await? };
    tell(&format!(
        "multimusic: {found} unsaved answers found, {queued} put on the lane, {} unreadable; start the server to have them applied",
        log.unreadable
    ));
    if queued == found {
        Ok(())
    } else {
        Err(Failure::Start("not every answer was put on the lane; keep the log".into()))
    }
}

/// Puts the messages on the lane; says how many it took.
async fn put(rescues: &[LaneMessage], config: &Config, twins: bool, speed: u32) -> Result<usize, Failure> {
    let data_dir = if twins { sandbox::data_dir(config) } else { config.data_dir.clone() };
    // A mistyped name would make a new directory, and the answers would wait there for ever.
    if !data_dir.is_dir() {
        return Err(Failure::Config(format!("DATA_DIR: {} is not there; name the server's", data_dir.display())));
    }
    // The server's own clock, which may be ahead of the real one: a message's age is counted from when it was put.
    let clock = if twins { sandbox::clock(config, speed).await? } else { Arc::new(SystemClock::new()) };
    // Held meanwhile: its lock says that no server runs.
    let store = SqliteStore::open(&data_dir).map_err(|error| refused_start(error.into()))?;
    let lane =
        JournalLane::open(&data_dir, Arc::clone(&clock)).map_err(|error| refused_start(StartError::from(error)))?;
    let queue = EmbeddedQueue::new(InProcessQueue::new(clock, QueueSettings::default()), lane);
    let mut queued = 0;
    for rescue in rescues {
        match queue.put_on_lane(rescue).await {
            Ok(()) => queued += 1,
            Err(error) => tracing::error!(connection = %rescue.key(), error = %chain(&error), "replay: not queued"),
        }
    }
    drop(queue);
    drop(store);
    Ok(queued)
}

fn read(lines: &mut impl BufRead) -> io::Result<Log> {
    let mut log = Log::default();
    let mut line = Vec::new();
    while lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
        // What is not UTF-8 is none of ours.
        let text = String::from_utf8_lossy(&line);
        if text.contains(UNSAVED) {
            match sealed(&text) {
                Some(rescue) => log.rescues.push(rescue),
                None => log.unreadable += 1,
            }
        }
        line.clear();
    }
    Ok(log)
}

/// The message of a line, whichever way the log was written. A terminal quotes as JSON does: nothing in a message needs more
/// than `\"` and `\\`.
fn sealed(line: &str) -> Option<LaneMessage> {
    let line = without_colours(line);
    let quoted = BEFORE_SEALED.iter().find_map(|before| Some(line.split_once(before)?.1))?;
    let message = serde_json::Deserializer::from_str(quoted).into_iter::<String>().next()?.ok()?;
    let message = serde_json::from_str(&message).ok()?;
    // A retry that waited behind nothing would spend a token a second time.
    matches!(message, LaneMessage::Rescue { .. }).then_some(message)
}

/// A terminal's line without its escape sequences (`ESC [ … m`).
fn without_colours(line: &str) -> String {
    let mut pieces = line.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or(piece, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests;
