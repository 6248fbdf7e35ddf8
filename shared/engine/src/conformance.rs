//! The suite that every implementation of the ports must pass, written against the ports and the model alone.
//!
//! An adapter's test names a function that makes a fresh subject, and gets one test per case, so that a failure is shown by
//! name:
//!
//! ```ignore
//! async fn fresh() -> mm_engine::conformance::StoreSubject { /* a store over an empty table */ }
//! mm_engine::store_conformance!(fresh);
//! ```
//!
//! [`store_conformance!`](crate::store_conformance) covers `ConnectionStore`,
//! [`queue_conformance!`](crate::queue_conformance) `RefreshQueue`, and [`key_conformance!`](crate::key_conformance)
//! `KeyService`. What the suite asks of a store's rules it asks of [`Table`], the same rules over plain values; the index
//! may lag, an eventual read may be late, and nothing else may.

use std::{any::Any, sync::Arc};

use crate::ports::{ConnectionStore, KeyService, StoreError};

mod cases;
mod changes;
mod differential;
mod keys;
mod lane;
mod links;
mod logins;
mod nudges;
mod people;
mod probe;
mod purge;
mod races;
mod rows;
mod samples;
mod steps;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod values;
mod wheel;

pub use probe::{Delivered, QueueProbe};
pub use table::Table;

/// A store under test.
pub struct StoreSubject {
    /// The store, over an empty table.
    pub store: Arc<dyn ConnectionStore>,
    /// What must live as long as it: its directory, its server.
    pub keep: Box<dyn Any + Send>,
}

/// A queue under test.
pub struct QueueSubject {
    /// The queue, empty, and the test's hold on its other end.
    pub probe: Arc<dyn QueueProbe>,
    /// What must live as long as it.
    pub keep: Box<dyn Any + Send>,
}

/// A key service under test.
pub struct KeySubject {
    /// The service.
    pub keys: Arc<dyn KeyService>,
    /// What must live as long as it.
    pub keep: Box<dyn Any + Send>,
}

/// Why a case did not end well. What a case found wrong it says by a failed assertion instead.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The suite has no such case.
    #[error("the conformance suite has no case {name}")]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The store could not answer.
    #[error("the store did not answer a conformance case")]
    Store(#[from] StoreError),
    /// The queue did not accept a message.
    #[error("the queue did not do its part in a conformance case")]
    Queue(#[from] crate::ports::QueueError),
    /// The key service failed.
    #[error("the key service did not do its part in a conformance case")]
    Keys(#[from] crate::ports::KeyError),
}

/// Runs `store_case` and the like over the lists of cases below.
macro_rules! run_cases {
    ([$name:ident $subject:ident] $($module:ident { $($case:ident),* $(,)? })*) => {
        $($(if $name == concat!(stringify!($module), "::", stringify!($case)) {
            return Ok($module::$case($subject).await?);
        })*)*
    };
}

/// The names of some cases.
macro_rules! name_cases {
    ([] $($module:ident { $($case:ident),* $(,)? })*) => {
        &[$($(concat!(stringify!($module), "::", stringify!($case)),)*)*]
    };
}

/// The cases of the store's suite.
pub const STORE_CASES: &[&str] = crate::each_store_case! { [name_cases] };

/// The cases of the queue's suite.
pub const QUEUE_CASES: &[&str] = crate::each_queue_case! { [name_cases] };

/// The cases of the key service's suite.
pub const KEY_CASES: &[&str] = crate::each_key_case! { [name_cases] };

/// Runs one case of the store's suite over a fresh store.
///
/// # Errors
///
/// The store could not answer, or there is no such case. What the case finds wrong fails an assertion.
pub async fn store_case(name: &str, subject: StoreSubject) -> Result<(), CaseError> {
    let StoreSubject { store, keep: _keep } = subject;
    crate::each_store_case! { [run_cases] name store }
    Err(CaseError::Unknown { name: name.to_owned() })
}

/// Runs one case of the queue's suite over a fresh queue.
///
/// # Errors
///
/// The queue refused a message, or there is no such case. What the case finds wrong fails an assertion.
pub async fn queue_case(name: &str, subject: QueueSubject) -> Result<(), CaseError> {
    let QueueSubject { probe, keep: _keep } = subject;
    crate::each_queue_case! { [run_cases] name probe }
    Err(CaseError::Unknown { name: name.to_owned() })
}

/// Runs one case of the key service's suite.
///
/// # Errors
///
/// The service did not answer, or there is no such case. What the case finds wrong fails an assertion.
pub async fn key_case(name: &str, subject: KeySubject) -> Result<(), CaseError> {
    let KeySubject { keys, keep: _keep } = subject;
    crate::each_key_case! { [run_cases] name keys }
    Err(CaseError::Unknown { name: name.to_owned() })
}
