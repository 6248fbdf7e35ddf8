//! The configuration of the standalone server. One struct, read once; a missing or wrong value is one line that names the
//! variable, the value's shape and the remedy.

mod providers;
#[cfg(test)]
mod tests;

use std::{fmt, num::NonZeroU16, path::PathBuf, time::Duration};

use mm_model::limits::AWAKE_WINDOW;
use mm_oauth::Catalogue;
use url::{Host, Url};
use zeroize::ZeroizeOnDrop;

pub use providers::Credentials;

use crate::Environment;

/// Fewest bytes of a session key (RFC 8725 §3.5: no weaker than the hash).
const JWT_SECRET_BYTES_MIN: usize = 32;

/// A value that stops the start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} must be {shape}; {remedy}")]
pub struct ConfigError {
    /// The variable, or the file.
    pub variable: String,
    /// What its value has to look like.
    pub shape: String,
    /// What to do.
    pub remedy: String,
}

impl ConfigError {
    fn new(variable: &str, shape: &str, remedy: &str) -> Self {
        Self { variable: variable.to_owned(), shape: shape.to_owned(), remedy: remedy.to_owned() }
    }
}

/// The standalone server's configuration.
#[derive(Debug)]
pub struct Config {
    /// `PUBLIC_URL`: where browsers find this server.
    pub public_url: Url,
    /// `FRONTEND_URL`: the frontends, the first one is the default.
    pub frontends: Vec<Url>,
    /// `PORT`: where it listens on 127.0.0.1.
    pub port: u16,
    /// `DATA_DIR`: where everything is kept.
    pub data_dir: PathBuf,
    /// `TRUSTED_PROXIES`: whose `X-Forwarded-For` is believed; unread, the HTTP boundary says whether it is a list of them.
    pub trusted_proxies: String,
    /// `DEV_PAGE`: whether `/` answers with the page.
    pub dev_page: bool,
    /// `AWAKE_HOURS`: how long a connection that nobody reads is kept fresh.
    pub awake_window: Duration,
    /// The providers with credentials.
    pub providers: Vec<Credentials>,
    /// `JWT_SECRET` and its predecessor.
    pub session_secrets: Option<SessionSecrets>,
    /// `ENCRYPTION_KEY`, unread: the key service says whether it is one.
    pub encryption_key: Option<Secret>,
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// What signs session tokens.
#[derive(Debug)]
pub struct SessionSecrets {
    /// `JWT_SECRET`.
    pub current: Secret,
    /// `JWT_SECRET_PREVIOUS`: still accepted, so that nobody is logged out by a change.
    pub previous: Option<Secret>,
}

/// What the command line says over the environment.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--port`.
    pub port: Option<u16>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// The first value that is missing or wrong.
    pub fn from_env(env: &Environment, catalogue: &Catalogue, overrides: Overrides) -> Result<Self, ConfigError> {
        let port = match overrides.port {
            Some(port) => port,
            None => {
                parsed(env, "PORT", "a port from 1 to 65535", "leave it out for 8080")?.map_or(8080, NonZeroU16::get)
            }
        };
        let dev_page = flag(env, "DEV_PAGE")?;
        let public_url = public_url(env, port, dev_page)?;
        if dev_page && !is_loopback(&public_url) {
            return Err(ConfigError::new(
                "DEV_PAGE",
                "left out where PUBLIC_URL is not on this machine",
                "the page is for developers: it shows and does more than strangers should see, and widens the limits",
            ));
        }
        let trusted_proxies = trusted_proxies(env, &public_url)?;
        let frontends = frontends(env)?;
        let providers = providers::read(env, catalogue, &public_url)?;
        let hours: u32 = parsed(env, "AWAKE_HOURS", "whole hours from 1 to 8760", "leave it out for 24")?
            .unwrap_or(u32::try_from(AWAKE_WINDOW.as_secs() / 3600).unwrap_or(24));
        if !(1..=8760).contains(&hours) {
            return Err(ConfigError::new("AWAKE_HOURS", "whole hours from 1 to 8760", "leave it out for 24"));
        }
        Ok(Self {
            public_url,
            frontends,
            port,
            data_dir: overrides
                .data_dir
                .or_else(|| env.get("DATA_DIR").map(PathBuf::from))
                .unwrap_or_else(|| "data".into()),
            trusted_proxies,
            dev_page,
            awake_window: Duration::from_secs(u64::from(hours) * 3600),
            providers,
            session_secrets: session_secrets(env)?,
            encryption_key: env.get("ENCRYPTION_KEY").map(Secret::from),
        })
    }
}

