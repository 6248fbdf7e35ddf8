//! Limits per client address, in memory: what the web application firewall does on AWS, for the standalone server.
//!
//! Each rule remembers the times of the requests that it let through within its window: exact, no bursts at a border, and
//! the wait it names is the true one. What it refuses is not counted, so that hammering does not lengthen the wait.
//!
//! Memory is bounded. An attacker with many addresses can fill the table, so what happens then matters: forgetting
//! somebody would let the attacker wash its own count away, and refusing newcomers would lock everybody out. So those who
//! have an entry keep it, and newcomers count in *shared* lanes until an entry falls free: an address is sent to its lane
//! by a keyed hash that nobody outside can compute, and a lane allows [`SHARED_FACTOR`] times an address's limit. At worst
//! the whole server admits (entries + lanes × factor) × limit in a window, and a newcomer waits behind a crowded lane.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{Hash as _, Hasher as _},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::Method;
use mm_model::Timestamp;
use siphasher::sip::SipHasher13;

use crate::{
    client_address::{TrustedProxies, client_address},
    problem::{Problem, ProblemKind},
};

/// Most entries (a rule and an address) with a count of their own; 8 bytes per remembered request, so 6.5 MB at worst.
pub const ENTRIES_MAX: usize = 8_192;

/// Lanes that newcomers share when the table is full.
pub const SHARED_LANES: u64 = 256;

/// How many times an address's limit a shared lane allows: a lane is for several people.
pub const SHARED_FACTOR: u32 = 10;

/// Bits of an IPv6 address that are one client: a subscriber has a /64 and every address in it.
pub const IPV6_PREFIX_BITS: u32 = 64;

/// Which requests are limited, and how.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, for logs.
    pub name: &'static str,
    /// The method; any when `None`. HEAD reaches a GET handler, so a rule on GET alone can be stepped around.
    pub method: Option<Method>,
    /// The paths: segments, where `*` is any one segment and a last `**` is any rest.
    pub path: &'static str,
    /// Paths that are exempt.
    pub except: Option<&'static str>,
    /// How many requests of one address within the window.
    pub limit: NonZeroU32,
    /// The window, in whole seconds.
    pub window: Duration,
}

/// Requests to `/auth` of one address in five minutes.
const AUTH_LIMIT: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// Logins of one address in a minute.
const LOGIN_LIMIT: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

impl Rule {
    /// The product's rules: 10 logins a minute, 100 requests to `/auth` in five minutes, callbacks exempt (each needs a
    /// login of its own).
    pub const fn standard() -> [Self; 2] {
        [
            Self {
                name: "login",
                method: None,
                path: "/auth/*/login",
                except: None,
                limit: LOGIN_LIMIT,
                window: Duration::from_mins(1),
            },
            Self {
                name: "auth",
                method: None,
                path: "/auth/**",
                except: Some("/auth/*/callback"),
                limit: AUTH_LIMIT,
                window: Duration::from_mins(5),
            },
        ]
    }

    fn covers(&self, method: &Method, path: &str) -> bool {
        self.method.as_ref().is_none_or(|own| own == method)
            && path_matches(self.path, path)
            && !self.except.is_some_and(|except| path_matches(except, path))
    }
}

