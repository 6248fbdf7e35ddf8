//! Calls by other people's pages: the client header, the Origin, and what CORS lets a page read.

use http::Method;

use super::{ask, is_problem};
use crate::{
    contract::split,
    people::SESSION,
    world::{Answer, Browser, World},
};

/// Every call by script.
const CALLS: [(Method, &str); 8] = [
    (Method::POST, "/auth/soundcloud/login"),
    (Method::GET, "/auth/soundcloud/token"),
    (Method::GET, "/auth/tokens"),
    (Method::POST, "/auth/soundcloud/refresh"),
    (Method::GET, "/auth/connections"),
    (Method::DELETE, "/auth/soundcloud"),
    (Method::DELETE, "/auth/user"),
    (Method::POST, "/auth/logout"),
];

/// Origins that are none of `https://app.example.com`, `https://beta.example.com` and `https://auth.example.com`.
const FOREIGN: [&str; 22] = [
    "null",
    "*",
    "https://evil.test",
    "https://example.com",
    "https://evil.example.com",
    "https://app.example.com.evil.test",
    "https://evilapp.example.com",
    "https://app-example.com",
    "https://app.example.com:8443",
    "https://app.example.com:443",
    "http://app.example.com",
    "https://app.example.com/",
    "https://app.example.com.",
    "https://APP.example.com",
    "HTTPS://app.example.com",
    "https://app.example.com@evil.test",
    "https://app.example.com%00.evil.test",
    "https://app.example.com https://evil.test",
    "https://app.example.com, https://evil.test",
    "file://",
    "chrome-extension://abcdefgh",
    "app.example.com",
];

fn cookie(browser: &Browser) -> String {
    format!("{SESSION}={}", browser.cookie(SESSION).unwrap())
}

fn cors(answer: &Answer) -> Vec<String> {
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("access-control"))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    headers
}

#[tokio::test]
async fn attack_calls_without_the_client_header() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let cookie = cookie(&browser);
    let before = world.rows();
    for (method, path) in CALLS {
        for (why, marks) in [
            ("none", &[][..]),
            ("empty", &[("x-multimusic-client", "")]),
            ("another version", &[("x-multimusic-client", "2")]),
            ("a word", &[("x-multimusic-client", "true")]),
            ("a list", &[("x-multimusic-client", "1, 1")]),
            ("twice", &[("x-multimusic-client", "1"), ("x-multimusic-client", "1")]),
            ("a near miss", &[("x_multimusic_client", "1")]),
            ("a method override", &[("x-http-method-override", "GET")]),
        ] {
            let headers = [marks, &[("cookie", cookie.as_str()), ("origin", "http://127.0.0.1:8080")]].concat();
            let answer = ask(&world, method.clone(), path, &headers).await;
            is_problem(&answer, 403, "missing_client_header", &format!("{method} {path}: {why}"));
        }
    }
    assert_eq!(world.rows(), before);
}

#[tokio::test]
async fn attack_calls_from_foreign_origins() {
    let world = split().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let cookie = cookie(&browser);
    let before = world.rows();
    for (method, path) in CALLS {
        for origin in FOREIGN {
            let headers = [("x-multimusic-client", "1"), ("cookie", cookie.as_str()), ("origin", origin)];
            let answer = ask(&world, method.clone(), path, &headers).await;
            let why = format!("{method} {path} from {origin}");
            is_problem(&answer, 403, "origin_not_allowed", &why);
            assert_eq!(cors(&answer), [] as [String; 0], "{why}");
        }
        for second in ["https://evil.test", "https://app.example.com"] {
            let headers = [
                ("x-multimusic-client", "1"),
                ("cookie", cookie.as_str()),
                ("origin", "https://app.example.com"),
                ("origin", second),
            ];
            let answer = ask(&world, method.clone(), path, &headers).await;
            is_problem(&answer, 403, "origin_not_allowed", &format!("{method} {path}: two origins"));
            assert_eq!(cors(&answer), [] as [String; 0]);
        }
    }
    assert_eq!(world.rows(), before);
}

#[tokio::test]
async fn a_frontend_may_read_its_answers_and_its_errors() {
    let world = split().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let cookie = cookie(&browser);
    for origin in ["https://app.example.com", "https://beta.example.com", "https://auth.example.com"] {
        for (path, cookie, status) in [
            ("/auth/tokens", cookie.as_str(), 200),
            ("/auth/tokens", "", 401),
            ("/nothing", "", 404),
            ("/auth/user", "", 405),
        ] {
            let headers = [("x-multimusic-client", "1"), ("cookie", cookie), ("origin", origin)];
            let answer = ask(&world, Method::GET, path, &headers).await;
            assert_eq!(answer.status.as_u16(), status, "{path}");
            assert_eq!(
                cors(&answer),
                [
                    "access-control-allow-credentials: true".to_owned(),
                    format!("access-control-allow-origin: {origin}"),
                    "access-control-expose-headers: Retry-After".to_owned(),
                ],
                "{path}"
            );
            super::is_dressed_for(&answer, path, true);
        }
    }
}

#[tokio::test]
async fn preflights_are_answered_to_frontends_and_to_nobody_else() {
    let world = split().await;
    for (method, path) in CALLS {
        let headers = [
            ("origin", "https://app.example.com"),
            ("access-control-request-method", method.as_str()),
            ("access-control-request-headers", "x-amz-content-sha256,x-multimusic-client"),
        ];
        let answer = ask(&world, Method::OPTIONS, path, &headers).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""), "{path}");
        assert_eq!(
            cors(&answer),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: x-multimusic-client, x-amz-content-sha256, content-type",
                "access-control-allow-methods: GET, POST, DELETE",
                "access-control-allow-origin: https://app.example.com",
                "access-control-expose-headers: Retry-After",
                "access-control-max-age: 7200",
            ],
            "{path}"
        );
        super::is_dressed_for(&answer, path, true);
        for origin in FOREIGN {
            let headers = [("origin", origin), ("access-control-request-method", method.as_str())];
            let answer = ask(&world, Method::OPTIONS, path, &headers).await;
            is_problem(&answer, 403, "origin_not_allowed", origin);
            assert_eq!(cors(&answer), [] as [String; 0], "{origin}");
        }
    }
}

/// A preflight carries no cookie, and its answer must not depend on one.
#[tokio::test]
async fn a_preflight_changes_nothing() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let before = world.rows();
    let cookie = cookie(&browser);
    for (method, path) in CALLS {
        let headers = [
            ("origin", "http://127.0.0.1:8080"),
            ("access-control-request-method", method.as_str()),
            ("cookie", cookie.as_str()),
            ("x-multimusic-client", "1"),
        ];
        assert_eq!(ask(&world, Method::OPTIONS, path, &headers).await.status.as_u16(), 204);
    }
    assert_eq!(world.rows(), before);
}
