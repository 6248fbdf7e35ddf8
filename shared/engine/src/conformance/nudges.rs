//! The two unordered lanes: every nudge arrives, not before its time, again until it is deleted.

use std::{collections::BTreeMap, time::Duration};

use super::{
    probe::QueueProbe,
    samples::{key, seconds, version},
};
use crate::ports::{Lane, NUDGE_DELAY_MAX, Nudge, QueueError, SEND_BATCH_MAX, Trigger};

pub(super) type Probe = std::sync::Arc<dyn QueueProbe>;
pub(super) type Checked = Result<(), QueueError>;

/// Receives in a row that bring nothing before a lane counts as empty: a queue of many hosts answers from some of them.
const EMPTY_RECEIVES: u32 = 5;

/// Messages in the case of many: several batches and a part of one.
const MANY: u32 = 137;

fn nudge(n: u32) -> Nudge {
    let trigger = match n % 3 {
        0 => Trigger::Due,
        1 => Trigger::Forced { version: version(n) },
        _ => Trigger::Revoke { revocation: version(n) },
    };
    Nudge { key: key(&format!("person-{n}")), trigger }
}

/// Everything visible now, deleted; how often each came.
async fn drain(probe: &Probe, lane: Lane) -> BTreeMap<String, u32> {
    let (mut came, mut empty) = (BTreeMap::new(), 0);
    while empty < EMPTY_RECEIVES {
        let received = probe.receive(lane).await;
        assert!(received.len() <= SEND_BATCH_MAX, "a batch is bounded");
        empty = if received.is_empty() { empty + 1 } else { 0 };
        for delivered in received {
            probe.delete(lane, &delivered.receipt).await;
            *came.entry(name(&delivered.message)).or_default() += 1;
        }
    }
    came
}

/// A nudge's identity: its whole content.
fn name(nudge: &Nudge) -> String {
    format!("{nudge:?}")
}

/// Asserts that exactly these came, at least once each.
fn came(drained: &BTreeMap<String, u32>, expected: impl IntoIterator<Item = u32>) {
    let came: Vec<_> = drained.keys().cloned().collect();
    let mut expected: Vec<_> = expected.into_iter().map(|n| name(&nudge(n))).collect();
    expected.sort_unstable();
    assert_eq!(came, expected);
}

pub(super) async fn a_nudge_arrives_whole(probe: Probe) -> Checked {
    for lane in [Lane::Due, Lane::Urgent] {
        let nudges = (0..3).map(|n| (nudge(n), Duration::ZERO)).collect();
        probe.queue().nudge(lane, nudges).await?;
        came(&drain(&probe, lane).await, 0..3);
    }
    Ok(())
}

pub(super) async fn the_lanes_are_apart(probe: Probe) -> Checked {
    probe.queue().nudge(Lane::Due, vec![(nudge(1), Duration::ZERO)]).await?;
    probe.queue().nudge(Lane::Urgent, vec![(nudge(2), Duration::ZERO)]).await?;
    came(&drain(&probe, Lane::Urgent).await, [2]);
    came(&drain(&probe, Lane::Due).await, [1]);
    Ok(())
}

pub(super) async fn no_nudges_are_no_message(probe: Probe) -> Checked {
    probe.queue().nudge(Lane::Due, Vec::new()).await?;
    came(&drain(&probe, Lane::Due).await, []);
    Ok(())
}

pub(super) async fn many_nudges_all_arrive_with_their_identities(probe: Probe) -> Checked {
    let nudges = (0..MANY).map(|n| (nudge(n), Duration::ZERO)).collect();
    probe.queue().nudge(Lane::Due, nudges).await?;
    came(&drain(&probe, Lane::Due).await, 0..MANY);
    Ok(())
}

pub(super) async fn a_nudge_waits_for_its_delay(probe: Probe) -> Checked {
    let delays = [(1, 0), (2, 30), (3, 59), (4, 300)];
    let nudges = delays.map(|(n, delay)| (nudge(n), seconds(delay)));
    probe.queue().nudge(Lane::Due, nudges.to_vec()).await?;
    came(&drain(&probe, Lane::Due).await, [1]);
    probe.pass(seconds(25)).await;
    came(&drain(&probe, Lane::Due).await, []);
    probe.pass(seconds(10)).await;
    came(&drain(&probe, Lane::Due).await, [2]);
    probe.pass(seconds(30)).await;
    came(&drain(&probe, Lane::Due).await, [3]);
    probe.pass(seconds(240)).await;
    came(&drain(&probe, Lane::Due).await, [4]);
    Ok(())
}

pub(super) async fn a_long_delay_is_capped(probe: Probe) -> Checked {
    let nudges = vec![(nudge(1), NUDGE_DELAY_MAX * 10), (nudge(2), Duration::MAX)];
    probe.queue().nudge(Lane::Due, nudges).await?;
    probe.pass(NUDGE_DELAY_MAX.saturating_sub(seconds(10))).await;
    came(&drain(&probe, Lane::Due).await, []);
    probe.pass(seconds(20)).await;
    came(&drain(&probe, Lane::Due).await, [1, 2]);
    Ok(())
}

pub(super) async fn what_is_not_deleted_comes_again(probe: Probe) -> Checked {
    probe.queue().nudge(Lane::Due, vec![(nudge(1), Duration::ZERO)]).await?;
    for _ in 0..2 {
        let mut received = probe.receive(Lane::Due).await;
        for _ in 0..EMPTY_RECEIVES {
            if received.is_empty() {
                received = probe.receive(Lane::Due).await;
            }
        }
        let messages: Vec<_> = received.into_iter().map(|delivered| delivered.message).collect();
        assert_eq!(messages, [nudge(1)]);
        came(&drain(&probe, Lane::Due).await, []);
        probe.pass(probe.visibility_timeout() + seconds(1)).await;
    }
    came(&drain(&probe, Lane::Due).await, [1]);
    probe.pass(probe.visibility_timeout() + seconds(1)).await;
    came(&drain(&probe, Lane::Due).await, []);
    Ok(())
}

pub(super) async fn an_outdated_receipt_deletes_nothing_newer(probe: Probe) -> Checked {
    probe.queue().nudge(Lane::Urgent, vec![(nudge(1), Duration::ZERO)]).await?;
    let first = probe.receive(Lane::Urgent).await;
    assert_eq!(first.len(), 1);
    probe.delete(Lane::Urgent, &first[0].receipt).await;
    probe.queue().nudge(Lane::Urgent, vec![(nudge(1), Duration::ZERO)]).await?;
    probe.delete(Lane::Urgent, &first[0].receipt).await;
    came(&drain(&probe, Lane::Urgent).await, [1]);
    Ok(())
}
