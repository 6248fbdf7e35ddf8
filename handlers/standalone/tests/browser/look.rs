//! How the page looks: on a phone and on a desk, in light and in dark. Pictures for people are left in
//! `target/browser-artifacts`.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::json;

use crate::stage::{Browser, Plan, Product, until};

/// Widths in CSS pixels: the narrowest phone in use, and a desk.
const WIDTHS: [u32; 2] = [360, 1280];

/// Longer than most, and without a place to break it.
const LONG_NAME: &str = "somebody.with.a.rather.long.name@a-provider.example";

/// The codes that a callback may end with (closed list of the HTTP contract).
const CODES: [&str; 8] = [
    "access_denied",
    "login_expired",
    "login_other_browser",
    "account_in_use",
    "account_mismatch",
    "provider_unavailable",
    "provider_refused",
    "not_configured",
];

/// Everything that reaches over the right edge, for the message.
const TOO_WIDE: &str = "
  const edge = document.documentElement.clientWidth;
  const wide = document.documentElement.scrollWidth > edge;
  const scrolls = (element) => {
    for (let up = element.parentElement; up; up = up.parentElement) {
      if (getComputedStyle(up).overflowX !== 'visible') return true;
    }
    return false;
  };
  const over = [...document.body.querySelectorAll('*')]
    .filter((element) => element.getBoundingClientRect().right > edge + 0.5 && element.checkVisibility() && !scrolls(element))
    .map((element) => `${element.tagName} ${element.className} ${element.dataset?.role ?? ''}`);
  return wide ? ['the page scrolls sideways', ...over] : over;";

/// Nothing moves from light to dark any more, and no chart is stretched from another width.
const SETTLED: &str = "
  const still = document.getAnimations().every((animation) => animation.playState === 'finished');
  const charts = [...document.querySelectorAll('[data-role=timeline] svg[viewBox]')].filter((svg) => svg.checkVisibility());
  const drawn = charts.every((svg) => svg.viewBox.baseVal.width === Math.round(svg.parentElement.clientWidth));
  return innerWidth === arguments[0] && still && drawn;";

