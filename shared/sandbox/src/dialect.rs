//! The shapes of each provider's answers.
//!
//! Sources: SoundCloud's from its issue tracker (soundcloud/api 169, 395, 517); Spotify's and Google's API errors are
//! from memory; the rest is RFC 6749 §5 and RFC 6750 §3.

use serde_json::{Map, Value, json};

use crate::{
    answer::Answer,
    hash::TokenHash,
    ledger::Grant,
    profile::{Dialect, Profile},
    refusal::{Asked, OAuthError, Refusal},
};

/// Where SoundCloud's long errors point.
const SOUNDCLOUD_LINK: &str = "https://developers.soundcloud.com/docs/api/explorer/open-api";

/// SoundCloud's long error object: its API's, and its token endpoint's for some refusals.
fn soundcloud_error(status: u16, phrase: &str, message: &str, code: Option<&str>) -> Value {
    let mut body = json!({
        "code": status,
        "message": message,
        "link": SOUNDCLOUD_LINK,
        "status": format!("{status} - {phrase}"),
        "errors": [{ "error_message": message }],
        "error": null,
    });
    if let (Some(code), Some(members)) = (code, body.as_object_mut()) {
        members.insert("error_code".to_owned(), code.into());
    }
    body
}

/// A refusal at the token or revocation endpoint.
pub(crate) fn token_refusal(profile: &Profile, refusal: &Refusal) -> Answer {
    let code = refusal.error.code();
    let status = if refusal.error == OAuthError::InvalidClient { 401 } else { 400 };
    let answer = match (profile.dialect, refusal.error, refusal.asked) {
        (Dialect::SoundCloud, OAuthError::InvalidGrant, Asked::Code | Asked::RefreshOfRevoked) => {
            Answer::json(401, &soundcloud_error(401, "Unauthorized", code, Some(code)))
        }
        (Dialect::SoundCloud, ..) => Answer::json(status, &json!({ "error": code })),
        (Dialect::Plain | Dialect::Spotify | Dialect::Google, ..) => {
            Answer::json(status, &json!({ "error": code, "error_description": refusal.detail }))
        }
    };
    if refusal.basic_tried { answer.with("www-authenticate", "Basic realm=\"sandbox\"") } else { answer }
}

/// A token answer's members (RFC 6749 §5.1), before faults.
pub(crate) fn token_answer(
    access: String,
    expires_in: u64,
    refresh: Option<String>,
    scope: &str,
) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("access_token".to_owned(), access.into());
    members.insert("token_type".to_owned(), "Bearer".into());
    members.insert("expires_in".to_owned(), expires_in.into());
    if let Some(refresh) = refresh {
        members.insert("refresh_token".to_owned(), refresh.into());
    }
    members.insert("scope".to_owned(), scope.into());
    members
}

/// A planned 429 at the token endpoint or the API.
pub(crate) fn throttled(profile: &Profile, at_token: bool, now: u64, retry_in: Option<u64>) -> Value {
    match (profile.dialect, at_token) {
        (Dialect::SoundCloud, true) => json!({ "error": "rate_limit_exceeded" }),
        (Dialect::SoundCloud, false) => json!({
            "errors": [{
                "meta": {
                    "rate_limit": { "bucket": "by-client", "max_nr_of_requests": 15_000, "time_window": "PT24H", "name": "sandbox" },
                    "remaining_requests": 0,
                    "reset_time": now.saturating_add(retry_in.unwrap_or(0)),
                }
            }]
        }),
        (Dialect::Spotify, false) => json!({ "error": { "status": 429, "message": "API rate limit exceeded" } }),
        (Dialect::Google, false) => {
            json!({ "error": { "code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED" } })
        }
        (Dialect::Plain | Dialect::Spotify | Dialect::Google, true) | (Dialect::Plain, false) => {
            json!({ "error": "rate_limit_exceeded" })
        }
    }
}

/// The API's 401 for a missing, unknown or expired access token.
pub(crate) fn unauthorized(profile: &Profile) -> Answer {
    let body = match profile.dialect {
        Dialect::SoundCloud => soundcloud_error(401, "Unauthorized", "invalid access token", None),
        Dialect::Spotify => json!({ "error": { "status": 401, "message": "The access token expired" } }),
        Dialect::Google => {
            json!({ "error": { "code": 401, "message": "Invalid credentials", "status": "UNAUTHENTICATED" } })
        }
        Dialect::Plain => json!({ "error": "invalid_token" }),
    };
    let challenge = format!("{} realm=\"sandbox\", error=\"invalid_token\"", profile.api_scheme);
    Answer::json(401, &body).with("www-authenticate", challenge)
}

/// The account's id, derived from its name: the same name is the same account, in every sandbox and after every restart.
pub(crate) fn account_id(profile: &Profile, username: &str) -> String {
    let hash = TokenHash::of(&format!("{}/{username}", profile.id));
    let mut eight = [0; 8];
    eight.copy_from_slice(&hash.bytes()[..8]);
    // Nine digits and never fewer: the size of SoundCloud's ids.
    let number = 100_000_000 + u64::from_be_bytes(eight) % 900_000_000;
    match profile.dialect {
        Dialect::Google => format!("{}{number:020}", profile.account_prefix),
        Dialect::Plain | Dialect::SoundCloud | Dialect::Spotify => format!("{}{number}", profile.account_prefix),
    }
}

