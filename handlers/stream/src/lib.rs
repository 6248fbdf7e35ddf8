//! DynamoDB Streams: publishes connection events, nudges what is too short-lived for the wheel, sends revocations on their
//! way.

mod record;

use aws_lambda_events::{
    dynamodb::Event,
    streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse},
};
use mm_engine::Engine;

pub use record::{InvalidRecord, change};

/// Follows the records in order. At the first one that fails it stops and names it, so that it and everything after it is
/// delivered again: the order of a row's changes is kept.
pub async fn handle(engine: &Engine, event: Event) -> DynamoDbEventResponse {
    let mut response = DynamoDbEventResponse::default();
    for record in &event.records {
        if let Err(reason) = follow(engine, record).await {
            // Never the record itself: it holds the row.
            tracing::error!(sequence_number = record.change.sequence_number, reason, "stream.record: failed");
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier.clone_from(&record.change.sequence_number);
            response.batch_item_failures.push(failure);
            break;
        }
    }
    response
}

async fn follow(engine: &Engine, record: &aws_lambda_events::dynamodb::EventRecord) -> Result<(), String> {
    match change(record) {
        Ok(Some(change)) => engine.on_change(&change).await.map_err(|error| error.to_string()),
        Ok(None) => Ok(()),
        Err(invalid) => Err(invalid.to_string()),
    }
}
