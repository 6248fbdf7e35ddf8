//! The page at `/`, for developers: what the backend knows, live. Off unless `DEV_PAGE` says so.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, LOCATION},
};
use mm_model::Timestamp;
use mm_oauth::{AccountSource, Provider};
use mm_web::Surface;
use serde::Serialize;
use url::Url;

macro_rules! files {
    ($($name:literal => $kind:expr,)+) => {
        /// The page's files: path, media type, content.
        const FILES: &[(&str, &str, &[u8])] = &[
            $((concat!("/", $name), $kind, include_bytes!(concat!("../page/", $name))),)+
        ];
    };
}

const CSS: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

files! {
    "api.js" => SCRIPT,
    "app.js" => SCRIPT,
    "banner.js" => SCRIPT,
    "card.css" => CSS,
    "card.js" => SCRIPT,
    "clock.js" => SCRIPT,
    "dom.js" => SCRIPT,
    "faults.js" => SCRIPT,
    "history.js" => SCRIPT,
    "index.html" => HTML,
    "journal.css" => CSS,
    "journal.js" => SCRIPT,
    "poll.js" => SCRIPT,
    "session.js" => SCRIPT,
    "snippet.js" => SCRIPT,
    "states.js" => SCRIPT,
    "style.css" => CSS,
    "timeline.css" => CSS,
    "timeline.js" => SCRIPT,
    "timewords.js" => SCRIPT,
}

/// What the page has to know of this process.
#[derive(Clone)]
pub struct PageContext {
    /// How many times faster than real time the product's clock runs.
    pub speed: u32,
    /// The sandbox's address, where it is on.
    pub sandbox_url: Option<Url>,
}

/// `GET /dev/info`.
#[derive(Serialize)]
struct Info {
    product: &'static str,
    version: &'static str,
    engine: &'static str,
    speed: u32,
    now: Timestamp,
    public_url: String,
    sandbox_url: Option<String>,
    providers: Vec<InfoProvider>,
}

#[derive(Serialize)]
struct InfoProvider {
    id: String,
    name: String,
    sandbox: bool,
    demo_url: Option<String>,
}

/// The routes of the page.
pub fn routes(surface: &Surface, context: PageContext) -> Router<Surface> {
    let policy = policy(surface, &context);
    let context = Arc::new(context);
    let mut router = Router::new().route(
        "/dev/info",
        get(move |State(surface): State<Surface>| {
            let context = Arc::clone(&context);
            async move { Json(info(&surface, &context)) }
        }),
    );
    for (path, kind, content) in FILES {
        let path = if *path == "/index.html" { "/" } else { path };
        let policy = policy.clone();
        router = router.route(
            path,
            get(move |State(surface): State<Surface>, headers: HeaderMap| async move {
                file(&surface, &headers, kind, content, policy)
            }),
        );
    }
    router
}

fn file(surface: &Surface, headers: &HeaderMap, kind: &str, content: &'static [u8], policy: HeaderValue) -> Response {
    // Cookies belong to one host name: on the other loopback name nobody would ever be signed in.
    if kind == HTML && !is_public_host(surface, headers) {
        let home = HeaderValue::from_str(surface.origins.public_url().as_str());
        return (
            StatusCode::TEMPORARY_REDIRECT,
            home.map_or([(LOCATION, HeaderValue::from_static("/"))], |home| [(LOCATION, home)]),
        )
            .into_response();
    }
    let kind = HeaderValue::from_str(kind).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    ([(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, policy)], content).into_response()
}

fn is_public_host(surface: &Surface, headers: &HeaderMap) -> bool {
    let public = surface.origins.public_url();
    let host = public.host_str().unwrap_or_default();
    let expected = public.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    headers.get(HOST).is_some_and(|sent| sent.as_bytes() == expected.as_bytes())
}

/// Scripts and styles from here only, and calls to nobody but this server, the providers' APIs and the sandbox.
fn policy(surface: &Surface, context: &PageContext) -> HeaderValue {
    let origin = |url: &Url| url.origin().ascii_serialization();
    let offers = surface.engine.offers();
    let called = |provider: &Provider| [Some(origin(&provider.api.base_url)), demo_url(provider).map(origin)];
    let apis = offers.iter().flat_map(|offer| called(&offer.provider)).flatten();
    let reached: BTreeSet<String> = apis.chain(context.sandbox_url.iter().map(origin)).collect();
    let reached: Vec<String> = reached.into_iter().collect();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' {}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        reached.join(" ")
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

fn info(surface: &Surface, context: &PageContext) -> Info {
    let providers = surface.engine.offers().iter().map(|offer| InfoProvider {
        id: offer.provider.id.to_string(),
        name: offer.provider.name.clone(),
        sandbox: context.sandbox_url.is_some(),
        demo_url: demo_url(&offer.provider).map(Url::to_string),
    });
    Info {
        product: "MultiMusic",
        version: env!("CARGO_PKG_VERSION"),
        engine: surface.engine_name,
        speed: context.speed,
        now: surface.now(),
        public_url: surface.origins.public_url().origin().ascii_serialization(),
        sandbox_url: context.sandbox_url.as_ref().map(|url| url.origin().ascii_serialization()),
        providers: providers.collect(),
    }
}

/// A call that shows that the token works: the provider's own "who am I", where there is one.
const fn demo_url(provider: &Provider) -> Option<&Url> {
    match &provider.account {
        AccountSource::Userinfo { url, .. } => Some(url),
        AccountSource::TokenAnswer { .. } => None,
    }
}
