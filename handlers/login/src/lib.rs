//! `POST` and `GET /auth/{provider}/login`: mints state and PKCE and answers the provider's address. Reads no secret.

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{LOCATION, SET_COOKIE},
};
use mm_engine::{LoginRequest, StartLoginError, chain};
use mm_model::login::Intent;
use mm_web::{
    BrowserBinding, ClientCall, Problem, ProblemKind, ProviderText, Query, ReturnTo, Surface,
    answers::LoginAnswer,
    cookies, navigation,
    query::{Parameter, Unknown},
    return_to::RETURN_TO_BYTES_MAX,
};
use url::Url;

/// The routes of this function.
pub fn routes() -> Router<Surface> {
    let login = post(by_call).get(by_navigation).head(|| async { navigation::refuse_head("GET, POST") });
    Router::new().route("/auth/{provider}/login", login)
}

const RETURN_TO: &str = "return_to";
const REPLACE: &str = "replace";
const ON_CONFLICT: &str = "on_conflict";

/// Longest value of a switch or word.
const WORD_BYTES_MAX: usize = 32;

/// What both forms understand.
const PARAMETERS: [Parameter; 3] = [
    Parameter::new(RETURN_TO, RETURN_TO_BYTES_MAX),
    Parameter::new(REPLACE, WORD_BYTES_MAX),
    Parameter::new(ON_CONFLICT, WORD_BYTES_MAX),
];

/// A frontend's script asks: the address comes back, and the script goes there.
async fn by_call(
    _call: ClientCall,
    State(surface): State<Surface>,
    ProviderText(provider): ProviderText,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref(), &PARAMETERS, Unknown::Refuse)?;
    let (authorization_url, cookie) = start(&surface, &provider, &query, &headers).await?;
    Ok(([(SET_COOKIE, cookie)], Json(LoginAnswer { authorization_url })).into_response())
}

/// A link or the address bar asks: the browser is sent there.
async fn by_navigation(
    State(surface): State<Surface>,
    ProviderText(provider): ProviderText,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = Query::parse(query.as_deref(), &PARAMETERS, Unknown::Refuse)?;
    match intent(&query)? {
        Intent::Plain => navigation::check_login(&headers, &surface.origins)?,
        Intent::Replace | Intent::Switch | Intent::Move => {
            navigation::check_decisive_login(&headers, &surface.origins)?;
        }
    }
    let (authorization_url, cookie) = start(&surface, &provider, &query, &headers).await?;
    let location =
        HeaderValue::from_str(authorization_url.as_str()).map_err(|_| Problem::new(ProblemKind::Internal))?;
    Ok((StatusCode::SEE_OTHER, [(SET_COOKIE, cookie), (LOCATION, location)]).into_response())
}

async fn start(
    surface: &Surface,
    provider: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<(Url, HeaderValue), Problem> {
    let provider = surface.provider(provider)?;
    let return_to = match query.get(RETURN_TO) {
        Some(text) => ReturnTo::parse(text, &surface.origins)?,
        None => ReturnTo::frontend(&surface.origins),
    };
    let binding =
        cookies::read_binding(headers)?.unwrap_or_else(|| BrowserBinding::from_random(surface.engine.random()));
    let request = LoginRequest {
        provider,
        session: surface.session(headers)?.as_ref().map(Into::into),
        browser: binding.hash(),
        return_to: return_to.url().clone(),
        intent: intent(query)?,
    };
    let started = surface.engine.start_login(request).await.map_err(|error| problem(&error))?;
    Ok((started.authorization_url, cookies::set_binding(&binding)?))
}

/// One conflict at a time can be settled beforehand.
fn intent(query: &Query) -> Result<Intent, Problem> {
    let words = [("switch", Intent::Switch), ("move", Intent::Move)];
    let on_conflict = query.word(ON_CONFLICT, &words, "Send switch or move, or leave it out.")?;
    match (query.flag(REPLACE)?, on_conflict) {
        (false, None) => Ok(Intent::Plain),
        (true, None) => Ok(Intent::Replace),
        (false, Some(intent)) => Ok(intent),
        (true, Some(_)) => Err(Problem::parameter(REPLACE, "Send replace or on_conflict, not both.")),
    }
}

fn problem(error: &StartLoginError) -> Problem {
    match error {
        StartLoginError::UnknownProvider => Problem::new(ProblemKind::UnknownProvider),
        StartLoginError::Store(_) => {
            tracing::error!(error = %chain(error), "login.start: the login could not be kept");
            Problem::store_unavailable()
        }
    }
}
