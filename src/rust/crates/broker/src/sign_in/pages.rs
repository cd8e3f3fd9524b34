//! The pages that a browser sees on this machine. Each is whole: it needs no network and no script, and says what
//! happened and what to do next.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entrar_core::error::Error;
use ring::digest::{SHA256, digest};

use super::id_token::Identity;

/// Colours for light and for dark come from the browser's own wish.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#f6f8fa;--card:#fff;--line:#d0d7de;--good:#1a7f37;--bad:#b42318}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b1;--paper:#0d1117;--card:#161b22;--line:#30363d;--good:#56d364;--bad:#ff7b72}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1.5rem;background:var(--paper);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",sans-serif}\
main{width:100%;max-width:34rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:12px}\
.mark{width:2.75rem;height:2.75rem;border-radius:50%;display:flex;align-items:center;justify-content:center;font-size:1.4rem;font-weight:700;color:var(--card);background:var(--good)}\
.bad .mark{background:var(--bad)}\
h1{margin:1rem 0 .5rem;font-size:1.35rem;line-height:1.3}\
p{margin:.5rem 0;overflow-wrap:anywhere}\
.soft{color:var(--soft)}\
code{font-family:ui-monospace,SFMono-Regular,Consolas,monospace;font-size:.95em}\
footer{margin-top:1.5rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--soft);font-size:.875rem}";

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    status: StatusCode,
    is_good: bool,
    heading: String,
    /// Paragraphs of plain text.
    text: Vec<String>,
}

impl Page {
    fn new(status: StatusCode, is_good: bool, heading: &str, text: &[&str]) -> Self {
        Self {
            status,
            is_good,
            heading: heading.to_owned(),
            text: text.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    /// The person is known.
    pub(super) fn signed_in(identity: &Identity) -> Self {
        let who = identity.username.as_deref().or(identity.name.as_deref());
        let heading = match who {
            Some(who) => format!("Entra ID knows you as {who}"),
            None => "Entra ID knows you".to_owned(),
        };
        let text = [
            "Go back to R, where your sign-in ends.",
            "You can close this page.",
        ];
        Self::new(StatusCode::OK, true, &heading, &text)
    }

    /// The sign-in has failed.
    pub(super) fn failed(error: &Error) -> Self {
        let details = error.details();
        let mut text = vec![format!("What happened: {}.", error.message())];
        text.extend(
            details
                .server_text
                .as_ref()
                .map(|said| format!("Entra ID said: {said}")),
        );
        text.extend(details.remedy.clone());
        text.push("R says the same. You can close this page.".to_owned());
        Self {
            text,
            ..Self::new(StatusCode::OK, false, "You are not signed in", &[])
        }
    }

    /// An answer to an attempt that is over.
    pub(super) fn over() -> Self {
        let text = [
            "It was answered before, or took more than 15 minutes.",
            "R says how it went; there you can also begin again.",
        ];
        Self::new(StatusCode::GONE, false, "This sign-in is over", &text)
    }

    /// An answer that is not for this attempt. It changes nothing.
    pub(super) fn not_this_one() -> Self {
        let text = [
            "What your browser brought is not the answer to the sign-in that R waits for. Nothing has changed: that one goes on.",
            "If somebody sent you a link, do not follow it. Else finish the sign-in in the window that R opened.",
        ];
        Self::new(
            StatusCode::BAD_REQUEST,
            false,
            "This is another sign-in",
            &text,
        )
    }

    /// A start address that was opened before.
    pub(super) fn started() -> Self {
        let text = [
            "Its address serves once, and another window or program has opened it.",
            "Finish the sign-in there, or begin again in R.",
        ];
        Self::new(
            StatusCode::GONE,
            false,
            "This sign-in has begun elsewhere",
            &text,
        )
    }

    /// A browser of another user, or of nobody knows whom.
    pub(super) fn stranger() -> Self {
        let text = [
            "It was begun by another user of this machine, or the system does not tell whose browser this is.",
            "Nothing has changed: that sign-in goes on.",
        ];
        Self::new(
            StatusCode::FORBIDDEN,
            false,
            "This is somebody else's sign-in",
            &text,
        )
    }

    /// A request by another host's name, or from another page.
    pub(super) fn misdirected() -> Self {
        let text =
            ["The request comes from another page, or was made to another name than localhost."];
        Self::new(
            StatusCode::BAD_REQUEST,
            false,
            "This is not where a sign-in ends",
            &text,
        )
    }

    /// Nothing is at this address.
    pub(super) fn missing() -> Self {
        let text = ["R waits for your sign-in at another one."];
        Self::new(
            StatusCode::NOT_FOUND,
            false,
            "Nothing is at this address",
            &text,
        )
    }

    fn html(&self) -> String {
        let (class, mark) = if self.is_good {
            ("good", "\u{2713}")
        } else {
            ("bad", "!")
        };
        let heading = escaped(&self.heading);
        let text: String = self
            .text
            .iter()
            .map(|text| format!("<p>{}</p>", escaped(text)))
            .collect();
        format!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{heading}</title><style>{STYLE}</style></head>\
             <body><main class=\"{class}\"><div class=\"mark\" aria-hidden=\"true\">{mark}</div>\
             <h1>{heading}</h1>{text}\
             <footer>entrar, on this machine. This page holds no secret.</footer></main></body></html>"
        )
    }
}

/// Headers that keep a page to itself: nothing is loaded, nothing is told to others, nobody frames it.
pub(super) fn headers() -> [(HeaderName, String); 5] {
    let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    [
        (CACHE_CONTROL, "no-store".to_owned()),
        (
            CONTENT_SECURITY_POLICY,
            format!(
                "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
        ),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (X_FRAME_OPTIONS, "DENY".to_owned()),
    ]
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let kind = [(CONTENT_TYPE, "text/html; charset=utf-8")];
        (self.status, headers(), kind, self.html()).into_response()
    }
}

/// Text in which a browser finds no markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use entrar_core::error::Kind;

    #[test]
    fn nothing_that_is_shown_is_markup() {
        let error = Error::new(Kind::AccessDenied, "<script>alert('1')</script>");
        let html = Page::failed(&error).html();
        assert!(!html.contains("<script>"), "{html}");
        assert!(
            html.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"),
            "{html}"
        );
    }

    #[test]
    fn a_page_loads_nothing() {
        let html = Page::over().html();
        for outside in ["http:", "https:", "src=", "<script", "<link", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
    }
}
