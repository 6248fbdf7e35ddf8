//! The page and the sandbox's forms, as a person uses them. Everything is found by the page's `data-` hooks.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Browser, Product, until};

/// Reads a card, hidden parts as `null`.
const READ_CARD: &str = r#"
  const card = document.querySelector(`[data-provider="${arguments[0]}"]`);
  if (!card) return null;
  const shown = (role) => {
    const element = card.querySelector(`[data-role="${role}"]`);
    return element && element.checkVisibility() ? element.textContent : null;
  };
  return {
    state: card.dataset.state,
    words: shown('state'),
    countdown: shown('countdown'),
    refreshes: Number(shown('refresh-count') ?? 0),
    token_id: shown('token-id'),
    account: shown('account'),
    last_error: shown('last-error'),
    error: shown('error'),
    answer: shown('api-answer'),
    connect: shown('connect'),
    disconnect: shown('disconnect'),
    chart: card.querySelector('[data-role="timeline"] svg')?.getAttribute('aria-label') ?? null,
    refreshed_marks: card.querySelectorAll('[data-role="timeline"] .refreshed').length,
    fault_marks: card.querySelectorAll('[data-role="timeline"] .fault').length,
  };
"#;

/// A card as it is shown; what is hidden is `None`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Card {
    /// `data-state`.
    pub(crate) state: String,
    /// The state in words.
    pub(crate) words: Option<String>,
    pub(crate) countdown: Option<String>,
    pub(crate) refreshes: u64,
    pub(crate) token_id: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) last_error: Option<String>,
    /// How the last action failed.
    pub(crate) error: Option<String>,
    /// What the last action brought.
    pub(crate) answer: Option<String>,
    /// The login link's words.
    pub(crate) connect: Option<String>,
    pub(crate) disconnect: Option<String>,
    /// The timeline in words.
    pub(crate) chart: Option<String>,
    /// How many refreshes the timeline marks.
    pub(crate) refreshed_marks: u64,
    /// How many failures the timeline marks.
    pub(crate) fault_marks: u64,
}

impl Card {
    /// Whether readers are served.
    pub(crate) fn lives(&self) -> bool {
        self.state == "fresh" || self.state == "stale"
    }
}

/// The forms that a login went through, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The account's name.
    Login,
    /// Allow or deny.
    Consent,
}

impl Browser {
    /// What the card of a provider shows right now.
    pub(crate) async fn card(&self, provider: &str) -> Option<Card> {
        let read = self.try_run(READ_CARD, &[json!(provider)]).await?;
        serde_json::from_value(read).unwrap()
    }

    /// Waits for the card of a provider to show something.
    pub(crate) async fn card_until(&self, provider: &str, what: &str, found: impl Fn(&Card) -> bool) -> Card {
        let what = format!("{provider}: {what}");
        until(&what, async || self.card(provider).await, |card| card.as_ref().is_some_and(&found)).await.unwrap()
    }

    /// Waits until readers are served.
    pub(crate) async fn connected(&self, provider: &str) -> Card {
        self.card_until(provider, "connected", |card| {
            card.lives() && card.countdown.as_ref().is_some_and(|text| !text.is_empty())
        })
        .await
    }

    /// Waits until the backend has said that there is no connection.
    pub(crate) async fn not_connected(&self, provider: &str) -> Card {
        self.card_until(provider, "not connected", |card| card.state == "not_connected").await
    }

    /// Presses a button of a card, or follows its link.
    pub(crate) async fn press(&self, provider: &str, role: &str) {
        self.click(&format!(r#"[data-provider="{provider}"] [data-role="{role}"]"#)).await;
    }

    /// Waits for the banner that tells a login's outcome, and answers its code.
    pub(crate) async fn outcome(&self) -> String {
        self.attribute("#banner .banner", "data-code").await
    }

    /// Goes through the sandbox's forms under this account name, until the browser is back at a page of `home`.
    pub(crate) async fn decide(&self, home: &str, account: &str, decision: &str) -> Vec<Form> {
        let mut filled_in = Vec::new();
        let mut at = String::new();
        loop {
            let before = at.clone();
            // While a page loads it has no address: that is no next page.
            let arrived = |url: &String| !url.is_empty() && *url != before;
            at = until("the next page of the login", async || self.loaded_url().await, arrived).await;
            if at.starts_with(home) {
                return filled_in;
            }
            if at.contains("/_sandbox/login") {
                filled_in.push(Form::Login);
                self.write("#username", account).await;
                self.click("button[type=submit]").await;
            } else if at.contains("/_sandbox/consent") {
                filled_in.push(Form::Consent);
                self.click(&format!("button[name=decision][value={decision}]")).await;
            } else {
                let text = self.run("return document.body.innerText", &[]).await;
                panic!("the login led to {at}: {text}");
            }
        }
    }

    /// Connects a provider from the page that is open, as far as the page that tells the outcome.
    pub(crate) async fn connect(&self, product: &Product, provider: &str, account: &str) -> Vec<Form> {
        self.press(provider, "connect").await;
        self.decide(&product.url, account, "allow").await
    }

    /// Opens the page and connects a provider by it.
    pub(crate) async fn open_connected(product: &Product, provider: &str, account: &str) -> Self {
        let browser = Self::open().await;
        browser.goto(&product.url).await;
        browser.connect(product, provider, account).await;
        assert_eq!(browser.outcome().await, "connected");
        browser.connected(provider).await;
        browser
    }

    /// Calls the backend as the page does, and answers `{status, body}`; `{error}` when the browser kept the answer back.
    pub(crate) async fn call(&self, method: &str, url: &str) -> Value {
        self.fetch(
            url,
            json!({ "method": method, "credentials": "include", "headers": { "X-MultiMusic-Client": "1" } }),
        )
        .await
    }

    /// `fetch` in the page that is open.
    pub(crate) async fn fetch(&self, url: &str, init: Value) -> Value {
        const FETCH: &str = "
          const [url, init, done] = arguments;
          fetch(url, init).then(
            async (answer) => {
              const text = await answer.text();
              let body = text;
              try { body = JSON.parse(text); } catch {}
              done({ type: answer.type, status: answer.status, body });
            },
            (cause) => done({ error: cause.name }),
          );";
        self.run_async(FETCH, &[json!(url), init]).await
    }

    /// The address, once its page is there; empty while there is none.
    async fn loaded_url(&self) -> String {
        let read = self.try_run("return document.readyState === 'complete' ? location.href : ''", &[]).await;
        read.and_then(|url| url.as_str().map(str::to_owned)).unwrap_or_default()
    }
}
