//! Why a token or revocation request is refused, before any provider's dialect.

/// Error codes of RFC 6749 §5.2 and RFC 7009 §2.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OAuthError {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    InvalidScope,
    UnsupportedGrantType,
    InvalidToken,
}

impl OAuthError {
    /// The code on the wire. `invalid_token` is Google's own, at its revocation endpoint.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidScope => "invalid_scope",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidToken => "invalid_token",
        }
    }
}

/// What was being asked for: SoundCloud words its refusals by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing readable yet.
    Unclear,
    /// A code was to be exchanged.
    Code,
    /// A refresh.
    Refresh,
    /// A refresh of a grant that the user has revoked.
    RefreshOfRevoked,
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) error: OAuthError,
    /// One sentence for the developer; constant, so that nothing of the request can be in it.
    pub(crate) detail: &'static str,
    pub(crate) asked: Asked,
    /// The client tried HTTP authentication, so the refusal names the scheme (RFC 6749 §5.2).
    pub(crate) basic_tried: bool,
    /// The refusal ended a grant.
    pub(crate) killed_grant: bool,
}

impl Refusal {
    pub(crate) const fn new(error: OAuthError, detail: &'static str) -> Self {
        Self { error, detail, asked: Asked::Unclear, basic_tried: false, killed_grant: false }
    }

    pub(crate) const fn request(detail: &'static str) -> Self {
        Self::new(OAuthError::InvalidRequest, detail)
    }

    pub(crate) const fn client(detail: &'static str, basic_tried: bool) -> Self {
        Self { basic_tried, ..Self::new(OAuthError::InvalidClient, detail) }
    }

    pub(crate) const fn grant(detail: &'static str, asked: Asked) -> Self {
        Self { asked, ..Self::new(OAuthError::InvalidGrant, detail) }
    }

    pub(crate) const fn killing(self) -> Self {
        Self { killed_grant: true, ..self }
    }
}
