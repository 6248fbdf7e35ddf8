use proptest::prelude::*;

use super::*;
use crate::origins::tests::{example, origins};

fn parse(text: &str) -> Result<String, InvalidReturnTo> {
    ReturnTo::parse(text, &example()).map(|to| to.as_str().to_owned())
}

/// Whether an address lies on a frontend of `example`, judged by the parser that browsers share (WHATWG URL).
fn on_a_frontend(url: &Url) -> bool {
    ["https://app.example.com", "https://beta.example.com"].contains(&url.origin().ascii_serialization().as_str())
        && url.username().is_empty()
        && url.password().is_none()
}

#[test]
fn a_path_lies_on_the_first_frontend() {
    for (text, url) in [
        ("/", "https://app.example.com/"),
        ("/library?view=list#top", "https://app.example.com/library?view=list#top"),
        ("/a/../b", "https://app.example.com/b"),
        ("/caf%C3%A9", "https://app.example.com/caf%C3%A9"),
        ("/café", "https://app.example.com/caf%C3%A9"),
        ("/search/AC%5CDC", "https://app.example.com/search/AC%5CDC"),
        ("/to?next=https://evil.test", "https://app.example.com/to?next=https://evil.test"),
        ("/auth/profile", "https://app.example.com/auth/profile"),
        ("/@evil.test", "https://app.example.com/@evil.test"),
        ("/a//b", "https://app.example.com/a//b"),
    ] {
        assert_eq!(parse(text).as_deref(), Ok(url));
    }
}

#[test]
fn a_full_address_lies_on_any_frontend() {
    for text in ["https://app.example.com/", "https://beta.example.com/app/x?y=1#z", "https://beta.example.com/?a"] {
        assert_eq!(parse(text).as_deref(), Ok(text));
    }
    assert_eq!(parse("https://app.example.com#/songs").as_deref(), Ok("https://app.example.com/#/songs"));
}

#[test]
fn attack_addresses_of_another_origin() {
    for text in [
        "",
        "library",
        "./library",
        "?x",
        "#x",
        "//evil.test",
        "///evil.test",
        "////evil.test",
        "//evil.test/%2e%2e",
        "//app.example.com",
        "///app.example.com/x",
        "https:evil.test",
        "https:/evil.test",
        "https:///evil.test",
        "https://evil.test",
        "https://evil.test/https://app.example.com/",
        "https://evil.test#https://app.example.com/",
        "https://evil.test?https://app.example.com/",
        "http://app.example.com/",
        "http:/app.example.com/",
        "https:app.example.com/",
        "https:///app.example.com/",
        "https://app.example.com.evil.test/",
        "https://app.example.com@evil.test/",
        "https://app.example.com:pass@evil.test/",
        "https://app.example.com%40evil.test/",
        "https://app.example.com%2eevil.test/",
        "https://user@app.example.com/",
        "https://user:pass@app.example.com/",
        "https://@app.example.com/",
        "https://app.example.com:8443/",
        "https://app.example.com:443/",
        "https://app.example.com./",
        "https://appxexample.com/",
        "https://example.com/",
        "https://auth.example.com/",
        "HTTPS://APP.EXAMPLE.COM/",
        "https://app.example.com;.evil.test/",
        "https://app。example。com/",
        "https://app.example.com。evil.test/",
        "https://app.example.com／evil.test/",
        "https://аpp.example.com/",
        "https://ⓐpp.example.com/",
        "javascript:alert(1)",
        "javascript://app.example.com/%0aalert(1)",
        "data:text/html,x",
        "blob:https://app.example.com/x",
        "view-source:https://app.example.com/",
        "//",
        "/././/evil.test",
        "/.//evil.test",
        "/..//evil.test",
        "/%2e//evil.test",
        "/%2e%2e//evil.test",
        "/a/..//evil.test",
        "/%2f/evil.test",
        "/%2fevil.test",
        "/%2F%2Fevil.test",
        "/%5cevil.test",
        "/%5C%5Cevil.test",
    ] {
        assert_eq!(parse(text), Err(InvalidReturnTo::Elsewhere), "{text}");
    }
}

#[test]
fn attack_characters_that_browsers_drop_or_rewrite() {
    for text in [
        "/\\evil.test",
        "\\/evil.test",
        "\\\\evil.test",
        "/\t/evil.test",
        "/\n/evil.test",
        "/\r\n/evil.test",
        "\t//evil.test",
        " //evil.test",
        " /library",
        "/library ",
        "\u{0}/library",
        "/\u{7f}/evil.test",
        "/\u{85}/evil.test",
        "https:\\\\evil.test",
        "https://app.example.com\\@evil.test",
        "https://app.example.com\\.evil.test",
        "https://app.example\t.com/",
        "/library\r\nset-cookie: a=b",
        "/%09/evil.test",
        "/%0a/evil.test",
        "/%0d%0aset-cookie:%20a=b",
        "/%00/evil.test",
        "/a%7fb",
    ] {
        assert_eq!(parse(text), Err(InvalidReturnTo::Character), "{text:?}");
    }
}

#[test]
fn slashes_of_other_alphabets_stay_in_the_path() {
    for text in ["/／evil.test", "/∕evil.test", "/⧸evil.test", "/。evil.test", "/％2fevil.test"] {
        let to = ReturnTo::parse(text, &example()).unwrap();
        assert!(on_a_frontend(to.url()) && to.as_str().is_ascii(), "{text}");
        assert!(to.url().path().starts_with("/%"), "{text}");
    }
}

