//! The provider catalogue, which is data, and the client of the providers' endpoints.
//!
//! # How the pieces fit
//!
//! A [`Catalogue`] knows every [`Provider`]: where it is, what it demands, how it misbehaves. A [`Registration`] is this
//! product at one of them; its secret comes from [`ClientSecrets`], because secrets rotate while registrations stay.
//!
//! *Logging in.* [`authorization_url`] sends the browser away with the challenge of a [`CodeVerifier`]. When it is back,
//! [`check_issuer`] looks at who answers, [`ProviderClient::exchange_with`] redeems the [`AuthorizationCode`], and
//! [`ProviderClient::account`] finds out whose tokens these are.
//!
//! *Refreshing.* [`ProviderClient::refresh_with`] sends the refresh token and answers with a [`Verdict`], one of five
//! classes. What a verdict follows from is [`judge`], a function without I/O, held by the answers in `golden/`. Its one
//! rule above all others: only a refusal that was *parsed* is a refusal. Every other answer, a page with status 403 or an
//! empty 202 included, keeps the grant.
//!
//! *Disconnecting.* [`ProviderClient::revoke_with`] ends the grant at the provider, where it can be ended.
//!
//! Invariants that are about what is absent: nothing here holds an answer's body longer than it takes to judge it, and no
//! error carries a part of one; oauth2 builds the requests and never sees an answer; nothing is retried but a client that
//! was refused as such; no clock and no dice, but for the sockets' deadlines.
//!
//! # How to add a provider
//!
//! 1. Find out about it: its own pages first, then reports. What is only remembered is marked so.
//! 2. Write a `[provider.<id>]` table: as a file in `catalogue/`, named in `BUILT_IN` in `catalogue.rs`, or in the
//!    operator's `PROVIDERS_FILE`. The fields are those of [`Provider`], times in seconds with the suffix `_s`. Each value
//!    of a built-in entry says in a comment `verified:`, `unverified:` or `ours:`, and where it comes from.
//! 3. `rotation = "none"` only where the provider is known never to rotate. In doubt `strict`: it costs time after a
//!    failure, the other mistake costs grants.
//! 4. Does it report dead grants in words of its own? Add `[[provider.<id>.errors]]` rules, as narrow as possible: a rule
//!    that means `invalid_grant` logs people out.
//! 5. Put every answer that anybody has seen into `golden/<id>/<case>.http`, and what it must mean into
//!    `<case>.expected`. `cargo test -p mm-oauth` fails for a built-in provider without cases.
//! 6. Try it against its twin, [`Provider::rebased`], before it meets a person.

mod authorization;
mod catalogue;
mod client;
mod registration;
mod secret;
mod verdict;

pub use self::{
    authorization::{IssuerMismatch, authorization_url, check_issuer},
    catalogue::{
        AccountSource, Api, AuthorizationScheme, CATALOGUE_BYTES_MAX, CLIENT_ID_PLACEHOLDER, Catalogue, CatalogueError,
        ClientAuth, ErrorMeaning, ErrorRule, PROVIDERS_MAX, Provider, Revokes, Rotation, ScopeSeparator,
    },
    client::{
        AccountError, BODY_BYTES_MAX, CONNECT_TIMEOUT, ClientError, Deadlines, PROVIDER_TIMEOUT, ProviderClient,
        RevocationOutcome, RevocationRefusal,
    },
    registration::{CLIENT_ID_BYTES_MAX, InvalidRegistration, Registration, SCOPES_MAX},
    secret::{
        AuthorizationCode, CODE_BYTES_MAX, ClientSecret, ClientSecrets, CodeVerifier, InvalidSecret, SecretPair,
        SecretsError, StaticSecrets, VERIFIER_CHARS_MAX, VERIFIER_CHARS_MIN, VERIFIER_RANDOM_BYTES,
    },
    verdict::{
        ACCESS_TOKEN_BYTES_MAX, EXPIRES_IN_MAX, ExchangeOutcome, Misconfiguration, REFRESH_TOKEN_BYTES_MAX,
        RETRY_AFTER_MAX, RefusedReason, SCOPE_BYTES_MAX, TokenAnswer, UnavailableCause, Verdict, judge, retry_after,
    },
};