/// The userinfo answer.
pub(crate) fn userinfo(profile: &Profile, grant: &Grant) -> Value {
    let mut body = match profile.dialect {
        Dialect::SoundCloud => json!({
            "kind": "user",
            "username": grant.username,
            "permalink": grant.username,
            "track_count": 0,
            "followers_count": 0,
        }),
        Dialect::Spotify => json!({ "display_name": grant.username, "product": "premium", "type": "user" }),
        Dialect::Google | Dialect::Plain => json!({ "name": grant.username }),
    };
    if let Some(members) = body.as_object_mut() {
        members.insert(profile.account_member.to_owned(), grant.account.as_str().into());
    }
    body
}

/// One track of the small catalogue that every twin searches.
struct Track {
    number: u64,
    title: &'static str,
    artist: &'static str,
    ms: u64,
}

/// Invented music.
const TRACKS: [Track; 8] = [
    Track { number: 501, title: "Loopback Lullaby", artist: "The Ephemeral Ports", ms: 214_000 },
    Track { number: 502, title: "Rotate Me Once", artist: "Single Use", ms: 187_500 },
    Track { number: 503, title: "Grace Period", artist: "Single Use", ms: 243_200 },
    Track { number: 504, title: "Eventually Consistent", artist: "Read Replica", ms: 301_000 },
    Track { number: 505, title: "The Minute Wheel", artist: "Hash Second", ms: 199_900 },
    Track { number: 506, title: "At Least Once", artist: "Dead Letter Choir", ms: 226_400 },
    Track { number: 507, title: "Backoff with Jitter", artist: "Dead Letter Choir", ms: 178_000 },
    Track { number: 508, title: "Night Shift on Port 8081", artist: "The Ephemeral Ports", ms: 262_300 },
];

/// The tracks whose title or artist holds `q`, in the provider's shape; all for an empty one.
pub(crate) fn search(profile: &Profile, q: &str) -> Value {
    let wanted = q.to_lowercase();
    let found = TRACKS
        .iter()
        .filter(|track| track.title.to_lowercase().contains(&wanted) || track.artist.to_lowercase().contains(&wanted));
    let item = |track: &Track| match profile.dialect {
        Dialect::SoundCloud => json!({
            "kind": "track",
            "urn": format!("soundcloud:tracks:{}", track.number),
            "title": track.title,
            "duration": track.ms,
            "access": "playable",
            "user": { "kind": "user", "username": track.artist },
        }),
        Dialect::Spotify => json!({
            "type": "track",
            "id": format!("sandbox{}", track.number),
            "name": track.title,
            "duration_ms": track.ms,
            "artists": [{ "type": "artist", "name": track.artist }],
        }),
        Dialect::Google => json!({
            "kind": "youtube#searchResult",
            "id": { "kind": "youtube#video", "videoId": format!("sandbox-{}", track.number) },
            "snippet": { "title": track.title, "channelTitle": track.artist },
        }),
        Dialect::Plain => json!({ "id": track.number, "title": track.title, "artist": track.artist, "ms": track.ms }),
    };
    let items: Vec<Value> = found.map(item).collect();
    match profile.dialect {
        Dialect::SoundCloud | Dialect::Plain => Value::Array(items),
        Dialect::Spotify => json!({ "tracks": { "total": items.len(), "items": items } }),
        Dialect::Google => json!({ "kind": "youtube#searchListResponse", "items": items }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{GENERIC, SOUNDCLOUD, YOUTUBE};

    #[test]
    fn an_account_follows_from_its_name_and_provider_alone() {
        let first = account_id(&SOUNDCLOUD, "alice");
        assert_eq!(first, account_id(&SOUNDCLOUD, "alice"));
        assert_ne!(first, account_id(&SOUNDCLOUD, "bob"));
        let digits = first.strip_prefix("soundcloud:users:").unwrap();
        assert_eq!(digits.len(), 9);
        assert!(!account_id(&GENERIC, "alice").contains(digits));
        assert_eq!(account_id(&YOUTUBE, "alice").len(), 21);
    }

    #[test]
    fn soundcloud_words_invalid_grant_by_what_was_asked() {
        let body = |asked| {
            let answer = token_refusal(&SOUNDCLOUD, &Refusal::grant("", asked));
            (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap())
        };
        assert_eq!(body(Asked::Refresh), (400, json!({ "error": "invalid_grant" })));
        let (status, long) = body(Asked::Code);
        assert_eq!(status, 401);
        assert_eq!(long["error"], Value::Null);
        assert_eq!(long["error_code"], "invalid_grant");
        assert_eq!(body(Asked::RefreshOfRevoked), (401, long));
    }

    #[test]
    fn a_search_finds_by_title_and_artist_whatever_the_case() {
        assert_eq!(search(&SOUNDCLOUD, "rotate")[0]["title"], "Rotate Me Once");
        assert_eq!(search(&SOUNDCLOUD, "SINGLE use").as_array().unwrap().len(), 2);
        assert_eq!(search(&SOUNDCLOUD, "").as_array().unwrap().len(), TRACKS.len());
        assert_eq!(search(&SOUNDCLOUD, "no such thing"), json!([]));
    }
}
