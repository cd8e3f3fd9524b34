//! The pages: nothing that is shown is markup, nothing is loaded, everybody can read them.

mod html;
#[path = "../../../examples/pages/samples.rs"]
mod samples;

use std::collections::{BTreeSet, HashMap};

use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entrar_core::authority::Authority;
use entrar_core::error::{Details, Error, Kind};
use entrar_hub::web::pages::{Account, Message, Notice, Page, STYLE, Site, Tried, headers};
use html::{Element, elements};
use sha2::{Digest as _, Sha256};

const HOSTILE: &str =
    "<script>alert(1)</script>\u{202e}\u{61c}\u{7}\r\n\"' onclick='x' style=x:url(//evil.example)>";
/// The same as it may be shown.
const SHOWN: &str = "&#60;script&#62;alert(1)&#60;/script&#62; &#34;&#39; onclick=&#39;x&#39; style=x:url(//evil.example)&#62;";

/// A response taken apart.
async fn read(page: &Page, site: &Site) -> (StatusCode, HeaderMap, String) {
    let (parts, body) = page.response(site).into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let html = String::from_utf8(body.to_vec()).unwrap();
    (parts.status, parts.headers, html)
}

/// Every page as it is written.
async fn written() -> Vec<(&'static str, String)> {
    let site = samples::site(str::to_owned);
    let mut written = Vec::new();
    for (name, page) in samples::pages(str::to_owned) {
        written.push((name, read(&page, &site).await.2));
    }
    written
}

fn page_of(name: &str) -> Page {
    let mut pages = samples::pages(str::to_owned).into_iter();
    pages.find(|(found, _)| *found == name).unwrap().1
}

async fn html_of(page: Page) -> String {
    read(&page, &samples::site(str::to_owned)).await.2
}

