//! The ordered lane of each connection: in order, one connection's trouble none of another's, never lost.

use mm_model::{ConnectionKey, step::Commit};

use super::{
    nudges::{Checked, Probe},
    probe::Delivered,
    samples::{HOUR, NOW, attempt, key, sealed, seconds, version},
};
use crate::ports::LaneMessage;

/// How long a deduplication id is remembered (the port says five minutes), on the safe side of it.
const WITHIN_DEDUPLICATION: u64 = 280;

/// Surely past it.
const PAST_DEDUPLICATION: u64 = 310;

/// Receives in the cases at most: a lane that never empties fails rather than hangs.
const RECEIVES_MAX: u32 = 1000;

/// Receives in a row that bring nothing before the lanes count as empty.
const EMPTY_RECEIVES: u32 = 5;

fn rescue(key: &ConnectionKey, n: u32) -> LaneMessage {
    let commit = Commit {
        consumed: version(n - 1),
        version: version(n),
        access_token: sealed(n),
        refresh_token: Some(sealed(n + 1)),
        expires_at: NOW.plus(HOUR),
        lifetime: 3600,
        scope: Some("read".to_owned()),
        now: NOW,
        next_refresh_at: NOW.plus(HOUR / 2),
        soon: None,
        reseat: None,
        misfits: 0,
        warned_days: None,
        event: None,
    };
    LaneMessage::Rescue { key: key.clone(), commit: Box::new(commit) }
}

fn retry(key: &ConnectionKey, n: u32) -> LaneMessage {
    LaneMessage::Retry { key: key.clone(), version: version(n), from: attempt(n), urgent: false }
}

async fn put(probe: &Probe, messages: &[LaneMessage]) -> Checked {
    for message in messages {
        probe.queue().put_on_lane(message).await?;
    }
    Ok(())
}

/// Receives until something comes; nothing if nothing does.
async fn receive(probe: &Probe) -> Vec<Delivered<LaneMessage>> {
    for _ in 0..EMPTY_RECEIVES {
        let received = probe.receive_ordered().await;
        if !received.is_empty() {
            return received;
        }
    }
    Vec::new()
}

/// Everything that comes, each deleted in turn.
async fn drain(probe: &Probe) -> Vec<LaneMessage> {
    let mut came = Vec::new();
    for _ in 0..RECEIVES_MAX {
        let received = receive(probe).await;
        if received.is_empty() {
            return came;
        }
        for delivered in received {
            probe.delete_ordered(&delivered.receipt).await;
            came.push(delivered.message);
        }
    }
    unreachable!("the lane never empties");
}

fn of(came: &[LaneMessage], key: &ConnectionKey) -> Vec<LaneMessage> {
    came.iter().filter(|message| message.key() == key).cloned().collect()
}

pub(super) async fn a_message_arrives_whole(probe: Probe) -> Checked {
    let own = key("ann");
    let messages = [rescue(&own, 2), retry(&own, 2)];
    put(&probe, &messages).await?;
    assert_eq!(drain(&probe).await, messages);
    Ok(())
}

pub(super) async fn one_connections_messages_come_in_order(probe: Probe) -> Checked {
    let own = key("ann");
    let messages: Vec<_> = (1..=25).map(|n| if n % 3 == 0 { retry(&own, n) } else { rescue(&own, n) }).collect();
    put(&probe, &messages).await?;
    assert_eq!(drain(&probe).await, messages);
    Ok(())
}

pub(super) async fn the_next_waits_until_the_one_before_is_deleted(probe: Probe) -> Checked {
    let own = key("ann");
    let messages = [rescue(&own, 2), retry(&own, 2), rescue(&own, 3)];
    put(&probe, &messages).await?;
    let first = receive(&probe).await;
    // A batch may hold several of one connection, from the first on.
    let batch: Vec<_> = first.iter().map(|delivered| delivered.message.clone()).collect();
    assert!(!batch.is_empty() && messages.starts_with(&batch), "{batch:?}");
    assert_eq!(receive(&probe).await, [], "nothing more while these are under way");
    probe.delete_ordered(&first[0].receipt).await;
    let more = receive(&probe).await;
    assert_eq!(more.is_empty(), first.len() > 1, "the next comes, unless the rest of its batch is under way: {more:?}");
    probe.pass(probe.visibility_timeout() + seconds(1)).await;
    assert_eq!(drain(&probe).await, messages[1..], "the rest, in order");
    Ok(())
}

