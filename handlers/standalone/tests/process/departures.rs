//! Clients that go away in the middle of what they asked for.

use std::time::Duration;

use mm_sandbox::{Fault, FaultKind, Only};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{person::Person, product::Plan, provider::Provider};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_login_whose_browser_went_away_while_its_code_was_redeemed_is_stored() {
    let port = Provider::port();
    let plan = Plan::with_sandbox_at(&format!("http://localhost:{port}"));
    let provider = Provider::start(port, &plan.url(), 1, None).await;
    let _product = plan.start().await;
    let person = Person::at(&plan.url());
    let url = person.start_login("soundcloud").await.unwrap().unwrap();
    let callback = provider.sandbox.consent(&url, "alice").unwrap();
    let slow = Fault::token("soundcloud", FaultKind::Slow { ms: 3_000 }).times(1).only(Only::Code);
    provider.sandbox.plan(slow).unwrap();

    let mut browser = TcpStream::connect(("127.0.0.1", plan.port)).await.unwrap();
    let target = format!("{}?{}", callback.path(), callback.query().unwrap());
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\
         Cookie: {}\r\n\r\n",
        plan.port,
        person.cookies()
    );
    browser.write_all(head.as_bytes()).await.unwrap();
    let asked = async {
        while provider.sandbox.log().last_seq() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, asked).await.expect("the code is being redeemed");
    drop(browser);

    // The same account in another browser meanwhile; when the lost login is stored, it is that person's new pair.
    let other = Person::at(&plan.url());
    other.connect(&provider.sandbox, "soundcloud", "alice").await;
    let before = other.token("soundcloud").await["token_id"].clone();
    let stored = async {
        while other.token("soundcloud").await["token_id"] == before {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, stored).await.expect("the login that nobody waited for was stored");
    assert_eq!(provider.refreshes("soundcloud").len(), 0, "and by nothing else");
}
