//! `GET /auth/{provider}/callback`: redeems the code and stores the connection. Whatever comes of it, a browser is sent to
//! the frontend with a code of a closed list.

use axum::{
    Router,
    extract::{RawQuery, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{LOCATION, SET_COOKIE},
};
use mm_engine::{CallbackOutcome, CallbackQuery, CallbackRequest, LoginFailure};
use mm_model::{ProviderId, login::Standing};
use mm_oauth::{AuthorizationCode, CODE_BYTES_MAX};
use mm_web::{
    Outcome, Problem, ProblemKind, ProviderText, Query, ResultCode, ReturnTo, Session, Surface, cookies, navigation,
    query::{Parameter, Unknown},
};

/// The routes of this function.
pub fn routes() -> Router<Surface> {
    let callback = get(callback).head(|| async { navigation::refuse_head("GET") });
    Router::new().route("/auth/{provider}/callback", callback)
}

const STATE: &str = "state";
const CODE: &str = "code";
const ERROR: &str = "error";
const ISS: &str = "iss";

/// Longest `state`: ours have 43 characters, and a longer one is not ours.
const STATE_BYTES_MAX: usize = 64;

/// Longest error code. The longest registered one has 27 characters.
const ERROR_BYTES_MAX: usize = 128;

/// Longest issuer: an address.
const ISS_BYTES_MAX: usize = 512;

/// What a provider may send (RFC 6749 §4.1.2, RFC 9207 §2); what it sends beyond is ignored, as the RFC asks.
const PARAMETERS: [Parameter; 4] = [
    Parameter::new(STATE, STATE_BYTES_MAX),
    Parameter::new(CODE, CODE_BYTES_MAX),
    Parameter::new(ERROR, ERROR_BYTES_MAX),
    Parameter::new(ISS, ISS_BYTES_MAX),
];

async fn callback(
    State(surface): State<Surface>,
    ProviderText(provider): ProviderText,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    navigation::check_callback(&headers)?;
    let provider: ProviderId = provider.parse().map_err(|_| Problem::new(ProblemKind::UnknownProvider))?;
    let query = Query::parse(query.as_deref(), &PARAMETERS, Unknown::Ignore)?;
    let session = surface.session(&headers)?;
    let request = CallbackRequest {
        provider: provider.clone(),
        query: parameters(&query)?,
        browser: cookies::read_binding(&headers)?.map(|binding| binding.hash()),
        session: session.as_ref().map(Into::into),
    };
    match surface.engine.complete_login(request).await {
        CallbackOutcome::Connected { user, standing, session_start, return_to } => {
            let mut response = to_frontend(&surface, &provider, Some(&return_to), Outcome::Connected)?;
            if standing == Standing::SignsIn {
                end_previous(&surface, session.as_ref()).await;
                let sid = surface.engine.new_session_id();
                let signed = surface.sessions.issue(user, sid, session_start, surface.now().max(session_start))?;
                response.headers_mut().append(SET_COOKIE, cookies::set_session(&signed)?);
            }
            Ok(response)
        }
        CallbackOutcome::Again { authorization_url } => see_other(authorization_url.as_str()),
        CallbackOutcome::Failed { failure, return_to } => {
            to_frontend(&surface, &provider, return_to.as_deref(), Outcome::Failed(result_code(failure)))
        }
    }
}

fn parameters(query: &Query) -> Result<CallbackQuery, Problem> {
    let text = |name| query.get(name).map(str::to_owned);
    let code = text(CODE).map(AuthorizationCode::from_callback).transpose();
    Ok(CallbackQuery {
        state: text(STATE),
        code: code.map_err(|_| Problem::parameter(CODE, "This is no authorization code: log in again."))?,
        error: text(ERROR),
        iss: text(ISS),
    })
}

/// A new session takes the place of another person's: that one ends, every copy of it.
async fn end_previous(surface: &Surface, session: Option<&Session>) {
    if let Some(session) = session
        && let Err(error) = surface.engine.logout(&session.into()).await
    {
        tracing::warn!(error = %mm_engine::chain(&error), "login.callback: the previous session could not be ended");
    }
}

fn to_frontend(
    surface: &Surface,
    provider: &ProviderId,
    return_to: Option<&str>,
    outcome: Outcome,
) -> Result<Response, Problem> {
    // Stored addresses were checked when the login began; the frontends may have changed since.
    let stored = return_to.and_then(|text| ReturnTo::parse(text, &surface.origins).ok());
    let return_to = stored.unwrap_or_else(|| ReturnTo::frontend(&surface.origins));
    see_other(return_to.with_result(provider, outcome).as_str())
}

fn see_other(address: &str) -> Result<Response, Problem> {
    let location = HeaderValue::from_str(address).map_err(|_| Problem::new(ProblemKind::Internal))?;
    Ok((StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response())
}

const fn result_code(failure: LoginFailure) -> ResultCode {
    match failure {
        LoginFailure::AccessDenied => ResultCode::AccessDenied,
        LoginFailure::LoginExpired => ResultCode::LoginExpired,
        LoginFailure::LoginOtherBrowser => ResultCode::LoginOtherBrowser,
        LoginFailure::AccountInUse => ResultCode::AccountInUse,
        LoginFailure::AccountMismatch => ResultCode::AccountMismatch,
        LoginFailure::ProviderUnavailable => ResultCode::ProviderUnavailable,
        LoginFailure::ProviderRefused => ResultCode::ProviderRefused,
        LoginFailure::NotConfigured => ResultCode::NotConfigured,
    }
}