/// What axe-core finds wrong, as `rule: element`; `arguments[0]` is its source.
const AXE: &str = "
  const [source, done] = arguments;
  if (!window.axe) (0, eval)(source);
  window.axe.run(document, { resultTypes: ['violations'] }).then(
    ({ violations }) => done(violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target}`))),
    (cause) => done([String(cause)]),
  );";

/// Where `./scripts/test browser` puts axe-core, below the target directory.
const AXE_FILE: &str = "axe/node_modules/axe-core/axe.min.js";

fn target() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

fn artifact(name: &str) -> PathBuf {
    let dir = target().join("browser-artifacts");
    std::fs::create_dir_all(&dir).unwrap();
    dir.join(name)
}

impl Browser {
    /// Changes the window, and waits until the page has settled into it.
    async fn dress(&self, width: u32, scheme: &str) {
        // Not as a phone: that widens its viewport to what sticks out, and would hide it.
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
        let look = async || self.run(SETTLED, &[json!(width)]).await;
        until(&format!("the page settles at {width} px"), look, |settled| settled == true).await;
    }

    /// A picture of the whole page, however long it is.
    async fn photograph(&self, name: &str) {
        use base64::Engine as _;
        let shot =
            self.devtools("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true })).await;
        let image = base64::prelude::BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(artifact(name), image).unwrap();
    }

    /// Takes its picture at every width in light and dark, and asserts that nothing sticks out.
    async fn look_at(&self, name: &str) {
        for width in WIDTHS {
            for scheme in ["light", "dark"] {
                self.dress(width, scheme).await;
                self.assert_narrow_enough(&format!("{name} {width} {scheme}")).await;
                self.photograph(&format!("{name}-{width}-{scheme}.png")).await;
            }
        }
    }

    async fn assert_narrow_enough(&self, what: &str) {
        let wide = self.run(TOO_WIDE, &[]).await;
        assert_eq!(wide, json!([]), "{what}");
    }
}

#[tokio::test]
async fn the_page_fits_a_phone_and_a_desk_in_light_and_dark() {
    let product = Product::start(Plan { token_lifetime: Some(600), ..Plan::default() }).await;
    let browser = Browser::open().await;
    browser.goto(&product.url).await;
    browser.not_connected("soundcloud").await;
    browser.look_at("empty").await;

    browser.dress(1280, "light").await;
    browser.connect(&product, "soundcloud", LONG_NAME).await;
    browser.connected("soundcloud").await;
    browser.press("soundcloud", "call-api").await;
    browser.card_until("soundcloud", "an answer", |card| card.answer.is_some()).await;
    browser.card_until("soundcloud", "a sawtooth", |card| card.refreshed_marks >= 1).await;
    browser.look_at("connected").await;

    // Everything that can be opened is open: that is when a page grows too wide.
    browser.run("document.querySelectorAll('details').forEach((details) => (details.open = true))", &[]).await;
    browser.look_at("open").await;
    browser.click("#session-delete").await;
    browser.look_at("dialog").await;
    product.assert_clean().await;
}

#[tokio::test]
async fn every_outcome_of_a_login_has_its_words() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open().await;
    browser.goto(&product.url).await;
    browser.dress(360, "light").await;
    let mut told = BTreeSet::new();
    for code in CODES {
        browser.goto(&format!("{}/?mm_result=error&mm_provider=youtube&mm_code={code}", product.url)).await;
        assert_eq!(browser.outcome().await, code);
        assert_eq!(browser.url().await, format!("{}/", product.url), "{code}");
        browser.assert_narrow_enough(code).await;
        browser.photograph(&format!("outcome-{code}.png")).await;
        assert!(told.insert(browser.text("#banner .banner-title").await), "{code} is told as another one is");
    }
    // What nobody has written words for, or what somebody else wrote into a link.
    browser.goto(&format!("{}/?mm_result=error&mm_provider=%3Cb%3E&mm_code=%3Cimg+src=x%3E", product.url)).await;
    let text = browser.text("#banner").await;
    assert!(text.starts_with("The login at the provider did not work.") && !text.contains("img"), "{text}");
    assert_eq!(browser.run("return document.querySelector('#banner :is(img, b)')", &[]).await, json!(null));
}

#[tokio::test]
async fn the_page_breaks_no_rule_of_its_own_policy() {
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open().await;
    browser.goto(&product.url).await;
    browser
        .run(
            "window.broken = [];
             addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sourceFile, lineNumber }) =>
               window.broken.push(`${violatedDirective} ${blockedURI} ${sourceFile}:${lineNumber}`));
             addEventListener('error', ({ message }) => window.broken.push(message));
             addEventListener('unhandledrejection', ({ reason }) => window.broken.push(String(reason)));",
            &[],
        )
        .await;
    // What the policy is for is held: inline script does not run.
    browser
        .run("document.body.append(Object.assign(document.createElement('script'), { text: 'window.ran = 1' }))", &[])
        .await;
    let look = async || browser.run("return [window.broken, window.ran ?? null]", &[]).await;
    let seen = until("the inline script is noticed", look, |seen| seen[0] != json!([])).await;
    assert!(seen[0][0].as_str().unwrap().starts_with("script-src-elem inline "), "{seen}");
    assert_eq!((seen[0].as_array().unwrap().len(), &seen[1]), (1, &json!(null)));
    product.assert_clean().await;
}

#[tokio::test]
#[ignore = "needs axe-core, which `./scripts/test browser` installs before it runs this"]
async fn axe_finds_nothing_wrong_with_the_page() {
    let axe = std::fs::read_to_string(target().join(AXE_FILE)).expect("axe-core is installed");
    let product = Product::start(Plan::default()).await;
    let browser = Browser::open().await;
    // The page's policy forbids evaluating text, as it should; axe comes in over it.
    browser.devtools("Page.setBypassCSP", json!({ "enabled": true })).await;
    browser.goto(&product.url).await;
    browser.not_connected("soundcloud").await;
    let audit = async |what: &str| {
        for width in WIDTHS {
            for scheme in ["light", "dark"] {
                browser.dress(width, scheme).await;
                let found = browser.run_async(AXE, &[json!(axe)]).await;
                assert_eq!(found, json!([]), "{what} {width} {scheme}");
            }
        }
    };
    audit("empty").await;
    // That it looks at all.
    browser.run("document.body.append(document.createElement('img'))", &[]).await;
    let found = browser.run_async(AXE, &[json!(axe)]).await;
    assert!(found.to_string().contains("image-alt"), "{found}");

    browser.goto(&format!("{}/?mm_result=error&mm_provider=youtube&mm_code=account_in_use", product.url)).await;
    browser.outcome().await;
    browser.connect(&product, "soundcloud", "alice").await;
    browser.connected("soundcloud").await;
    browser.press("soundcloud", "call-api").await;
    browser.card_until("soundcloud", "an answer", |card| card.answer.is_some()).await;
    browser.run("document.querySelectorAll('details').forEach((details) => (details.open = true))", &[]).await;
    audit("connected").await;
    browser.click("#session-delete").await;
    audit("dialog").await;
}
