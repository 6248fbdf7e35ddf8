//! The developer's page, as a browser finds it.

use reqwest::StatusCode;

use crate::{person::Person, product::Plan};

#[tokio::test]
async fn the_page_and_its_files_come_with_their_types_and_policy() {
    let plan = Plan::developer();
    let _product = plan.start().await;
    let person = Person::at(&plan.url());
    let files = [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
    ];
    for (path, kind) in files {
        let answer = person.get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, kind), "{path}");
        let policy = answer.header("content-security-policy");
        for rule in ["default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'"] {
            assert!(policy.contains(rule), "{path}: {rule} is not in {policy}");
        }
        assert!(policy.contains(&format!("http://localhost:{}", plan.sandbox_port)), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
    let page = person.get("/").await.text;
    assert!(
        !page.contains("<script>") && !page.contains(" style=") && !page.contains(" onclick="),
        "inline script or style"
    );
}

#[tokio::test]
async fn the_page_knows_what_this_process_is() {
    let plan = Plan::developer().flag("--speed").flag("60");
    let _product = plan.start().await;
    let info = Person::at(&plan.url()).get("/dev/info").await.json();
    assert_eq!(info["public_url"], plan.url());
    assert_eq!(info["sandbox_url"], format!("http://localhost:{}", plan.sandbox_port));
    assert_eq!((&info["speed"], &info["engine"]), (&60.into(), &"embedded".into()));
    let ids: Vec<_> = info["providers"].as_array().unwrap().iter().map(|provider| &provider["id"]).collect();
    assert_eq!(ids, ["soundcloud", "spotify", "youtube"]);
}

#[tokio::test]
async fn a_page_opened_under_localhost_is_redirected() {
    let plan = Plan::developer();
    let _product = plan.start().await;
    let answer = Person::at(&format!("http://localhost:{}", plan.port)).get("/").await;
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.header("location"), format!("{}/", plan.url()));
}

#[tokio::test]
async fn without_the_page_there_is_nothing_at_the_root() {
    let plan = Plan::bare();
    let plan_url = plan.url();
    let plan = plan.variable("PUBLIC_URL", &plan_url);
    let _product = plan.start().await;
    let person = Person::at(&plan.url());
    for path in ["/", "/dev/info", "/app.js"] {
        assert_eq!(person.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let health = person.get("/health").await;
    assert_eq!((health.status, &health.json()["status"]), (StatusCode::OK, &"ok".into()));
}
