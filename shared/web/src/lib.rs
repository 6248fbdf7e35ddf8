//! HTTP: requests, responses, sessions, cookies, CORS and problem documents.
