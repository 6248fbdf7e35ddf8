//! Attacks on the session's token (RFC 8725 §2, §3), each in the cookie of an otherwise honest browser.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{claims, part};
use crate::{
    people::SESSION,
    world::{Browser, START, Setup, World},
};

/// The server's own key: an attack that needs it shows that the key is not all that counts.
const KEY: &[u8] = b"the key of this test, of 32 bytes and more";

async fn world() -> World {
    World::with(Setup { session_secret: Some(KEY), ..Setup::default() }).await
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn signed(header: &Value, claims: &Value, algorithm: hmac::Algorithm, key: &[u8]) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let tag = hmac::sign(&hmac::Key::new(algorithm, key), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn hs256(header: &Value, claims: &Value) -> String {
    signed(header, claims, hmac::HMAC_SHA256, KEY)
}

/// The object with one member changed; null removes it.
fn with(value: &Value, member: &str, to: Value) -> Value {
    let mut value = value.clone();
    let object = value.as_object_mut().unwrap();
    if to.is_null() {
        object.remove(member)
    } else {
        object.insert(member.to_owned(), to)
    };
    value
}

/// A logged-in browser, its header and its claims.
async fn alice(world: &World) -> (Browser, Value, Value) {
    let browser = world.browser();
    browser.connect("soundcloud", "alice").await;
    let token = browser.cookie(SESSION).unwrap();
    (browser, part(&token, 0), part(&token, 1))
}

async fn works(browser: &Browser, token: &str) -> bool {
    let thief = browser.copied();
    thief.set_cookie(SESSION, token);
    let mut answers = Vec::new();
    for path in ["/auth/connections", "/auth/tokens", "/auth/soundcloud/token"] {
        answers.push(thief.get(path).await);
    }
    let taken = answers[0].status == http::StatusCode::OK;
    if !taken {
        answers.push(thief.post("/auth/soundcloud/refresh").await);
        answers.push(thief.delete("/auth/soundcloud").await);
        answers.push(thief.delete("/auth/user").await);
    }
    for answer in &answers {
        assert_eq!(answer.status == http::StatusCode::OK, taken, "only some calls took it: {}", answer.text);
        if !taken {
            assert_eq!((answer.status, answer.code().as_str()), (http::StatusCode::UNAUTHORIZED, "no_session"));
            assert!(!answer.text.contains("signature") && !answer.text.contains("expired"), "no hint at the reason");
        }
    }
    taken
}

#[tokio::test]
async fn this_tests_own_signature_is_as_good_as_the_servers() {
    let world = world().await;
    let (browser, header, claims) = alice(&world).await;
    // Else every forgery below would be refused for a reason of no interest.
    assert!(works(&browser, &hs256(&header, &claims)).await);
}

#[tokio::test]
async fn attack_another_algorithm() {
    let world = world().await;
    let (browser, header, claims) = alice(&world).await;
    for alg in ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 "] {
        let header = with(&header, "alg", json!(alg));
        let unsigned = format!("{}.{}.", encode(&header), encode(&claims));
        assert!(!works(&browser, &unsigned).await, "{alg} unsigned");
        assert!(!works(&browser, &hs256(&header, &claims)).await, "{alg} signed");
    }
    for (alg, algorithm) in [("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)] {
        let header = with(&header, "alg", json!(alg));
        assert!(!works(&browser, &signed(&header, &claims, algorithm, KEY)).await, "{alg}");
    }
    for alg in ["RS256", "ES256", "EdDSA", "PS256"] {
        assert!(!works(&browser, &hs256(&with(&header, "alg", json!(alg)), &claims)).await, "{alg} confusion");
    }
    assert!(!works(&browser, &hs256(&with(&header, "alg", Value::Null), &claims)).await);
    assert!(works(&browser, &hs256(&header, &claims)).await);
}

#[tokio::test]
async fn attack_another_key() {
    let world = world().await;
    let (browser, header, claims) = alice(&world).await;
    let kid = header["kid"].as_str().unwrap().to_owned();
    for key in [&b"another key, of thirty-two bytes and more"[..], b"", kid.as_bytes(), &[0; 32]] {
        let forged = signed(&header, &claims, hmac::HMAC_SHA256, key);
        assert!(!works(&browser, &forged).await);
        let thief = browser.copied();
        thief.set_cookie(SESSION, &forged);
        assert_eq!(thief.post("/auth/logout").await.code(), "no_session", "nobody is logged out by a forgery");
    }
    for kid in [json!("other"), json!(""), json!("../../dev/null"), json!("' OR 1=1"), json!(null), json!(1)] {
        assert!(!works(&browser, &hs256(&with(&header, "kid", kid.clone()), &claims)).await, "{kid}");
    }
    // A key that the token brings along is never looked at.
    for (member, value) in [
        ("jwk", json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(KEY)})),
        ("jku", json!("https://evil.test/keys")),
        ("x5u", json!("https://evil.test/cert")),
        ("crit", json!(["exp"])),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
    ] {
        assert!(!works(&browser, &hs256(&with(&header, member, value), &claims)).await, "{member}");
    }
}

