//! How a twin treats its refresh tokens: the part of a profile that can be changed while it runs.

use serde::{Deserialize, Deserializer, Serialize};

/// What happens to a refresh token when it is used.
///
/// In JSON: `"reusable"`, `"rotating"`, `{"rotating_with_grace": {"grace_s": 10}}`, `"strict"`, `"no_refresh_token"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mode {
    /// It stays; a refresh answers without a refresh token (RFC 6749 §6).
    Reusable,
    /// A new one is issued; the old one is good until the new one is used for the first time.
    Rotating,
    /// A new one is issued; the old one is good for some seconds more.
    RotatingWithGrace {
        /// Seconds from its first use during which the old token is still accepted.
        grace_s: u64,
    },
    /// Single use; a spent token that comes back ends the whole grant (RFC 9700 §4.14.2).
    Strict,
    /// None is issued at all. Tokens from before a change to this mode keep working.
    NoRefreshToken,
}

/// What the revocation endpoint ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revokes {
    /// There is no such endpoint: it answers 404.
    Nothing,
    /// The grant that the token belongs to (RFC 7009 §2.1).
    Token,
    /// Every grant that the account has given to this client.
    Grant,
}

/// Everything about a twin that `PATCH /_sandbox/providers/{provider}` can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Behaviour {
    /// What happens to a refresh token when it is used.
    pub mode: Mode,
    /// Life of an access token, in seconds; for tokens issued from now on.
    pub access_lifetime_s: u64,
    /// Life of a grant in seconds from the user's authorization, which refreshing does not extend; for grants made from now on.
    pub grant_lifetime_s: Option<u64>,
    /// What the revocation endpoint ends.
    pub revokes: Revokes,
}

impl Behaviour {
    /// This behaviour with the patch's fields in place of its own.
    #[must_use]
    pub fn patched(self, patch: &BehaviourPatch) -> Self {
        Self {
            mode: patch.mode.unwrap_or(self.mode),
            access_lifetime_s: patch.access_lifetime_s.unwrap_or(self.access_lifetime_s),
            grant_lifetime_s: match patch.grant_lifetime_s {
                None => self.grant_lifetime_s,
                Some(GrantLifetime::Unlimited) => None,
                Some(GrantLifetime::Seconds(seconds)) => Some(seconds),
            },
            revokes: patch.revokes.unwrap_or(self.revokes),
        }
    }
}

/// A change of a twin's [`Behaviour`]: absent fields stay as they are.
///
/// Unknown fields are refused: a misspelt one would leave the old behaviour in place and the test that relies on it green.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BehaviourPatch {
    /// See [`Behaviour::mode`].
    pub mode: Option<Mode>,
    /// See [`Behaviour::access_lifetime_s`].
    pub access_lifetime_s: Option<u64>,
    /// See [`Behaviour::grant_lifetime_s`]; `null` takes the limit away.
    #[serde(deserialize_with = "present")]
    pub grant_lifetime_s: Option<GrantLifetime>,
    /// See [`Behaviour::revokes`].
    pub revokes: Option<Revokes>,
}

impl BehaviourPatch {
    /// Changes the mode alone.
    pub fn mode(mode: Mode) -> Self {
        Self { mode: Some(mode), ..Self::default() }
    }
}

/// The life of grants, as a patch sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantLifetime {
    /// They end only when somebody ends them.
    Unlimited,
    /// They end this many seconds after the user's authorization.
    Seconds(u64),
}

/// Tells `null` (the limit is taken away) from an absent field (the limit stays).
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<GrantLifetime>, D::Error> {
    let seconds = Option::deserialize(deserializer)?;
    Ok(Some(seconds.map_or(GrantLifetime::Unlimited, GrantLifetime::Seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Behaviour = Behaviour {
        mode: Mode::Strict,
        access_lifetime_s: 3600,
        grant_lifetime_s: Some(86_400),
        revokes: Revokes::Nothing,
    };

    fn patched(json: &str) -> Behaviour {
        BEFORE.patched(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        assert_eq!(patched("{}"), BEFORE);
        assert_eq!(patched(r#"{"access_lifetime_s":5}"#), Behaviour { access_lifetime_s: 5, ..BEFORE });
        assert_eq!(
            patched(r#"{"mode":{"rotating_with_grace":{"grace_s":7}},"revokes":"grant"}"#),
            Behaviour { mode: Mode::RotatingWithGrace { grace_s: 7 }, revokes: Revokes::Grant, ..BEFORE }
        );
    }

    #[test]
    fn null_takes_the_life_of_grants_away_and_absence_does_not() {
        assert_eq!(patched(r#"{"grant_lifetime_s":null}"#).grant_lifetime_s, None);
        assert_eq!(patched(r#"{"mode":"reusable"}"#).grant_lifetime_s, Some(86_400));
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        assert!(serde_json::from_str::<BehaviourPatch>(r#"{"acces_lifetime_s":5}"#).is_err());
        assert!(serde_json::from_str::<BehaviourPatch>(r#"{"mode":"stricter"}"#).is_err());
    }
}
