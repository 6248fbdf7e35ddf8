//! What is sent to break it: each attack by hand, with exactly the headers that it has.

mod cookies;
mod navigations;
mod origins;
mod parameters;
mod paths;
mod redirects;

use axum::body::Body;
use http::{Method, Request};

use crate::world::{Answer, World};

/// Sends a request with exactly these headers.
pub(crate) async fn ask(world: &World, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::read(world.send(request.body(Body::empty()).unwrap()).await).await
}

/// What every answer wears, whatever became of the request.
pub(crate) fn is_dressed(answer: &Answer, why: &str) {
    let https = answer.headers.contains_key("strict-transport-security");
    is_dressed_for(answer, why, https);
}

/// The same, for a server that is reached by https or not.
pub(crate) fn is_dressed_for(answer: &Answer, why: &str, https: bool) {
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cross-origin-resource-policy", "same-site"),
        ("content-security-policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        ("vary", "Origin"),
    ] {
        let sent: Vec<_> = answer.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(sent, [value], "{why}: {name}");
    }
    let promises = answer.headers.get("strict-transport-security").map(|value| value.to_str().unwrap());
    assert_eq!(promises, https.then_some("max-age=31536000"), "{why}");
}

/// A problem document of this status and code, dressed, that quotes nothing of the request.
pub(crate) fn is_problem(answer: &Answer, status: u16, code: &str, why: &str) {
    assert_eq!(answer.status.as_u16(), status, "{why}: {}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{why}");
    let document = answer.json();
    assert_eq!(document["status"], status, "{why}");
    assert_eq!(document["code"], code, "{why}: {}", answer.text);
    assert_eq!(document["type"], format!("/problems/{}", code.replace('_', "-")), "{why}");
    for member in ["title", "detail"] {
        assert!(document[member].as_str().is_some_and(|text| text.ends_with('.')), "{why}: {member}");
    }
    assert!(!answer.text.to_lowercase().contains("canary"), "{why}: reflected: {}", answer.text);
    is_dressed(answer, why);
}
