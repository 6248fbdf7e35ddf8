use std::{collections::BTreeSet, time::Duration};

use url::Url;

use super::*;

/// The smallest entry that is accepted.
const SMALLEST: &str = r#"
[provider.tiny]
name = "Tiny"
authorize = "https://tiny.example/authorize"
token = "https://tiny.example/token"
revokes = "none"
client_auth = "basic"
scopes = []
default_expires_in_s = 60
refresh_tokens = false
rotation = "strict"
requests_per_second = 0.5
account = { pointer = "/user_id" }
api = { base_url = "https://api.tiny.example", authorization_scheme = "Bearer" }
"#;

fn built_in(id: &str) -> Provider {
    Catalogue::built_in().unwrap().get(&id.parse().unwrap()).unwrap().clone()
}

/// The message for [`SMALLEST`] with one line replaced.
fn refusal(line: &str, instead: &str) -> String {
    assert!(SMALLEST.contains(line), "{line}");
    Catalogue::parse(&SMALLEST.replace(line, instead)).unwrap_err().to_string()
}

#[test]
fn the_product_knows_three_providers() {
    let catalogue = Catalogue::built_in().unwrap();
    let ids: Vec<&str> = catalogue.iter().map(|provider| provider.id.as_str()).collect();
    assert_eq!(ids, ["soundcloud", "spotify", "youtube"]);
}

#[test]
fn what_the_protocol_relies_on_is_in_the_entries() {
    let spotify = built_in("spotify");
    assert_eq!((spotify.rotation, spotify.client_auth), (Rotation::Strict, ClientAuth::Basic));
    assert_eq!(spotify.grant_lifetime, Some(Duration::from_hours(182 * 24)));
    assert!(!spotify.localhost_redirect && spotify.revoke.is_none());

    let soundcloud = built_in("soundcloud");
    assert_eq!((soundcloud.rotation, soundcloud.client_auth), (Rotation::Strict, ClientAuth::Body));
    assert_eq!(soundcloud.api.authorization_scheme, AuthorizationScheme::OAuth);

    let youtube = built_in("youtube");
    assert_eq!((youtube.rotation, youtube.revokes), (Rotation::None, Revokes::Grant));
    assert_eq!(youtube.idle_refresh_lifetime, Some(Duration::from_hours(182 * 24)));
    assert_eq!(youtube.auth_params.get("access_type").map(String::as_str), Some("offline"));
    assert_eq!(youtube.reconsent_params.get("prompt").map(String::as_str), Some("consent"));
}

/// A value is a claim about somebody else's server: the next reader must see how far it can be trusted.
#[test]
fn every_value_of_the_built_in_entries_says_where_it_comes_from() {
    let marks = ["verified", "unverified", "ours"];
    let marked = |line: &str| {
        let comment = line.split_once('#').map_or("", |(_, comment)| comment).trim();
        marks.iter().any(|mark| comment.starts_with(mark))
    };
    for text in BUILT_IN {
        let mut comment_above = false;
        for line in text.lines() {
            let is_value = line.starts_with(|first: char| first.is_ascii_lowercase());
            assert!(!is_value || comment_above || marked(line), "no evidence: {line}");
            comment_above = line.starts_with('#') && (comment_above || marked(line));
        }
    }
}

#[test]
fn the_smallest_entry_gets_the_documented_defaults() {
    let catalogue = Catalogue::parse(SMALLEST).unwrap();
    let tiny = catalogue.get(&"tiny".parse().unwrap()).unwrap();
    assert_eq!(tiny.account, AccountSource::TokenAnswer { pointer: "/user_id".to_owned() });
    assert_eq!(tiny.scope_separator, ScopeSeparator::Space);
    assert!(tiny.localhost_redirect && !tiny.issuer_required && tiny.issuer.is_none());
    assert!(tiny.auth_params.is_empty() && tiny.errors.is_empty() && tiny.grant_lifetime.is_none());
}

