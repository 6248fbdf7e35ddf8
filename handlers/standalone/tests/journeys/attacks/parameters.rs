//! Parameters that come twice, too long, ill-encoded, out of range or unasked.

use http::Method;

use super::{ask, is_problem};
use crate::{
    login::{Before, parameter, pending},
    people::{SESSION, allowed, open},
    world::World,
};

/// Every call that takes parameters, with one parameter that it knows and a good value of it.
const CALLS: [(Method, &str, &str, &str); 7] = [
    (Method::POST, "/auth/soundcloud/login", "return_to", "/library"),
    (Method::POST, "/auth/soundcloud/login", "on_conflict", "switch"),
    (Method::GET, "/auth/soundcloud/token", "min_ttl", "60"),
    (Method::GET, "/auth/soundcloud/token", "wait", "0"),
    (Method::GET, "/auth/tokens", "min_ttl", "60"),
    (Method::POST, "/auth/soundcloud/refresh", "seen", "AAAAAAAAAAAAAAAAAAAAAA"),
    (Method::POST, "/auth/logout", "everywhere", "0"),
];

#[tokio::test]
async fn attack_parameters_of_calls() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let cookie = format!("{SESSION}={}", browser.cookie(SESSION).unwrap());
    let headers = [("x-multimusic-client", "1"), ("cookie", cookie.as_str())];
    let before = world.rows();
    for (method, path, name, good) in CALLS {
        let long = "a".repeat(1_025);
        let flood = "a=1&".repeat(40);
        for query in [
            format!("{name}={good}&{name}={good}"),
            format!("{name}={good}&%{:02X}{}={good}", name.as_bytes()[0], &name[1..]),
            format!("{name}={long}"),
            format!("{name}=%ff%fe"),
            format!("{name}=%"),
            format!("{name}=%4"),
            format!("{name}=%zz"),
            format!("{name}=a%00b"),
            format!("{name}=a%0d%0aset-cookie:%20canary=1"),
            format!("{name}={good}&canary=1"),
            format!("{name}={good}&{name}[]=canary"),
            format!("{name}={good}&{flood}"),
            format!("{name}={good}&x={}", "canary".repeat(2_000)),
        ] {
            let why = format!("{method} {path}?{}", query.chars().take(80).collect::<String>());
            let answer = ask(&world, method.clone(), &format!("{path}?{query}"), &headers).await;
            is_problem(&answer, 400, "bad_request", &why);
            assert!(!answer.headers.contains_key("set-cookie"), "{why}");
        }
    }
    assert_eq!(world.rows(), before, "no refused call wrote anything");
    assert_eq!(browser.token("soundcloud").await["state"], "fresh");
}

#[tokio::test]
async fn attack_values_out_of_range() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let before = world.rows();
    for (method, path) in [
        (Method::GET, "/auth/soundcloud/token?min_ttl=-1"),
        (Method::GET, "/auth/soundcloud/token?min_ttl=1.5"),
        (Method::GET, "/auth/soundcloud/token?min_ttl=+1"),
        (Method::GET, "/auth/soundcloud/token?min_ttl=0x10"),
        (Method::GET, "/auth/soundcloud/token?min_ttl=86401"),
        (Method::GET, "/auth/soundcloud/token?min_ttl=18446744073709551616"),
        (Method::GET, "/auth/soundcloud/token?wait=4"),
        (Method::GET, "/auth/soundcloud/token?wait=NaN"),
        (Method::POST, "/auth/soundcloud/refresh?seen=x"),
        (Method::POST, "/auth/soundcloud/refresh?seen=AAAAAAAAAAAAAAAAAAAAAB"),
        (Method::POST, "/auth/logout?everywhere=yes"),
        (Method::POST, "/auth/logout?everywhere=true"),
        (Method::POST, "/auth/soundcloud/login?replace=2"),
        (Method::POST, "/auth/soundcloud/login?on_conflict=steal"),
        (Method::POST, "/auth/soundcloud/login?on_conflict=MOVE"),
        (Method::POST, "/auth/soundcloud/login?replace=1&on_conflict=move"),
    ] {
        let answer = browser.call(method, path).await;
        is_problem(&answer, 400, "bad_request", path);
        assert!(answer.json()["parameter"].is_string(), "{path} says which");
    }
    assert_eq!(world.rows(), before);
}

#[tokio::test]
async fn attack_parameters_of_a_callback() {
    let world = World::new().await;
    let browser = world.browser();
    let callback = allowed(&browser, "soundcloud", "alice", "").await;
    let (code, state) = (parameter(&callback, "code"), parameter(&callback, "state"));
    let path = "/auth/soundcloud/callback";
    for query in [
        format!("code={code}&state={state}&state={state}"),
        format!("code={code}&code={code}&state={state}"),
        format!("code={code}&state={state}&error=a&error=b"),
        format!("code={code}&state={state}&iss=a&iss=b"),
        format!("code={code}&state={state}&st%61te={state}"),
        format!("code={code}&state={}", "A".repeat(65)),
        format!("code={}&state={state}", "A".repeat(5_000)),
        format!("code=a%20b%0d%0a&state={state}"),
        format!("code=%ff&state={state}"),
        format!("code=%&state={state}"),
        format!("error={}&state={state}", "a".repeat(129)),
        format!("iss={}&code={code}&state={state}", "a".repeat(513)),
        format!("code={code}&state={state}&{}", "x=canary&".repeat(40)),
        format!("code={code}&state={state}&x={}", "canary".repeat(2_000)),
    ] {
        let before = Before::of(&world, &browser);
        let answer = browser.navigate(&format!("{path}?{query}"), "cross-site").await;
        let why: String = query.chars().take(100).collect();
        is_problem(&answer, 400, "bad_request", &why);
        before.stands(&world, &browser, &why);
        assert_eq!(pending(&world), 1, "{why}: what is garbled consumes no login");
        assert!(!answer.text.contains(&code) && !answer.text.contains(&state), "{why}");
    }
    // What a provider adds of its own is ignored (RFC 6749 §4.1.2).
    let answer = open(&browser, &format!("{callback}&scope=a&session_state=b&authuser=0&scope=c")).await;
    assert_eq!(answer.login_result(), "connected");
}

/// A body is not read: neither as parameters nor to its end.
#[tokio::test]
async fn attack_parameters_in_a_body() {
    let world = World::new().await;
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let cookie = format!("{SESSION}={}", browser.cookie(SESSION).unwrap());
    let send = |body: String| {
        let request = http::Request::builder()
            .method(Method::POST)
            .uri("/auth/logout")
            .header("x-multimusic-client", "1")
            .header("cookie", &cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(axum::body::Body::from(body));
        world.send(request.unwrap())
    };
    let large = crate::world::Answer::read(send("canary".repeat(1_000)).await).await;
    is_problem(&large, 413, "payload_too_large", "a large body");
    assert_eq!(browser.get("/auth/connections").await.status, http::StatusCode::OK, "nobody was logged out");
    let other = world.browser();
    other.connect("soundcloud", "alice").await;
    assert_eq!(send("everywhere=1".to_owned()).await.status(), http::StatusCode::NO_CONTENT);
    assert_eq!(other.get("/auth/connections").await.status, http::StatusCode::OK, "a body says nothing");
}
