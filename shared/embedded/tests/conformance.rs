//! What the ports promise, asked of the store of one machine: as it is, and behind reads that lag by a write.
#![expect(clippy::expect_used, reason = "clippy does not see that the helpers of an integration test are tests")]

use std::sync::Arc;

use mm_embedded::store::SqliteStore;
use mm_engine::conformance::StoreSubject;
use tempfile::TempDir;

/// A store over an empty directory.
fn store() -> (TempDir, SqliteStore) {
    let directory = TempDir::new().expect("a directory for the store");
    let store = SqliteStore::open(directory.path()).expect("a new store");
    (directory, store)
}

mod as_it_is {
    use super::{Arc, StoreSubject};

    async fn fresh() -> StoreSubject {
        let (directory, store) = super::store();
        StoreSubject { store: Arc::new(store), keep: Box::new(directory) }
    }

    mm_engine::store_conformance!(fresh);
}

mod read_late {
    use mm_engine::testing::LateReader;

    use super::{Arc, StoreSubject};

    async fn fresh() -> StoreSubject {
        let (directory, store) = super::store();
        let late = LateReader::new(store);
        StoreSubject { store: Arc::new(late), keep: Box::new(directory) }
    }

    mm_engine::store_conformance!(fresh);
}
