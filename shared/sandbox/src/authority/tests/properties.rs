//! What holds whatever a client does.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{World, answer, dice, json, posted};
use crate::{
    answer::Ending,
    behaviour::Mode,
    fault::{Endpoint, FaultKind, RetryAfter},
    ledger::RefreshState,
    log::Outcome,
};

/// One thing that happens to a provider.
#[derive(Clone, Debug)]
enum Step {
    /// A new grant.
    Login,
    /// A refresh with one of the tokens handed out so far.
    Refresh(prop::sample::Index),
    /// The next token request goes wrong.
    Fault(FaultKind),
    /// Time passes.
    Wait(u64),
    /// The user revokes everything.
    Revoke,
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = prop::sample::select(vec![
        FaultKind::ResetBefore,
        FaultKind::ResetAfter,
        FaultKind::Error5xxAfter { status: 504 },
        FaultKind::Throttle { retry_after: RetryAfter::Absent, html: false },
        FaultKind::NoRefreshTokenInAnswer,
        FaultKind::StringExpiresIn,
        FaultKind::Malformed,
    ]);
    prop_oneof![
        1 => Just(Step::Login),
        8 => any::<prop::sample::Index>().prop_map(Step::Refresh),
        2 => kinds.prop_map(Step::Fault),
        1 => (0_u64..20).prop_map(Step::Wait),
        1 => Just(Step::Revoke),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(vec![
        Mode::Reusable,
        Mode::Rotating,
        Mode::RotatingWithGrace { grace_s: 10 },
        Mode::Strict,
        Mode::NoRefreshToken,
    ])
}

/// Every row is where the others say it is, and dead grants have no living access token.
fn assert_consistent(world: &World) {
    let ledger = &world.authority.ledger;
    for (hash, row) in &ledger.refresh {
        let grant = &ledger.grants[&row.grant];
        assert_eq!(row.state == RefreshState::Current, grant.current.contains(hash));
        assert_eq!(row.state != RefreshState::Current, ledger.exchanged.contains(hash));
    }
    for (hash, row) in &ledger.access {
        assert!(ledger.grants[&row.grant].access.contains(hash));
        assert!(ledger.grants[&row.grant].ended.is_none());
    }
    let listed: usize = ledger.grants.values().map(|grant| grant.current.len()).sum();
    assert_eq!(listed + ledger.exchanged.len(), ledger.refresh.len());
}

proptest! {
    #[test]
    fn a_strict_provider_exchanges_a_token_once_and_every_book_agrees(
        mode in mode(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::with_mode(mode);
        let mut known: Vec<String> = Vec::new();
        let mut exchanged: HashMap<String, u32> = HashMap::new();
        for step in steps {
            match step {
                Step::Login => {
                    let code = world.code("generic", &[]);
                    let reply = world.redeem("generic", &code);
                    known.extend(refresh_token(&reply.ending));
                }
                Step::Refresh(index) if !known.is_empty() => {
                    let token = index.get(&known).clone();
                    let reply = world.refresh(&token);
                    let entry = world.last_entry();
                    *exchanged.entry(token).or_default() += u32::from(entry.spent);
                    // A good answer, and only it, comes of a request that was accepted.
                    let got = matches!(&reply.ending, Ending::Answer(answer) if answer.status == 200
                        && serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok());
                    prop_assert_eq!(got, entry.outcome == Outcome::Issued);
                    known.extend(refresh_token(&reply.ending));
                }
                Step::Refresh(_) => {}
                Step::Fault(kind) => world.plan(kind),
                Step::Wait(seconds) => world.now += seconds,
                Step::Revoke => {
                    let now = world.now;
                    world.authority.revoke_account(now, "generic", "alice");
                }
            }
            assert_consistent(&world);
        }
        let most = exchanged.values().max().copied().unwrap_or(0);
        match mode {
            Mode::Strict => prop_assert!(most <= 1),
            Mode::Reusable | Mode::NoRefreshToken => prop_assert_eq!(most, 0),
            Mode::Rotating | Mode::RotatingWithGrace { .. } => {}
        }
    }

    #[test]
    fn no_bytes_bring_tokens_or_a_panic(
        body in prop::collection::vec(any::<u8>(), 0..200),
        content_type in prop::option::of(".{0,60}"),
        authorization in prop::option::of("(Basic |Bearer )?[ -~]{0,60}"),
        query in prop::option::of(".{0,60}"),
    ) {
        let mut world = World::new();
        let request = super::Request {
            content_type: content_type.as_deref(),
            authorization: authorization.as_deref(),
            query: query.as_deref(),
            body: &body,
        };
        for provider in ["soundcloud", "spotify", "youtube", "generic"] {
            let reply = world.send(provider, &request);
            prop_assert!((400..=401).contains(&answer(&reply).status));
            prop_assert!(json(&reply)["access_token"].is_null());
            let twin = world.twin(provider);
            let form = super::Request { authorization: authorization.as_deref(), ..posted("token=x") };
            world.authority.revoke(world.now, twin, &form, None);
            let api = world.authority.resource(world.now, twin, Endpoint::Api, &request, None);
            prop_assert_eq!(answer(&api).status, 401);
            let _ = world.authority.begin(1, &mut dice(&mut world.rolled), twin, query.as_deref().unwrap_or(""), None);
        }
    }
}

fn refresh_token(ending: &Ending) -> Option<String> {
    let Ending::Answer(answer) = ending else { return None };
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    body["refresh_token"].as_str().map(str::to_owned)
}
