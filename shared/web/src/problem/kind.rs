//! The table of what can go wrong at the HTTP boundary.

use http::StatusCode;

/// The fixed part of a kind's document.
struct Entry {
    status: StatusCode,
    code: &'static str,
    problem_type: &'static str,
    title: &'static str,
    detail: &'static str,
}

/// One row is one kind: `Name = status, code, type, title, detail;`. A macro, so that the enum, its list and its texts
/// cannot drift apart.
macro_rules! problem_kinds {
    ($(
        $(#[$doc:meta])+
        $kind:ident = $status:ident, $code:literal, $problem_type:literal, $title:literal, $detail:literal;
    )+) => {
        /// Why a request got no answer of its own. The closed list of what a frontend must be able to tell apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ProblemKind {
            $($(#[$doc])+ $kind,)+
        }

        impl ProblemKind {
            /// Every kind, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            const fn entry(self) -> Entry {
                match self {
                    $(Self::$kind => Entry {
                        status: StatusCode::$status,
                        code: $code,
                        problem_type: $problem_type,
                        title: $title,
                        detail: $detail,
                    },)+
                }
            }
        }
    };
}

problem_kinds! {
    /// The request carries no live session.
    NoSession = UNAUTHORIZED, "no_session", "/problems/no-session",
        "There is no live session.",
        "Connect a provider: logging in there starts a session.";
    /// The person has not connected this provider.
    NotConnected = NOT_FOUND, "not_connected", "/problems/not-connected",
        "This provider is not connected.",
        "Start a login at this provider.";
    /// The catalogue has no such provider.
    UnknownProvider = NOT_FOUND, "unknown_provider", "/problems/unknown-provider",
        "There is no such provider.",
        "Use the id of a provider of the catalogue, as in /auth/spotify/login.";
    /// The catalogue has the provider, but this server has no credentials for it.
    ProviderNotConfigured = NOT_FOUND, "provider_not_configured", "/problems/provider-not-configured",
        "This server does not offer this provider.",
        "The operator has to set the provider's client id, secret and redirect URI.";
    /// The provider ended the grant: the person must log in there again.
    ReauthorizationRequired = CONFLICT, "reauthorization_required", "/problems/reauthorization-required",
        "The provider asks for a new authorization.",
        "Send the person to login_url; the connection works again after that login.";
    /// The token has run out and its refresh is still under way.
    RefreshPending = SERVICE_UNAVAILABLE, "refresh_pending", "/problems/refresh-pending",
        "The token is being refreshed.",
        "Ask again after the time given; the refresh goes on meanwhile.";
    /// The store did not answer.
    StoreUnavailable = SERVICE_UNAVAILABLE, "store_unavailable", "/problems/store-unavailable",
        "The store does not answer.",
        "Ask again after the time given.";
    /// A limit per person or per address was reached.
    TooManyRequests = TOO_MANY_REQUESTS, "too_many_requests", "/problems/too-many-requests",
        "Too many requests.",
        "Ask again after the time given.";
    /// A parameter or header is missing, doubled, too long or out of range.
    BadRequest = BAD_REQUEST, "bad_request", "/problems/bad-request",
        "The request is not understood.",
        "Send each parameter once, in its documented form.";
    /// A script's call came without `X-MultiMusic-Client: 1`.
    MissingClientHeader = FORBIDDEN, "missing_client_header", "/problems/missing-client-header",
        "The client header is missing.",
        "Send the header X-MultiMusic-Client: 1 with every call.";
    /// The page that sent the request is none of the frontends.
    OriginNotAllowed = FORBIDDEN, "origin_not_allowed", "/problems/origin-not-allowed",
        "The request comes from a page that is not a frontend of this server.",
        "Open the page under one of the addresses in FRONTEND_URL, or add its address there.";
    /// The address is for navigations, and this is none.
    NotANavigation = BAD_REQUEST, "not_a_navigation", "/problems/not-a-navigation",
        "This address must be navigated to.",
        "Open it in a window of its own: not by a script's request, in a frame, or ahead of time.";
    /// The request's body is too large.
    PayloadTooLarge = PAYLOAD_TOO_LARGE, "payload_too_large", "/problems/payload-too-large",
        "The request's body is too large.",
        "Send no body: every parameter is in the address.";
    /// The request's header fields are too large (RFC 6585 §5).
    HeadersTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "/problems/headers-too-large",
        "The request's header fields are too large.",
        "Delete this site's cookies and log in again.";
    /// No route has this path.
    NotFound = NOT_FOUND, "not_found", "/problems/not-found",
        "There is nothing at this address.",
        "Compare the path with the HTTP reference in the README.";
    /// The route has no such method.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method_not_allowed", "/problems/method-not-allowed",
        "This address does not have this method.",
        "Use a method that the Allow header lists.";
    /// A fault of this server.
    Internal = INTERNAL_SERVER_ERROR, "internal", "/problems/internal",
        "This server made a mistake.",
        "Ask again later; the operator finds the cause in the log.";
}

impl ProblemKind {
    /// The HTTP status of this kind.
    pub const fn status(self) -> StatusCode {
        self.entry().status
    }

    /// Whether it passes by itself, so that the answer says when to ask again.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::RefreshPending | Self::StoreUnavailable | Self::TooManyRequests)
    }

    /// The stable word for programs, `not_connected`.
    pub const fn code(self) -> &'static str {
        self.entry().code
    }

    /// The problem's type (RFC 9457 §3.1.1), a reference relative to the server: `/problems/not-connected`.
    pub const fn problem_type(self) -> &'static str {
        self.entry().problem_type
    }

    /// The type's title (RFC 9457 §3.1.3): the same sentence at every occurrence.
    pub const fn title(self) -> &'static str {
        self.entry().title
    }

    /// What to do, where the answer is the same at every occurrence.
    pub const fn detail(self) -> &'static str {
        self.entry().detail
    }
}
