//! Order, locks and deduplication while the process lives.

use super::*;
use crate::queue::{EmbeddedQueue, InProcessQueue, QueueSettings, RECEIVE_BATCH_MAX, VISIBILITY_TIMEOUT};
use mm_engine::ports::{LaneMessage, RefreshQueue as _};
use mm_model::{AttemptId, ConnectionKey, Version};

#[tokio::test]
async fn a_group_is_delivered_in_order_and_locked_until_all_of_it_is_deleted() {
    let f = Fixture::new();
    let lane = f.open();
    for body in ["1", "2", "3"] {
        put(&lane, "a", body).await;
    }
    let batch = visible(&lane);
    assert_eq!(bodies(&batch), ["1", "2", "3"]);
    put(&lane, "a", "4").await;
    assert!(lane.delete(batch[0].receipt).await && lane.delete(batch[1].receipt).await);
    assert_eq!(bodies(&visible(&lane)), [""; 0], "the third is still being worked on");
    assert!(lane.delete(batch[2].receipt).await);
    assert_eq!(bodies(&visible(&lane)), ["4"]);
}

#[tokio::test]
async fn groups_do_not_wait_for_each_other() {
    let f = Fixture::new();
    let lane = f.open();
    for (group, body) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("c", "c1")] {
        put(&lane, group, body).await;
    }
    assert_eq!(bodies(&visible(&lane)), ["a1", "a2", "b1", "c1"]);
    put(&lane, "d", "d1").await;
    assert_eq!(bodies(&visible(&lane)), ["d1"]);
}

#[tokio::test]
async fn a_group_longer_than_a_batch_goes_on_where_it_stopped() {
    let f = Fixture::new();
    let lane = f.open();
    let all: Vec<_> = (0..2 * RECEIVE_BATCH_MAX + 3).map(|number| number.to_string()).collect();
    for body in &all {
        put(&lane, "a", body).await;
    }
    let first = visible(&lane);
    assert_eq!(bodies(&first), all[..RECEIVE_BATCH_MAX]);
    assert!(visible(&lane).is_empty());
    for received in &first {
        assert!(lane.delete(received.receipt).await);
    }
    assert_eq!(drain(&lane).await, all[RECEIVE_BATCH_MAX..]);
}

#[tokio::test]
async fn what_fails_comes_again_with_all_that_is_behind_it() {
    let f = Fixture::new();
    let lane = f.open();
    for body in ["1", "2", "3"] {
        put(&lane, "a", body).await;
    }
    let batch = visible(&lane);
    assert!(lane.delete(batch[0].receipt).await);
    for failed in &batch[1..] {
        assert!(lane.release(failed.receipt, Duration::from_secs(5)));
    }
    assert!(!lane.release(batch[1].receipt, Duration::ZERO), "a receipt is spent once");
    f.clock.advance(Duration::from_millis(4_999));
    assert!(visible(&lane).is_empty());
    f.clock.advance(Duration::from_millis(1));
    let again = visible(&lane);
    assert_eq!(bodies(&again), ["2", "3"]);
    assert_eq!(again[0].receive_count, 2);
}

#[tokio::test]
async fn a_failed_message_is_not_overtaken_by_one_still_being_worked_on() {
    let f = Fixture::new();
    let lane = f.open();
    put(&lane, "a", "1").await;
    put(&lane, "a", "2").await;
    let batch = visible(&lane);
    assert!(lane.release(batch[0].receipt, Duration::ZERO));
    assert!(visible(&lane).is_empty(), "the second delivery is under way: the group stays locked");
    assert!(lane.release(batch[1].receipt, Duration::ZERO));
    assert_eq!(bodies(&visible(&lane)), ["1", "2"]);
}

