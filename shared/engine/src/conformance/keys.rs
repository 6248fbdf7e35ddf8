//! The key service: a wrapped key opens under its own context and no other, and not at all once touched.

use std::sync::Arc;

use crate::ports::{BranchKey, Family, KeyContext, KeyError, KeyService};

pub(super) type Keys = Arc<dyn KeyService>;
type Checked = Result<(), KeyError>;

const KEY: [u8; 32] = *b"a branch key of 256 bits, canary";

fn context() -> KeyContext {
    KeyContext { table: "multimusic-tokens".to_owned(), family: Family::Refresh, number: 7 }
}

async fn refused(keys: &Keys, context: &KeyContext, wrapped: &[u8], why: &str) {
    let answer = keys.unwrap(context, wrapped).await;
    assert!(matches!(answer, Err(KeyError::Refused { .. })), "{why}: {answer:?}");
}

pub(super) async fn a_key_comes_back(keys: Keys) -> Checked {
    let wrapped = keys.wrap(&context(), &BranchKey(KEY)).await?;
    assert_eq!(keys.unwrap(&context(), &wrapped).await?.0, KEY);
    assert_eq!(keys.unwrap(&context(), &wrapped).await?.0, KEY, "as often as it is asked for");
    Ok(())
}

pub(super) async fn a_wrapped_key_shows_nothing_of_the_key(keys: Keys) -> Checked {
    let wrapped = keys.wrap(&context(), &BranchKey(KEY)).await?;
    assert!(!wrapped.windows(8).any(|window| KEY.windows(8).any(|part| part == window)));
    let again = keys.wrap(&context(), &BranchKey(KEY)).await?;
    assert_ne!(wrapped, again, "nor that two are the same");
    Ok(())
}

pub(super) async fn another_context_is_refused(keys: Keys) -> Checked {
    let wrapped = keys.wrap(&context(), &BranchKey(KEY)).await?;
    let others = [
        KeyContext { table: "multimusic-tokens-2".to_owned(), ..context() },
        KeyContext { table: String::new(), ..context() },
        KeyContext { table: "multimusic-tokensrefresh".to_owned(), ..context() },
        KeyContext { family: Family::Access, ..context() },
        KeyContext { number: 8, ..context() },
        KeyContext { number: 0, ..context() },
        KeyContext { number: 77, ..context() },
    ];
    for other in others {
        refused(&keys, &other, &wrapped, &format!("{other:?}")).await;
    }
    Ok(())
}

pub(super) async fn a_touched_key_is_refused(keys: Keys) -> Checked {
    let wrapped = keys.wrap(&context(), &BranchKey(KEY)).await?;
    for at in 0..wrapped.len() {
        let mut touched = wrapped.clone();
        touched[at] ^= 0x01;
        refused(&keys, &context(), &touched, &format!("byte {at}")).await;
    }
    refused(&keys, &context(), &wrapped[..wrapped.len() - 1], "cut short").await;
    refused(&keys, &context(), &[&wrapped[..], &[0]].concat(), "made longer").await;
    refused(&keys, &context(), &[], "nothing").await;
    Ok(())
}
