//! The suite's own test: it passes over a table of plain values, late reader included, and each flaw that it is there to
//! find it finds, by the case that names it.

use std::sync::Arc;

use super::{STORE_CASES, StoreSubject, store_case};

mod flaws;
mod memory;

use flaws::Flaw;
use memory::MemoryStore;

fn subject(store: impl crate::ports::ConnectionStore + 'static) -> StoreSubject {
    StoreSubject { store: Arc::new(store), keep: Box::new(()) }
}

async fn fresh() -> StoreSubject {
    subject(MemoryStore::new(None))
}

crate::store_conformance!(fresh);

mod late {
    use super::{MemoryStore, StoreSubject, subject};
    use crate::testing::LateReader;

    async fn fresh() -> StoreSubject {
        subject(LateReader::new(MemoryStore::new(None)))
    }

    crate::store_conformance!(fresh);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flaw_is_found_by_its_case() {
    let mut missed = Vec::new();
    for (flaw, case) in Flaw::ALL {
        assert!(STORE_CASES.contains(&case), "there is no case {case}");
        let flawed = subject(MemoryStore::new(Some(flaw)));
        let ended = tokio::spawn(store_case(case, flawed)).await;
        // A failed assertion is a panic of the task.
        if matches!(ended, Ok(Ok(()))) {
            missed.push((flaw, case));
        }
    }
    assert_eq!(missed, [], "flaws that their cases let pass");
}

#[tokio::test]
async fn an_unknown_case_is_an_error() {
    assert!(store_case("steps::nonsense", fresh().await).await.is_err());
}