#[tokio::test]
async fn what_is_not_deleted_comes_again_after_the_visibility_timeout() {
    let f = Fixture::new();
    let lane = f.open();
    put(&lane, "a", "1").await;
    put(&lane, "a", "2").await;
    let first = visible(&lane);
    f.clock.advance(VISIBILITY_TIMEOUT);
    let second = visible(&lane);
    assert_eq!(bodies(&second), ["1", "2"]);
    assert_eq!(second[0].message_id, first[0].message_id);
    assert!(!lane.delete(first[0].receipt).await, "the first delivery's receipt is worth nothing any more");
    assert!(lane.delete(second[0].receipt).await);
    assert_eq!(lane.depth(), 1);
}

#[tokio::test]
async fn nothing_is_ever_set_aside() {
    let f = Fixture::new();
    let lane = f.open();
    put(&lane, "a", "rescue").await;
    put(&lane, "a", "retry").await;
    for count in 1..=50 {
        let batch = visible(&lane);
        assert_eq!((bodies(&batch), batch[0].receive_count), (vec!["rescue", "retry"], count));
        f.clock.advance(VISIBILITY_TIMEOUT);
    }
}

#[tokio::test]
async fn a_deduplication_id_is_remembered_for_five_minutes() {
    let f = Fixture::new();
    let lane = f.open();
    lane.put("a", "id", "first".to_owned()).await.unwrap();
    lane.put("a", "id", "repeat".to_owned()).await.unwrap();
    assert_eq!(drain(&lane).await, ["first"]);
    f.clock.advance(DEDUPLICATION_WINDOW.saturating_sub(Duration::from_secs(1)));
    lane.put("a", "id", "repeat of what is done".to_owned()).await.unwrap();
    assert_eq!(lane.depth(), 0);
    f.clock.advance(Duration::from_secs(1));
    lane.put("a", "id", "anew".to_owned()).await.unwrap();
    assert_eq!(drain(&lane).await, ["anew"]);
}

