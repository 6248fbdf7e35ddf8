//! EventBridge schedule: nudges the minute's seats on the wheel.
