//! All handlers in one process on the embedded engine.
