//! SQS: refreshes, rescues, revokes.