#[test]
fn a_login_does_not_return_to_a_route_of_the_server() {
    let same_origin = origins("https://music.example.com", &[]);
    for text in [
        "/auth",
        "/auth/spotify/login",
        "/auth/spotify/callback?code=x&state=y",
        "/AUTH/spotify/login",
        "/%61uth/spotify/login",
        "/x/../auth/spotify/login",
        "/auth%2fspotify/login",
        "https://music.example.com/auth/spotify/login",
    ] {
        let refused = ReturnTo::parse(text, &same_origin);
        assert_eq!(refused, Err(InvalidReturnTo::Route), "{text}");
    }
    assert!(ReturnTo::parse("/author", &same_origin).is_ok());
}

#[test]
fn a_long_address_is_refused() {
    let long = |bytes: usize| format!("https://app.example.com/{}", "a".repeat(bytes - 24));
    assert!(parse(&long(RETURN_TO_BYTES_MAX)).is_ok());
    for text in [
        long(RETURN_TO_BYTES_MAX + 1),
        "a".repeat(RETURN_TO_BYTES_MAX + 1),
        // Short as sent, long once it is percent-encoded.
        format!("/{}", "é".repeat(200)),
    ] {
        assert_eq!(parse(&text), Err(InvalidReturnTo::TooLong));
    }
}

#[test]
fn a_refusal_names_the_parameter_and_quotes_nothing() {
    for text in ["//canary.test", "/\tcanary", &"canary".repeat(1_000)] {
        let error = parse(text).unwrap_err();
        let document = serde_json::to_string(&Problem::from(error)).unwrap();
        assert!(document.contains("\"parameter\":\"return_to\""));
        assert!(!format!("{document} {error}").contains("canary"));
    }
}

#[test]
fn a_result_is_added_and_the_rest_of_the_address_kept() {
    let provider = "spotify".parse().unwrap();
    let result = |text: &str, outcome| {
        let to = ReturnTo::parse(text, &example()).unwrap();
        to.with_result(&provider, outcome).to_string()
    };
    assert_eq!(
        result("/library", Outcome::Connected),
        "https://app.example.com/library?mm_result=connected&mm_provider=spotify"
    );
    assert_eq!(
        result("/?q=a%20b+c&&x#/deep?y=1", Outcome::Failed(ResultCode::AccessDenied)),
        "https://app.example.com/?q=a%20b+c&x&mm_result=error&mm_provider=spotify&mm_code=access_denied#/deep?y=1"
    );
    assert_eq!(
        result("/?mm_result=error&a=1&mm%5Fcode=login_expired&mm_provider=x&mm_code&mm_codes=2", Outcome::Connected),
        "https://app.example.com/?a=1&mm_codes=2&mm_result=connected&mm_provider=spotify"
    );
}

#[test]
fn without_an_address_a_login_returns_to_the_first_frontend() {
    let provider = "soundcloud".parse().unwrap();
    let origins = origins("https://auth.example.com", &["https://example.com/app/"]);
    let url = ReturnTo::frontend(&origins).with_result(&provider, Outcome::Failed(ResultCode::LoginExpired));
    assert_eq!(url.as_str(), "https://example.com/app/?mm_result=error&mm_provider=soundcloud&mm_code=login_expired");
}

#[test]
fn the_codes_are_the_documented_ones() {
    let codes = ResultCode::ALL.map(ResultCode::as_str).join(" ");
    assert_eq!(
        codes,
        "access_denied login_expired login_other_browser account_in_use account_mismatch \
         provider_unavailable provider_refused not_configured"
    );
}

/// Pieces that redirect bypasses are built of.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "/",
            "//",
            "\\",
            "@",
            ":",
            ".",
            "..",
            "?",
            "#",
            "%",
            "%2f",
            "%5c",
            "%09",
            "%2e",
            "\t",
            "\n",
            " ",
            "https:",
            "http:",
            "javascript:",
            "app.example.com",
            "https://app.example.com",
            "evil.test",
            "。",
            "／",
            "\u{200b}",
            "\u{feff}",
            ";",
            "&",
            "[",
            "]",
            "mm_result=",
            "443",
            "xn--",
        ])
        .prop_map(str::to_owned),
        ".{0,3}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_never_leaves_the_frontends(pieces in prop::collection::vec(piece(), 0..8)) {
        let text = pieces.concat();
        let Ok(to) = ReturnTo::parse(&text, &example()) else {
            return Ok(());
        };
        prop_assert!(on_a_frontend(to.url()), "{text:?} leads to {}", to.url());
        let provider = "spotify".parse().unwrap();
        let url = to.with_result(&provider, Outcome::Connected);
        let browser = Url::parse(url.as_str()).unwrap();
        prop_assert!(on_a_frontend(&browser));
        prop_assert_eq!(browser.path(), to.url().path());
        prop_assert_eq!(browser.fragment(), to.url().fragment());
        prop_assert!(url.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{url}");
    }

    #[test]
    fn what_is_stored_is_read_back(pieces in prop::collection::vec(piece(), 0..6)) {
        let Ok(to) = ReturnTo::parse(&format!("/{}", pieces.concat()), &example()) else {
            return Ok(());
        };
        prop_assert_eq!(ReturnTo::parse(to.as_str(), &example()), Ok(to));
    }

    #[test]
    fn any_path_of_letters_is_accepted(path in "(/[a-z0-9]{1,8}){1,5}(\\?[a-z]=[0-9])?(#[a-z]{1,4})?") {
        let url = parse(&path).unwrap();
        prop_assert_eq!(url, format!("https://app.example.com{path}"));
    }
}
