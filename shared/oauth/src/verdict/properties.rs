//! Whatever arrives, the judge answers, and never invents a token or a dead grant.

use std::time::Duration;

use mm_model::Timestamp;
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::{EXPIRES_IN_MAX, RETRY_AFTER_MAX, Verdict, judge, retry_after};
use crate::catalogue::{Catalogue, Provider};

const NOW: Timestamp = Timestamp::from_unix(1_795_608_000);

fn provider() -> impl Strategy<Value = Provider> {
    select(Catalogue::built_in().unwrap().iter().cloned().collect::<Vec<_>>())
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        select(vec!["", "Bearer", "mac", "invalid_grant", "invalid_client", "invalid_rapt", "3600", "-1", "NaN"])
            .prop_map(Value::from),
        vec(".{0,8}", 0..4).prop_map(Value::from),
        Just(json!({"code": "invalid_grant"})),
    ]
}

/// Objects of the fields that are looked at, each with anything in it.
fn object() -> impl Strategy<Value = Value> {
    let names = vec![
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "scope",
        "error",
        "error_code",
        "error_subtype",
        "error_description",
    ];
    vec((select(names), scalar()), 0..8)
        .prop_map(|fields| Value::from(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>()))
}

/// What must hold of any verdict on this body.
fn check(provider: &Provider, status: u16, body: &[u8], verdict: &Verdict) -> Result<(), TestCaseError> {
    match verdict {
        Verdict::Refreshed(answer) => {
            prop_assert!((200..300).contains(&status));
            prop_assert!(!answer.access_token.expose().trim().is_empty());
            prop_assert!(answer.access_token.expose().is_ascii());
            prop_assert!(answer.refresh_token.as_ref().is_none_or(|token| !token.expose().is_empty()));
            prop_assert!((Duration::from_secs(1)..=EXPIRES_IN_MAX).contains(&answer.expires_in));
            prop_assert!(answer.scope.as_ref().is_none_or(|scope| !scope.is_empty() && scope.trim() == scope));
        }
        Verdict::Refused { .. } => {
            prop_assert!(matches!(status, 400 | 401 | 403));
            let json: Value = serde_json::from_slice(body).map_err(|_| TestCaseError::fail("not parsed"))?;
            let says = |field: &str, text: &str| json[field] == text;
            let rule = says("error_code", "invalid_grant") && provider.id.as_str() == "soundcloud"
                || says("error", "admin_policy_enforced") && provider.id.as_str() == "youtube";
            prop_assert!(says("error", "invalid_grant") || rule);
        }
        Verdict::Throttled { retry_after } => {
            prop_assert_eq!(status, 429);
            prop_assert!(retry_after.is_none_or(|wait| wait <= RETRY_AFTER_MAX));
        }
        Verdict::Misconfigured { .. } => prop_assert!((400..500).contains(&status)),
        Verdict::Unavailable { may_have_been_processed, .. } => {
            prop_assert!(*may_have_been_processed || (400..500).contains(&status));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_judged(
        provider in provider(),
        status in 100_u16..=999,
        header in option::of(".{0,40}"),
        body in vec(any::<u8>(), 0..200),
    ) {
        let verdict = judge(&provider, status, header.as_deref(), &body, NOW);
        check(&provider, status, &body, &verdict)?;
    }

    #[test]
    fn any_object_is_judged(
        provider in provider(),
        status in select(vec![200_u16, 201, 202, 302, 400, 401, 403, 404, 429, 500, 503]),
        object in object(),
    ) {
        let body = serde_json::to_vec(&object).unwrap();
        let verdict = judge(&provider, status, None, &body, NOW);
        check(&provider, status, &body, &verdict)?;
    }

    #[test]
    fn any_prefix_of_a_good_answer_is_the_answer_or_nothing(cut in 0_usize..=88) {
        let body = br#"{"access_token":"access-1","refresh_token":"refresh-2","expires_in":60,"scope":"a b c"}"#;
        let provider = Catalogue::built_in().unwrap().iter().next().unwrap().clone();
        let body = &body[..cut.min(body.len())];
        let whole = body.ends_with(b"}");
        prop_assert_eq!(matches!(judge(&provider, 200, None, body, NOW), Verdict::Refreshed(_)), whole);
    }

    #[test]
    fn any_retry_after_is_bounded(value in ".{0,60}", now in any::<u32>()) {
        let wait = retry_after(&value, Timestamp::from_unix(now.into()));
        prop_assert!(wait.is_none_or(|wait| wait <= RETRY_AFTER_MAX));
    }
}
