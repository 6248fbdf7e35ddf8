//! The use cases and the ports they stand on.
