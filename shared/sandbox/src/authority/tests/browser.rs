//! Authorization requests and the pages behind them.

use url::Url;

use super::{CALLBACK, VERIFIER, World, authorization, dice, parameter, tokens};
use crate::{
    authority::{
        Begun, PageError,
        authorization::{MAX_TICKETS, TICKET_LIFETIME_S},
    },
    hash::challenge_of,
};

/// Opens an authorization request in a browser with this cookie.
fn open(world: &mut World, provider: &str, query: &str, cookie: Option<&str>) -> Result<Begun, PageError> {
    let twin = world.twin(provider);
    world.authority.begin(world.now, &mut dice(&mut world.rolled), twin, query, cookie)
}

/// Opens a good request in a new browser: ticket and cookie.
fn opened(world: &mut World) -> (String, String) {
    match open(world, "generic", &authorization(&[]), None) {
        Ok(Begun::Ask { ticket, cookie: Some(cookie) }) => (ticket, cookie),
        other => panic!("{other:?}"),
    }
}

fn decide(world: &mut World, ticket: &str, cookie: Option<&str>, allow: bool) -> Result<Url, PageError> {
    world.authority.decide(world.now, &mut dice(&mut world.rolled), ticket, cookie, allow)
}

#[test]
fn a_person_logs_in_allows_and_is_sent_back_with_code_and_state() {
    let mut world = World::new();
    let (ticket, cookie) = opened(&mut world);
    let now = world.now;
    assert_eq!(world.authority.asked(now, &ticket, Some(&cookie)).unwrap().username, None);
    world.authority.sign_in(now, &ticket, Some(&cookie), " Alice ").unwrap();
    let question = world.authority.asked(now, &ticket, Some(&cookie)).unwrap();
    assert_eq!(question.username.as_deref(), Some("alice"));
    assert_eq!((question.client_id.as_str(), question.scope.as_str()), ("client", "music"));

    let url = decide(&mut world, &ticket, Some(&cookie), true).unwrap();
    assert!(url.as_str().starts_with(CALLBACK));
    assert_eq!(parameter(&url, "state").as_deref(), Some("the-state"));
    let code = parameter(&url, "code").unwrap();
    tokens(&world.redeem("generic", &code));
    assert_eq!(decide(&mut world, &ticket, Some(&cookie), true), Err(PageError::Expired));
}

#[test]
fn denying_says_so_and_needs_no_account() {
    let mut world = World::new();
    let (ticket, cookie) = opened(&mut world);
    assert_eq!(decide(&mut world, &ticket, Some(&cookie), true), Err(PageError::BadName));
    let (ticket, cookie) = opened(&mut world);
    let url = decide(&mut world, &ticket, Some(&cookie), false).unwrap();
    assert_eq!(parameter(&url, "error").as_deref(), Some("access_denied"));
    assert_eq!(parameter(&url, "state").as_deref(), Some("the-state"));
    assert_eq!(parameter(&url, "code"), None);
}

#[test]
fn the_second_login_in_a_browser_knows_who_it_is_at_that_provider_alone() {
    let mut world = World::new();
    let (ticket, cookie) = opened(&mut world);
    let now = world.now;
    world.authority.sign_in(now, &ticket, Some(&cookie), "alice").unwrap();
    let mut known = |provider: &str| match open(&mut world, provider, &authorization(&[]), Some(&cookie)) {
        Ok(Begun::Ask { ticket, cookie: None }) => world.authority.asked(now, &ticket, Some(&cookie)).unwrap().username,
        other => panic!("{other:?}"),
    };
    assert_eq!(known("generic").as_deref(), Some("alice"));
    assert_eq!(known("soundcloud"), None);
}

#[test]
fn a_ticket_works_in_its_own_browser_for_a_day() {
    let mut world = World::new();
    let (ticket, cookie) = opened(&mut world);
    let (_, other_cookie) = opened(&mut world);
    assert_eq!(world.authority.asked(world.now, &ticket, None).unwrap_err(), PageError::OtherBrowser);
    assert_eq!(decide(&mut world, &ticket, Some(&other_cookie), true), Err(PageError::OtherBrowser));
    assert_eq!(decide(&mut world, "no-such-ticket", Some(&cookie), true), Err(PageError::Expired));
    assert!(world.authority.asked(world.now + TICKET_LIFETIME_S - 1, &ticket, Some(&cookie)).is_ok());
    assert_eq!(
        world.authority.asked(world.now + TICKET_LIFETIME_S, &ticket, Some(&cookie)).unwrap_err(),
        PageError::Expired
    );
}

