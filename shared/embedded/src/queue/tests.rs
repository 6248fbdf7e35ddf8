use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use mm_engine::{ports::Trigger, testing::ManualClock};

use super::*;

struct Fixture {
    clock: Arc<ManualClock>,
    queue: Arc<InProcessQueue>,
}

fn fixture(settings: QueueSettings) -> Fixture {
    let clock = Arc::new(ManualClock::new(Timestamp::from_unix(1_000_000)));
    let queue = Arc::new(InProcessQueue::new(Arc::clone(&clock) as Arc<dyn Clock>, settings));
    Fixture { clock, queue }
}

impl Fixture {
    fn send(&self, lane: Lane, user: usize, delay: Duration) {
        self.queue.nudge(lane, &[(nudge(user), delay)]).unwrap();
    }

    /// What `receive` gives without waiting.
    fn visible(&self, lane: Lane) -> Vec<Received> {
        match poll_once(self.queue.receive(lane)) {
            Poll::Ready(batch) => batch,
            Poll::Pending => Vec::new(),
        }
    }

    fn everything_visible(&self, lane: Lane) -> Vec<Received> {
        std::iter::repeat_with(|| self.visible(lane)).take_while(|batch| !batch.is_empty()).flatten().collect()
    }
}

fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn nudge(user: usize) -> Nudge {
    let key = ConnectionKey { user: format!("u{user}").parse().unwrap(), provider: "soundcloud".parse().unwrap() };
    Nudge { key, trigger: Trigger::Due }
}

fn users(batch: &[Received]) -> Vec<String> {
    let user = |received: &Received| serde_json::from_str::<Nudge>(&received.body).unwrap().key.user.to_string();
    batch.iter().map(user).collect()
}

#[test]
fn a_message_is_visible_after_its_delay_and_not_before() {
    let f = fixture(QueueSettings::default());
    f.send(Lane::Due, 1, Duration::from_millis(90_500));
    f.clock.advance(Duration::from_millis(90_499));
    assert_eq!(f.visible(Lane::Due), []);
    f.clock.advance(Duration::from_millis(1));
    assert_eq!(users(&f.visible(Lane::Due)), ["u1"]);
    assert_eq!(f.visible(Lane::Due), [], "what is being worked on is hidden");
}

#[test]
fn a_longer_delay_than_the_port_allows_is_cut_to_it() {
    let f = fixture(QueueSettings::default());
    f.send(Lane::Due, 1, Duration::from_hours(5));
    f.clock.advance(NUDGE_DELAY_MAX.saturating_sub(Duration::from_millis(1)));
    assert_eq!(f.visible(Lane::Due), []);
    f.clock.advance(Duration::from_millis(1));
    assert_eq!(f.visible(Lane::Due).len(), 1);
}

#[test]
fn the_lanes_do_not_mix() {
    let f = fixture(QueueSettings::default());
    f.send(Lane::Urgent, 1, Duration::ZERO);
    assert_eq!(f.visible(Lane::Due), []);
    assert_eq!(users(&f.visible(Lane::Urgent)), ["u1"]);
}

#[test]
fn many_at_once_arrive_each_once_and_in_order_of_their_time() {
    let f = fixture(QueueSettings::default());
    // A stride that is prime to the count visits every second once, out of order.
    let seconds = |user: usize| (user * 7_919 % 50_000) as u64;
    let nudges: Vec<_> = (0..50_000).map(|user| (nudge(user), Duration::from_millis(seconds(user)))).collect();
    f.queue.nudge(Lane::Due, &nudges).unwrap();
    f.clock.advance(Duration::from_secs(50));
    let batches: Vec<_> =
        std::iter::repeat_with(|| f.visible(Lane::Due)).take_while(|batch| !batch.is_empty()).collect();
    assert!(batches.iter().all(|batch| batch.len() == RECEIVE_BATCH_MAX));
    let received = users(&batches.concat());
    let mut expected: Vec<_> = (0..50_000).collect();
    expected.sort_by_key(|user| seconds(*user));
    assert!(received == expected.iter().map(|user| format!("u{user}")).collect::<Vec<_>>());
    for received in batches.concat() {
        assert!(f.queue.delete(received.receipt));
    }
    assert_eq!(f.queue.figures(Lane::Due), LaneFigures { oldest_age: Duration::ZERO, ..LaneFigures::default() });
}

#[test]
fn what_is_not_deleted_comes_again_after_the_visibility_timeout() {
    let f = fixture(QueueSettings::default());
    f.send(Lane::Due, 1, Duration::ZERO);
    let first = f.visible(Lane::Due).remove(0);
    f.clock.advance(VISIBILITY_TIMEOUT.saturating_sub(Duration::from_millis(1)));
    assert_eq!(f.visible(Lane::Due), []);
    f.clock.advance(Duration::from_millis(1));
    let second = f.visible(Lane::Due).remove(0);
    assert_eq!((&second.message_id, second.receive_count), (&first.message_id, 2));
    assert!(!f.queue.delete(first.receipt), "the first delivery's receipt is worth nothing any more");
    assert!(f.queue.delete(second.receipt));
    f.clock.advance(VISIBILITY_TIMEOUT);
    assert_eq!(f.visible(Lane::Due), []);
}

