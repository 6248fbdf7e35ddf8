use std::{pin::Pin, sync::mpsc, task::Poll};

use mm_engine::ports::{ConnectionStore, Consistency, Expected, Outcome, StoreError};
use mm_model::{Refusal, Seat};
use rusqlite::Connection as Sql;
use tokio::sync::oneshot;

use super::fixture::{HOUR, NOW, applied, claim, commit, connect, key, link, read, row, store};
use crate::store::{IoCounts, SqliteStore, codec, connections, fault::Fault, is_disk_full, wheel, writer::Unit};

/// Has the writing thread wait inside a job until `others` were all asked for, so that they are committed together;
/// returns what they answered.
async fn together<T>(
    store: &SqliteStore,
    others: Vec<impl Future<Output = Result<T, StoreError>>>,
) -> Vec<Result<T, StoreError>> {
    let mut others: Vec<_> = others.into_iter().map(Box::pin).collect();
    while_held(store, async || {
        for other in &mut others {
            asked(other.as_mut()).await;
        }
    })
    .await;
    let mut answers = Vec::new();
    for other in others {
        answers.push(other.await);
    }
    answers
}

/// Runs `meanwhile` while the writing thread waits inside a job.
async fn while_held(store: &SqliteStore, meanwhile: impl AsyncFnOnce()) {
    let (begin, begun) = oneshot::channel();
    let (end, ended) = mpsc::channel::<()>();
    let mut held = Box::pin(store.writer.write("hold", move |_| {
        let _ = begin.send(());
        let _ = ended.recv();
        Ok(())
    }));
    asked(held.as_mut()).await;
    begun.await.unwrap();
    meanwhile().await;
    drop(end);
    held.await.unwrap();
}

