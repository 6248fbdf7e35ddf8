use super::*;
use crate::{connection::ReauthorizationReason, samples::*, user::EndedSession, wheel::Seat};

mod establish;
mod people;
mod placement;

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

fn pending(person: Person) -> PendingLogin {
    PendingLogin {
        provider: key().provider,
        person,
        browser: vec![1; 32],
        code_verifier: "canary-verifier".to_owned(),
        redirect_uri: "https://music.example/auth/soundcloud/callback".to_owned(),
        return_to: "https://music.example/?canary".to_owned(),
        intent: Intent::Plain,
        reconsent: false,
        created_at: NOW,
    }
}

fn provisional(name: &str) -> PendingLogin {
    pending(Person::Provisional { user: user(name) })
}

fn signed_in(name: &str) -> PendingLogin {
    pending(Person::Session { user: user(name), session: SessionId::from_bytes([7; 16]) })
}

#[test]
fn a_pending_login_shows_nothing_secret() {
    let shown = format!("{:?}", provisional("ann"));
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("soundcloud"), "{shown}");
}

#[test]
fn a_pending_login_survives_its_text_and_ends_after_ten_minutes() {
    let login = signed_in("ann");
    let text = serde_json::to_string(&login).unwrap();
    assert_eq!(serde_json::from_str::<PendingLogin>(&text).unwrap(), login);
    assert_eq!(login.expires_at(), NOW.plus(seconds(600)));
}
