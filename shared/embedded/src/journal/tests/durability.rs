//! What a start finds, and what the file does when it is full, long, torn or damaged.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use super::*;

/// A message of which four fill a kibibyte.
fn body(number: usize) -> String {
    format!("{number:0>180}")
}

#[tokio::test]
async fn a_start_finds_what_was_put_and_not_deleted_visible_at_once() {
    let f = Fixture::new();
    let lane = f.open();
    for text in ["1", "2", "3"] {
        put(&lane, "a", text).await;
    }
    put(&lane, "b", "not JSON \u{0} at all").await;
    let batch = visible(&lane);
    assert!(lane.delete(batch[0].receipt).await);
    drop(lane);
    let lane = f.open();
    assert_eq!(bodies(&visible(&lane)), ["2", "3", "not JSON \u{0} at all"]);
    put(&lane, "a", "4").await;
    drop(lane);
    assert_eq!(drain(&f.open()).await, ["2", "3", "4", "not JSON \u{0} at all"]);
    assert_eq!(f.open().depth(), 0);
}

#[tokio::test]
async fn deduplication_survives_a_start() {
    let f = Fixture::new();
    put(&f.open(), "a", "1").await;
    let lane = f.open();
    put(&lane, "a", "1").await;
    assert_eq!(drain(&lane).await, ["1"]);
    drop(lane);
    let lane = f.open();
    put(&lane, "a", "1").await;
    assert_eq!(lane.depth(), 0);
    f.clock.advance(DEDUPLICATION_WINDOW);
    put(&lane, "a", "1").await;
    assert_eq!(lane.depth(), 1);
}

