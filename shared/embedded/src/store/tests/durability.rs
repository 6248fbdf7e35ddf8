use std::{fs, os::unix::fs::FileExt as _};

use mm_engine::ports::{ConnectionStore, Consistency};
use tempfile::TempDir;

use super::fixture::{HOUR, NOW, applied, claim, connect, key, read, store};
use crate::store::{SqliteStore, is_corrupt};

#[tokio::test]
async fn what_was_acknowledged_is_in_the_files_at_once() {
    let (directory, store) = store();
    let mut copies = Vec::new();
    for n in 0..5 {
        connect(&store, &format!("user-{n}"), n).await;
        // What a process that is killed right now leaves behind. The shared memory is nobody's after a crash.
        let copy = TempDir::new().unwrap();
        for name in ["multimusic.db", "multimusic.db-wal"] {
            fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
        }
        copies.push((n, copy));
    }
    for (last, copy) in copies {
        let store = SqliteStore::open(copy.path()).unwrap();
        for n in 0..5 {
            let found = read(&store, &format!("user-{n}")).await;
            assert_eq!(found.is_some(), n <= last, "row {n} of the copy after {last}");
        }
    }
}

#[tokio::test]
async fn a_torn_log_loses_only_what_was_not_acknowledged() {
    let (directory, store) = store();
    connect(&store, "ann", 1).await;
    let log = directory.path().join("multimusic.db-wal");
    let acknowledged = fs::metadata(&log).unwrap().len();
    applied(&store, "ann", claim(1, NOW.plus(HOUR))).await;
    let copy = TempDir::new().unwrap();
    for name in ["multimusic.db", "multimusic.db-wal"] {
        fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
    }
    // The claim's frames, half of them on the disk.
    let torn = fs::OpenOptions::new().write(true).open(copy.path().join("multimusic.db-wal")).unwrap();
    let written = torn.metadata().unwrap().len();
    assert!(written > acknowledged);
    torn.set_len(acknowledged + (written - acknowledged) / 2).unwrap();
    let store = SqliteStore::open(copy.path()).unwrap();
    assert_eq!(read(&store, "ann").await.unwrap().active().unwrap().lease, None);
}

#[tokio::test]
async fn a_damaged_file_is_said_to_be_damaged() {
    let (directory, store) = store();
    for n in 0..400 {
        connect(&store, &format!("user-{n}"), n).await;
    }
    drop(store);
    let file = fs::OpenOptions::new().read(true).write(true).open(directory.path().join("multimusic.db")).unwrap();
    let length = file.metadata().unwrap().len();
    // Everything but the first pages, which hold the schema and the roots.
    for page in 40..length / 4096 {
        file.write_all_at(&[0xA5; 4096], page * 4096).unwrap();
    }
    drop(file);
    let store = SqliteStore::open(directory.path()).unwrap();
    let mut damaged = 0;
    for n in 0..400 {
        match store.person(&key(&format!("user-{n}")).user, Consistency::Strong).await {
            Ok(_) => {}
            Err(error) => {
                assert!(is_corrupt(&error), "{error:?}");
                damaged += 1;
            }
        }
    }
    assert!(damaged > 100, "{damaged} reads met the damage");
}
