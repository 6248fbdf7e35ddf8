//! EventBridge schedule, once a minute: nudges the connections whose seats pass in the next minute.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use mm_engine::{Engine, EngineError, TickReport};
use serde_json::Value;

/// Carries out one tick. What the event says is of no matter: the wheel looks at the clock and at the last minute done, so
/// that a late, doubled or missed schedule is all the same.
pub async fn handle(engine: &Engine, _event: EventBridgeEvent<Value>) -> Result<TickReport, EngineError> {
    engine.tick().await
}
