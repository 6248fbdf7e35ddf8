//! POST and GET /auth/{provider}/login: mints state and PKCE and answers the authorization URL.