#[tokio::test]
async fn repeats_side_by_side_put_one_message() {
    let f = Fixture::new();
    let lane = Arc::new(f.open());
    let puts: Vec<_> = (0..64)
        .map(|_| {
            let lane = Arc::clone(&lane);
            tokio::spawn(async move { lane.put("a", "id", "once".to_owned()).await })
        })
        .collect();
    for put in puts {
        put.await.unwrap().unwrap();
    }
    assert_eq!(drain(&lane).await, ["once"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn putters_and_receivers_side_by_side_keep_every_group_in_order() {
    const GROUPS: usize = 16;
    const EACH: usize = 40;
    let f = Fixture::new();
    let lane = Arc::new(f.open());
    let receivers: Vec<_> = (0..4)
        .map(|_| {
            let lane = Arc::clone(&lane);
            tokio::spawn(async move {
                loop {
                    let batch = lane.receive().await;
                    if batch.is_empty() {
                        break;
                    }
                    for received in batch {
                        ORDER.lock().unwrap().push((received.group.clone(), received.body.clone()));
                        assert!(lane.delete(received.receipt).await);
                    }
                }
            })
        })
        .collect();
    let putters: Vec<_> = (0..GROUPS)
        .map(|group| {
            let lane = Arc::clone(&lane);
            tokio::spawn(async move {
                for number in 0..EACH {
                    put(&lane, &format!("g{group}"), &format!("{group}-{number}")).await;
                }
            })
        })
        .collect();
    for putter in putters {
        putter.await.unwrap();
    }
    while lane.depth() > 0 {
        tokio::task::yield_now().await;
    }
    lane.close();
    for receiver in receivers {
        receiver.await.unwrap();
    }
    let order = ORDER.lock().unwrap();
    for group in 0..GROUPS {
        let name = format!("g{group}");
        let received: Vec<_> = order.iter().filter(|(of, _)| *of == name).map(|(_, body)| body.clone()).collect();
        assert_eq!(received, (0..EACH).map(|number| format!("{group}-{number}")).collect::<Vec<_>>());
    }
}

/// Groups and bodies as one test's receivers got them.
static ORDER: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

#[tokio::test]
async fn closing_ends_every_wait_and_still_takes_rescues() {
    let f = Fixture::new();
    let lane = Arc::new(f.open());
    put(&lane, "a", "1").await;
    let received = visible(&lane).remove(0);
    let waiting = {
        let lane = Arc::clone(&lane);
        tokio::spawn(async move { lane.receive().await })
    };
    tokio::task::yield_now().await;
    lane.close();
    assert_eq!(waiting.await.unwrap(), []);
    assert!(lane.delete(received.receipt).await);
    put(&lane, "a", "2").await;
    drop(lane);
    assert_eq!(bodies(&visible(&f.open())), ["2"]);
}

#[tokio::test]
async fn figures_tell_depth_and_the_age_of_the_oldest() {
    let f = Fixture::new();
    let lane = f.open();
    assert_eq!((lane.depth(), lane.oldest_age()), (0, Duration::ZERO));
    put(&lane, "a", "1").await;
    f.clock.advance(Duration::from_secs(70));
    put(&lane, "b", "2").await;
    let batch = visible(&lane);
    assert_eq!((lane.depth(), lane.oldest_age()), (2, Duration::from_secs(70)));
    assert!(lane.delete(batch[0].receipt).await);
    assert_eq!((lane.depth(), lane.oldest_age()), (1, Duration::ZERO));
}

#[tokio::test]
async fn a_message_past_its_retention_is_gone() {
    let f = Fixture::new();
    let lane = f.open();
    put(&lane, "a", "old").await;
    f.clock.advance(Duration::from_secs(1));
    put(&lane, "a", "young").await;
    f.clock.advance(LANE_RETENTION.saturating_sub(Duration::from_secs(1)));
    assert_eq!(bodies(&visible(&lane)), ["young"]);
    drop(lane);
    assert_eq!(bodies(&visible(&f.open())), ["young"]);
}

#[tokio::test]
async fn what_is_too_large_to_be_read_again_is_refused() {
    let f = Fixture::new();
    let lane = f.open();
    let largest = "x".repeat(LANE_MESSAGE_BYTES_MAX);
    let name = "n".repeat(NAME_BYTES_MAX);
    lane.put(&name, &name, largest.clone()).await.unwrap();
    let refused = lane.put("a", "id", format!("{largest}x")).await.unwrap_err();
    assert!(matches!(refused, LaneError::TooLarge { bytes } if bytes == LANE_MESSAGE_BYTES_MAX + 1));
    assert!(lane.put(&format!("{name}n"), "id", String::new()).await.is_err());
    assert!(lane.put("a", &format!("{name}n"), String::new()).await.is_err());
    drop(lane);
    assert_eq!(bodies(&visible(&f.open())), [largest]);
}

#[tokio::test]
async fn what_is_shown_of_a_delivery_is_not_its_body() {
    let f = Fixture::new();
    let lane = f.open();
    put(&lane, "a", "canary").await;
    let shown =
        format!("{lane:?} {:?}", LaneReceived { deduplication_id: "id".to_owned(), ..visible(&lane).remove(0) });
    assert!(shown.contains("body_bytes: 6") && !shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn the_port_puts_a_message_on_its_connections_lane() {
    let f = Fixture::new();
    let nudges = InProcessQueue::new(Arc::clone(&f.clock) as Arc<dyn Clock>, QueueSettings::default());
    let queue = EmbeddedQueue::new(nudges, f.open());
    let message = LaneMessage::Retry {
        key: ConnectionKey { user: "u1".parse().unwrap(), provider: "soundcloud".parse().unwrap() },
        version: Version::from_bytes([1; 16]),
        from: AttemptId::from_bytes([2; 16]),
        urgent: true,
    };
    queue.put_on_lane(&message).await.unwrap();
    queue.put_on_lane(&message).await.unwrap();
    let batch = queue.lane.receive().await;
    assert_eq!(batch.len(), 1);
    assert_eq!(batch[0].group, "u1/soundcloud");
    assert_eq!(batch[0].deduplication_id, message.deduplication_id());
    assert_eq!(serde_json::from_str::<LaneMessage>(&batch[0].body).unwrap(), message);
}
