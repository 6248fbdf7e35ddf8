use aws_lc_rs::hmac;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::origins::tests::origins;

const KEY: &[u8] = &[7; 32];
const OLD_KEY: &[u8] = b"the key that was replaced last week.";
const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

fn sessions_of(public_url: &str, current: &[u8], previous: Option<&[u8]>) -> Sessions {
    Sessions::new(SessionKeys::new(current, previous).unwrap(), &origins(public_url, &[]))
}

fn sessions() -> Sessions {
    sessions_of("https://auth.example.com", KEY, Some(OLD_KEY))
}

fn user() -> UserId {
    "ada".parse().unwrap()
}

fn sid() -> SessionId {
    SessionId::from_bytes([3; 16])
}

fn issued() -> String {
    let signed = sessions().issue(user(), sid(), NOW, NOW).unwrap();
    signed.expose().to_owned()
}

/// The claims of a good session.
fn claims() -> Value {
    json!({
        "iss": "https://auth.example.com/",
        "aud": "https://auth.example.com/",
        "sub": "ada",
        "sid": sid(),
        "iat": NOW.unix(),
        "exp": NOW.plus(SESSION_LIFETIME).unix(),
        "auth_time": NOW.unix(),
    })
}

fn header() -> Value {
    json!({ "alg": "HS256", "typ": TYP, "kid": Key::new(KEY).unwrap().id })
}

/// The object with one member replaced, or removed by `null`.
fn with(mut object: Value, member: &str, value: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(member);
    } else {
        members.insert(member.to_owned(), value);
    }
    object
}

/// A token signed by whoever holds `key`, with a header and claims of their choice.
fn forged_by(key: &[u8], algorithm: hmac::Algorithm, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(algorithm, key), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn forged(header: &Value, claims: &Value) -> String {
    forged_by(KEY, hmac::HMAC_SHA256, &header.to_string(), &claims.to_string())
}

fn refused(token: &str) -> SessionError {
    sessions().verify(token, NOW).unwrap_err()
}

macro_rules! assert_refused {
    ($token:expr, $error:pat) => {
        let error = refused(&$token);
        assert!(matches!(error, $error), "{error:?}");
    };
}

#[test]
fn a_session_survives_its_token() {
    let auth_time = NOW.minus(Duration::from_secs(5_000));
    let signed = sessions().issue(user(), sid(), auth_time, NOW).unwrap();
    assert_eq!(signed.max_age(), SESSION_LIFETIME);
    let session = sessions().verify(signed.expose(), NOW).unwrap();
    assert_eq!(session.user, user());
    assert_eq!(session.sid, sid());
    assert_eq!(session.issued_at, NOW);
    assert_eq!(session.expires_at, NOW.plus(SESSION_LIFETIME));
    assert_eq!(session.auth_time, auth_time);
}

/// Without this the attacks below would be refused for the wrong reason.
#[test]
fn the_forger_of_these_tests_makes_a_good_token_when_it_changes_nothing() {
    assert!(sessions().verify(&forged(&header(), &claims()), NOW).is_ok());
}

#[test]
fn the_longest_token_of_ours_is_within_the_limit() {
    let long_url = format!("https://{}.example.com", ["a".repeat(60).as_str(); 3].join("."));
    let user = "u".repeat(mm_model::id::TEXT_ID_BYTES_MAX).parse().unwrap();
    let sessions = sessions_of(&long_url, KEY, None);
    let signed = sessions.issue(user, sid(), NOW, NOW).unwrap();
    assert!(signed.expose().len() < TOKEN_BYTES_MAX / 2 + 200);
    assert!(sessions.verify(signed.expose(), NOW).is_ok());
}

#[test]
fn debug_shows_no_token_and_no_key() {
    let signed = sessions().issue(user(), sid(), NOW, NOW).unwrap();
    assert_eq!(format!("{signed:?}"), "SignedSession(…)");
    let keys = SessionKeys::new(b"canary-canary-canary-canary-canary", None).unwrap();
    let shown = format!("{keys:?} {:?}", sessions());
    assert!(!shown.contains("canary") && !shown.contains("7, 7"), "{shown}");
}

#[test]
fn a_short_key_is_refused() {
    assert_eq!(SessionKeys::new(&[1; 31], None).unwrap_err(), WeakKey);
    assert_eq!(SessionKeys::new(&[1; 32], Some(&[1; 31])).unwrap_err(), WeakKey);
    assert!(SessionKeys::new(&[1; 32], Some(&[2; 32])).is_ok());
}

#[test]
fn rotating_the_key_logs_nobody_out_and_dropping_it_does() {
    let before = sessions_of("https://auth.example.com", OLD_KEY, None);
    let token = before.issue(user(), sid(), NOW, NOW).unwrap();
    let session = sessions().verify(token.expose(), NOW).unwrap();
    let renewed = sessions().renew(&session, NOW).unwrap();
    let after = sessions_of("https://auth.example.com", KEY, None);
    assert!(after.verify(renewed.expose(), NOW).is_ok());
    let dropped = after.verify(token.expose(), NOW).unwrap_err();
    assert!(matches!(dropped, SessionError::UnknownKey));
}

#[test]
fn a_session_is_renewed_once_a_day_and_not_past_its_end() {
    let session = sessions().verify(&issued(), NOW).unwrap();
    assert!(!session.renewal_due(NOW.plus(RENEWAL_AGE)));
    assert!(session.renewal_due(NOW.plus(RENEWAL_AGE + Duration::from_secs(1))));

    let last = Session {
        issued_at: NOW.plus(Duration::from_hours(155 * 24)),
        expires_at: NOW.plus(SESSION_AGE_MAX),
        ..session
    };
    assert!(!last.renewal_due(NOW.plus(Duration::from_hours(170 * 24))));
}

#[test]
fn a_session_renewed_for_ever_ends_180_days_after_its_login() {
    let day = Duration::from_hours(24);
    let mut token = issued();
    let mut now = NOW;
    for _ in 0..400 {
        now = now.plus(day);
        match sessions().verify(&token, now) {
            Ok(session) => {
                assert_eq!(session.auth_time, NOW);
                if session.renewal_due(now) {
                    token = sessions().renew(&session, now).unwrap().expose().to_owned();
                }
            }
            Err(error) => {
                assert!(matches!(error, SessionError::Expired));
                break;
            }
        }
    }
    // Accepted for the leeway, so not on day 180 itself but on the day after.
    assert_eq!(now.since(NOW), SESSION_AGE_MAX + day);
    let late = sessions().issue(user(), sid(), NOW, NOW.plus(SESSION_AGE_MAX));
    assert!(matches!(late, Err(SessionError::TooOld)));
}

#[test]
fn an_expired_session_is_refused_after_the_leeway() {
    let end = NOW.plus(SESSION_LIFETIME);
    let last = end.plus(LEEWAY).minus(Duration::from_secs(1));
    assert!(sessions().verify(&issued(), last).is_ok());
    let late = sessions().verify(&issued(), end.plus(LEEWAY));
    assert!(matches!(late, Err(SessionError::Expired)));
}

#[test]
fn attack_algorithm_none() {
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = with(header(), "alg", json!(alg));
        let unsigned =
            format!("{}.{}.", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims().to_string()));
        assert_refused!(unsigned, SessionError::Algorithm);
        assert_refused!(forged(&header, &claims()), SessionError::Algorithm);
    }
    let mut stripped = issued();
    stripped.truncate(stripped.rfind('.').unwrap() + 1);
    assert_refused!(stripped, SessionError::Invalid);
}

