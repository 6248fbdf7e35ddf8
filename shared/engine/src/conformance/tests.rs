//! The suite's own test: it passes over a table of plain values, late reader included, and each flaw that it is there to
//! find it finds, by the case that names it.

use std::sync::Arc;

use super::{STORE_CASES, StoreSubject, store_case};

mod flaws;
pub(crate) mod memory;
mod queue;

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

#[tokio::test]
async fn a_late_reader_answers_one_write_late_and_only_when_asked_eventually() {
    use super::samples::{due, key, plant, rows, user};
    use crate::{ports::Consistency, testing::LateReader};

    let reader = Arc::new(LateReader::new(MemoryStore::new(None)));
    let store: super::samples::Store = reader.clone();
    let ann = user("ann");
    let mut before = rows(&store, &ann).await.unwrap();
    for (n, provider) in (1..).zip(["spotify", "soundcloud", "youtube"]) {
        plant(&store, &due(&super::samples::at("ann", provider), n)).await.unwrap();
        let eventual = store.person(&ann, Consistency::Eventual).await.unwrap();
        assert_eq!(eventual, before, "as it was before the last write");
        before = rows(&store, &ann).await.unwrap();
        assert_eq!(before.connections.len(), usize::try_from(n).unwrap(), "a strong read is never late");
    }
    plant(&store, &due(&key("bob"), 9)).await.unwrap();
    store.advance_tick(mm_model::Minute::new(1)).await.unwrap();
    let eventual = store.person(&ann, Consistency::Eventual).await.unwrap();
    assert_eq!(eventual.connections.len(), 2, "late as long as nothing of this person's is written");
    reader.catch_up();
    assert_eq!(store.person(&ann, Consistency::Eventual).await.unwrap(), before);
}
