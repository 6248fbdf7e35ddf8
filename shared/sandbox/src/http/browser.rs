//! What the user's browser sees: authorization, login, consent.

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use url::form_urlencoded;

use super::{MAX_BODY_BYTES, SESSION_COOKIE, page, session_cookie};
use crate::{
    authority::{Begun, PageError},
    sandbox::Sandbox,
};

/// Where the login form lives.
pub(super) const LOGIN_PATH: &str = "/_sandbox/login";

/// Where the consent form lives.
pub(super) const CONSENT_PATH: &str = "/_sandbox/consent";

/// The pages that are not a provider's own path.
pub(super) fn routes() -> Router<Sandbox> {
    Router::new()
        .route("/", get(index))
        .route(LOGIN_PATH, get(login_page).post(login))
        .route(CONSENT_PATH, get(consent_page).post(consent))
        .route(page::STYLE_PATH, get(page::style))
}

/// The authorization endpoint of a twin.
pub(super) fn authorize(sandbox: &Sandbox, provider: &'static str, request: &Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    match sandbox.begin(provider, query, session_cookie(request.headers())) {
        // A navigation by GET, so 302 as the real ones do; after a form it is 303 (RFC 9700 §4.12).
        Ok(Begun::Redirect(url)) => redirect(StatusCode::FOUND, url.as_str()),
        Ok(Begun::Ask { ticket, cookie }) => {
            let mut response = redirect(StatusCode::FOUND, &with_ticket(CONSENT_PATH, &ticket));
            if let Some(cookie) = cookie
                && let Ok(value) =
                    HeaderValue::try_from(format!("{SESSION_COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Lax"))
            {
                response.headers_mut().append(header::SET_COOKIE, value);
            }
            response
        }
        Err(error) => refused(error),
    }
}

async fn index(State(sandbox): State<Sandbox>) -> Response {
    page::index(sandbox.base_url(), sandbox.profiles())
}

/// Nothing here.
pub(super) async fn not_found(uri: Uri) -> Response {
    tracing::debug!(path = uri.path(), "no such page in the sandbox");
    page::error(StatusCode::NOT_FOUND, "There is nothing at this address.")
}

async fn login_page(State(sandbox): State<Sandbox>, request: Request) -> Response {
    let ticket = field(request.uri().query().unwrap_or_default().as_bytes(), "ticket");
    let cookie = session_cookie(request.headers());
    match sandbox.read(|authority, now| authority.asked(now, &ticket, cookie)) {
        Ok(asked) => page::login(&asked, &ticket, None),
        Err(error) => refused(error),
    }
}

async fn login(State(sandbox): State<Sandbox>, request: Request) -> Response {
    let cookie = session_cookie(request.headers()).map(str::to_owned);
    let cookie = cookie.as_deref();
    let Some(form) = form_of(request).await else { return refused(PageError::Unreadable) };
    let ticket = field(&form, "ticket");
    let name = field(&form, "username");
    match sandbox.change(|authority, now, _| authority.sign_in(now, &ticket, cookie, &name)) {
        Ok(()) => redirect(StatusCode::SEE_OTHER, &with_ticket(CONSENT_PATH, &ticket)),
        Err(PageError::BadName) => match sandbox.read(|authority, now| authority.asked(now, &ticket, cookie)) {
            Ok(asked) => page::login(&asked, &ticket, Some(PageError::BadName)),
            Err(error) => refused(error),
        },
        Err(error) => refused(error),
    }
}

async fn consent_page(State(sandbox): State<Sandbox>, request: Request) -> Response {
    let ticket = field(request.uri().query().unwrap_or_default().as_bytes(), "ticket");
    let cookie = session_cookie(request.headers());
    match sandbox.read(|authority, now| authority.asked(now, &ticket, cookie)) {
        Ok(asked) => match &asked.username {
            Some(username) => page::consent(&asked, username, &ticket),
            None => redirect(StatusCode::FOUND, &with_ticket(LOGIN_PATH, &ticket)),
        },
        Err(error) => refused(error),
    }
}

async fn consent(State(sandbox): State<Sandbox>, request: Request) -> Response {
    let cookie = session_cookie(request.headers()).map(str::to_owned);
    let Some(form) = form_of(request).await else { return refused(PageError::Unreadable) };
    let ticket = field(&form, "ticket");
    let allow = match field(&form, "decision").as_str() {
        "allow" => true,
        "deny" => false,
        _ => return refused(PageError::Unreadable),
    };
    match sandbox.change(|authority, now, dice| authority.decide(now, dice, &ticket, cookie.as_deref(), allow)) {
        Ok(url) => redirect(StatusCode::SEE_OTHER, url.as_str()),
        Err(error) => refused(error),
    }
}

fn refused(error: PageError) -> Response {
    page::error(StatusCode::BAD_REQUEST, &error.to_string())
}

async fn form_of(request: Request) -> Option<Vec<u8>> {
    to_bytes(request.into_body(), MAX_BODY_BYTES).await.ok().map(Vec::from)
}

fn field(form: &[u8], name: &str) -> String {
    form_urlencoded::parse(form)
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// Tickets are base64url, so nothing has to be escaped.
fn with_ticket(path: &str, ticket: &str) -> String {
    format!("{path}?ticket={ticket}")
}

fn redirect(status: StatusCode, to: &str) -> Response {
    match HeaderValue::try_from(to) {
        Ok(to) => {
            let headers = [
                (header::LOCATION, to),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
                (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            ];
            (status, headers).into_response()
        }
        Err(_) => refused(PageError::UnknownRedirect),
    }
}