#[tokio::test]
async fn attack_another_kind_issuer_or_audience() {
    let world = world().await;
    let (browser, header, claims) = alice(&world).await;
    for typ in [json!("JWT"), json!("at+jwt"), json!("mm-state+jwt"), json!("MM-SESSION+JWT"), json!(null)] {
        assert!(!works(&browser, &hs256(&with(&header, "typ", typ.clone()), &claims)).await, "typ {typ}");
    }
    for member in ["iss", "aud"] {
        for value in [
            json!(null),
            json!(""),
            json!("https://evil.test/"),
            json!("http://127.0.0.1:8080"),
            json!("http://localhost:8080/"),
            json!("http://127.0.0.1:8080/evil"),
        ] {
            assert!(!works(&browser, &hs256(&header, &with(&claims, member, value.clone()))).await, "{member} {value}");
        }
    }
}

#[tokio::test]
async fn attack_claims_that_contradict_each_other() {
    let world = world().await;
    let (browser, header, claims) = alice(&world).await;
    let now = START.unix();
    for (member, value) in [
        ("sub", json!(null)),
        ("sub", json!("u_somebodyelse0000000000")),
        ("sub", json!("#user")),
        ("sid", json!(null)),
        ("sid", json!("short")),
        ("exp", json!(null)),
        ("exp", json!(now - 31)),
        ("exp", json!(now + 400 * 86_400)),
        ("exp", json!(1e300)),
        ("exp", json!("4000000000")),
        ("exp", json!(-1)),
        ("iat", json!(null)),
        ("iat", json!(now + 3_600)),
        ("auth_time", json!(null)),
        ("auth_time", json!(now + 3_600)),
        ("auth_time", json!(now - 200 * 86_400)),
        ("admin", json!(true)),
    ] {
        let forged = hs256(&header, &with(&claims, member, value.clone()));
        assert!(!works(&browser, &forged).await, "{member} {value}");
    }
}

#[tokio::test]
async fn attack_tokens_that_are_none() {
    let world = world().await;
    let (browser, ..) = alice(&world).await;
    let token = browser.cookie(SESSION).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let flipped = |index: usize| {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let mut forged = vec![
        "x".to_owned(),
        "...".to_owned(),
        "a.b.c".to_owned(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{token}.{}", parts[2]),
        format!("{token}="),
        format!("\"{token}\""),
        format!("{}.{}.{}", parts[0], parts[1], parts[1]),
        format!(".{}.{}", parts[1], parts[2]),
        "A".repeat(2_048),
        "A".repeat(4_000),
        format!("{}.{}.{}", "A".repeat(900), parts[1], parts[2]),
    ];
    // One letter of each part; the last letter of a signature carries bits that do not count, so not that one.
    forged.extend([5, parts[0].len() + 5, parts[0].len() + parts[1].len() + 5].map(flipped));
    for token in forged {
        assert!(!works(&browser, &token).await, "{token}");
    }
}

/// The binding's value is no session, and a session no binding.
#[tokio::test]
async fn attack_one_cookie_for_the_other() {
    let world = world().await;
    let (browser, ..) = alice(&world).await;
    let binding = browser.cookie(crate::people::BINDING).unwrap();
    assert!(!works(&browser, &binding).await);
    assert_eq!(claims(&browser)["sub"], claims(&browser.copied())["sub"]);
}
