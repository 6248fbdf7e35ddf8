//! What the real provider would refuse is refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{CALLBACK, Request, VERIFIER, World, answer, form, invalid_grant, json, posted, refusal, tokens};
use crate::log::Outcome;

/// A good exchange of `code`, with one field replaced, or dropped if empty.
fn exchange<'a>(code: &'a str, name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let good = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
        ("client_id", "client"),
        ("client_secret", "secret"),
    ];
    good.into_iter().map(|field| if field.0 == name { (name, value) } else { field }).collect()
}

#[test]
fn an_exchange_with_one_thing_wrong_is_refused_by_the_right_code() {
    let cases = [
        ("grant_type", "", 400, "invalid_request"),
        ("grant_type", "password", 400, "unsupported_grant_type"),
        ("code", "", 400, "invalid_request"),
        ("code", "never-issued", 400, "invalid_grant"),
        ("redirect_uri", "", 400, "invalid_request"),
        ("redirect_uri", "http://127.0.0.1:8080/callback/", 400, "invalid_grant"),
        ("code_verifier", "", 400, "invalid_grant"),
        ("code_verifier", "another-verifier-of-at-least-43-characters-x", 400, "invalid_grant"),
        ("client_id", "nobody", 401, "invalid_client"),
        ("client_secret", "wrong", 401, "invalid_client"),
        ("client_secret", "", 401, "invalid_client"),
    ];
    for (name, value, status, error) in cases {
        let mut world = World::new();
        let code = world.code("generic", &[]);
        let body = form(&exchange(&code, name, value));
        let reply = world.send("generic", &posted(&body));
        assert_eq!(refusal(&reply), (status, error.to_owned()), "{name}={value}");
        assert_eq!(world.last_entry().outcome, Outcome::Refused(error), "{name}={value}");
        assert!(world.authority.ledger.grants.is_empty());
    }
}

#[test]
fn the_good_exchange_of_the_table_above_is_good() {
    let mut world = World::new();
    let code = world.code("generic", &[]);
    let body = form(&exchange(&code, "", ""));
    let reply = world.send("generic", &posted(&body));
    tokens(&reply);
    assert_eq!(json(&reply)["token_type"], "Bearer");
    assert_eq!(json(&reply)["expires_in"], 3600);
}

#[test]
fn a_wrong_verifier_uses_the_code_up_and_a_wrong_secret_does_not() {
    let mut world = World::new();
    let code = world.code("generic", &[]);
    let wrong_secret = form(&exchange(&code, "client_secret", "wrong"));
    world.send("generic", &posted(&wrong_secret));
    let wrong_verifier = form(&exchange(&code, "code_verifier", "another-verifier-of-at-least-43-characters-x"));
    assert_eq!(refusal(&world.send("generic", &posted(&wrong_verifier))), invalid_grant());
    assert_eq!(refusal(&world.redeem("generic", &code)), invalid_grant());

    let code = world.code("generic", &[]);
    let wrong_secret = form(&exchange(&code, "client_secret", "wrong"));
    world.send("generic", &posted(&wrong_secret));
    tokens(&world.redeem("generic", &code));
}

#[test]
fn a_code_that_comes_back_takes_its_grant_with_it() {
    let mut world = World::new();
    let code = world.code("generic", &[]);
    let reply = world.redeem("generic", &code);
    let issued = tokens(&reply);
    assert_eq!(refusal(&world.redeem("generic", &code)), invalid_grant());
    assert_eq!(world.last_entry().outcome, Outcome::ReuseKilledGrant);
    assert!(!world.opens(&issued.access));
    assert_eq!(refusal(&world.refresh(&issued.refresh.unwrap())), invalid_grant());
}

#[test]
fn a_code_lives_sixty_seconds() {
    for (age, good) in [(59, true), (60, false)] {
        let mut world = World::new();
        let code = world.code("generic", &[]);
        world.now += age;
        assert_eq!(answer(&world.redeem("generic", &code)).status == 200, good, "{age}");
    }
}

#[test]
fn parameters_may_not_be_doubled_or_stand_in_the_query() {
    let mut world = World::new();
    let token = world.refresh_token();
    let doubled = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
        ("refresh_token", token.as_str()),
        ("client_id", "client"),
        ("client_secret", "secret"),
    ];
    let invalid_request = (400, "invalid_request".to_owned());
    let body = form(&doubled);
    assert_eq!(refusal(&world.send("generic", &posted(&body))), invalid_request);
    let body = form(&doubled[1..]);
    let in_query = Request { query: Some("grant_type=refresh_token"), ..posted(&body) };
    assert_eq!(refusal(&world.send("generic", &in_query)), invalid_request);
    tokens(&world.refresh(&token));
}

