//! One provider with a manual clock and counting dice; what each test shows is the difference it makes.

mod browser;
mod faults;
mod modes;
mod properties;
mod strictness;

use serde_json::Value;
use url::{Url, form_urlencoded::Serializer};

use super::{Authority, Request, Twin};
use crate::{
    answer::{Answer, Ending, Reply},
    behaviour::Mode,
    fault::{Endpoint, Fault, FaultKind},
    hash::challenge_of,
    log::LogEntry,
    profile::{GENERIC, Profile, SOUNDCLOUD, SPOTIFY, YOUTUBE},
    settings::Client,
};

/// Where every client here is sent back to.
const CALLBACK: &str = "http://127.0.0.1:8080/callback";

/// The verifier of every authorization here.
const VERIFIER: &str = "a-verifier-of-forty-three-characters-exactly";

/// The built-in twins with one client each, at one moment.
struct World {
    authority: Authority,
    now: u64,
    rolled: u64,
}

/// Tokens as a client reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tokens {
    access: String,
    refresh: Option<String>,
}

impl World {
    fn new() -> Self {
        let mut authority = Authority::default();
        for profile in [SOUNDCLOUD, SPOTIFY, YOUTUBE, GENERIC] {
            let client = Client {
                provider: profile.id.into(),
                client_id: "client".into(),
                secrets: vec!["secret".into()],
                redirect_uris: vec![CALLBACK.into()],
            };
            authority.twins.push(Twin { profile, behaviour: profile.behaviour, clients: vec![client.into()] });
        }
        Self { authority, now: 1_000_000, rolled: 0 }
    }

    /// A world whose generic provider has this mode.
    fn with_mode(mode: Mode) -> Self {
        let mut world = Self::new();
        let twin = world.twin("generic");
        world.authority.twins[twin].behaviour.mode = mode;
        world
    }

    fn twin(&self, provider: &str) -> usize {
        self.authority.twin(provider).unwrap()
    }

    fn profile(&self, provider: &str) -> Profile {
        self.authority.twins[self.twin(provider)].profile
    }

    fn plan(&mut self, kind: FaultKind) {
        self.authority.faults.add(Fault::token("generic", kind).times(1)).unwrap();
    }

    /// The code that a willing user's consent brings.
    fn code(&mut self, provider: &str, extra: &[(&str, &str)]) -> String {
        let query = authorization(extra);
        let twin = self.twin(provider);
        let rolled = &mut self.rolled;
        let url = self.authority.consent(self.now, &mut dice(rolled), twin, &query, "alice", true).unwrap();
        parameter(&url, "code").unwrap_or_else(|| panic!("no code in {url}"))
    }

    /// Sends a token request as it is, through the faults.
    fn send(&mut self, provider: &str, request: &Request<'_>) -> Reply {
        let twin = self.twin(provider);
        let fault = self.authority.strike(twin, Endpoint::Token, request);
        let rolled = &mut self.rolled;
        self.authority.token(self.now, &mut dice(rolled), twin, request, fault)
    }

    /// Sends a token request with body credentials.
    fn post(&mut self, provider: &str, fields: &[(&str, &str)]) -> Reply {
        let credentials = [("client_id", "client"), ("client_secret", "secret")];
        let body = form(&[fields, &credentials].concat());
        self.send(provider, &posted(&body))
    }

    fn redeem(&mut self, provider: &str, code: &str) -> Reply {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.post(provider, &fields)
    }

    fn refresh(&mut self, token: &str) -> Reply {
        self.post("generic", &[("grant_type", "refresh_token"), ("refresh_token", token)])
    }

    /// The tokens of a new grant at the generic provider.
    fn tokens(&mut self) -> Tokens {
        let code = self.code("generic", &[]);
        let reply = self.redeem("generic", &code);
        tokens(&reply)
    }

    /// The refresh token of a new grant at the generic provider.
    fn refresh_token(&mut self) -> String {
        self.tokens().refresh.unwrap()
    }

    /// Whether an access token opens the generic provider's userinfo.
    fn opens(&self, access: &str) -> bool {
        let authorization = format!("Bearer {access}");
        let request = Request { authorization: Some(&authorization), ..Request::default() };
        let twin = self.twin("generic");
        answer(&self.authority.resource(self.now, twin, Endpoint::Userinfo, &request, None)).status == 200
    }

    fn last_entry(&self) -> LogEntry {
        self.authority.log.entries().last().unwrap().clone()
    }
}

/// Bytes that differ with every roll.
fn dice(rolled: &mut u64) -> impl FnMut(&mut [u8]) + Send {
    move |bytes| {
        *rolled += 1;
        bytes.fill(0);
        bytes[..8].copy_from_slice(&rolled.to_be_bytes());
    }
}

/// A good authorization request; a field in `extra` takes the place of the one with its name, or drops it if empty.
fn authorization(extra: &[(&str, &str)]) -> String {
    let challenge = challenge_of(VERIFIER);
    let good = [
        ("response_type", "code"),
        ("client_id", "client"),
        ("redirect_uri", CALLBACK),
        ("state", "the-state"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    let kept = good.iter().filter(|(name, _)| !extra.iter().any(|(other, _)| other == name));
    form(&kept.chain(extra).copied().collect::<Vec<_>>())
}

fn form(fields: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn posted(body: &str) -> Request<'_> {
    Request { content_type: Some("application/x-www-form-urlencoded"), body: body.as_bytes(), ..Request::default() }
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// The answer of a reply that has one at once.
fn answer(reply: &Reply) -> Answer {
    match &reply.ending {
        Ending::Answer(answer) => answer.clone(),
        other => panic!("no answer but {other:?}"),
    }
}

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&answer(reply).body).unwrap()
}

/// The tokens of a good answer.
fn tokens(reply: &Reply) -> Tokens {
    let body = json(reply);
    assert_eq!(answer(reply).status, 200, "{body}");
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    Tokens { access: text("access_token").unwrap(), refresh: text("refresh_token") }
}

/// Status and OAuth error code of a refusal.
fn refusal(reply: &Reply) -> (u16, String) {
    (answer(reply).status, json(reply)["error"].as_str().unwrap_or_default().to_owned())
}

/// What RFC 6749 §5.2 answers to a dead grant.
fn invalid_grant() -> (u16, String) {
    (400, "invalid_grant".to_owned())
}
