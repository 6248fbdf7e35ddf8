use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::*;

const KNOWN: [Parameter; 4] = [
    Parameter::new("code", VALUE_BYTES_MAX),
    Parameter::new("state", 64),
    Parameter::new("wait", 8),
    Parameter::new("replace", 8),
];

fn ours(raw: &str) -> Result<Query, QueryError> {
    Query::parse(Some(raw), &KNOWN, Unknown::Refuse)
}

fn callback(raw: &str) -> Result<Query, QueryError> {
    Query::parse(Some(raw), &KNOWN, Unknown::Ignore)
}

#[test]
fn values_are_decoded_once() {
    let query = ours("code=a%2Bb+c%20d%252e&state=%C3%A9&wait=").unwrap();
    assert_eq!(query.get("code"), Some("a+b c d%2e"));
    assert_eq!(query.get("state"), Some("é"));
    assert_eq!(query.get("wait"), None);
    assert_eq!(query.get("replace"), None);
}

#[test]
fn no_query_and_an_empty_one_are_the_same() {
    for raw in [None, Some(""), Some("&"), Some("&&")] {
        let query = Query::parse(raw, &KNOWN, Unknown::Refuse).unwrap();
        assert_eq!(query.required("code"), Err(QueryError::Missing { parameter: "code" }));
    }
}

#[test]
fn attack_doubled_parameter() {
    let doubled = Err(QueryError::Doubled { parameter: "code" });
    for raw in [
        "code=a&code=b",
        "code=a&code=a",
        "code=a&state=s&code=b",
        "code=&code=b",
        "code&code=b",
        "c%6Fde=a&code=b",
        "%63%6F%64%65=a&code=b",
    ] {
        assert_eq!(ours(raw), doubled, "{raw}");
        assert_eq!(callback(raw), doubled, "{raw}");
    }
}

#[test]
fn a_callback_ignores_what_it_does_not_know_and_ours_refuse_it() {
    for raw in ["code=a&authuser=0&prompt=none", "code=a&Code=b", "code=a&code%5B%5D=b", "code=a&x=1&x=2"] {
        assert_eq!(callback(raw).unwrap().get("code"), Some("a"), "{raw}");
        assert_eq!(ours(raw), Err(QueryError::Unknown), "{raw}");
    }
}

#[test]
fn attack_odd_encodings() {
    for raw in [
        "code=%",
        "code=%2",
        "code=%zz",
        "code=%+1",
        "code=%u0041",
        "code=%ff",
        "code=%c0%af",
        "code=%ed%a0%80",
        "code=%00",
        "code=a%0d%0aset-cookie:x",
        "code=%7f",
        "code=%c2%85",
        "code=\u{e9}",
        "%ff=1",
    ] {
        assert_eq!(ours(raw), Err(QueryError::Encoding), "{raw}");
    }
}

#[test]
fn every_length_is_bounded() {
    let long = |name: &str, length: usize| format!("{name}={}", "a".repeat(length));
    assert!(ours(&long("state", 64)).is_ok());
    assert_eq!(ours(&long("state", 65)), Err(QueryError::ValueTooLong { parameter: "state" }));
    assert_eq!(ours(&long("code", VALUE_BYTES_MAX + 1)), Err(QueryError::ValueTooLong { parameter: "code" }));
    assert_eq!(callback(&long("other", QUERY_BYTES_MAX)), Err(QueryError::TooLong));
    let many = |count: usize| vec!["other=1"; count].join("&");
    assert!(callback(&many(PARAMETERS_MAX)).is_ok());
    assert_eq!(callback(&many(PARAMETERS_MAX + 1)), Err(QueryError::TooLong));
}

#[test]
fn a_whole_number_is_digits_within_its_range() {
    let wait = |raw: &str| {
        let raw = format!("wait={raw}");
        ours(&raw).unwrap().whole_number("wait", 0..=3, "A number from 0 to 3.")
    };
    assert_eq!(wait(""), Ok(None));
    for (raw, number) in [("0", 0), ("3", 3), ("003", 3)] {
        assert_eq!(wait(raw), Ok(Some(number)));
    }
    for raw in ["4", "-1", "%2B1", "+1", "1.0", "1e0", "0x1", "a", "1%20", "99999999", "%D9%A1"] {
        let invalid = QueryError::Invalid { parameter: "wait", shape: "A number from 0 to 3." };
        assert_eq!(wait(raw), Err(invalid), "{raw}");
    }
}

#[test]
fn a_flag_is_1_or_absent() {
    assert_eq!(ours("").unwrap().flag("replace"), Ok(false));
    assert_eq!(ours("replace=1").unwrap().flag("replace"), Ok(true));
    for raw in ["replace=0", "replace=true", "replace=01"] {
        assert!(ours(raw).unwrap().flag("replace").is_err(), "{raw}");
    }
}

#[test]
fn a_word_is_one_of_its_list_and_a_parsed_value_of_its_type() {
    let words = [("switch", 1), ("move", 2)];
    let word = |raw: &str| ours(raw).unwrap().word("replace", &words, "switch or move.");
    assert_eq!(word("replace=move"), Ok(Some(2)));
    assert_eq!(word(""), Ok(None));
    assert!(word("replace=Move").is_err());

    let id = |raw: &str| ours(raw).unwrap().parsed::<mm_model::ProviderId>("state", "A provider's id.");
    assert_eq!(id("state=spotify"), Ok(Some("spotify".parse().unwrap())));
    assert_eq!(id(""), Ok(None));
    assert!(id("state=%2e%2e").is_err());
}

#[test]
fn an_error_and_a_debug_show_no_value() {
    let query = ours("code=canary&state=canary").unwrap();
    assert_eq!(format!("{query:?}"), r#"{"code", "state"}"#);
    for error in [
        ours("canary=1").unwrap_err(),
        ours("code=canary&code=canary").unwrap_err(),
        ours("wait=canarycanary").unwrap_err(),
        ours("code=canary%ff").unwrap_err(),
        ours("replace=canary").unwrap().flag("replace").unwrap_err(),
    ] {
        let problem = Problem::from(error);
        let shown = format!("{error} {error:?} {}", serde_json::to_string(&problem).unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn a_refused_parameter_is_named() {
    let problem = Problem::from(ours("code=a&code=b").unwrap_err());
    let document = serde_json::to_value(problem).unwrap();
    assert_eq!(document["parameter"], "code");
    assert_eq!(document["status"], 400);
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(raw in ".{0,200}") {
        let _ = (ours(&raw), callback(&raw));
    }

    #[test]
    fn what_is_encoded_is_read_back(code in "[^\\p{C}]{1,60}", state in "[^\\p{C}]{1,15}") {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let query = ours(&format!("state={}&code={}", encode(&state), encode(&code))).unwrap();
        prop_assert_eq!(query.get("code"), Some(code.as_str()));
        prop_assert_eq!(query.get("state"), Some(state.as_str()));
    }
}