#[test]
fn only_a_form_is_read() {
    let mut world = World::new();
    let token = world.refresh_token();
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
        ("client_id", "client"),
        ("client_secret", "secret"),
    ];
    let body = form(&fields);
    for content_type in [None, Some("application/json"), Some("")] {
        let reply = world.send("generic", &Request { content_type, ..posted(&body) });
        assert_eq!(refusal(&reply), (400, "invalid_request".to_owned()));
    }
    let content_type = Some("application/X-WWW-form-urlencoded; charset=utf-8");
    tokens(&world.send("generic", &Request { content_type, ..posted(&body) }));
}

#[test]
fn each_provider_takes_credentials_where_it_wants_them_and_never_twice() {
    let basic = format!("Basic {}", STANDARD.encode("client:secret"));
    let in_header = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let in_body = [&in_header[..], &[("client_id", "client"), ("client_secret", "secret")]].concat();
    let (header_body, body_body) = (form(&in_header), form(&in_body));
    let by_header = Request { authorization: Some(&basic), ..posted(&header_body) };
    let by_body = posted(&body_body);
    let both = Request { authorization: Some(&basic), ..posted(&body_body) };
    let mut world = World::new();
    // `invalid_grant` means that the client was let in, and only the token was unknown.
    let cases = [
        ("soundcloud", by_header, "invalid_client"),
        ("soundcloud", by_body, "invalid_grant"),
        ("spotify", by_header, "invalid_grant"),
        ("spotify", by_body, "invalid_client"),
        ("generic", by_header, "invalid_grant"),
        ("generic", by_body, "invalid_grant"),
        ("generic", both, "invalid_request"),
        ("spotify", both, "invalid_request"),
    ];
    for (at, (provider, request, error)) in cases.into_iter().enumerate() {
        let reply = world.send(provider, &request);
        assert_eq!(refusal(&reply).1, error, "case {at} at {provider}");
    }
}

#[test]
fn a_refused_basic_authentication_names_the_scheme() {
    let mut world = World::new();
    let basic = format!("Basic {}", STANDARD.encode("client:wrong"));
    let request = Request { authorization: Some(&basic), ..posted("grant_type=refresh_token&refresh_token=x") };
    let answer = answer(&world.send("generic", &request));
    assert_eq!(answer.status, 401);
    assert!(answer.headers.contains(&("www-authenticate", "Basic realm=\"sandbox\"".to_owned())));
}

#[test]
fn another_clients_tokens_are_nobodys() {
    let mut world = World::new();
    let token = world.refresh_token();
    let code = world.code("generic", &[]);
    let other = super::Client {
        provider: "generic".into(),
        client_id: "other".into(),
        secrets: vec!["other-secret".into()],
        redirect_uris: vec![CALLBACK.into()],
    };
    let twin = world.twin("generic");
    world.authority.twins[twin].clients.push(other.into());
    let as_other = [("client_id", "other"), ("client_secret", "other-secret")];
    let refresh = [&[("grant_type", "refresh_token"), ("refresh_token", token.as_str())][..], &as_other].concat();
    assert_eq!(refusal(&world.send("generic", &posted(&form(&refresh)))), invalid_grant());
    let exchange = exchange(&code, "", "");
    let exchange = [&exchange[..4], &as_other].concat();
    assert_eq!(refusal(&world.send("generic", &posted(&form(&exchange)))), invalid_grant());
    // Neither was used up by the stranger.
    tokens(&world.refresh(&token));
    tokens(&world.redeem("generic", &code));
}

#[test]
fn a_token_of_one_provider_is_unknown_at_another() {
    let mut world = World::new();
    let token = world.refresh_token();
    let reply = world.post("soundcloud", &[("grant_type", "refresh_token"), ("refresh_token", &token)]);
    assert_eq!(refusal(&reply), invalid_grant());
    tokens(&world.refresh(&token));
}

#[test]
fn more_scope_than_was_granted_is_refused_and_spends_nothing() {
    let mut world = World::new();
    let token = world.refresh_token();
    let mut asking = |scope: &str| {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str()), ("scope", scope)];
        world.post("generic", &fields)
    };
    assert_eq!(refusal(&asking("music admin")), (400, "invalid_scope".to_owned()));
    tokens(&asking("music"));
}

#[test]
fn no_debug_output_holds_a_token_a_code_or_a_secret() {
    let mut world = World::new();
    let code = world.code("generic", &[]);
    let reply = world.redeem("generic", &code);
    let issued = tokens(&reply);
    world.plan(crate::fault::FaultKind::Slow { ms: 1 });
    let late = world.refresh(issued.refresh.as_ref().unwrap());
    let shown = format!("{:?} {reply:?} {late:?}", world.authority);
    let next = tokens(&late);
    for secret in [
        &code,
        &issued.access,
        issued.refresh.as_ref().unwrap(),
        &next.access,
        &"secret\"".to_owned(),
        &VERIFIER.into(),
    ] {
        assert!(!shown.contains(secret.as_str()), "{secret} is shown");
    }
    assert!(shown.contains("alice"), "nothing was shown at all");
}
