//! DynamoDB Streams: publishes connection events and nudges what is too short-lived for the wheel.
