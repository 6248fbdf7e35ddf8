//! The HTTP boundary: what a request must be before a use case sees it, and what an answer must carry before it leaves.
//!
//! The handlers' routers are put together from these parts; only [`surface`] and [`answers`] know the engine. Three
//! things are absent on purpose: no module reads a clock (a [`mm_model::Timestamp`] is passed in), none throws dice
//! (random bytes are passed in), and no error or problem document quotes what the client sent.
//!
//! Start at [`problem::Problem`], the one shape of every error answer. A call by the frontend's script passes
//! [`client_call`], a navigation passes [`navigation`], and both may carry the cookies of [`cookies`]. Every answer
//! passes [`cors`] and [`security_headers`] on its way out.

pub mod answers;
pub mod body;
pub mod browser_binding;
pub mod client_address;
pub mod client_call;
pub mod cookies;
pub mod cors;
pub mod navigation;
pub mod origins;
pub mod problem;
pub mod query;
pub mod rate_limit;
pub mod return_to;
pub mod same_site;
pub mod security_headers;
pub mod session;
pub mod surface;

pub use browser_binding::BrowserBinding;
pub use client_call::ClientCall;
pub use origins::Origins;
pub use problem::{Problem, ProblemKind};
pub use query::Query;
pub use return_to::{Outcome, ResultCode, ReturnTo};
pub use session::{Session, SessionKeys, Sessions, SignedSession};
pub use surface::{ProviderText, Surface, app};