#[test]
fn attack_other_hmac_with_the_right_key() {
    for (alg, algorithm) in [("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)] {
        let header = with(header(), "alg", json!(alg)).to_string();
        let token = forged_by(KEY, algorithm, &header, &claims().to_string());
        assert_refused!(token, SessionError::Algorithm);
    }
    // The header says HS256, the tag is another hash's.
    let header = header().to_string();
    let token = forged_by(KEY, hmac::HMAC_SHA512, &header, &claims().to_string());
    assert_refused!(token, SessionError::Invalid);
}

#[test]
fn attack_key_confusion_between_rsa_and_hmac() {
    for alg in ["RS256", "PS256", "ES256", "EdDSA", "hs256", "HS256 "] {
        let header = with(header(), "alg", json!(alg));
        assert_refused!(forged(&header, &claims()), SessionError::Algorithm);
    }
}

#[test]
fn attack_kid_that_selects_another_key() {
    for kid in [
        json!("../../../../dev/null"),
        json!("/proc/self/environ"),
        json!("' UNION SELECT 'key"),
        json!(""),
        json!("AAAAAAAAAAA"),
        Value::Null,
    ] {
        let header = with(header(), "kid", kid);
        assert_refused!(forged(&header, &claims()), SessionError::UnknownKey);
        let empty_key = forged_by(b"", hmac::HMAC_SHA256, &header.to_string(), &claims().to_string());
        assert_refused!(empty_key, SessionError::UnknownKey);
    }
    // The id of one known key over the signature of the other.
    let header = with(header(), "kid", json!(Key::new(OLD_KEY).unwrap().id));
    assert_refused!(forged(&header, &claims()), SessionError::Invalid);
}

#[test]
fn attack_header_that_brings_its_own_key_or_extension() {
    for (member, value) in [
        ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
        ("jku", json!("https://evil.test/keys")),
        ("x5u", json!("https://evil.test/certificate")),
        ("x5c", json!(["AAAA"])),
        ("crit", json!(["b64"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
    ] {
        let header = with(header(), member, value);
        assert_refused!(forged(&header, &claims()), SessionError::Header);
    }
}

#[test]
fn attack_doubled_header_member() {
    let kid = Key::new(KEY).unwrap().id;
    let doubled = format!(r#"{{"alg":"none","alg":"HS256","typ":"{TYP}","kid":"{kid}"}}"#);
    let token = forged_by(KEY, hmac::HMAC_SHA256, &doubled, &claims().to_string());
    assert_refused!(token, SessionError::Header);
}

#[test]
fn attack_token_of_another_type() {
    for typ in [json!("JWT"), json!("mm-login+jwt"), json!("MM-SESSION+JWT"), json!(""), Value::Null] {
        let header = with(header(), "typ", typ);
        assert_refused!(forged(&header, &claims()), SessionError::Type);
    }
}

#[test]
fn attack_token_of_another_server_with_the_same_key() {
    let other = sessions_of("https://auth.example.org", KEY, None);
    let token = other.issue(user(), sid(), NOW, NOW).unwrap();
    assert_refused!(token.expose(), SessionError::Invalid);
    for member in ["iss", "aud"] {
        for value in [
            json!("https://evil.test/"),
            json!("https://auth.example.com"),
            json!(["https://auth.example.com/"]),
            json!(["https://auth.example.com/", "https://evil.test/"]),
            json!(1),
            Value::Null,
        ] {
            let claims = with(claims(), member, value);
            assert_refused!(forged(&header(), &claims), SessionError::Invalid);
        }
    }
}

#[test]
fn attack_claims_of_another_form() {
    for (member, value) in [
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!("ada#session")),
        ("sid", Value::Null),
        ("sid", json!("short")),
        ("exp", Value::Null),
        ("exp", json!("never")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("iat", Value::Null),
        ("auth_time", Value::Null),
        ("admin", json!(true)),
    ] {
        let claims = with(claims(), member, value);
        assert_refused!(forged(&header(), &claims), SessionError::Invalid);
    }
}

#[test]
fn attack_times_that_we_never_write() {
    let second = Duration::from_secs(1);
    let future = NOW.plus(LEEWAY + second);
    for (member, value) in [
        ("exp", NOW.plus(SESSION_LIFETIME + second)),
        ("exp", Timestamp::from_unix(u64::MAX)),
        ("iat", future),
        ("iat", Timestamp::from_unix(u64::MAX)),
        ("auth_time", future),
        ("auth_time", NOW.minus(SESSION_AGE_MAX)),
    ] {
        let claims = with(claims(), member, json!(value));
        assert_refused!(forged(&header(), &claims), SessionError::Times);
    }
}

#[test]
fn attack_truncated_token() {
    let token = issued();
    for length in 0..token.len() {
        assert!(sessions().verify(&token[..length], NOW).is_err(), "{length}");
    }
}

#[test]
fn attack_token_with_more_parts_or_padding() {
    let token = issued();
    for other in [
        format!("{token}.{token}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}="),
        format!("{token} "),
        format!("{token}\n"),
        format!("\"{token}\""),
    ] {
        assert!(sessions().verify(&other, NOW).is_err(), "{other}");
    }
}

#[test]
fn attack_huge_token() {
    assert_refused!("a".repeat(TOKEN_BYTES_MAX + 1), SessionError::TooLong);
    assert_refused!(format!("{}.{}", issued(), "a".repeat(1 << 20)), SessionError::TooLong);
}

#[test]
fn attack_nested_header() {
    let nested = "[".repeat(600) + &"]".repeat(600);
    let token = forged_by(KEY, hmac::HMAC_SHA256, &nested, "{}");
    assert_refused!(token, SessionError::Header);
}

#[test]
fn a_request_without_a_live_session_gets_401() {
    let problem = |cookie: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", cookie.parse().unwrap());
        sessions().required(&headers, NOW).map_err(|problem| problem.kind())
    };
    assert!(problem(&format!("a=b; __Host-mm_session={}", issued())).is_ok());
    for cookie in ["", "a=b", "__Host-mm_session=", "__Host-mm_session=x.y.z", "mm_session=x"] {
        assert_eq!(problem(cookie), Err(ProblemKind::NoSession), "{cookie}");
    }
    let twice = format!("__Host-mm_session={0}; __Host-mm_session={0}", issued());
    assert_eq!(problem(&twice), Err(ProblemKind::BadRequest));
}

proptest! {
    #[test]
    fn a_changed_character_is_never_accepted(position in 0_usize..400, other in "[A-Za-z0-9_.=-]") {
        let token = issued();
        let position = position % token.len();
        let mut changed = token.clone();
        changed.replace_range(position..=position, &other);
        prop_assume!(changed != token);
        prop_assert!(sessions().verify(&changed, NOW).is_err());
    }

    #[test]
    fn any_text_is_refused_without_panic(text in ".{0,300}") {
        prop_assert!(sessions().verify(&text, NOW).is_err());
    }

    #[test]
    fn another_key_never_signs_a_session(key in proptest::collection::vec(any::<u8>(), 32..80)) {
        prop_assume!(key != KEY);
        let token = forged_by(&key, hmac::HMAC_SHA256, &header().to_string(), &claims().to_string());
        prop_assert!(sessions().verify(&token, NOW).is_err());
    }
}
