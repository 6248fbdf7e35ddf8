//! SQS's part: messages become batches, and a batch's answer says which of them come again.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use aws_lambda_events::sqs::SqsBatchResponse;
use futures_util::FutureExt as _;
use mm_embedded::{
    journal::LaneReceived,
    queue::{Receipt, Received},
};
use mm_engine::{chain, ports::Lane};
use mm_model::limits::FUNCTION_LIMIT;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use super::EventError;
use crate::Backend;

/// Batches of one lane at work at once: ten messages each, bounded like the event source's maximum concurrency.
const BATCHES_AT_ONCE: usize = 16;

/// Batches of the ordered lane at work at once: one connection's slow provider must not hold up the others. A connection's
/// messages are in one batch at a time, for its group is locked.
const LANE_BATCHES_AT_ONCE: usize = 4;

/// How soon a message that failed comes again, for each time that it did.
const RETRY: Duration = Duration::from_secs(5);

/// Brings the nudges that are visible now, at most one batch, to the worker. Says how many: for tests, which own the time.
pub async fn nudge_turn(backend: &Backend, lane: Lane) -> usize {
    let batch = backend.queue.nudges.receive(lane).now_or_never().unwrap_or_default();
    let count = batch.len();
    work_on_nudges(backend, batch).await;
    count
}

/// The same for the ordered lane.
pub async fn lane_turn(backend: &Backend) -> usize {
    let batch = backend.queue.lane.receive().now_or_never().unwrap_or_default();
    let count = batch.len();
    work_on_lane(backend, batch).await;
    count
}

pub(super) async fn run(backend: Arc<Backend>, lane: Lane) {
    let slots = Arc::new(Semaphore::new(BATCHES_AT_ONCE));
    let mut batches = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let batch = backend.queue.nudges.receive(lane).await;
        if batch.is_empty() {
            break;
        }
        let backend = Arc::clone(&backend);
        batches.spawn(async move {
            work_on_nudges(&backend, batch).await;
            drop(slot);
        });
        while batches.try_join_next().is_some() {}
    }
    while batches.join_next().await.is_some() {}
}

pub(super) async fn run_lane(backend: Arc<Backend>) {
    let slots = Arc::new(Semaphore::new(LANE_BATCHES_AT_ONCE));
    let mut batches = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let batch = backend.queue.lane.receive().await;
        if batch.is_empty() {
            break;
        }
        let backend = Arc::clone(&backend);
        batches.spawn(async move {
            work_on_lane(&backend, batch).await;
            drop(slot);
        });
        while batches.try_join_next().is_some() {}
    }
    while batches.join_next().await.is_some() {}
}

async fn work_on_nudges(backend: &Backend, batch: Vec<Received>) {
    if batch.is_empty() {
        return;
    }
    let records = batch.iter().map(|message| {
        sqs_record("multimusic-nudges", &message.message_id, &message.body, message.receive_count, None)
    });
    let failed = match invoke(backend, records.collect()).await {
        Ok(response) => failures(response),
        Err(error) => {
            tracing::error!(error = %chain(&error), "worker: the batch could not be brought");
            batch.iter().map(|message| message.message_id.clone()).collect()
        }
    };
    for message in batch {
        let receipt: Receipt = message.receipt;
        if failed.contains(&message.message_id) {
            backend.queue.nudges.release(receipt, RETRY * message.receive_count);
        } else {
            backend.queue.nudges.delete(receipt);
        }
    }
}

async fn work_on_lane(backend: &Backend, batch: Vec<LaneReceived>) {
    if batch.is_empty() {
        return;
    }
    let records = batch.iter().map(|message| {
        let group = Some(message.group.as_str());
        sqs_record("multimusic-lane.fifo", &message.message_id, &message.body, message.receive_count, group)
    });
    let failed = match invoke(backend, records.collect()).await {
        Ok(response) => failures(response),
        Err(error) => {
            tracing::error!(error = %chain(&error), "worker: the lane's batch could not be brought");
            batch.iter().map(|message| message.message_id.clone()).collect()
        }
    };
    for message in batch {
        if failed.contains(&message.message_id) {
            backend.queue.lane.release(message.receipt, RETRY);
        } else {
            // `false`: it was taken by another delivery in the meantime, which ends it.
            let _ended = backend.queue.lane.delete(message.receipt).await;
        }
    }
}

async fn invoke(backend: &Backend, records: Vec<Value>) -> Result<SqsBatchResponse, EventError> {
    let event = serde_json::from_str(&json!({ "Records": records }).to_string())?;
    let invocation = backend.engine.invocation(FUNCTION_LIMIT);
    Ok(mm_worker::handle(&backend.engine, event, invocation).await)
}

fn sqs_record(queue: &str, id: &str, body: &str, receive_count: u32, group: Option<&str>) -> Value {
    let mut attributes = json!({ "ApproximateReceiveCount": receive_count.to_string() });
    if let Some(group) = group {
        attributes["MessageGroupId"] = json!(group);
    }
    json!({
        "messageId": id,
        "receiptHandle": id,
        "body": body,
        "attributes": attributes,
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:local:000000000000:{queue}"),
        "awsRegion": "local",
    })
}

fn failures(response: SqsBatchResponse) -> BTreeSet<String> {
    response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
}
