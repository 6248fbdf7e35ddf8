//! What a process does before it serves: configuration and telemetry.