#[test]
fn a_late_worker_may_still_delete_what_nobody_else_has_taken() {
    let f = fixture(QueueSettings::default());
    f.send(Lane::Due, 1, Duration::ZERO);
    let received = f.visible(Lane::Due).remove(0);
    f.clock.advance(VISIBILITY_TIMEOUT + Duration::from_secs(1));
    assert!(f.queue.delete(received.receipt));
    assert_eq!(f.visible(Lane::Due), []);
}

#[test]
fn a_released_message_comes_again_after_its_delay() {
    let f = fixture(QueueSettings::default());
    f.send(Lane::Urgent, 1, Duration::ZERO);
    let received = f.visible(Lane::Urgent).remove(0);
    assert!(f.queue.release(received.receipt, Duration::from_secs(10)));
    assert!(!f.queue.release(received.receipt, Duration::ZERO), "a receipt is spent once");
    assert_eq!(f.visible(Lane::Urgent), []);
    f.clock.advance(Duration::from_secs(10));
    assert_eq!(f.visible(Lane::Urgent)[0].receive_count, 2);
}

#[test]
fn after_five_deliveries_a_nudge_is_set_aside_with_its_key_only() {
    let f = fixture(QueueSettings::default());
    f.send(Lane::Due, 1, Duration::ZERO);
    for count in 1..=RECEIVES_MAX {
        let received = f.visible(Lane::Due).remove(0);
        assert_eq!(received.receive_count, count);
        assert!(f.queue.release(received.receipt, Duration::ZERO));
    }
    assert_eq!(f.visible(Lane::Due), []);
    assert_eq!(f.queue.dead_letters(Lane::Due), [DeadLetter { key: nudge(1).key, at: f.clock.now() }]);
    assert_eq!(f.queue.figures(Lane::Due), LaneFigures { dead: 1, ..LaneFigures::default() });
}

#[test]
fn dead_letters_are_all_counted_and_the_last_remembered() {
    let f = fixture(QueueSettings::default());
    let nudges: Vec<_> = (0..DEAD_LETTERS_MAX + 5).map(|user| (nudge(user), Duration::ZERO)).collect();
    f.queue.nudge(Lane::Due, &nudges).unwrap();
    for _ in 0..RECEIVES_MAX {
        assert_eq!(f.everything_visible(Lane::Due).len(), nudges.len());
        f.clock.advance(VISIBILITY_TIMEOUT);
    }
    assert_eq!(f.visible(Lane::Due), []);
    let remembered = f.queue.dead_letters(Lane::Due);
    assert_eq!(f.queue.figures(Lane::Due).dead, nudges.len() as u64);
    assert_eq!(remembered.len(), DEAD_LETTERS_MAX);
    assert_eq!(remembered.last().map(|letter| &letter.key), nudges.last().map(|(nudge, _)| &nudge.key));
}

#[test]
fn a_full_lane_refuses_and_says_how_many() {
    let f = fixture(QueueSettings { messages_max: 12, deliver_twice: false });
    let nudges: Vec<_> = (0..15).map(|user| (nudge(user), Duration::ZERO)).collect();
    let refused = f.queue.nudge(Lane::Due, &nudges).unwrap_err();
    assert_eq!(refused.count, 3);
    assert_eq!(refused.source.to_string(), "the lane holds 12 messages, which is its limit");
    f.send(Lane::Urgent, 99, Duration::ZERO);
    let received = f.everything_visible(Lane::Due);
    assert_eq!(users(&received), (0..12).map(|user| format!("u{user}")).collect::<Vec<_>>());
    assert!(f.queue.nudge(Lane::Due, &nudges[12..]).is_err(), "what is being worked on still counts");
    assert!(f.queue.delete(received[0].receipt));
    f.send(Lane::Due, 12, Duration::ZERO);
}

#[test]
fn delivered_twice_means_two_deliveries_that_end_on_their_own() {
    let f = fixture(QueueSettings { deliver_twice: true, ..QueueSettings::default() });
    f.send(Lane::Due, 1, Duration::from_secs(3));
    f.clock.advance(Duration::from_secs(3));
    let copies = f.visible(Lane::Due);
    assert_eq!(users(&copies), ["u1", "u1"]);
    assert!(copies[0].message_id != copies[1].message_id && copies[0].receipt != copies[1].receipt);
    assert!(f.queue.delete(copies[0].receipt));
    f.clock.advance(VISIBILITY_TIMEOUT);
    assert_eq!(f.visible(Lane::Due).len(), 1, "the other copy was not deleted with it");
}