#[test]
fn a_wrong_value_is_named_by_provider_field_line_and_expectation() {
    assert_eq!(
        refusal(r#"token = "https://tiny.example/token""#, r#"token = "http://tiny.example/token""#),
        "the provider catalogue is wrong at `provider.tiny.token` (line 5): expected an https URL, or an http URL on \
         127.0.0.1, [::1] or localhost, without user, password or fragment"
    );
    for (line, instead, field, expected) in [
        ("scopes = []", r#"scopes = ["a b"]"#, "provider.tiny.scopes[0]", "one scope"),
        ("default_expires_in_s = 60", "default_expires_in_s = 0", "provider.tiny.default_expires_in_s", "at least 1"),
        ("default_expires_in_s = 60", "default_expires_in_s = inf", "provider.tiny.default_expires_in_s", "u64"),
        ("default_expires_in_s = 60", "", "provider.tiny", "missing field `default_expires_in_s`"),
        ("refresh_tokens = false", "refresh_tokens = \"no\"", "provider.tiny.refresh_tokens", "a boolean"),
        (r#"rotation = "strict""#, r#"rotation = "maybe""#, "provider.tiny.rotation", "`none` or `strict`"),
        (r#"rotation = "strict""#, "rotation = \"strict\"\nrotaton = 1", "provider.tiny", "unknown field `rotaton`"),
        ("requests_per_second = 0.5", "requests_per_second = 0.0", "provider.tiny.requests_per_second", "above 0"),
        ("requests_per_second = 0.5", "requests_per_second = nan", "provider.tiny.requests_per_second", "above 0"),
        ("[provider.tiny]", "[provider.Tiny]", "provider", "not a valid provider id"),
        (r#"pointer = "/user_id""#, r#"pointer = "$.id""#, "provider.tiny.account.pointer", "JSON pointer"),
        ("scopes = []", "scopes = []\nissuer = \"a\\nb\"", "provider.tiny.issuer", "control characters"),
        (
            "scopes = []",
            "scopes = []\nauth_params = { state = \"x\" }",
            "provider.tiny.auth_params",
            "none of client_id",
        ),
        (
            "scopes = []",
            "scopes = []\nerrors = [{ means = \"throttled\", fields = {} }]",
            "errors[0].fields",
            "at least one",
        ),
        (
            r#"authorization_scheme = "Bearer""#,
            r#"authorization_scheme = "Bearer", headers = { Authorization = "x" }"#,
            "provider.tiny.api.headers",
            "other than Authorization",
        ),
        (
            r#"authorization_scheme = "Bearer""#,
            r#"authorization_scheme = "Bearer", headers = { X-Id = "{secret}" }"#,
            "provider.tiny.api.headers.X-Id",
            "no placeholder but {client_id}",
        ),
    ] {
        let message = refusal(line, instead);
        assert!(message.contains(field) && message.contains(expected), "{instead}: {message}");
    }
}

#[test]
fn a_refused_url_is_not_quoted() {
    let message = refusal("https://tiny.example/token", "https://user:canary@tiny.example/token");
    assert!(!message.contains("canary"), "{message}");
}

#[test]
fn contradictions_between_fields_are_refused() {
    for (instead, field) in [
        ("revokes = \"token\"", "provider.tiny.revoke`"),
        ("revokes = \"none\"\nrevoke = \"https://tiny.example/revoke\"", "provider.tiny.revokes`"),
        ("revokes = \"none\"\nissuer_required = true", "provider.tiny.issuer`"),
    ] {
        let message = refusal("revokes = \"none\"", instead);
        assert!(message.contains(field), "{message}");
    }
}

#[test]
fn text_that_is_not_toml_is_named_by_its_line() {
    let message = Catalogue::parse("[provider.tiny]\nname = \n").unwrap_err().to_string();
    assert!(message.starts_with("the provider catalogue is not TOML: line 2: "), "{message}");
    let unknown = Catalogue::parse("[providers.tiny]\n").unwrap_err().to_string();
    assert!(unknown.contains("unknown field `providers`"), "{unknown}");
    let large = " ".repeat(CATALOGUE_BYTES_MAX + 1);
    assert!(matches!(Catalogue::parse(&large), Err(CatalogueError::TooLarge { .. })));
}

#[test]
fn a_known_provider_cannot_be_replaced() {
    let mut catalogue = Catalogue::built_in().unwrap();
    catalogue.extend(Catalogue::parse(SMALLEST).unwrap()).unwrap();
    assert_eq!(catalogue.iter().count(), 4);
    let spotify = Catalogue::parse(&SMALLEST.replace("provider.tiny", "provider.spotify")).unwrap();
    let refused = catalogue.extend(spotify).unwrap_err();
    assert!(matches!(&refused, CatalogueError::Duplicate { provider } if provider.as_str() == "spotify"), "{refused}");
    let twice = Catalogue::parse(&format!("{SMALLEST}{SMALLEST}")).unwrap_err();
    assert!(matches!(twice, CatalogueError::Syntax { .. }), "{twice}");
}

#[test]
fn there_is_a_limit_to_the_number_of_providers() {
    let many: String =
        (0..=PROVIDERS_MAX).map(|n| SMALLEST.replace("provider.tiny", &format!("provider.tiny-{n}"))).collect();
    assert!(matches!(Catalogue::parse(&many), Err(CatalogueError::TooMany { .. })));
}

#[test]
fn a_twin_differs_in_its_name_and_hosts_alone() {
    let base = Url::parse("http://localhost:9000").unwrap();
    let mut hosts = BTreeSet::new();
    for provider in Catalogue::built_in().unwrap().iter() {
        let twin = provider.rebased(&base);
        assert_eq!(twin.name, format!("{} (sandbox)", provider.name));
        assert_eq!(twin.token.as_str(), provider.token.as_str().replace("https://", "http://localhost:9000/"));
        let urls = [Some(&twin.authorize), Some(&twin.token), twin.revoke.as_ref(), Some(&twin.api.base_url)];
        hosts.extend(urls.into_iter().flatten().map(|url| url.authority().to_owned()));
        let AccountSource::Userinfo { url, pointer } = &twin.account else { panic!("{twin:?}") };
        assert_eq!(url.authority(), "localhost:9000");

        let restored = Provider {
            name: provider.name.clone(),
            authorize: provider.authorize.clone(),
            token: provider.token.clone(),
            revoke: provider.revoke.clone(),
            account: provider.account.clone(),
            api: Api { base_url: provider.api.base_url.clone(), ..twin.api.clone() },
            ..twin.clone()
        };
        assert_eq!(&restored, provider, "{pointer}");
    }
    assert_eq!(hosts, BTreeSet::from(["localhost:9000".to_owned()]));
}
