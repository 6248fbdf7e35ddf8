//! All handlers' routes as one.

use std::{num::NonZeroU32, sync::Arc};

use axum::{Router, middleware::from_fn_with_state};
use mm_web::{
    Surface, app,
    rate_limit::{RateLimiter, Rule, Throttle, throttle},
};

/// The three HTTP handlers' routes.
pub fn routes() -> Router<Surface> {
    Router::new().merge(mm_login::routes()).merge(mm_callback::routes()).merge(mm_token::routes())
}

/// Everything that the product answers, with the limits per client address where `limits` are given.
pub fn product(surface: &Surface, limits: Option<Throttle>, page: Option<Router<Surface>>) -> Router {
    let routes = match limits {
        Some(limits) => routes().layer(from_fn_with_state(Arc::new(limits), throttle)),
        None => routes(),
    };
    app(routes.merge(page.unwrap_or_default()), surface.clone())
}

/// Limits for a developer's page, which asks once a second: the product's own, the general one thirty times as wide. The
/// limit of logins stays what it is.
pub fn developer_rules() -> Vec<Rule> {
    const WIDER: NonZeroU32 = NonZeroU32::new(30).expect("not zero");
    let [login, general] = Rule::standard();
    vec![login, Rule { limit: general.limit.saturating_mul(WIDER), ..general }]
}

/// The product's limits.
pub fn limiter(developer: bool, seed: [u8; 16]) -> RateLimiter {
    if developer { RateLimiter::new(developer_rules(), seed) } else { RateLimiter::new(Rule::standard(), seed) }
}