/// Polls once: the job is in the writer's queue.
async fn asked<T>(mut job: Pin<&mut impl Future<Output = T>>) {
    std::future::poll_fn(|context| {
        assert!(job.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

fn insert(
    store: &SqliteStore,
    n: u64,
    then: fn(&Sql) -> Result<(), Fault>,
) -> impl Future<Output = Result<(), StoreError>> {
    store.writer.write("insert", move |unit: &mut Unit<'_>| {
        connections::write(unit, None, &row(&format!("user-{n}"), n))?;
        then(unit.sql)
    })
}

async fn present(store: &SqliteStore, count: u64) -> Vec<u64> {
    let mut present = Vec::new();
    for n in 0..count {
        if read(store, &format!("user-{n}")).await.is_some() {
            present.push(n);
        }
    }
    present
}

fn fails(sql: &Sql) -> Result<(), Fault> {
    Ok(sql.execute_batch("INSERT INTO tick VALUES (2, 2)")?)
}

fn succeeds(sql: &Sql) -> Result<(), Fault> {
    Ok(sql.execute_batch("INSERT OR REPLACE INTO tick VALUES (1, 1)")?)
}

#[tokio::test]
async fn what_waits_is_committed_at_once_and_a_failure_is_its_own() {
    let (_directory, store) = store();
    let before = store.io();
    let jobs = (0..10).map(|n| insert(&store, n, if n == 4 { fails } else { succeeds })).collect();
    let answers = together(&store, jobs).await;
    let failed: Vec<_> = answers.iter().enumerate().filter(|(_, answer)| answer.is_err()).map(|(n, _)| n).collect();
    assert_eq!(failed, [4]);
    assert_eq!(present(&store, 10).await, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    let io = store.io().since(before);
    assert_eq!((io.commits, io.writes, io.index_writes), (2, 9, 9), "one commit for the holder, one for all of them");
}

#[tokio::test]
async fn a_failed_commit_disappoints_all_and_writes_nothing() {
    let (_directory, store) = store();
    // A constraint that is only looked at by the commit itself.
    let dangling = |sql: &Sql| {
        let text = "PRAGMA defer_foreign_keys = ON; INSERT INTO identities VALUES ('spotify', 'nobodys', 'nobody')";
        Ok(sql.execute_batch(text)?)
    };
    let jobs = (0..5).map(|n| insert(&store, n, if n == 2 { dangling } else { succeeds })).collect();
    let answers = together(&store, jobs).await;
    for answer in answers {
        let error = answer.expect_err("the commit failed");
        assert!(matches!(error, StoreError::Unavailable { doing: "insert", .. }), "{error:?}");
    }
    assert_eq!(present(&store, 5).await, Vec::<u64>::new());
    assert_eq!(store.io().writes, 0);
    connect(&store, "ann", 1).await;
}

#[tokio::test]
async fn a_transaction_that_is_taken_back_whole_disappoints_all_of_it() {
    let (_directory, store) = store();
    // What SQLite does by itself when the disk fails in the middle of a statement.
    let rolls_back = |sql: &Sql| Ok(sql.execute_batch("ROLLBACK")?);
    let jobs = (0..5).map(|n| insert(&store, n, if n == 2 { rolls_back } else { succeeds })).collect();
    let answers = together(&store, jobs).await;
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    assert_eq!(present(&store, 5).await, Vec::<u64>::new());
    connect(&store, "ann", 1).await;
}

#[tokio::test]
async fn a_write_is_done_even_if_nobody_waits_for_it_any_more() {
    let (_directory, store) = store();
    while_held(&store, async || {
        let mut abandoned = Box::pin(insert(&store, 0, succeeds));
        asked(abandoned.as_mut()).await;
    })
    .await;
    connect(&store, "ann", 1).await;
    assert_eq!(present(&store, 1).await, [0]);
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full_and_leaves_nothing_half_written() {
    let (_directory, store) = store();
    connect(&store, "ann", 1).await;
    let limit = |pages: i64| {
        store.writer.write("limit the file", move |unit| {
            let now: i64 = unit.sql.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let granted = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
            Ok(unit.sql.pragma_update_and_check(None, "max_page_count", now + pages, granted)?)
        })
    };
    limit(2).await.unwrap();
    let mut count = 0;
    let error = loop {
        count += 1;
        assert!(count < 1_000, "the file never filled up");
        let user = format!("user-{count}");
        if let Err(error) = store.link(&link(&row(&user, count), Expected::Absent)).await {
            break error;
        }
    };
    assert!(is_disk_full(&error), "{error:?}");
    assert_eq!(error.to_string(), "the store is unavailable while it was to write a login");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("full"), "{source}");
    let last = format!("user-{count}");
    let rows = store.person(&key(&last).user, Consistency::Strong).await.unwrap();
    assert_eq!((rows.user, rows.connections.len()), (None, 0));
    assert_eq!(store.owner(&key(&last).provider, &row(&last, count).account).await.unwrap(), None);
    assert!(read(&store, "ann").await.is_some(), "a living token can still be read");
    limit(1_000).await.unwrap();
    connect(&store, &last, count).await;
}

#[tokio::test]
async fn a_refresh_is_two_writes_no_read_and_leaves_the_index_alone() {
    let (_directory, store) = store();
    connect(&store, "ann", 1).await;
    let due = NOW.plus(HOUR);
    let before = store.io();
    let claimed = applied(&store, "ann", claim(1, due)).await;
    let seat = claimed.active().unwrap().seat.unwrap();
    let refreshed = applied(&store, "ann", commit(claimed, 2, HOUR, due)).await;
    let io = store.io().since(before);
    assert_eq!(io, IoCounts { reads: 0, writes: 2, index_writes: 0, refused: 0, commits: 2 });
    assert_eq!(refreshed.active().unwrap().seat, Some(seat));
    assert_eq!(store.seated(seat, None).await.unwrap().keys, [key("ann")]);
    // A token that lives a day asks for another seat, after three misfits.
    let (before, mut at) = (store.io(), due);
    for n in 0..3 {
        at = at.plus(HOUR * 24);
        let claimed = applied(&store, "ann", seen_claim(&store, 10 + n, at).await).await;
        applied(&store, "ann", commit(claimed, 20 + n, HOUR * 24, at)).await;
    }
    assert_eq!(store.io().since(before).index_writes, 1);
    assert_eq!(store.seated(seat, None).await.unwrap().keys, []);
    let moved = read(&store, "ann").await.unwrap().active().unwrap().seat.unwrap();
    assert_eq!(store.seated(moved, None).await.unwrap().keys, [key("ann")]);
}

/// A claim of a connection that was just read.
async fn seen_claim(store: &SqliteStore, n: u64, at: mm_model::Timestamp) -> mm_model::Step {
    applied(store, "ann", mm_model::Step::Seen(mm_model::step::Seen { now: at, seat: None })).await;
    claim(n, at)
}

#[tokio::test]
async fn a_refused_step_writes_nothing_and_says_so() {
    let (_directory, store) = store();
    let connected = connect(&store, "ann", 1).await;
    let before = store.io();
    let outcome = store.apply(&key("ann"), &claim(1, NOW)).await.unwrap();
    let until = connected.active().unwrap().next_refresh_at;
    assert_eq!(outcome, Outcome::Refused(Refusal::NotDue { until }, Some(connected.clone())));
    let outcome = store.apply(&key("bob"), &claim(1, NOW)).await.unwrap();
    assert_eq!(outcome, Outcome::Refused(Refusal::Missing, None));
    let io = store.io().since(before);
    assert_eq!(io, IoCounts { reads: 0, writes: 0, index_writes: 0, refused: 2, commits: 2 });
    assert_eq!(read(&store, "ann").await, Some(connected));
    assert_eq!(store.io().since(before).reads, 1);
}

/// The roots of the trees that a statement opens for writing.
fn written_roots(sql: &Sql, text: &str) -> Vec<i64> {
    let mut statement = sql.prepare(&format!("EXPLAIN {text}")).unwrap();
    let unbound = vec![rusqlite::types::Null; statement.parameter_count()];
    let program = statement
        .query_map(rusqlite::params_from_iter(unbound), |row| Ok((row.get::<_, String>(1)?, row.get::<_, i64>(3)?)))
        .unwrap();
    program.map(Result::unwrap).filter(|(opcode, _)| opcode == "OpenWrite").map(|(_, root)| root).collect()
}

#[tokio::test]
async fn an_update_that_keeps_its_seat_opens_no_tree_of_the_wheel() {
    let (_directory, store) = store();
    let roots = store.writer.write("explain", |unit| {
        let root = |name: &str| {
            unit.sql.query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [name], |row| row.get::<_, i64>(0))
        };
        let (table, wheel) = (root("connections")?, root("wheel")?);
        Ok((table, wheel, written_roots(unit.sql, &codec::UPDATE_SEATED), written_roots(unit.sql, &codec::UPDATE)))
    });
    let (table, wheel, seated, moved) = roots.await.unwrap();
    assert!(seated.contains(&table) && !seated.contains(&wheel), "{seated:?}");
    assert!(moved.contains(&table) && moved.contains(&wheel), "{moved:?}");
}

#[tokio::test]
async fn a_seat_is_read_from_the_index_alone_page_by_page() {
    let (_directory, store) = store();
    let plan = store.read_inline("explain", |sql| {
        let mut statement = sql.prepare(&format!("EXPLAIN QUERY PLAN {}", wheel::SEATED))?;
        let steps = statement.query_map(rusqlite::params!["", "", "", 1], |row| row.get::<_, String>(3))?;
        Ok(steps.collect::<Result<Vec<_>, _>>()?)
    });
    assert_eq!(plan.unwrap(), ["SEARCH connections USING COVERING INDEX wheel (seat=? AND (user_id,provider)>(?,?))"]);

    let count = wheel::SEAT_PAGE_MAX + 3;
    let seat = Seat::fast(&key("ann"), HOUR);
    let fill = store.writer.write("fill a seat", move |unit| {
        for n in 0..count {
            let mut row = row(&format!("user-{n:04}"), 1);
            let mm_model::connection::Status::Active(active) = &mut row.status else { panic!("a login is active") };
            active.seat = Some(seat);
            connections::write(unit, None, &row)?;
        }
        Ok(())
    });
    fill.await.unwrap();
    let first = store.seated(seat, None).await.unwrap();
    let second = store.seated(seat, first.next.as_deref()).await.unwrap();
    assert_eq!((first.keys.len(), second.keys.len(), second.next), (wheel::SEAT_PAGE_MAX, 3, None));
    let users: Vec<_> = first.keys.iter().chain(&second.keys).map(|key| key.user.to_string()).collect();
    assert!(users.iter().eq((0..count).map(|n| format!("user-{n:04}")).collect::<Vec<_>>().iter()));
    assert!(matches!(store.seated(seat, Some("nonsense")).await, Err(StoreError::Impossible { field: "cursor", .. })));
}

#[tokio::test]
async fn no_statement_is_planned_anew_at_each_use() {
    let (_directory, store) = store();
    connect(&store, "ann", 1).await;
    let replanned = store.read_inline("look", |sql| {
        let mut replanned = 0;
        for text in [&*codec::SELECT, &*codec::SELECT_OF_USER, wheel::SEATED] {
            let mut statement = sql.prepare(text)?;
            for round in 0..3 {
                // The last parameter of the wheel's statement is its limit.
                let user = format!("user-{round}");
                let bound = [&*user, "spotify", "", "1"].into_iter().take(statement.parameter_count());
                statement.query(rusqlite::params_from_iter(bound))?.next()?;
            }
            replanned += statement.get_status(rusqlite::StatementStatus::RePrepare);
        }
        Ok(replanned)
    });
    assert_eq!(replanned.unwrap(), 0);
}
