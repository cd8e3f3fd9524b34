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
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#f6f8fa;--card:#fff;--line:#d0d7de;--good:#1a7f37;--bad:#b42318;--note:#57606a}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b1;--paper:#0d1117;--card:#161b22;--line:#30363d;--good:#56d364;--bad:#ff7b72;--note:#9da7b1}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1.5rem;background:var(--paper);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",sans-serif}\
main{width:100%;max-width:34rem;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:12px}\
.mark{width:2.75rem;height:2.75rem;border-radius:50%;display:flex;align-items:center;justify-content:center;font-size:1.4rem;font-weight:700;color:var(--card);background:var(--note)}\
.good .mark{background:var(--good)}\
.bad .mark{background:var(--bad)}\
h1{margin:1rem 0 .5rem;font-size:1.35rem;line-height:1.3}\
h2{margin:0;font-size:.875rem}\
p{margin:.5rem 0;overflow-wrap:anywhere}\
.who{margin:1rem 0;padding:.75rem 1rem;border:1px solid var(--line);border-radius:8px}\
.who b,.who span{display:block}\
.who span,.said,footer{color:var(--soft)}\
.said{margin-top:1.25rem;padding-left:1rem;border-left:3px solid var(--line);font-size:.875rem}\
footer{margin-top:1.5rem;padding-top:1rem;border-top:1px solid var(--line);font-size:.875rem}";

/// How a page looks at first sight.
#[derive(Clone, Copy, Debug)]
enum Tone {
    Good,
    Bad,
    /// Nothing has come of it, and nothing has changed.
    Note,
}

/// A page. Its texts are plain.
#[derive(Debug)]
pub(super) struct Page {
    status: StatusCode,
    tone: Tone,
    heading: String,
    /// The person, by name and by user name, as far as they are known.
    who: Vec<String>,
    paragraphs: Vec<String>,
    /// What Entra ID said.
    said: Option<String>,
}

impl Page {
    fn new(status: StatusCode, tone: Tone, heading: &str, paragraphs: &[&str]) -> Self {
        Self {
            status,
            tone,
            heading: heading.to_owned(),
            who: Vec::new(),
            paragraphs: paragraphs.iter().map(|text| (*text).to_owned()).collect(),
            said: None,
        }
    }

    /// The person is known. Whether they take the place of somebody else is asked in R.
    pub(super) fn signed_in(identity: &Identity) -> Self {
        let text = [
            "Go back to R. You can close this page.",
            "Not the account that you meant? Call azure_sign_in() in R again.",
        ];
        let known = [&identity.name, &identity.username];
        Self {
            who: known.into_iter().flatten().cloned().collect(),
            ..Self::new(StatusCode::OK, Tone::Good, "You have signed in", &text)
        }
    }

    /// The sign-in has failed.
    pub(super) fn failed(error: &Error) -> Self {
        let details = error.details();
        let mut paragraphs = vec![format!("What happened: {}.", error.message())];
        paragraphs.extend(details.remedy.clone());
        paragraphs.push("R says the same. You can close this page.".to_owned());
        Self {
            paragraphs,
            said: details.server_text.clone(),
            ..Self::new(StatusCode::OK, Tone::Bad, "You are not signed in", &[])
        }
    }

    /// An answer to an attempt that is over.
    pub(super) fn over() -> Self {
        let text = [
            "It was answered before, or took more than 15 minutes.",
            "R says how it went; there you can also begin again.",
        ];
        Self::new(StatusCode::GONE, Tone::Note, "This sign-in is over", &text)
    }

    /// An answer that is not for this attempt. It changes nothing.
    pub(super) fn not_this_one() -> Self {
        let text = [
            "What your browser brought is not the answer to the sign-in that R waits for. Nothing has changed: that one goes on.",
            "If somebody sent you a link, do not follow it. Else finish the sign-in in the window that R opened.",
        ];
        Self::new(
            StatusCode::BAD_REQUEST,
            Tone::Note,
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
            Tone::Note,
            "This sign-in has begun elsewhere",
            &text,
        )
    }

    /// A browser of another user, or of nobody knows whom.
    pub(super) fn stranger() -> Self {
        let text = [
            "It was begun by another user of this machine, or the system does not tell whose browser this is. Nothing has changed: that sign-in goes on.",
            "If it is yours, begin again in R with azure_sign_in(method = \"paste\"), which works with any browser.",
        ];
        Self::new(
            StatusCode::FORBIDDEN,
            Tone::Note,
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
            Tone::Note,
            "This is not where a sign-in ends",
            &text,
        )
    }

    /// A request that is not for a page.
    pub(super) fn not_to_be_read() -> Self {
        let text = ["This address is only read. Finish the sign-in in the window that R opened."];
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Tone::Note,
            "This is not where a sign-in ends",
            &text,
        )
    }

    /// Nothing is at this address.
    pub(super) fn missing() -> Self {
        let text = ["R waits for your sign-in at another one."];
        Self::new(
            StatusCode::NOT_FOUND,
            Tone::Note,
            "Nothing is at this address",
            &text,
        )
    }

    fn html(&self) -> String {
        let (class, mark) = match self.tone {
            Tone::Good => ("good", "\u{2713}"),
            Tone::Bad => ("bad", "!"),
            Tone::Note => ("note", "i"),
        };
        let heading = escaped(&self.heading);
        let who = match self.who.as_slice() {
            [] => String::new(),
            [first, rest @ ..] => {
                let rest: String = rest
                    .iter()
                    .map(|text| format!("<span>{}</span>", escaped(text)))
                    .collect();
                format!("<p class=\"who\"><b>{}</b>{rest}</p>", escaped(first))
            }
        };
        let paragraphs: String = self
            .paragraphs
            .iter()
            .map(|text| format!("<p>{}</p>", escaped(text)))
            .collect();
        let said = self.said.as_deref().map_or_else(String::new, |said| {
            let said = escaped(said);
            format!("<div class=\"said\"><h2>Entra ID said</h2><p>{said}</p></div>")
        });
        format!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{heading}</title><style>{STYLE}</style></head>\
             <body><main class=\"{class}\"><div class=\"mark\" aria-hidden=\"true\">{mark}</div>\
             <h1>{heading}</h1>{who}{paragraphs}{said}\
             <footer>Shown by entrar, on this machine. This page holds no secret.</footer></main></body></html>"
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
    use crate::accounts::AccountId;
    use entrar_core::error::{Details, Kind};
    use entrar_core::guid::Guid;

    #[test]
    fn nothing_that_is_shown_is_markup() {
        let hostile = "<script>alert('1')</script>\" onload=\"x";
        let shown = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x";
        let details = Details {
            remedy: Some(hostile.to_owned()),
            server_text: Some(hostile.to_owned()),
            ..Details::default()
        };
        let failed = Page::failed(&Error::with(Kind::AccessDenied, hostile, details)).html();
        assert_eq!(failed.matches(shown).count(), 3, "{failed}");
        let identity = Identity {
            account: AccountId {
                tid: Guid::from_bits(1),
                oid: Guid::from_bits(2),
            },
            username: Some(hostile.to_owned()),
            upn: None,
            name: Some(hostile.to_owned()),
            is_guest: false,
        };
        let signed_in = Page::signed_in(&identity).html();
        assert_eq!(signed_in.matches(shown).count(), 2, "{signed_in}");
        for html in [failed, signed_in] {
            assert!(
                !html.contains("<script") && !html.contains("\" onload"),
                "{html}"
            );
        }
    }

    #[test]
    fn a_page_loads_nothing() {
        let html = Page::over().html();
        for outside in ["http:", "https:", "src=", "<script", "<link", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
    }
}
