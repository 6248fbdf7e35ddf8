//! From a stream record to what changed: the key and the marks, nothing sealed.

use aws_lambda_events::dynamodb::EventRecord;
use mm_model::{
    ConnectionKey, ProviderId, Timestamp, UserId, Version,
    event::{Change, EventMark},
};
use serde::Deserialize;

/// What precedes the provider in a connection row's sort key.
const CONNECTION_PREFIX: &str = "platform#";

/// The attributes of a connection row that the stream looks at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marks {
    version: Version,
    updated_at: Timestamp,
    event: Option<EventMark>,
    soon: Option<Timestamp>,
    #[serde(default)]
    to_revoke: Vec<Owed>,
}

#[derive(Deserialize)]
struct Owed {
    version: Version,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keys {
    user_id: UserId,
    platform: String,
}

/// A stream record that is no change of a row of ours. It never quotes the record.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRecord {
    /// Its keys are not a row's keys.
    #[error("the record's keys are not userId and platform")]
    Keys,
    /// Its image lacks an attribute, or has one of another shape.
    #[error("the record's image is not a connection's")]
    Image,
}

/// What a record tells, if it is a connection's and there is something to do. A removal is none: whatever was to be told of
/// the row was told by the change that came before.
///
/// # Errors
///
/// The record is of no shape that this product writes.
pub fn change(record: &EventRecord) -> Result<Option<Change>, InvalidRecord> {
    if record.event_name == "REMOVE" {
        return Ok(None);
    }
    let keys: Keys = serde_dynamo::from_item(record.change.keys.clone()).map_err(|_| InvalidRecord::Keys)?;
    let Some(provider) = keys.platform.strip_prefix(CONNECTION_PREFIX) else { return Ok(None) };
    let provider: ProviderId = provider.parse().map_err(|_| InvalidRecord::Keys)?;
    let marks: Marks = serde_dynamo::from_item(record.change.new_image.clone()).map_err(|_| InvalidRecord::Image)?;
    let change = Change {
        key: ConnectionKey { user: keys.user_id, provider },
        version: marks.version,
        at: marks.updated_at,
        event: marks.event,
        soon: marks.soon,
        // Only a write that bears an event is told: later writes to a row that still owes do not send them again.
        revocations: match marks.event {
            Some(_) => marks.to_revoke.iter().map(|owed| owed.version).collect(),
            None => Vec::new(),
        },
    };
    let tells = change.event.is_some() || change.soon.is_some();
    Ok(Some(change).filter(|_| tells))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, platform: &str, image: &str) -> EventRecord {
        let text = format!(
            r#"{{"awsRegion":"local","eventID":"1","eventName":"{name}","dynamodb":{{
                "Keys":{{"userId":{{"S":"u_1"}},"platform":{{"S":"{platform}"}}}},
                "NewImage":{image},"SequenceNumber":"7","SizeBytes":1}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    const VERSION: &str = "AAECAwQFBgcICQoLDA0ODw";
    const NEWER: &str = "EAECAwQFBgcICQoLDA0ODw";

    /// An image with one more mark, that owes two revocations.
    fn owing(mark: &str) -> String {
        format!(
            r#"{{"version":{{"S":"{VERSION}"}},"updatedAt":{{"N":"1700000000"}},{mark},
               "toRevoke":{{"L":[{{"M":{{"version":{{"S":"{VERSION}"}}}}}},{{"M":{{"version":{{"S":"{NEWER}"}}}}}}]}}}}"#
        )
    }

    #[test]
    fn everything_owed_is_told_with_an_event_and_nothing_with_a_short_life_alone() {
        let told = change(&record("MODIFY", "platform#youtube", &owing(r#""event":{"S":"connected"}"#)));
        let both: [Version; 2] = [VERSION.parse().unwrap(), NEWER.parse().unwrap()];
        assert_eq!(told.unwrap().unwrap().revocations, both, "the oldest first");
        let short = change(&record("MODIFY", "platform#youtube", &owing(r#""soon":{"N":"1700000060"}"#)));
        assert_eq!(short.unwrap().unwrap().revocations, []);
    }

    #[test]
    fn a_mark_becomes_a_change() {
        let image = format!(
            r#"{{"version":{{"S":"{VERSION}"}},"updatedAt":{{"N":"1700000000"}},"event":{{"S":"disconnected"}},
               "toRevoke":{{"L":[{{"M":{{"version":{{"S":"{VERSION}"}}}}}}]}}}}"#
        );
        let change = change(&record("MODIFY", "platform#soundcloud", &image)).unwrap().unwrap();
        assert_eq!(change.key.to_string(), "u_1/soundcloud");
        assert_eq!(change.event, Some(EventMark::Disconnected));
        assert_eq!(change.revocations, [VERSION.parse().unwrap()]);
        assert_eq!(change.soon, None);
    }

    #[test]
    fn what_bears_no_mark_tells_nothing() {
        let image = format!(r#"{{"version":{{"S":"{VERSION}"}},"updatedAt":{{"N":"1700000000"}}}}"#);
        assert_eq!(change(&record("MODIFY", "platform#spotify", &image)).unwrap(), None);
        assert_eq!(change(&record("REMOVE", "platform#spotify", "{}")).unwrap(), None);
        assert_eq!(change(&record("MODIFY", "#user", "{}")).unwrap(), None, "the person's own row");
    }

    #[test]
    fn a_record_of_another_shape_is_its_own_failure() {
        assert!(matches!(change(&record("MODIFY", "platform#spotify", "{}")), Err(InvalidRecord::Image)));
        assert!(matches!(change(&record("MODIFY", "platform#", "{}")), Err(InvalidRecord::Keys)));
    }
}
