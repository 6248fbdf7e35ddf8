//! The ports over SQLite, a journal file and in-process channels: one process, one directory.

pub mod store;
