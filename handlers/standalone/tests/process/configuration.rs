//! Wrong values: one line that names them, exit code 2, nothing begun.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _};

use crate::product::Plan;

const SECRET: &str = "canary-secret-of-the-application";

fn real() -> Plan {
    Plan::bare()
        .variable("PUBLIC_URL", "https://auth.example.com")
        .variable("TRUSTED_PROXIES", "127.0.0.1/32")
        .variable("SPOTIFY_CLIENT_ID", "an-id")
        .variable("SPOTIFY_CLIENT_SECRET", SECRET)
}

#[tokio::test]
async fn each_wrong_value_is_named_with_its_remedy_and_nothing_is_made() {
    let developer = || Plan::bare().variable("DEV_PAGE", "1");
    let cases: Vec<(Plan, &[&str])> = vec![
        (Plan::bare(), &["PUBLIC_URL must be", "https://auth.example.com", "./scripts/dev"]),
        (developer().variable("DEV_PAGE", "perhaps"), &["DEV_PAGE must be 1 or 0"]),
        (developer().variable("AWAKE_HOURS", "never"), &["AWAKE_HOURS must be", "1 to 8760"]),
        (developer().variable("LOG", "=="), &["LOG must be", "info"]),
        (developer().variable("JWT_SECRET", "canary"), &["JWT_SECRET must be", "32", "openssl rand"]),
        (developer().variable("SPOTIFY_CLIENT_ID", "id"), &["SPOTIFY_CLIENT_SECRET must be", "remove"]),
        (developer().variable("SOUNDCLOUD_CLIENT_SECRET", SECRET), &["SOUNDCLOUD_CLIENT_ID must be"]),
        (developer().variable("PUBLIC_URL", "auth.example.com"), &["PUBLIC_URL must be"]),
        (developer().variable("FRONTEND_URL", "http://localhost:5173"), &["FRONTEND_URL", "localhost", "127.0.0.1"]),
        (developer().variable("FRONTEND_URL", "https://frontend.example"), &["FRONTEND_URL", "frontend.example"]),
        (real().variable("FRONTEND_URL", "https://example.org"), &["FRONTEND_URL", "example.org"]),
        (real().variable("SPOTIFY_REDIRECT_URI", "https://elsewhere.example/cb"), &["SPOTIFY_REDIRECT_URI"]),
        (Plan::bare().variable("PUBLIC_URL", "https://auth.example.com"), &["TRUSTED_PROXIES must be", "127.0.0.1/32"]),
        (real().variable("TRUSTED_PROXIES", "0.0.0.0/0"), &["TRUSTED_PROXIES", "everybody"]),
        (real().variable("TRUSTED_PROXIES", "the proxy"), &["TRUSTED_PROXIES"]),
        (real().variable("DEV_PAGE", "1"), &["DEV_PAGE must be", "PUBLIC_URL"]),
        (real().variable("SPOTIFY_SCOPES", "a\\b"), &["SPOTIFY_SCOPES", "scopes must be"]),
        (developer().variable("PUBLIC_URL", "http://localhost:8080"), &["DEV_PAGE", "sandbox", "127.0.0.1"]),
        (real().flag("--sandbox"), &["--sandbox", "real credentials", "<ID>_CLIENT_ID"]),
        (real().flag("--speed").flag("60"), &["--speed", "sandbox"]),
        (
            Plan::bare()
                .variable("PUBLIC_URL", "https://auth.example.com")
                .variable("TRUSTED_PROXIES", "127.0.0.1/32")
                .flag("--sandbox"),
            &["--sandbox", "PUBLIC_URL", "127.0.0.1"],
        ),
        (
            Plan::bare().variable("PUBLIC_URL", "http://localhost:8080").flag("--sandbox"),
            &["--sandbox", "PUBLIC_URL", "127.0.0.1"],
        ),
        (
            developer().flag("--sandbox-url").flag("http://sandbox.example:8081"),
            &["--sandbox-url", "http://localhost:PORT"],
        ),
    ];
    for (plan, naming) in cases {
        let ended = plan.refused().await;
        ended.assert_misconfigured(naming);
        assert!(!format!("{ended:?}").contains("canary"), "a secret is shown: {ended:?}");
        assert!(!plan.data_dir.exists(), "something was made before the values were read: {ended:?}");
    }
}

