use super::*;

fn read(pairs: &Environment) -> Result<Config, ConfigError> {
    Config::from_env(pairs, &Catalogue::built_in().unwrap(), Overrides::default())
}

fn refused<const N: usize>(pairs: [(&str, &str); N]) -> String {
    let mut env = Environment::from([("DEV_PAGE", "1")]);
    for (name, value) in pairs {
        env.set(name, value);
    }
    let text = read(&env).unwrap_err().to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    text
}

#[test]
fn a_fresh_machine_needs_nothing_to_try_the_product() {
    let config = read(&[("DEV_PAGE", "1")].into()).unwrap();
    assert_eq!(config.public_url.as_str(), "http://127.0.0.1:8080/");
    assert_eq!((config.port, config.providers.len()), (8080, 0));
    assert!(config.session_secrets.is_none() && config.encryption_key.is_none());
}

#[test]
fn outside_the_trial_the_public_address_is_asked_for() {
    let text = read(&[("PORT", "9000")].into()).unwrap_err().to_string();
    assert!(text.starts_with("PUBLIC_URL must be") && text.contains("./scripts/dev"), "{text}");
}

#[test]
fn every_wrong_value_is_named_with_its_shape_and_remedy() {
    for (name, value) in [
        ("PORT", "eighty"),
        ("DEV_PAGE", "yes please"),
        ("PUBLIC_URL", "example.com"),
        ("FRONTEND_URL", "https://a.example, nonsense"),
        ("SPOTIFY_REDIRECT_URI", "http://127.0.0.1:8080/auth/spotify/callback"),
        ("JWT_SECRET_PREVIOUS", "a secret of more than thirty-two characters"),
        ("AWAKE_HOURS", "0"),
        ("JWT_SECRET", "short"),
    ] {
        let text = refused([(name, value)]);
        let blamed = match name {
            "SPOTIFY_REDIRECT_URI" => "SPOTIFY_CLIENT_ID",
            "JWT_SECRET_PREVIOUS" => "JWT_SECRET",
            name => name,
        };
        assert!(text.starts_with(&format!("{blamed} must be ")) && text.contains("; "), "{text}");
    }
}

#[test]
fn half_of_a_providers_credentials_is_a_mistake() {
    let text = refused([("SPOTIFY_CLIENT_ID", "abc")]);
    assert!(text.starts_with("SPOTIFY_CLIENT_SECRET must be"), "{text}");
    let text = refused([("SOUNDCLOUD_CLIENT_SECRET", "canary-secret")]);
    assert!(text.starts_with("SOUNDCLOUD_CLIENT_ID must be") && !text.contains("canary"), "{text}");
}

#[test]
fn a_redirect_uri_is_the_callback_unless_it_is_given() {
    let env = [
        ("PUBLIC_URL", "https://auth.example.com"),
        ("TRUSTED_PROXIES", "127.0.0.1/32"),
        ("SPOTIFY_CLIENT_ID", "abc"),
        ("SPOTIFY_CLIENT_SECRET", "canary-secret"),
    ];
    let config = read(&env.into()).unwrap();
    assert_eq!(config.providers[0].redirect_uri.as_str(), "https://auth.example.com/auth/spotify/callback");
    assert!(!format!("{config:?}").contains("canary"), "no secret is shown");
}

#[test]
fn strangers_come_through_a_known_proxy_and_see_no_developers_page() {
    let text = read(&[("PUBLIC_URL", "https://auth.example.com")].into()).unwrap_err().to_string();
    assert!(text.starts_with("TRUSTED_PROXIES must be"), "{text}");
    let text = refused([("PUBLIC_URL", "https://auth.example.com"), ("TRUSTED_PROXIES", "127.0.0.1/32")]);
    assert!(text.starts_with("DEV_PAGE must be"), "{text}");
}

#[test]
fn a_redirect_uri_is_the_callback_of_its_provider() {
    for elsewhere in ["/nowhere", "/auth/soundcloud/callback", "/auth/spotify/callback?x=1", "/auth/spotify/callback#x"]
    {
        let uri = format!("http://127.0.0.1:8080{elsewhere}");
        let text =
            refused([("SPOTIFY_CLIENT_ID", "a"), ("SPOTIFY_CLIENT_SECRET", "b"), ("SPOTIFY_REDIRECT_URI", &uri)]);
        assert!(text.starts_with("SPOTIFY_REDIRECT_URI must be"), "{text}");
    }
}