pub(super) async fn what_is_not_deleted_comes_again_and_before_what_is_behind_it(probe: Probe) -> Checked {
    let own = key("ann");
    let messages = [rescue(&own, 2), retry(&own, 2)];
    put(&probe, &messages).await?;
    for _ in 0..8 {
        // No number of failures moves a rescue aside: the retry behind it would spend the token.
        let received = receive(&probe).await;
        assert_eq!(received.first().map(|delivered| &delivered.message), Some(&messages[0]));
        probe.pass(probe.visibility_timeout() + seconds(1)).await;
    }
    assert_eq!(drain(&probe).await, messages);
    probe.pass(probe.visibility_timeout() + seconds(1)).await;
    assert_eq!(drain(&probe).await, [], "what is deleted is gone");
    Ok(())
}

pub(super) async fn connections_do_not_wait_for_each_other(probe: Probe) -> Checked {
    let (ann, bob) = (key("ann"), key("bob"));
    put(&probe, &[rescue(&ann, 2), rescue(&ann, 3)]).await?;
    let stuck = receive(&probe).await;
    assert!(stuck.iter().all(|delivered| *delivered.message.key() == ann) && !stuck.is_empty());
    put(&probe, &[rescue(&bob, 4), retry(&bob, 4)]).await?;
    assert_eq!(drain(&probe).await, [rescue(&bob, 4), retry(&bob, 4)], "while ann's is under way");
    probe.pass(probe.visibility_timeout() + seconds(1)).await;
    assert_eq!(drain(&probe).await, [rescue(&ann, 2), rescue(&ann, 3)]);
    Ok(())
}

pub(super) async fn a_deduplication_id_is_accepted_once_in_five_minutes(probe: Probe) -> Checked {
    let own = key("ann");
    put(&probe, &[rescue(&own, 2), retry(&own, 7), rescue(&own, 2), retry(&own, 7)]).await?;
    assert_eq!(drain(&probe).await, [rescue(&own, 2), retry(&own, 7)]);
    probe.pass(seconds(WITHIN_DEDUPLICATION)).await;
    put(&probe, &[rescue(&own, 2)]).await?;
    assert_eq!(drain(&probe).await, [], "also after it was deleted");
    probe.pass(seconds(PAST_DEDUPLICATION - WITHIN_DEDUPLICATION)).await;
    put(&probe, &[rescue(&own, 2)]).await?;
    assert_eq!(drain(&probe).await, [rescue(&own, 2)]);
    Ok(())
}

pub(super) async fn the_same_content_under_another_id_is_another_message(probe: Probe) -> Checked {
    let own = key("ann");
    let again = LaneMessage::Retry { key: own.clone(), version: version(2), from: attempt(3), urgent: true };
    let messages = [retry(&own, 2), again];
    put(&probe, &messages).await?;
    assert_eq!(drain(&probe).await, messages);
    Ok(())
}

pub(super) async fn many_connections_all_arrive_each_in_order(probe: Probe) -> Checked {
    let keys: Vec<_> = (0..30).map(|n| key(&format!("person-{n}"))).collect();
    for round in 0..3 {
        for (n, key) in (1..).zip(&keys) {
            put(&probe, &[rescue(key, 1000 * n + round)]).await?;
        }
    }
    let came = drain(&probe).await;
    assert_eq!(came.len(), keys.len() * 3);
    for (n, key) in (1..).zip(&keys) {
        let expected: Vec<_> = (0..3).map(|round| rescue(key, 1000 * n + round)).collect();
        assert_eq!(of(&came, key), expected);
    }
    Ok(())
}

pub(super) async fn what_was_accepted_survives_the_process(probe: Probe) -> Checked {
    let (ann, bob) = (key("ann"), key("bob"));
    put(&probe, &[rescue(&ann, 2), retry(&ann, 2), rescue(&bob, 3)]).await?;
    let received = receive(&probe).await;
    assert_eq!(received.first().map(|delivered| &delivered.message), Some(&rescue(&ann, 2)));
    probe.delete_ordered(&received[0].receipt).await;
    if !probe.reopen().await {
        probe.pass(probe.visibility_timeout() + seconds(1)).await;
    }
    put(&probe, &[rescue(&ann, 5)]).await?;
    let came = drain(&probe).await;
    assert_eq!(of(&came, &ann), [retry(&ann, 2), rescue(&ann, 5)], "what was deleted stays deleted");
    assert_eq!(of(&came, &bob), [rescue(&bob, 3)]);
    Ok(())
}
