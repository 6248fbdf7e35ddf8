//! The provider catalogue, which is data, and the client of the providers' endpoints.

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
