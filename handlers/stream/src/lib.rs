//! DynamoDB Streams: publishes connection events, nudges what is too short-lived for the wheel, sends revocations on their
//! way.

mod record;

use aws_lambda_events::{
    dynamodb::Event,
    streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse},
};
use mm_engine::{Engine, chain};

pub use record::{InvalidRecord, change};

/// Follows the records. Names the first one that failed, so that it and everything after it is delivered again: the order of
/// a row's changes is kept. One that cannot be read keeps none of the others from being followed.
pub async fn handle(engine: &Engine, event: Event) -> DynamoDbEventResponse {
    let mut changes = Vec::new();
    let mut positions = Vec::new();
    let mut first_failed = None;
    for (position, record) in event.records.iter().enumerate() {
        match change(record) {
            Ok(Some(change)) => {
                changes.push(change);
                positions.push(position);
            }
            Ok(None) => {}
            Err(invalid) => {
                // Never the record itself: it holds the row.
                let sequence_number = record.change.sequence_number.as_deref();
                tracing::error!(sequence_number, error = %invalid, "stream.record: not read");
                first_failed = first_failed.or(Some(position));
            }
        }
    }
    if let Err(error) = engine.on_changes(&changes).await {
        let connection = changes.get(error.position).map(|change| tracing::field::display(&change.key));
        tracing::error!(connection, error = %chain(&error), "stream.change: not followed");
        let position = positions.get(error.position).copied().unwrap_or_default();
        first_failed = Some(first_failed.map_or(position, |invalid: usize| invalid.min(position)));
    }
    let mut response = DynamoDbEventResponse::default();
    if let Some(record) = first_failed.and_then(|position| event.records.get(position)) {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier.clone_from(&record.change.sequence_number);
        response.batch_item_failures.push(failure);
    }
    response
}
