//! DynamoDB Streams' part: changes of rows become stream records.

use std::{sync::Arc, time::Duration};

use mm_engine::{chain, ports::ConnectionStore as _};
use mm_model::event::Change;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::unless_stopped;
use crate::Backend;

/// How often the table is asked for changes. Real time: a scaled clock would ask it thousands of times a second.
const POLL: Duration = Duration::from_millis(100);

/// How soon records that failed are brought again.
const RETRY: Duration = Duration::from_secs(1);

/// Brings the next changes to their handler and notes how far it came. Says how many it followed, and whether all.
pub async fn stream_turn(backend: &Backend) -> Result<Turn, Box<dyn std::error::Error + Send + Sync>> {
    let told = backend.store.told()?;
    let page = backend.store.changes(told.as_deref()).await?;
    if page.changes.is_empty() {
        return Ok(Turn { followed: 0, complete: true });
    }
    let records: Vec<Value> = page.changes.iter().enumerate().map(|(index, change)| record(index, change)).collect();
    let event = serde_json::from_str(&json!({ "Records": records }).to_string())?;
    let response = mm_stream::handle(&backend.engine, event).await;
    if response.batch_item_failures.is_empty() {
        backend.store.set_told(&page.next).await?;
        return Ok(Turn { followed: page.changes.len(), complete: true });
    }
    // All of the page comes again: events carry an id, nudges are looked at, so telling twice is harmless.
    Ok(Turn { followed: 0, complete: false })
}

/// What one turn did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Changes followed.
    pub followed: usize,
    /// Whether none failed.
    pub complete: bool,
}

/// A stream record as DynamoDB writes it, with the attributes that the handler looks at.
fn record(index: usize, change: &Change) -> Value {
    let mut image = Map::new();
    let mut put = |name: &str, value: Value| image.insert(name.to_owned(), value);
    put("version", json!({ "S": change.version.to_string() }));
    put("updatedAt", json!({ "N": change.at.to_string() }));
    if let Some(event) = change.event {
        put("event", json!({ "S": event }));
    }
    if let Some(soon) = change.soon {
        put("soon", json!({ "N": soon.to_string() }));
    }
    if !change.revocations.is_empty() {
        let owed = change.revocations.iter().map(|owed| json!({ "M": { "version": { "S": owed.to_string() } } }));
        put("toRevoke", json!({ "L": owed.collect::<Vec<_>>() }));
    }
    let keys = json!({
        "userId": { "S": change.key.user.as_str() },
        "platform": { "S": format!("platform#{}", change.key.provider) },
    });
    json!({
        "eventID": index.to_string(),
        "eventName": "MODIFY",
        "eventSource": "aws:dynamodb",
        "awsRegion": "local",
        "dynamodb": {
            "Keys": keys,
            "NewImage": image,
            "SequenceNumber": index.to_string(),
            "SizeBytes": 0,
            "StreamViewType": "NEW_IMAGE",
        },
    })
}

pub(super) async fn run(backend: Arc<Backend>, mut stop: watch::Receiver<bool>) {
    loop {
        let wait = match stream_turn(&backend).await {
            Ok(Turn { followed: 0, complete: true }) => POLL,
            Ok(Turn { complete: true, .. }) => Duration::ZERO,
            Ok(Turn { complete: false, .. }) => RETRY,
            Err(error) => {
                tracing::warn!(error = %chain(&*error), "stream: the changes could not be followed; tried again");
                RETRY
            }
        };
        if !unless_stopped(&mut stop, backend.clock.sleep_real(wait)).await {
            return;
        }
    }
}
