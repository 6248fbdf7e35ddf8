//! Who a callback speaks for.

use super::*;

fn known(name: &str) -> Candidate {
    Candidate::Known { user: user(name) }
}

fn stranger(name: Option<&str>) -> Candidate {
    Candidate::Stranger { user: name.map(user) }
}

fn row(created_at: Timestamp) -> User {
    User::new(user("maybe"), created_at)
}

#[test]
fn the_session_that_began_it_ends_it() {
    assert_eq!(person(&signed_in("ann"), Some(&user("ann")), None, NOW), Ok(known("ann")));
}

#[test]
fn another_persons_session_cannot_end_it() {
    assert_eq!(person(&signed_in("ann"), Some(&user("bob")), None, NOW), Err(Conflict::PersonChanged));
}

#[test]
fn whoever_logged_out_in_between_is_nobody() {
    assert_eq!(person(&signed_in("ann"), None, None, NOW), Ok(stranger(None)));
    assert_eq!(person(&signed_in("ann"), None, Some(&row(NOW)), NOW), Ok(stranger(None)), "no row makes them somebody");
}

#[test]
fn a_first_login_brings_its_provisional_id() {
    assert_eq!(person(&provisional("maybe"), None, None, NOW), Ok(stranger(Some("maybe"))));
}

#[test]
fn a_person_who_signed_in_meanwhile_takes_a_provisional_login_up() {
    assert_eq!(person(&provisional("maybe"), Some(&user("ann")), None, NOW), Ok(known("ann")));
    assert_eq!(person(&provisional("maybe"), Some(&user("maybe")), Some(&row(NOW)), NOW), Ok(known("maybe")));
}

#[test]
fn parallel_first_logins_land_on_one_person() {
    // Three tabs began before any of them ended; the first callback made the person's row, the others find it.
    for made_at in [NOW, NOW.plus(seconds(40))] {
        assert_eq!(person(&provisional("maybe"), None, Some(&row(made_at)), NOW), Ok(stranger(Some("maybe"))));
    }
}

#[test]
fn a_sibling_joins_for_a_moment_only() {
    // Whoever kept the browser's binding may wait at the provider: for somebody else to become that person.
    let joins = |later| person(&provisional("maybe"), None, Some(&row(NOW)), NOW.plus(later));
    assert_eq!(joins(SIBLING_WINDOW), Ok(stranger(Some("maybe"))));
    assert_eq!(joins(SIBLING_WINDOW + seconds(1)), Ok(stranger(None)));
}

#[test]
fn on_a_shared_computer_the_second_person_never_gets_the_firsts_id() {
    // The first one's cookie, row included, is still in the browser when the second begins.
    let before = row(NOW.minus(seconds(1)));
    assert_eq!(person(&provisional("maybe"), None, Some(&before), NOW), Ok(stranger(None)));
    // The second began before the first one's row was made, but the first has logged out since.
    let logged_out = [
        row(NOW.plus(seconds(5))).end_all_sessions(NOW.plus(seconds(9))),
        row(NOW.plus(seconds(5))).end_session(
            EndedSession {
                id: SessionId::from_bytes([1; 16]),
                forget_at: NOW.plus(HOUR),
                began_at: NOW.plus(seconds(5)),
            },
            NOW.plus(seconds(9)),
        ),
    ];
    for row in logged_out {
        assert_eq!(person(&provisional("maybe"), None, Some(&row), NOW), Ok(stranger(None)));
    }
}