/// The command line has the last word over `PORT`, so these go by `.env`, as a person would write them.
#[tokio::test]
async fn a_port_of_the_environment_is_read_as_strictly() {
    for port in ["0", "65536", "-1", "eighty"] {
        let plan = Plan::bare().variable("DEV_PAGE", "1");
        fs::write(plan.home().join(".env"), format!("PORT={port}\n")).unwrap();
        plan.refused_without_port().await.assert_misconfigured(&["PORT must be", "1 to 65535", "8080"]);
    }
}

#[tokio::test]
async fn a_broken_env_file_is_named_and_not_quoted() {
    let plan = Plan::developer();
    fs::write(plan.home().join(".env"), "JWT_SECRET='canary unfinished\n").unwrap();
    let ended = plan.refused().await;
    ended.assert_misconfigured(&[".env must be", "NAME=value"]);
    assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
}

#[tokio::test]
async fn wrong_flags_are_refused_with_the_same_exit_code() {
    for (flag, value) in [("--speed", "0"), ("--speed", "121"), ("--token-lifetime", "9"), ("--sandbox-port", "0")] {
        let ended = Plan::bare().variable("DEV_PAGE", "1").flag(flag).flag(value).refused().await;
        assert_eq!(ended.code, Some(2), "{flag} {value}: {ended:?}");
        assert!(ended.stderr.contains(flag), "{ended:?}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let plan = Plan::developer();
    let _holder = TcpListener::bind(("127.0.0.1", plan.port)).unwrap();
    plan.refused().await.assert_misconfigured(&["PORT", &plan.port.to_string(), "choose another port"]);

    let plan = Plan::developer();
    let _holder = TcpListener::bind(("127.0.0.1", plan.sandbox_port)).unwrap();
    plan.refused().await.assert_misconfigured(&["--sandbox-port", &plan.sandbox_port.to_string(), "choose another"]);
}

#[tokio::test]
async fn a_key_that_is_no_key_is_named_and_not_quoted() {
    for key in ["canary", "Y2FuYXJ5LWNhbmFyeQ==", &"z".repeat(64)] {
        let ended = Plan::developer().variable("ENCRYPTION_KEY", key).refused().await;
        ended.assert_misconfigured(&["ENCRYPTION_KEY", "32 random bytes", "openssl rand -base64 32"]);
        assert!(!format!("{ended:?}").contains(key), "{ended:?}");
    }
}

#[tokio::test]
async fn a_key_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    let plan = Plan::developer();
    plan.start().await.kill();
    let key = plan.sandbox_dir().join("key");
    let before = fs::read(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    plan.refused().await.assert_misconfigured(&[&key.display().to_string(), "644", "chmod 600"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fs::read(&key).unwrap(), before, "it was not written to");
    plan.start().await;
}

#[tokio::test]
async fn a_key_file_that_is_gone_while_its_keys_are_not_is_not_made_anew() {
    let plan = Plan::developer();
    plan.start().await.kill();
    let key = plan.sandbox_dir().join("key");
    let away = plan.home().join("key-backup");
    fs::rename(&key, &away).unwrap();
    plan.refused().await.assert_misconfigured(&[&key.display().to_string(), "missing", "restore it"]);
    assert!(!key.exists(), "a new key would open nothing, and hide that the old one is needed");
    fs::rename(&away, &key).unwrap();
    plan.start().await;
}

#[tokio::test]
async fn another_key_than_the_one_that_wrapped_is_refused() {
    let plan = Plan::developer();
    plan.start().await.kill();
    let other = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let plan = plan.variable("ENCRYPTION_KEY", other);
    let ended = plan.refused().await;
    ended.assert_misconfigured(&["key file or ENCRYPTION_KEY changed"]);
    assert!(!format!("{ended:?}").contains(other), "{ended:?}");
}