#[tokio::test]
async fn the_files_are_their_owners_alone() {
    let f = Fixture::new();
    put(&f.open(), "a", "1").await;
    for name in ["lane.journal", "lane.lock"] {
        let mode = fs::metadata(f.directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
}

#[test]
fn a_journal_is_opened_by_one_at_a_time() {
    let f = Fixture::new();
    let lane = f.open();
    let refused = f.try_open_within(Limits::default()).unwrap_err();
    assert!(matches!(&refused, JournalError::InUse { path } if path.ends_with("lane.lock")), "{refused}");
    drop(lane);
    f.open();
}

#[test]
fn a_file_that_is_no_journal_is_refused_and_left_alone() {
    for content in ["", "MMLANE2\nfrom a later version", "MMLANE"] {
        let f = Fixture::new();
        fs::write(f.path(), content).unwrap();
        let refused = f.try_open_within(Limits::default()).unwrap_err();
        assert!(matches!(refused, JournalError::Foreign { .. }), "{refused}");
        assert_eq!(fs::read_to_string(f.path()).unwrap(), content);
    }
}

#[tokio::test]
async fn a_disk_that_is_full_still_takes_what_fits_into_the_room_kept_ahead() {
    let f = Fixture::new();
    // The file cannot grow beyond its first size: as on a full disk.
    let full = Limits { file: 8 + SMALL.ahead, ..SMALL };
    let lane = f.open_within(full);
    let mut taken = 0;
    let refused = loop {
        match lane.put("a", &format!("id-{taken}"), body(taken)).await {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(&refused, LaneError::Storage(source) if source.kind() == io::ErrorKind::StorageFull), "{refused}");
    let bytes = taken * (body(0).len() + 64);
    assert!(bytes + 512 > usize::try_from(SMALL.ahead).unwrap(), "{taken} messages are most of the room");
    drop(lane);

    let lane = f.open_within(full);
    let expected: Vec<_> = (0..taken).map(body).collect();
    assert_eq!(drain(&lane).await, expected, "every acknowledged message is there");
    drop(lane);
    let lane = f.open_within(full);
    assert_eq!(lane.depth(), 0);
    let size = fs::metadata(f.path()).unwrap().len();
    assert!(size <= full.file, "room for every deletion was kept; the file has {size} bytes");
    f.clock.advance(DEDUPLICATION_WINDOW);
    put(&lane, "a", "after the flood").await;
}

#[tokio::test]
async fn a_refused_put_is_not_taken_for_a_repeat_afterwards() {
    let f = Fixture::new();
    let full = Limits { file: 8 + SMALL.ahead, ..SMALL };
    let lane = f.open_within(full);
    let large = "x".repeat(3_000);
    lane.put("a", "one", large.clone()).await.unwrap();
    assert!(lane.put("a", "two", large.clone()).await.is_err());
    assert_eq!(drain(&lane).await, std::slice::from_ref(&large));
    drop(lane);
    let lane = f.open_within(SMALL);
    lane.put("a", "two", large.clone()).await.unwrap();
    assert_eq!(drain(&lane).await, [large]);
}

#[tokio::test]
async fn a_journal_of_mostly_deletions_is_written_anew_with_what_lives() {
    let f = Fixture::new();
    let lane = f.open_within(SMALL);
    put(&lane, "kept", "first").await;
    let kept = visible(&lane).remove(0);
    assert!(lane.release(kept.receipt, Duration::from_hours(2)));
    for number in 0..400 {
        put(&lane, "passing", &body(number)).await;
        assert_eq!(drain(&lane).await, [body(number)]);
        f.clock.advance(Duration::from_secs(10));
    }
    put(&lane, "kept", "second").await;
    drop(lane);
    let size = fs::metadata(f.path()).unwrap().len();
    assert!(size < 40_000, "400 messages of 240 bytes have passed; the file has {size}");
    let lane = f.open_within(SMALL);
    assert_eq!(drain(&lane).await, ["first", "second"]);
    // Those of the last five minutes.
    for number in 371..400 {
        put(&lane, "passing", &body(number)).await;
    }
    assert_eq!(lane.depth(), 0, "deduplication survives the writing anew");
}

#[tokio::test]
async fn a_journal_without_live_messages_is_emptied_in_place() {
    let f = Fixture::new();
    let lane = f.open_within(SMALL);
    // Held open, so that its number is not given to another file.
    let file = File::open(f.path()).unwrap();
    for number in 0..200 {
        put(&lane, "a", &body(number)).await;
        assert_eq!(drain(&lane).await, [body(number)]);
        f.clock.advance(Duration::from_mins(1));
    }
    drop(lane);
    let size = fs::metadata(f.path()).unwrap().len();
    assert!(size <= 8 + 4 * SMALL.ahead, "{size}");
    let inode = file.metadata().unwrap().ino();
    assert_eq!(fs::metadata(f.path()).unwrap().ino(), inode, "no second file: a full disk has no room for one");
    let lane = f.open_within(SMALL);
    for number in 196..200 {
        put(&lane, "a", &body(number)).await;
    }
    assert_eq!(lane.depth(), 0, "deduplication survives the emptying");
}

#[tokio::test]
async fn what_stands_behind_the_end_never_comes_back() {
    let f = Fixture::new();
    let lane = f.open();
    put(&lane, "a", "1").await;
    put(&lane, "a", "2").await;
    drop(lane);
    // As if emptying in place had been interrupted after its first step.
    let mut bytes = fs::read(f.path()).unwrap();
    bytes[8..16].fill(0);
    fs::write(f.path(), bytes).unwrap();
    let lane = f.open();
    assert_eq!(lane.depth(), 0);
    // As long as the first: without cutting, the second would stand right behind it.
    put(&lane, "a", "3").await;
    drop(lane);
    assert_eq!(drain(&f.open()).await, ["3"]);
}

#[tokio::test]
async fn damage_costs_what_it_hit_and_the_damaged_file_is_kept() {
    let f = Fixture::new();
    let lane = f.open();
    for text in ["one", "two", "three"] {
        put(&lane, "a", text).await;
    }
    drop(lane);
    let mut bytes = fs::read(f.path()).unwrap();
    let hit = bytes.windows(3).position(|window| window == b"two").unwrap();
    bytes[hit] ^= 0x01;
    fs::write(f.path(), &bytes).unwrap();
    let lane = f.open();
    put(&lane, "a", "four").await;
    drop(lane);
    assert_eq!(drain(&f.open()).await, ["one", "three", "four"]);
    let aside = f.directory.path().join("lane.journal.damaged-1000000");
    assert_eq!(fs::read(aside).unwrap(), bytes);
}

#[tokio::test]
async fn remains_of_an_interrupted_writing_anew_do_no_harm() {
    let f = Fixture::new();
    put(&f.open_within(SMALL), "a", "1").await;
    fs::write(f.directory.path().join("lane.journal.new"), "half").unwrap();
    let lane = f.open_within(SMALL);
    for number in 0..100 {
        put(&lane, "b", &body(number)).await;
    }
    assert_eq!(drain(&lane).await.len(), 101);
}
