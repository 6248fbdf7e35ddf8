//! Open redirects: every known way to make an address that is ours to us and theirs to a browser (RFC 9700 §4.11).

use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::is_problem;
use crate::{contract::split, login::pending, people::open, world::World};

/// What must be refused on `http://127.0.0.1:8080`, before any percent-encoding of the query.
const ELSEWHERE: [&str; 58] = [
    "//evil.test",
    "///evil.test",
    "////evil.test",
    "/\\evil.test",
    "\\/evil.test",
    "\\\\evil.test",
    "/\\/evil.test",
    "/\t/evil.test",
    "/\n/evil.test",
    "/\r/evil.test",
    "\t//evil.test",
    " //evil.test",
    "/ /evil.test",
    "/%09/evil.test",
    "/%0a/evil.test",
    "/%5cevil.test",
    "/%2fevil.test",
    "/%2Fevil.test",
    "/%5C/evil.test",
    "/.//evil.test",
    "/..//evil.test",
    "/./\\evil.test",
    "/x/..//evil.test",
    "/%2e/%2fevil.test",
    "https://evil.test",
    "http://evil.test",
    "HTTP://EVIL.TEST",
    "https:evil.test",
    "https:/evil.test",
    "https:///evil.test",
    "http:\\\\evil.test",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,<script>1</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "blob:http://127.0.0.1:8080/x",
    "view-source:http://127.0.0.1:8080/",
    "evil.test",
    "evil.test/path",
    "@evil.test",
    ".evil.test",
    "http://127.0.0.1:8080@evil.test",
    "http://127.0.0.1:8080:evil@evil.test/",
    "http://127.0.0.1:8080.evil.test",
    "http://127.0.0.1:80800/",
    "http://127.0.0.1:8081/",
    "http://127.0.0.1/",
    "https://127.0.0.1:8080/",
    "http://localhost:8080/",
    "http://user@127.0.0.1:8080/",
    "http://user:pass@127.0.0.1:8080/",
    "http://127.0.0.1:8080\\@evil.test",
    "http://evil.test#http://127.0.0.1:8080/",
    "http://evil.test?http://127.0.0.1:8080/",
    "http://①27.0.0.1:8080/",
    "/auth/soundcloud/login",
];

/// More of them: routes of this server, by which a login would end in the next one.
const ROUTES: [&str; 5] = ["/auth", "/auth/", "/AUTH/logout", "/x/../auth/logout", "/%61uth/soundcloud/login"];

fn query(return_to: &str) -> String {
    format!("?return_to={}", utf8_percent_encode(return_to, NON_ALPHANUMERIC))
}

#[tokio::test]
async fn attack_return_to_elsewhere() {
    let world = World::new().await;
    let browser = world.browser();
    for return_to in ELSEWHERE.iter().chain(&ROUTES) {
        let path = format!("/auth/soundcloud/login{}", query(return_to));
        for answer in [browser.call(Method::POST, &path).await, browser.navigate(&path, "none").await] {
            is_problem(&answer, 400, "bad_request", return_to);
            // Control characters are refused in any parameter.
            let named = if return_to.chars().any(char::is_control) { None } else { Some("return_to") };
            assert_eq!(answer.json()["parameter"].as_str(), named, "{return_to}");
            assert!(!answer.headers.contains_key("location") && !answer.headers.contains_key("set-cookie"));
        }
    }
    assert_eq!(pending(&world), 0);
}

#[tokio::test]
async fn attack_return_to_a_look_alike_of_a_frontend() {
    let world = split().await;
    let browser = world.browser();
    for return_to in [
        "https://auth.example.com/",
        "https://example.com/",
        "https://evil.example.com/",
        "https://app.example.com.evil.test/",
        "https://app.example.com@evil.test/",
        "https://app.example.com%2eevil.test/",
        "https://app.example.com%00.evil.test/",
        "https://app.example.com:443/",
        "https://app.example.com:8443/",
        "https://app.example.com./",
        "https://APP.example.com/",
        "https://app。example.com/",
        "https://аpp.example.com/",
        "http://app.example.com/",
        "https://app.example.com//evil.test",
        "https://app.example.com/\\evil.test",
        "https://app.example.com/%2f%2fevil.test",
    ] {
        let answer = browser.post(&format!("/auth/soundcloud/login{}", query(return_to))).await;
        is_problem(&answer, 400, "bad_request", return_to);
    }
    assert_eq!(pending(&world), 0);
}

#[tokio::test]
async fn what_is_ours_comes_back_absolute_with_its_query_and_fragment() {
    let world = World::new().await;
    let ours = "http://127.0.0.1:8080";
    for (return_to, expected) in [
        ("/", "/?"),
        ("/library", "/library?"),
        ("/library?tab=2&q=a%20b#top", "/library?tab=2&q=a%20b&#top"),
        ("/search?next=https%3A%2F%2Fevil.test", "/search?next=https%3A%2F%2Fevil.test&"),
        ("/x?mm_result=connected&mm_code=forged&y=1", "/x?y=1&"),
        ("/x?mm%5Fresult=connected", "/x?"),
        ("http://127.0.0.1:8080/full?x#y", "/full?x&#y"),
        ("/a/../b", "/b?"),
        ("/authors", "/authors?"),
        ("/@evil.test", "/@evil.test?"),
        ("/http://evil.test", "/http://evil.test?"),
        ("/%e2%99%ab", "/%e2%99%ab?"),
        ("/♫", "/%E2%99%AB?"),
    ] {
        let browser = world.browser();
        let url = browser.start_login("soundcloud", &query(return_to)).await;
        let answer = open(&browser, &browser.consent(&url, "alice")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{return_to}");
        let (before, fragment) = expected.split_once('#').map_or((expected, ""), |(before, after)| (before, after));
        let fragment = if fragment.is_empty() { String::new() } else { format!("#{fragment}") };
        let expected = format!("{ours}{before}mm_result=connected&mm_provider=soundcloud{fragment}");
        assert_eq!(answer.location().as_str(), expected, "{return_to}");
    }
}

/// Two answers of one login never end in different places: what was stored is judged again when it is used.
#[tokio::test]
async fn a_return_address_of_1024_bytes_is_kept_whole_and_a_longer_one_refused() {
    let world = World::new().await;
    let browser = world.browser();
    let longest = format!("/{}", "a".repeat(1_024 - "http://127.0.0.1:8080/".len()));
    let url = browser.start_login("soundcloud", &query(&longest)).await;
    let answer = open(&browser, &browser.consent(&url, "alice")).await;
    assert_eq!(answer.location().path(), longest);
    is_problem(
        &browser.post(&format!("/auth/soundcloud/login{}", query(&format!("{longest}a")))).await,
        400,
        "bad_request",
        "a byte more",
    );
}