fn account() -> Account {
    match page_of("account") {
        Page::Account(account) => account,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_that_is_shown_is_markup() {
    let hostile = |text: &str| format!("{text}{HOSTILE}");
    let (site, plain) = (samples::site(hostile), samples::site(str::to_owned));
    let honest: HashMap<_, _> = samples::pages(str::to_owned).into_iter().collect();
    for (name, page) in samples::pages(hostile) {
        let html = read(&page, &site).await.2;
        for c in ['\u{202e}', '\u{61c}', '\u{7}', '\r'] {
            assert!(!html.contains(c), "{name}");
        }
        // The same tags with the same attributes as without it: what is shown is text.
        let skeleton = |html: &str| -> Vec<(String, Vec<String>)> {
            let of = |element: Element| {
                let names = element.attributes.into_iter().map(|(name, _)| name);
                (element.name, names.collect())
            };
            elements(html).into_iter().map(of).collect()
        };
        let usual = read(&honest[name], &plain).await.2;
        assert_eq!(skeleton(&html), skeleton(&usual), "{name}");
    }
}

#[tokio::test]
async fn each_text_from_outside_is_shown() {
    let site = samples::site(|text| format!("{text}{HOSTILE}"));
    // The host in the title and twice in the frame, the organisation, the contact; then what the page itself shows.
    let frame = 5;
    let expected = [
        ("leaving", 0),
        ("confirm", 6),
        ("pairing", 4),
        ("account", 5 + 3 * 2 + 2),
        ("failed", 3),
        ("not-mapped", 3),
        ("guest", 2),
        ("user-refused", 4),
        ("conflict", 3),
        ("not-found", 0),
    ];
    let pages: HashMap<_, _> = samples::pages(|text| format!("{text}{HOSTILE}"))
        .into_iter()
        .collect();
    for (name, own) in expected {
        let html = read(&pages[name], &site).await.2;
        assert_eq!(html.matches(SHOWN).count(), frame + own, "{name}: {html}");
    }
}

#[tokio::test]
async fn nothing_is_loaded_and_links_lead_where_they_should() {
    const OUTSIDE: [&str; 2] = [
        "https://myaccount.microsoft.com",
        "https://learn.microsoft.com/entra/identity/users/users-revoke-access",
    ];
    let known: BTreeSet<&str> = [
        "html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section",
        "h1", "h2", "h3", "h4", "p", "div", "span", "strong", "bdi", "time", "a", "ol", "ul", "li",
        "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "form", "input", "label",
        "button",
    ]
    .into();
    for (name, html) in written().await {
        for element in elements(&html) {
            assert!(known.contains(&*element.name), "{name}: {element:?}");
            for (attribute, _) in &element.attributes {
                assert!(
                    !attribute.starts_with("on")
                        && !["src", "style", "srcset", "http-equiv"].contains(&&**attribute),
                    "{name}: {element:?}"
                );
            }
            let Some(address) = element.attribute("href") else {
                continue;
            };
            match address {
                "/" => {}
                _ if OUTSIDE.contains(&address) => {
                    assert_eq!(element.attribute("rel"), Some("noreferrer"), "{name}");
                }
                "https://rstudio.example.com/" => assert_eq!(name, "misdirected"),
                _ => {
                    assert_eq!(name, "leaving", "{address}");
                    assert!(address.starts_with("https://login.microsoftonline.com/"));
                }
            }
        }
    }
    for outside in ["url(", "@import", "//", "</"] {
        assert!(!STYLE.contains(outside), "{outside}");
    }
}

#[tokio::test]
async fn the_policy_names_the_one_style_that_there_is() {
    let site = samples::site(str::to_owned);
    for (name, page) in samples::pages(str::to_owned) {
        let (_, headers, html) = read(&page, &site).await;
        let (_, style) = html.split_once("<style>").unwrap();
        let (style, rest) = style.split_once("</style>").unwrap();
        assert!(!rest.contains("<style"), "{name}");
        let hash = STANDARD.encode(Sha256::digest(style));
        assert_eq!(
            headers["content-security-policy"],
            format!(
                "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
            ),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_page_is_kept_to_itself() {
    let site = samples::site(str::to_owned);
    for (name, page) in samples::pages(str::to_owned) {
        let found = read(&page, &site).await.1;
        for (header, value) in [
            ("cache-control", "no-store"),
            ("content-type", "text/html; charset=utf-8"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=31536000"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(found[header], value, "{name}");
        }
        let permissions = found["permissions-policy"].to_str().unwrap();
        assert!(permissions.contains("camera=()"), "{permissions}");
    }
    let http = Site { hsts: None, ..site };
    assert!(
        !headers(&http).contains_key("strict-transport-security"),
        "only where https serves it"
    );
}

#[tokio::test]
async fn every_form_is_posted_with_its_token_and_every_input_has_a_label() {
    const POSTED: [&str; 8] = [
        "/sign-in",
        "/confirm",
        "/pairing/not-me",
        "/sessions/end",
        "/sessions/end-all",
        "/try#try-it",
        "/sign-out",
        "/sign-out-everywhere",
    ];
    let mut met = BTreeSet::new();
    for (name, html) in written().await {
        let elements = elements(&html);
        let forms: Vec<_> = elements
            .iter()
            .enumerate()
            .filter(|(_, element)| element.name == "form")
            .collect();
        let is_token = |element: &&Element| element.attribute("name") == Some("csrf");
        for (at, form) in &forms {
            assert_eq!(form.attribute("method"), Some("post"), "{name}");
            let action = form.attribute("action").unwrap();
            met.insert(action.to_owned());
            let token = &elements[at + 1];
            assert!(is_token(&token), "{name}: {token:?}");
            assert_eq!(token.attribute("type"), Some("hidden"));
            assert_eq!(token.attribute("value"), Some("csrf-0123456789abcdef"));
        }
        let tokens = elements.iter().filter(is_token).count();
        assert_eq!(tokens, forms.len(), "{name}");
        for element in &elements {
            match &*element.name {
                "input" if element.attribute("type") != Some("hidden") => {
                    let id = element.attribute("id").unwrap();
                    let labels = elements
                        .iter()
                        .filter(|label| label.attribute("for") == Some(id));
                    assert_eq!(labels.count(), 1, "{name}: {id}");
                }
                "button" => {
                    assert!(!element.text.trim().is_empty(), "{name}");
                    assert!(element.inside.contains(&"form".to_owned()), "{name}");
                }
                _ => {}
            }
        }
    }
    assert_eq!(met, POSTED.map(str::to_owned).into());
}

#[tokio::test]
async fn a_screen_reader_finds_its_way() {
    for (name, html) in written().await {
        let elements = elements(&html);
        let of = |tag: &str| elements.iter().filter(|found| found.name == tag).count();
        for tag in ["header", "main", "footer", "h1", "title"] {
            assert_eq!(of(tag), 1, "{name}: {tag}");
        }
        assert_eq!(elements[0].attribute("lang"), Some("en"), "{name}");
        let mut last = 0;
        for element in &elements {
            let level = element.name.strip_prefix('h');
            let Some(level) = level.and_then(|level| level.parse::<u32>().ok()) else {
                continue;
            };
            assert!(level <= last + 1, "{name}: h{level} after h{last}");
            assert!(
                element.inside.contains(&"main".to_owned()) && !element.text.is_empty(),
                "{name}: {element:?}"
            );
            last = level;
        }
        let ids: Vec<_> = elements.iter().filter_map(|e| e.attribute("id")).collect();
        let different: BTreeSet<_> = ids.iter().collect();
        assert_eq!(ids.len(), different.len(), "{name}: {ids:?}");
        for element in &elements {
            for reference in ["aria-labelledby", "aria-describedby", "for"] {
                if let Some(id) = element.attribute(reference) {
                    assert!(ids.contains(&id), "{name}: {id}");
                }
            }
            match &*element.name {
                "th" => assert!(
                    matches!(element.attribute("scope"), Some("col" | "row")),
                    "{name}"
                ),
                // The layout for phones takes away what a table means by itself.
                "table" | "thead" | "tbody" | "tr" | "td" => {
                    assert!(element.attribute("role").is_some(), "{name}: {element:?}");
                }
                "section" => {
                    assert!(element.attribute("aria-labelledby").is_some(), "{name}");
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn what_has_just_happened_is_announced() {
    for (name, html) in written().await {
        let is_status = |element: &Element| element.attribute("role") == Some("status");
        let announced = elements(&html).iter().filter(|e| is_status(e)).count();
        let expected = match name {
            "start" | "leaving" | "confirm" | "pairing" | "account" => 0,
            "account-token" => 2,
            _ => 1,
        };
        assert_eq!(announced, expected, "{name}");
    }
}

/// The relative luminance of a colour (WCAG 2.2).
fn luminance(colour: &str) -> f64 {
    let digits = colour.strip_prefix('#').unwrap();
    let full: String = match digits.len() {
        3 => digits.chars().flat_map(|c| [c, c]).collect(),
        _ => digits.to_owned(),
    };
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&full[at..at + 2], 16).unwrap()) / 255.0;
        match value {
            low if low <= 0.040_45 => low / 12.92,
            high => ((high + 0.055) / 1.055).powf(2.4),
        }
    };
    0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
}

#[test]
fn text_stands_out_in_light_and_in_dark() {
    let schemes: Vec<HashMap<&str, &str>> = STYLE
        .split(":root{")
        .skip(1)
        .map(|scheme| {
            let (colours, _) = scheme.split_once('}').unwrap();
            colours
                .split(';')
                .filter_map(|c| c.split_once(':'))
                .collect()
        })
        .collect();
    assert_eq!(schemes.len(), 2);
    for scheme in schemes {
        let contrast = |one: &str, other: &str| {
            let (a, b) = (luminance(scheme[one]), luminance(scheme[other]));
            (a.max(b) + 0.05) / (a.min(b) + 0.05)
        };
        for (text, ground, least) in [
            ("--ink", "--card", 7.0),
            ("--ink", "--wash", 7.0),
            ("--ink", "--paper", 7.0),
            ("--soft", "--card", 4.5),
            ("--soft", "--paper", 4.5),
            ("--main", "--card", 4.5),
            ("--main", "--wash", 4.5),
            ("--on-main", "--main", 4.5),
            ("--bad", "--card", 4.5),
            ("--edge", "--card", 3.0),
            ("--card", "--good", 3.0),
            ("--card", "--bad", 3.0),
            ("--card", "--note", 3.0),
        ] {
            let found = contrast(text, ground);
            assert!(found >= least, "{text} on {ground}: {found}");
        }
    }
}

#[tokio::test]
async fn a_message_has_the_status_of_what_it_tells() {
    let expected = HashMap::from([
        ("signed-out", 200),
        ("signed-out-everywhere", 200),
        ("declined", 200),
        ("failed", 403),
        ("failed-redirect", 502),
        ("sign-in-over", 410),
        ("other-browser", 403),
        ("not-mapped", 403),
        ("not-mapped-no-upn", 403),
        ("guest", 403),
        ("user-refused", 403),
        ("conflict", 409),
        ("pairing-not-me", 200),
        ("pairing-gone", 410),
        ("stale-form", 403),
        ("not-found", 404),
        ("not-allowed", 405),
        ("misdirected", 421),
        ("throttled", 429),
        ("unavailable", 503),
        ("fault", 500),
    ]);
    let site = samples::site(str::to_owned);
    let mut met = 0;
    for (name, page) in samples::pages(str::to_owned) {
        let status = read(&page, &site).await.0.as_u16();
        assert_eq!(status, expected.get(name).copied().unwrap_or(200), "{name}");
        met += usize::from(matches!(page, Page::Message(_)));
    }
    assert_eq!(met, expected.len());
}

#[tokio::test]
async fn http_is_told_what_the_page_says() {
    let site = samples::site(str::to_owned);
    let headers_of = async |name: &str| read(&page_of(name), &site).await.1;
    assert_eq!(headers_of("throttled").await["retry-after"], "42");
    assert_eq!(headers_of("not-allowed").await["allow"], "POST");
    let refresh = headers_of("leaving").await["refresh"].clone();
    assert_eq!(
        refresh,
        "0;url=https://login.microsoftonline.com/example.com/oauth2/v2.0/authorize?client_id=1&response_type=code"
    );
    assert!(!headers_of("not-found").await.contains_key("retry-after"));
}

#[tokio::test]
async fn a_wait_is_told_in_words() {
    for (retry_after, words) in [
        (None, "Wait a minute, then"),
        (Some(0.2), "Wait a second, then"),
        (Some(120.0), "Wait 120 seconds, then"),
        (Some(121.0), "Wait 3 minutes, then"),
        (Some(f64::NAN), "Wait a second, then"),
    ] {
        let html = html_of(Page::Message(Message::Throttled { retry_after })).await;
        assert!(html.contains(words), "{retry_after:?}: {html}");
    }
}

#[tokio::test]
async fn times_are_shown_in_utc() {
    let html = html_of(page_of("pairing")).await;
    let expected = "<time datetime=\"2026-11-26T14:08:05Z\">2026-11-26 14:08 UTC</time>";
    assert!(html.contains(expected), "{html}");
}

#[tokio::test]
async fn a_pairing_code_is_read_in_groups_and_spoken_by_symbols() {
    let html = html_of(page_of("pairing")).await;
    let seen = "<span aria-hidden=\"true\">7KQM-4XHP</span>";
    assert!(html.contains(seen), "{html}");
    assert!(html.contains(">7 K Q M, 4 X H P</span>"), "{html}");
}

#[test]
fn neither_a_code_nor_a_form_s_token_is_in_what_is_logged() {
    for name in ["start", "confirm", "pairing", "account"] {
        let logged = format!("{:?}", page_of(name));
        assert!(logged.contains("REDACTED"), "{logged}");
        for secret in ["csrf-0123456789abcdef", "7KQM4XHP"] {
            assert!(!logged.contains(secret), "{logged}");
        }
    }
}

#[tokio::test]
async fn a_token_in_what_entra_says_is_masked() {
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2ln";
    let details = Details {
        server_text: Some(format!("it was {token}")),
        ..Details::default()
    };
    let error = Error::with(Kind::ServerError, format!("no {token}"), details);
    let tried = Tried {
        resource: format!("https://example.com/{token}"),
        outcome: Err(error.clone()),
    };
    let account = Account {
        tried: Some(tried),
        ..account()
    };
    for page in [
        Page::Message(Message::Failed(error)),
        Page::Account(account),
    ] {
        let html = html_of(page).await;
        assert!(!html.contains("eyJ"), "{html}");
        assert!(html.contains("it was &#60;REDACTED&#62;"), "{html}");
    }
}

#[tokio::test]
async fn a_failure_tells_what_to_do_in_terms_of_the_hub() {
    for kind in Kind::ALL {
        let error = || Error::new(*kind, "it is so");
        let tried = Tried {
            resource: "https://storage.azure.com".to_owned(),
            outcome: Err(error()),
        };
        let tried = html_of(Page::Account(Account {
            tried: Some(tried),
            ..account()
        }))
        .await;
        let failed = html_of(Page::Message(Message::Failed(error()))).await;
        for html in [tried, failed] {
            let after = html.split_once("it is so.").unwrap().1;
            let advice = after.split_once("<p>").unwrap().1;
            assert!(
                advice.starts_with(|c: char| c.is_ascii_uppercase()),
                "{kind}: {advice}"
            );
            // That is how one signs in on a machine of one's own.
            assert!(!html.contains("azure_sign_in"), "{kind}");
        }
    }
}

#[tokio::test]
async fn a_missing_redirect_address_is_named() {
    let html = html_of(page_of("failed-redirect")).await;
    let expected = "<dd class=\"id\"><bdi>https://rstudio.example.com/callback</bdi></dd>";
    assert!(html.contains(expected), "{html}");
}

#[tokio::test]
async fn a_link_to_microsofts_account_page_is_shown_in_its_own_cloud_alone() {
    for (authority, has_account, has_revocation) in [
        ("https://login.microsoftonline.com", true, true),
        ("https://login.microsoftonline.us", false, true),
        ("https://login.example.com", false, false),
    ] {
        let site = Site {
            authority: Authority::given(authority).unwrap(),
            ..samples::site(str::to_owned)
        };
        let html = read(&page_of("signed-out-everywhere"), &site).await.2;
        assert_eq!(html.contains("myaccount.microsoft.com"), has_account);
        assert_eq!(html.contains("users-revoke-access"), has_revocation);
        assert!(html.contains("60 to 90 minutes"), "{html}");
        let start = read(&page_of("start"), &site).await.2;
        let host = authority.strip_prefix("https://").unwrap();
        assert!(start.contains(&format!("<strong>{host}</strong>")));
    }
}

#[tokio::test]
async fn what_was_done_to_sessions_is_counted() {
    for (count, words) in [
        (0, "There was no session to end."),
        (1, "One session was ended."),
        (7, "7 sessions were ended."),
    ] {
        let html = html_of(Page::Account(Account {
            notice: Some(Notice::SessionsEnded(count)),
            ..account()
        }))
        .await;
        assert!(html.contains(&format!("role=\"status\">{words}")), "{html}");
    }
}

#[tokio::test]
async fn the_guide_for_users_names_the_pages_of_failures_as_they_are() {
    let guide = include_str!("../../../../vignettes/hub-users.Rmd");
    let table = guide.split_once("| the page says |").unwrap().1;
    let table = table.split_once("\n\n").unwrap().0;
    let named: BTreeSet<&str> = table
        .lines()
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('*').skip(1).step_by(2))
        .collect();
    let (mut headings, mut failures) = (BTreeSet::new(), BTreeSet::new());
    for (name, html) in written().await {
        let elements = elements(&html);
        let is_main = |element: &&Element| element.name == "main";
        let class = elements.iter().find(is_main).unwrap().attribute("class");
        for element in &elements {
            if element.name == "h1" && class == Some("bad") && !name.starts_with("pairing") {
                failures.insert(element.text.clone());
            }
            if ["h1", "h2"].contains(&&*element.name) {
                headings.insert(element.text.clone());
            }
        }
    }
    let is_missing = |name: &&&str| !headings.contains(**name);
    assert_eq!(named.iter().find(is_missing), None);
    assert!(failures.len() > 5, "{failures:?}");
    let unnamed = failures.iter().find(|name| !named.contains(name.as_str()));
    assert_eq!(unnamed, None);
}
