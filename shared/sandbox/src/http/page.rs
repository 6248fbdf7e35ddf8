//! Pages: plain HTML that works without scripts, in light and dark, by keyboard and by ear.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use url::Url;

use super::browser::{CONSENT_PATH, LOGIN_PATH};
use crate::{
    authority::{PageError, Question},
    profile::Profile,
};

/// Where the style sheet is.
pub(super) const STYLE_PATH: &str = "/_sandbox/style.css";

/// The style sheet.
const STYLE: &str = include_str!("style.css");

/// What pages may load. No `form-action`: Chromium applies it to the redirect that follows the consent form too, and
/// the way back to the client would be blocked.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Serves the style sheet.
pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"))], STYLE).into_response()
}

/// The login page: a name, and no password.
pub(super) fn login(asked: &Question, ticket: &str, problem: Option<PageError>) -> Response {
    let provider = escaped(asked.provider);
    let (status, problem, invalid) = match problem {
        Some(problem) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("<p class=\"problem\" id=\"problem\" role=\"alert\">{}</p>", escaped(&problem.to_string())),
            " aria-invalid=\"true\" aria-describedby=\"problem help\"",
        ),
        None => (StatusCode::OK, String::new(), " aria-describedby=\"help\""),
    };
    let body = format!(
        "<h1>Log in to {provider}</h1>\n\
         <p><strong>{client}</strong> wants to use your {provider} account.</p>\n\
         {problem}\n\
         <form method=\"post\" action=\"{LOGIN_PATH}\">\n\
         <input type=\"hidden\" name=\"ticket\" value=\"{ticket}\">\n\
         <label for=\"username\">Account name</label>\n\
         <input id=\"username\" name=\"username\" type=\"text\" required maxlength=\"64\" autocomplete=\"username\" \
         autocapitalize=\"none\" spellcheck=\"false\" autofocus{invalid}>\n\
         <p class=\"help\" id=\"help\">Any name will do; the same name is always the same account. There is no password.</p>\n\
         <div class=\"actions\"><button type=\"submit\">Log in</button></div>\n\
         </form>",
        client = escaped(&asked.client_id),
        ticket = escaped(ticket),
    );
    page(status, &format!("Log in to {provider}"), &body)
}

/// The consent page.
pub(super) fn consent(asked: &Question, username: &str, ticket: &str) -> Response {
    let provider = escaped(asked.provider);
    let scopes: Vec<String> =
        asked.scope.split_whitespace().map(|scope| format!("<li><code>{}</code></li>", escaped(scope))).collect();
    let wants = if scopes.is_empty() {
        "<p>It asks for the provider's usual access: your account and its music.</p>".to_owned()
    } else {
        format!("<p>It asks for:</p>\n<ul>{}</ul>", scopes.join(""))
    };
    let body = format!(
        "<h1>Allow access to {provider}?</h1>\n\
         <p><strong>{client}</strong> wants to use the account <strong>{username}</strong>. \
         <a href=\"{LOGIN_PATH}?ticket={ticket}\">Not you?</a></p>\n\
         {wants}\n\
         <form method=\"post\" action=\"{CONSENT_PATH}\">\n\
         <input type=\"hidden\" name=\"ticket\" value=\"{ticket}\">\n\
         <div class=\"actions\">\n\
         <button type=\"submit\" name=\"decision\" value=\"allow\" autofocus>Allow</button>\n\
         <button type=\"submit\" name=\"decision\" value=\"deny\" class=\"quiet\">Deny</button>\n\
         </div>\n\
         </form>",
        client = escaped(&asked.client_id),
        username = escaped(username),
        ticket = escaped(ticket),
    );
    page(StatusCode::OK, &format!("Allow access to {provider}?"), &body)
}

/// What is here.
pub(super) fn index(base_url: &Url, profiles: &[Profile]) -> Response {
    let rows: Vec<String> = profiles
        .iter()
        .map(|profile| {
            format!(
                "<tr><th scope=\"row\">{}</th><td><code>{}</code></td><td><code>{}</code></td></tr>",
                escaped(profile.name),
                escaped(&profile.authorize.to_string()),
                escaped(&profile.token.to_string())
            )
        })
        .collect();
    let body = format!(
        "<h1>Provider sandbox</h1>\n\
         <p>Twins of music providers, for development on this machine, under <code>{base}</code>.</p>\n\
         <div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Providers\"><table>\n\
         <thead><tr><th scope=\"col\">Provider</th><th scope=\"col\">Authorization</th><th scope=\"col\">Token</th></tr></thead>\n\
         <tbody>{rows}</tbody></table></div>\n\
         <h2>See what happened</h2>\n\
         <ul><li><a href=\"/_sandbox/log\">Token requests</a></li><li><a href=\"/_sandbox/grants\">Grants</a></li>\
         <li><a href=\"/_sandbox/faults\">Planned faults</a></li><li><a href=\"/_sandbox/providers\">Behaviour</a></li></ul>",
        base = escaped(base_url.as_str()),
        rows = rows.join(""),
    );
    page(StatusCode::OK, "Provider sandbox", &body)
}

/// An error, in words.
pub(super) fn error(status: StatusCode, what: &str) -> Response {
    let body = format!("<h1>This does not work</h1>\n<p>{}</p>", escaped(what));
    page(status, "This does not work", &body)
}

/// The loud refusal of somebody else's cookie.
pub(super) fn foreign_cookie(name: &str) -> Response {
    let body = format!(
        "<h1>A cookie of the product arrived here</h1>\n\
         <p>The request carried the cookie <code>{}</code>, which is not the sandbox's. Cookies ignore ports: a site that \
         shares its host name with a provider hands its sessions over to it.</p>\n\
         <p>Open the application under <code>127.0.0.1</code>, not under the sandbox's host name. If the cookie is that of \
         another project on this machine, delete it or use a private window.</p>",
        escaped(name)
    );
    page(StatusCode::INTERNAL_SERVER_ERROR, "A cookie of the product arrived here", &body)
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} – sandbox</title>\n<link rel=\"stylesheet\" href=\"{STYLE_PATH}\">\n</head>\n<body>\n\
         <header><p><strong>Sandbox.</strong> This is not the real provider: it runs on this machine, for development.</p></header>\n\
         <main>\n{body}\n</main>\n</body>\n</html>\n"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, Html(html)).into_response()
}

/// Text for an HTML element or attribute.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, char| {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_request_becomes_markup() {
        assert_eq!(escaped(r#"<a href="x" o='y'>&"#), "&lt;a href=&quot;x&quot; o=&#39;y&#39;&gt;&amp;");
    }
}