fn parsed<T: std::str::FromStr>(
    env: &Environment,
    name: &str,
    shape: &str,
    remedy: &str,
) -> Result<Option<T>, ConfigError> {
    let parse = |text: &str| text.trim().parse().map_err(|_| ConfigError::new(name, shape, remedy));
    env.get(name).map(parse).transpose()
}

fn flag(env: &Environment, name: &str) -> Result<bool, ConfigError> {
    match env.get(name) {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(_) => Err(ConfigError::new(name, "1 or 0", "leave it out for 0")),
    }
}

fn public_url(env: &Environment, port: u16, dev_page: bool) -> Result<Url, ConfigError> {
    let shape = "the address at which browsers find this server, such as https://auth.example.com";
    match env.get("PUBLIC_URL") {
        Some(text) => {
            Url::parse(text.trim()).map_err(|_| ConfigError::new("PUBLIC_URL", shape, "write scheme and host, no path"))
        }
        None if dev_page => {
            Url::parse(&format!("http://127.0.0.1:{port}")).map_err(|_| ConfigError::new("PUBLIC_URL", shape, "set it"))
        }
        None => Err(ConfigError::new("PUBLIC_URL", shape, "set it, or start by ./scripts/dev to try the product here")),
    }
}

fn frontends(env: &Environment) -> Result<Vec<Url>, ConfigError> {
    let texts = env.get("FRONTEND_URL").into_iter().flat_map(|list| list.split(','));
    let parse = |text: &str| {
        Url::parse(text.trim()).map_err(|_| {
            ConfigError::new(
                "FRONTEND_URL",
                "addresses separated by commas, such as https://app.example.com",
                "leave it out where the frontend lives under PUBLIC_URL",
            )
        })
    };
    texts.map(parse).collect()
}

/// The server listens on this machine only: others reach it through a proxy, and without knowing that proxy every limit per
/// address would be one limit for everybody.
fn trusted_proxies(env: &Environment, public_url: &Url) -> Result<String, ConfigError> {
    match env.get("TRUSTED_PROXIES") {
        Some(text) => Ok(text.to_owned()),
        None if is_loopback(public_url) => Ok(String::new()),
        None => Err(ConfigError::new(
            "TRUSTED_PROXIES",
            "the networks of the proxies in front of this server, such as 127.0.0.1/32, where PUBLIC_URL is not on this machine",
            "set it: their X-Forwarded-For tells one client from another",
        )),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn session_secrets(env: &Environment) -> Result<Option<SessionSecrets>, ConfigError> {
    let secret = |name: &str| match env.get(name) {
        Some(text) if text.len() < JWT_SECRET_BYTES_MIN => Err(ConfigError::new(
            name,
            "at least 32 characters of randomness",
            "make one with `openssl rand -base64 32`, or leave it out: a key derived from the wrapping key then signs",
        )),
        text => Ok(text.map(Secret::from)),
    };
    let (current, previous) = (secret("JWT_SECRET")?, secret("JWT_SECRET_PREVIOUS")?);
    if current.is_none() && previous.is_some() {
        return Err(ConfigError::new(
            "JWT_SECRET",
            "set where JWT_SECRET_PREVIOUS is",
            "without it the previous one is not looked at, and everybody is logged out",
        ));
    }
    Ok(current.map(|current| SessionSecrets { current, previous }))
}