fn path_matches(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        if expected == "**" {
            return true;
        }
        match segments.next() {
            Some(segment) if expected == "*" && !segment.is_empty() => {}
            Some(segment) if expected == segment => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

/// A request that must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit {rule:?} was reached; wait {} s", .retry_after.as_secs())]
pub struct Limited {
    /// The name of the rule; of several, the one with the longest wait.
    pub rule: &'static str,
    /// When the next request will be let through.
    pub retry_after: Duration,
}

impl From<Limited> for Problem {
    fn from(limited: Limited) -> Self {
        Self::new(ProblemKind::TooManyRequests).with_retry_after(limited.retry_after)
    }
}

/// Who is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Address(IpAddr),
    Lane(u64),
}

type Log = VecDeque<Timestamp>;

#[derive(Debug, Default)]
struct Table {
    logs: BTreeMap<(usize, Holder), Log>,
    /// How many of the logs belong to single addresses.
    addresses: usize,
    swept_at: Option<Timestamp>,
}

/// Counts requests by rule and address.
#[derive(Debug)]
pub struct RateLimiter {
    rules: Vec<Rule>,
    seed: [u8; 16],
    entries_max: usize,
    table: Mutex<Table>,
}

impl RateLimiter {
    /// A limiter with these rules; `seed` is random and secret, and chooses the lanes.
    pub fn new(rules: impl Into<Vec<Rule>>, seed: [u8; 16]) -> Self {
        Self { rules: rules.into(), seed, entries_max: ENTRIES_MAX, table: Mutex::default() }
    }

    /// Lets a request through and counts it, or says how long it must wait and counts nothing.
    pub fn check(&self, method: &Method, path: &str, address: IpAddr, now: Timestamp) -> Result<(), Limited> {
        let address = one_client(address);
        let rules = self.rules.iter().enumerate();
        let covering: Vec<(usize, &Rule)> = rules.filter(|(_, rule)| rule.covers(method, path)).collect();
        // A thread that panicked cannot have left a half-written log: every change is one push or pop.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counted = Vec::with_capacity(covering.len());
        let mut refused: Option<Limited> = None;
        for (index, rule) in covering {
            let holder = self.holder(&mut table, index, address, now);
            let wait = table.logs.get_mut(&(index, holder)).and_then(|log| wait(log, rule, limit(rule, holder), now));
            match wait {
                None => counted.push((index, holder)),
                Some(retry_after) if refused.is_none_or(|other| other.retry_after < retry_after) => {
                    refused = Some(Limited { rule: rule.name, retry_after });
                }
                Some(_) => {}
            }
        }
        if let Some(limited) = refused {
            return Err(limited);
        }
        for key in counted {
            table.count(key, now);
        }
        Ok(())
    }

    /// Whose log counts: the address's own if it has one or may have one, else its lane's.
    fn holder(&self, table: &mut Table, rule: usize, address: IpAddr, now: Timestamp) -> Holder {
        let own = Holder::Address(address);
        if table.logs.contains_key(&(rule, own)) || table.addresses < self.entries_max {
            return own;
        }
        table.sweep(&self.rules, now);
        if table.addresses < self.entries_max {
            return own;
        }
        let mut hasher = SipHasher13::new_with_key(&self.seed);
        address.hash(&mut hasher);
        Holder::Lane(hasher.finish() % SHARED_LANES)
    }
}

impl Table {
    fn count(&mut self, key: (usize, Holder), now: Timestamp) {
        let new = !self.logs.contains_key(&key);
        self.logs.entry(key).or_default().push_back(now);
        if new && matches!(key.1, Holder::Address(_)) {
            self.addresses += 1;
        }
    }

    /// Forgets whoever has no request left in a window. At most once per second: it walks the whole table.
    fn sweep(&mut self, rules: &[Rule], now: Timestamp) {
        if self.swept_at == Some(now) {
            return;
        }
        self.swept_at = Some(now);
        self.logs.retain(|(rule, _), log| {
            let window = rules.get(*rule).map_or(Duration::ZERO, |rule| rule.window);
            forget(log, window, now);
            !log.is_empty()
        });
        let single = |(_, holder): &&(usize, Holder)| matches!(holder, Holder::Address(_));
        self.addresses = self.logs.keys().filter(single).count();
    }
}

fn limit(rule: &Rule, holder: Holder) -> u32 {
    match holder {
        Holder::Address(_) => rule.limit.get(),
        Holder::Lane(_) => rule.limit.get().saturating_mul(SHARED_FACTOR),
    }
}

/// How long a request must wait, `None` when it may pass.
fn wait(log: &mut Log, rule: &Rule, limit: u32, now: Timestamp) -> Option<Duration> {
    forget(log, rule.window, now);
    let has_room = u32::try_from(log.len()).is_ok_and(|count| count < limit);
    if has_room {
        return None;
    }
    let oldest = log.front()?;
    Some(oldest.plus(rule.window).since(now))
}

/// Drops what has left the window. A request more than a window ahead of now was counted before the clock was set back:
/// it is dropped too, or a wrong clock would lock people out for as long as it was wrong.
fn forget(log: &mut Log, window: Duration, now: Timestamp) {
    log.retain(|at| now.since(*at) < window && at.since(now) <= window);
}

fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - IPV6_PREFIX_BITS);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

/// The address at the other end of the connection. The server that accepts connections puts it into every request's
/// extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// State of [`throttle`].
pub struct Throttle {
    /// Counts.
    pub limiter: RateLimiter,
    /// Whose forwarded addresses are believed.
    pub proxies: TrustedProxies,
    /// The injected clock.
    pub now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Middleware for `axum::middleware::from_fn_with_state`, within [`crate::cors::cors`]: preflights are not counted, and a
/// `429` can be read by the frontend.
pub async fn throttle(State(state): State<Arc<Throttle>>, request: Request, next: Next) -> Response {
    let Some(Peer(peer)) = request.extensions().get().copied() else {
        // A fault in the assembly. Going on would switch every limit off without a sign.
        tracing::error!("a request came without its peer's address");
        return Problem::new(ProblemKind::Internal).into_response();
    };
    let address = client_address(peer, request.headers(), &state.proxies);
    let path = request.uri().path();
    match state.limiter.check(request.method(), path, address, (state.now)()) {
        Ok(()) => next.run(request).await,
        Err(limited) => {
            tracing::info!(rule = limited.rule, "a client was asked to wait");
            Problem::from(limited).into_response()
        }
    }
}

#[cfg(test)]
mod tests;