#[test]
fn names_are_bounded() {
    let mut world = World::new();
    let (ticket, cookie) = opened(&mut world);
    let now = world.now;
    let mut sign_in = |name: &str| world.authority.sign_in(now, &ticket, Some(&cookie), name);
    for bad in ["", "   ", "a\nb", &"x".repeat(65)] {
        assert_eq!(sign_in(bad), Err(PageError::BadName), "{bad:?}");
    }
    assert_eq!(sign_in(&"ü".repeat(64)), Ok(()));
}

#[test]
fn nobody_is_redirected_to_an_address_that_is_not_registered() {
    let cases = [
        ("client_id", "", PageError::UnknownClient),
        ("client_id", "nobody", PageError::UnknownClient),
        ("redirect_uri", "", PageError::UnknownRedirect),
        ("redirect_uri", "http://127.0.0.1:8080/callback?x=1", PageError::UnknownRedirect),
        ("redirect_uri", "https://evil.example/callback", PageError::UnknownRedirect),
    ];
    for (name, value, error) in cases {
        let mut world = World::new();
        let query = authorization(&[(name, value)]);
        assert_eq!(open(&mut world, "generic", &query, None), Err(error), "{name}={value}");
    }
    let mut world = World::new();
    let doubled = format!("{}&client_id=client", authorization(&[]));
    assert_eq!(open(&mut world, "generic", &doubled, None), Err(PageError::Unreadable));
}

#[test]
fn every_other_mistake_is_reported_to_the_client() {
    let challenge = challenge_of(VERIFIER);
    let cases = [
        (vec![("response_type", "")], "invalid_request"),
        (vec![("response_type", "token")], "unsupported_response_type"),
        (vec![("code_challenge", "")], "invalid_request"),
        (vec![("code_challenge", ""), ("code_challenge_method", "")], "invalid_request"),
        (vec![("code_challenge", "too-short")], "invalid_request"),
        (vec![("code_challenge_method", "plain")], "invalid_request"),
        (vec![("code_challenge_method", "")], "invalid_request"),
        (vec![("scope", "a"), ("scope", "b")], "invalid_request"),
    ];
    for (extra, error) in cases {
        let mut world = World::new();
        let query = authorization(&extra);
        let Ok(Begun::Redirect(url)) = open(&mut world, "generic", &query, None) else { panic!("{extra:?}") };
        assert_eq!(parameter(&url, "error").as_deref(), Some(error), "{extra:?}");
        assert_eq!(parameter(&url, "state").as_deref(), Some("the-state"));
    }
    let mut world = World::new();
    let plain = authorization(&[("code_challenge", &challenge), ("code_challenge_method", "plain")]);
    assert!(matches!(open(&mut world, "spotify", &plain, None), Ok(Begun::Redirect(_))), "plain is refused everywhere");
}

#[test]
fn pkce_is_demanded_where_the_real_one_demands_it_and_cannot_be_stripped() {
    let without = authorization(&[("code_challenge", ""), ("code_challenge_method", "")]);
    let mut world = World::new();
    assert!(matches!(open(&mut world, "soundcloud", &without, None), Ok(Begun::Redirect(_))));
    assert!(matches!(open(&mut world, "spotify", &without, None), Ok(Begun::Ask { .. })));
    // A challenge that was stripped on the way shows when the verifier arrives.
    let code = world.code("youtube", &[("code_challenge", ""), ("code_challenge_method", "")]);
    assert_eq!(super::refusal(&world.redeem("youtube", &code)), super::invalid_grant());
}

#[test]
fn requests_under_way_are_bounded_and_the_oldest_is_forgotten() {
    let mut world = World::new();
    let (first, first_cookie) = opened(&mut world);
    let (second, second_cookie) = opened(&mut world);
    for _ in 1..MAX_TICKETS {
        opened(&mut world);
    }
    assert_eq!(world.authority.tickets.len(), MAX_TICKETS);
    assert_eq!(world.authority.asked(world.now, &first, Some(&first_cookie)).unwrap_err(), PageError::Expired);
    assert!(world.authority.asked(world.now, &second, Some(&second_cookie)).is_ok());
}
