//! Which client secret is tried, and in which order.

use tokio::time::{Instant, timeout_at};

use super::Deadlines;
use crate::{
    catalogue::Provider,
    secret::{ClientSecret, ClientSecrets, SecretsError},
    verdict::{Misconfiguration, UnavailableCause, Verdict},
};

/// A further secret is tried only while this part of the whole time is left: an attempt that its own deadline cuts off
/// may have spent the token, and would be worse than the clear refusal at hand.
const REMAINING_PART_MIN: u32 = 4;

/// The secrets of one call in their order: the one known here; then, read anew, the current one if it is another; then
/// the previous one. No secret twice, and all within one deadline, on which leases rely.
pub(super) struct Credentials<'a> {
    secrets: &'a dyn ClientSecrets,
    provider: &'a Provider,
    deadline: Instant,
    deadlines: Deadlines,
    tried: Vec<ClientSecret>,
    /// What is left to try, last first; none before the secrets were read anew.
    left: Option<Vec<ClientSecret>>,
}

impl<'a> Credentials<'a> {
    pub(super) fn new(
        secrets: &'a dyn ClientSecrets,
        provider: &'a Provider,
        deadline: Instant,
        deadlines: Deadlines,
    ) -> Self {
        Self { secrets, provider, deadline, deadlines, tried: Vec::new(), left: None }
    }

    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The secret to begin with, or the verdict of a call that sends nothing.
    pub(super) async fn first(&mut self) -> Result<ClientSecret, Verdict> {
        match timeout_at(self.deadline, self.secrets.current(&self.provider.id)).await {
            Ok(Ok(pair)) => {
                self.tried.push(pair.current.clone());
                Ok(pair.current)
            }
            Ok(Err(SecretsError::Unknown { .. })) => Err(Verdict::Misconfigured { error: Misconfiguration::NoSecret }),
            Ok(Err(SecretsError::Unavailable { .. })) | Err(_) => Err(Verdict::not_sent(UnavailableCause::Secrets)),
        }
    }

    /// The next secret after the last one was refused as `invalid_client`; none when all were, or time runs out.
    pub(super) async fn next(&mut self) -> Option<ClientSecret> {
        let mut left = if let Some(left) = self.left.take() {
            left
        } else {
            let reload = self.secrets.reload(&self.provider.id);
            let pair = timeout_at(self.deadline, reload).await.ok()?.ok()?;
            pair.previous.into_iter().chain([pair.current]).collect()
        };
        let next = std::iter::from_fn(|| left.pop()).find(|secret| !self.tried.contains(secret));
        self.left = Some(left);
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        let secret = next.filter(|_| remaining >= self.deadlines.total / REMAINING_PART_MIN)?;
        self.tried.push(secret.clone());
        Some(secret)
    }
}
