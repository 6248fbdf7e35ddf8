use super::*;
use crate::catalogue::{Catalogue, ErrorMeaning};

const NOW: Timestamp = Timestamp::from_unix(1_795_608_000);

fn provider(id: &str) -> Provider {
    Catalogue::built_in().unwrap().get(&id.parse().unwrap()).unwrap().clone()
}

#[test]
fn every_meaning_of_a_rule_has_its_class() {
    for (meaning, class, detail) in [
        (ErrorMeaning::InvalidGrant, "refused", "invalid_grant"),
        (ErrorMeaning::GrantExpired, "refused", "grant_expired"),
        (ErrorMeaning::SessionPolicy, "refused", "session_policy"),
        (ErrorMeaning::AdminPolicy, "refused", "admin_policy"),
        (ErrorMeaning::InvalidClient, "misconfigured", "invalid_client"),
        (ErrorMeaning::UnauthorizedClient, "misconfigured", "unauthorized_client"),
        (ErrorMeaning::Throttled, "throttled", "throttled"),
        (ErrorMeaning::Unavailable, "unavailable", "server_error"),
    ] {
        let mut provider = provider("spotify");
        let fields = [("/code".to_owned(), "7".to_owned()), ("/inner/a~1b".to_owned(), "x".to_owned())].into();
        provider.errors.insert(0, ErrorRule { statuses: vec![200, 422], fields, means: meaning });
        let body = br#"{"code":7,"inner":{"a/b":"x"},"error":"invalid_scope"}"#;
        for status in [200, 422] {
            let verdict = judge(&provider, status, Some("9"), body, NOW);
            assert_eq!((verdict.class(), verdict.detail()), (class, detail), "{meaning:?} at {status}");
        }
        // Another status, or one field less, and the rule does not hold.
        assert_eq!(judge(&provider, 400, None, body, NOW).detail(), "invalid_scope");
        assert_eq!(judge(&provider, 422, None, br#"{"code":7}"#, NOW).detail(), "unexpected_status");
    }
}

#[test]
fn a_rule_never_costs_a_token() {
    let mut provider = provider("spotify");
    let fields = [("/token_type".to_owned(), "Bearer".to_owned())].into();
    provider.errors.insert(0, ErrorRule { statuses: vec![200], fields, means: ErrorMeaning::InvalidGrant });
    let body = br#"{"access_token":"access-1","token_type":"Bearer"}"#;
    assert_eq!(judge(&provider, 200, None, body, NOW).class(), "refreshed");
}

#[test]
fn an_answer_that_was_cut_is_judged_by_its_status() {
    let cut = |status, header| judge_cut(status, header, UnavailableCause::Interrupted, NOW);
    assert_eq!(cut(429, Some("5")), Verdict::Throttled { retry_after: Some(Duration::from_secs(5)) });
    assert_eq!(cut(503, None), Verdict::unknown(UnavailableCause::ServerError, None));
    for status in [200, 302, 400, 403] {
        assert_eq!(cut(status, None), Verdict::unknown(UnavailableCause::Interrupted, None));
    }
}

#[test]
fn no_verdict_shows_a_token() {
    let body = br#"{"access_token":"canary-a","refresh_token":"canary-r","error_description":"canary-d"}"#;
    for status in [200, 302, 400, 401, 429, 500] {
        let verdict = judge(&provider("spotify"), status, Some("canary-h"), body, NOW);
        let shown =
            format!("{verdict:?} {:?}", ExchangeOutcome::from(judge(&provider("youtube"), status, None, body, NOW)));
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn a_token_answer_is_wiped_when_it_was_read() {
    let mut value = serde_json::json!({"access_token": "canary", "deep": [{"er": "canary"}]});
    answer::wipe(&mut value);
    assert_eq!(value, serde_json::json!({"access_token": "", "deep": [{"er": ""}]}));
}
