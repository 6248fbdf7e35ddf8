//! SQS: follows nudges and the messages of the ordered lane. Answers a partial batch response, so that a message's failure
//! is its own.

use std::collections::BTreeMap;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::join_all;
use mm_engine::{
    Engine, Invocation, chain,
    ports::{LaneMessage, Nudge},
};

/// How the name of a FIFO queue ends: the ordered lane is the only one.
const FIFO_SUFFIX: &str = ".fifo";

/// Follows a batch: nudges concurrently; on the lane, connections concurrently and each connection's messages in turn.
pub async fn handle(engine: &Engine, event: SqsEvent, invocation: Invocation) -> SqsBatchResponse {
    let (lane, nudges): (Vec<_>, Vec<_>) = event.records.into_iter().partition(is_of_the_lane);
    let nudges = join_all(nudges.iter().map(|message| follow_nudge(engine, message, invocation)));
    let lane = by_group(lane);
    let lane = join_all(lane.values().map(|messages| follow_group(engine, messages, invocation)));
    let (nudges, lane) = futures_util::future::join(nudges, lane).await;
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures =
        nudges.into_iter().flatten().chain(lane.into_iter().flatten()).map(failure).collect();
    response
}

fn is_of_the_lane(message: &SqsMessage) -> bool {
    message.event_source_arn.as_deref().is_some_and(|arn| arn.ends_with(FIFO_SUFFIX))
}

/// The messages of each group in the order in which they came.
fn by_group(messages: Vec<SqsMessage>) -> BTreeMap<String, Vec<SqsMessage>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for message in messages {
        let group = message.attributes.get("MessageGroupId").cloned().unwrap_or_default();
        groups.entry(group).or_default().push(message);
    }
    groups
}

/// Follows a nudge; the message's id if it is to come again. One that cannot be read comes again until the queue sets it
/// aside.
async fn follow_nudge(engine: &Engine, message: &SqsMessage, invocation: Invocation) -> Option<String> {
    let id = message.message_id.clone().unwrap_or_default();
    let Ok(nudge) = serde_json::from_str::<Nudge>(message.body.as_deref().unwrap_or_default()) else {
        tracing::error!(message_id = id, "worker.nudge: not a nudge; its content is not logged");
        return Some(id);
    };
    match engine.on_nudge(&nudge, invocation).await {
        Ok(()) => None,
        Err(error) => {
            tracing::warn!(message_id = id, connection = %nudge.key, error = %chain(&error), "worker.nudge: comes again");
            Some(id)
        }
    }
}

/// Follows one connection's messages in turn. After a failure every later one comes again too: the retry behind a rescue
/// that could not be applied would spend a token that was spent already.
async fn follow_group(engine: &Engine, messages: &[SqsMessage], invocation: Invocation) -> Vec<String> {
    for (position, message) in messages.iter().enumerate() {
        if !follow_lane(engine, message, invocation).await {
            return messages[position..].iter().filter_map(|message| message.message_id.clone()).collect();
        }
    }
    Vec::new()
}

/// Whether the message may be deleted. One that cannot be read may: on the lane it would hold up its connection for ever.
async fn follow_lane(engine: &Engine, message: &SqsMessage, invocation: Invocation) -> bool {
    let id = message.message_id.as_deref().unwrap_or_default();
    let Ok(parsed) = serde_json::from_str::<LaneMessage>(message.body.as_deref().unwrap_or_default()) else {
        tracing::error!(message_id = id, "worker.lane: not a lane message, deleted; its content is not logged");
        return true;
    };
    match engine.on_lane(&parsed, invocation).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(message_id = id, connection = %parsed.key(), error = %chain(&error), "worker.lane: comes again");
            false
        }
    }
}

fn failure(message_id: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message_id;
    failure
}