#[test]
fn figures_tell_depth_and_the_oldest_that_is_due() {
    let f = fixture(QueueSettings::default());
    f.send(Lane::Due, 1, Duration::from_secs(30));
    f.send(Lane::Due, 2, Duration::from_secs(50));
    assert_eq!(f.queue.figures(Lane::Due).oldest_age, Duration::ZERO);
    f.clock.advance(Duration::from_secs(40));
    let received = f.visible(Lane::Due).remove(0);
    let figures = f.queue.figures(Lane::Due);
    assert_eq!((figures.waiting, figures.in_flight, figures.oldest_age), (1, 1, Duration::from_secs(10)));
    assert!(f.queue.release(received.receipt, Duration::from_secs(100)));
    f.clock.advance(Duration::from_secs(5));
    assert_eq!(f.queue.figures(Lane::Due).oldest_age, Duration::from_secs(15), "a retry does not make it younger");
}

#[test]
fn what_is_shown_of_a_delivery_is_not_its_body() {
    let f = fixture(QueueSettings::default());
    f.send(Lane::Due, 1, Duration::ZERO);
    let shown = format!("{:?} {:?}", f.visible(Lane::Due), f.queue);
    assert!(shown.contains("body_bytes") && !shown.contains("u1"), "{shown}");
}

#[tokio::test]
async fn a_waiting_receiver_is_woken_by_a_message_and_by_time() {
    let f = fixture(QueueSettings::default());
    let receiver = |queue: &Arc<InProcessQueue>| {
        let queue = Arc::clone(queue);
        tokio::spawn(async move { queue.receive(Lane::Urgent).await })
    };
    let first = receiver(&f.queue);
    tokio::task::yield_now().await;
    f.send(Lane::Urgent, 1, Duration::ZERO);
    assert_eq!(users(&first.await.unwrap()), ["u1"]);

    f.send(Lane::Urgent, 2, Duration::from_mins(1));
    let second = receiver(&f.queue);
    while f.clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    f.send(Lane::Urgent, 3, Duration::from_secs(20));
    while f.clock.next_deadline() != Some(Duration::from_secs(20)) {
        tokio::task::yield_now().await;
    }
    f.clock.advance(Duration::from_secs(20));
    assert_eq!(users(&second.await.unwrap()), ["u3"]);
}

#[tokio::test]
async fn an_abandoned_wait_takes_nothing_and_delays_nobody() {
    let f = fixture(QueueSettings::default());
    let other = {
        let queue = Arc::clone(&f.queue);
        tokio::spawn(async move { queue.receive(Lane::Due).await })
    };
    let abandoned = {
        let queue = Arc::clone(&f.queue);
        tokio::spawn(async move { queue.receive(Lane::Due).await })
    };
    tokio::task::yield_now().await;
    f.send(Lane::Due, 1, Duration::from_secs(5));
    while f.clock.sleepers() < 2 {
        tokio::task::yield_now().await;
    }
    abandoned.abort();
    assert!(abandoned.await.is_err());
    f.clock.advance(Duration::from_secs(5));
    assert_eq!(users(&other.await.unwrap()), ["u1"]);
}

#[tokio::test]
async fn closing_ends_every_wait_and_leaves_what_is_under_way() {
    let f = fixture(QueueSettings::default());
    f.send(Lane::Due, 1, Duration::ZERO);
    let received = f.visible(Lane::Due).remove(0);
    let waiting = {
        let queue = Arc::clone(&f.queue);
        tokio::spawn(async move { queue.receive(Lane::Due).await })
    };
    tokio::task::yield_now().await;
    f.queue.close();
    assert_eq!(waiting.await.unwrap(), []);
    assert_eq!(poll_once(f.queue.receive(Lane::Due)), Poll::Ready(Vec::new()));
    assert!(f.queue.delete(received.receipt));
    f.send(Lane::Due, 2, Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn receivers_side_by_side_share_the_messages_and_miss_none() {
    const MESSAGES: usize = 5_000;
    let f = fixture(QueueSettings::default());
    let receivers: Vec<_> = (0..8)
        .map(|_| {
            let queue = Arc::clone(&f.queue);
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let batch = queue.receive(Lane::Due).await;
                    if batch.is_empty() {
                        return mine;
                    }
                    for received in batch {
                        assert!(queue.delete(received.receipt));
                        mine.push(received);
                    }
                }
            })
        })
        .collect();
    for user in 0..MESSAGES {
        f.send(Lane::Due, user, Duration::ZERO);
        if user % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    while f.queue.figures(Lane::Due) != LaneFigures::default() {
        tokio::task::yield_now().await;
    }
    f.queue.close();
    let mut counts = BTreeMap::new();
    for receiver in receivers {
        for user in users(&receiver.await.unwrap()) {
            *counts.entry(user).or_insert(0) += 1;
        }
    }
    let expected: BTreeSet<_> = (0..MESSAGES).map(|user| format!("u{user}")).collect();
    assert_eq!(counts.keys().cloned().collect::<BTreeSet<_>>(), expected);
    assert!(counts.values().all(|count| *count == 1));
}
