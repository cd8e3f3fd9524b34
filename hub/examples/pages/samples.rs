//! Every page with sample data. `text` makes what stands in a field out of the sample for it.

use entrar_broker::accounts::AccountId;
use entrar_core::authority::Authority;
use entrar_core::error::{Details, Error, Kind};
use entrar_core::guid::Guid;
use entrar_core::time::UnixTime;
use entrar_hub::web::pages::{
    Account, Confirm, Leaving, Message, Notice, OpenedBy, Page, Pairing, PairingEnd, Person,
    Session, Site, Start, Tried,
};

/// 2026-11-26 14:03 UTC.
const NOW: UnixTime = UnixTime::of_whole(1_795_701_785);

/// A hub in a company.
pub fn site(text: impl Fn(&str) -> String) -> Site {
    Site {
        host: text("rstudio.example.com"),
        address: "https://rstudio.example.com".to_owned(),
        organisation: Some(text("Example Corporation")),
        contact: Some(text("it-help@example.com")),
        authority: Authority::default(),
        hsts: Some(31_536_000),
    }
}

fn person(text: &impl Fn(&str) -> String) -> Person {
    Person {
        name: Some(text("Alice Example")),
        username: Some(text("alice@example.com")),
        account: AccountId {
            tid: Guid::from_bits(0x1111_2222_3333_4444_5555_6666_7777_8888),
            oid: Guid::from_bits(0x9999_aaaa_bbbb_4ccc_8ddd_eeee_ffff_0000),
        },
    }
}

fn session(
    text: &impl Fn(&str) -> String,
    id: u32,
    opened_by: OpenedBy,
    minutes_ago: f64,
) -> Session {
    Session {
        id: format!("session-{id}"),
        machine: text("node17.cluster.example.com"),
        opened_by,
        opened_at: NOW - minutes_ago * 60.0,
        last_used: (id != 3).then(|| NOW - 120.0),
        expires_at: NOW + (720.0 - minutes_ago) * 60.0,
    }
}

fn refusal(text: &impl Fn(&str) -> String, kind: Kind, what: &str, code: i32, said: &str) -> Error {
    let details = Details {
        server_text: Some(text(said)),
        oauth_error: Some("invalid_grant".to_owned()),
        aadsts: vec![code],
        correlation_id: Some(text("5fd3bb11-0d1b-4a5e-9c3e-3b6e0f0a7c55")),
        ..Details::default()
    };
    Error::with(kind, text(what), details)
}

/// The pages, each with a name for a file.
pub fn pages(text: impl Fn(&str) -> String) -> Vec<(&'static str, Page)> {
    let csrf = || "csrf-0123456789abcdef".into();
    let expires_at = NOW + 300.0;
    let account = Account {
        person: person(&text),
        user: text("alice"),
        uid: 1001,
        signed_in_at: NOW - 86_400.0 * 3.0,
        must_sign_in: false,
        sessions: vec![
            session(&text, 1, OpenedBy::User, 12.0),
            session(&text, 2, OpenedBy::Launcher(text("jupyterhub")), 190.0),
            session(&text, 3, OpenedBy::Launcher(text("slurm-prolog")), 400.0),
        ],
        tried: None,
        notice: None,
        csrf: csrf(),
    };
    let no_consent = refusal(
        &text,
        Kind::ConsentRequired,
        "consent for this resource is missing",
        65_001,
        "AADSTS65001: The user or administrator has not consented to use the application with ID '00001111-aaaa-2222-bbbb-3333cccc4444' named 'Analytics hub'. Send an interactive authorization request for this user and resource.",
    );
    let policy = refusal(
        &text,
        Kind::AccessDenied,
        "your organisation does not allow this sign-in",
        53_003,
        "AADSTS53003: Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
    );
    let unregistered = refusal(
        &text,
        Kind::Misconfigured,
        "the app or the tenant is not set up for this sign-in",
        50_011,
        "AADSTS50011: The redirect URI 'https://rstudio.example.com/callback' specified in the request does not match the redirect URIs configured for the application.",
    );
    let tried = |outcome| {
        Some(Tried {
            resource: text("https://storage.azure.com"),
            outcome,
        })
    };
    let mut address = Authority::default().join("example.com/oauth2/v2.0/authorize");
    address.set_query(Some("client_id=1&response_type=code"));
    let mut pages = vec![
        ("start", Page::Start(Start { csrf: csrf() })),
        ("leaving", Page::Leaving(Leaving { address })),
        (
            "confirm",
            Page::Confirm(Confirm {
                person: person(&text),
                user: text("alice"),
                expires_at,
                csrf: csrf(),
            }),
        ),
        (
            "pairing",
            Page::Pairing(Pairing {
                person: person(&text),
                user: text("alice"),
                machine: text("node17.cluster.example.com"),
                code: "7KQM4XHP".into(),
                expires_at,
                csrf: csrf(),
            }),
        ),
        ("account", Page::Account(account.clone())),
        (
            "account-token",
            Page::Account(Account {
                tried: tried(Ok(NOW + 4_000.0)),
                notice: Some(Notice::SessionsEnded(2)),
                sessions: vec![],
                ..account.clone()
            }),
        ),
        (
            "account-refused",
            Page::Account(Account {
                tried: tried(Err(no_consent)),
                must_sign_in: true,
                ..account
            }),
        ),
    ];
    let person = || person(&text);
    let messages = [
        ("signed-out", Message::SignedOut),
        (
            "signed-out-everywhere",
            Message::SignedOutEverywhere {
                holds_at: Some(UnixTime::of_whole(1_795_392_060)),
            },
        ),
        ("declined", Message::Declined),
        ("failed", Message::Failed(policy)),
        ("failed-redirect", Message::Failed(unregistered)),
        ("sign-in-over", Message::SignInOver),
        ("other-browser", Message::OtherBrowser),
        (
            "not-mapped",
            Message::NotMapped {
                person: person(),
                upn: Some(text("alice@example.com")),
            },
        ),
        (
            "not-mapped-no-upn",
            Message::NotMapped {
                person: person(),
                upn: None,
            },
        ),
        ("guest", Message::Guest { person: person() }),
        (
            "user-refused",
            Message::UserRefused {
                person: person(),
                user: text("alice"),
                why: text("This server knows no user of this name."),
            },
        ),
        (
            "conflict",
            Message::Conflict {
                person: person(),
                user: text("alice"),
            },
        ),
        ("pairing-not-me", Message::PairingOver(PairingEnd::NotMe)),
        ("pairing-gone", Message::PairingOver(PairingEnd::Gone)),
        ("stale-form", Message::StaleForm),
        ("not-found", Message::NotFound),
        ("not-allowed", Message::NotAllowed { allow: "POST" }),
        ("misdirected", Message::Misdirected),
        (
            "throttled",
            Message::Throttled {
                retry_after: Some(41.2),
            },
        ),
        ("unavailable", Message::Unavailable),
        ("fault", Message::Fault),
    ];
    pages.extend(messages.map(|(name, message)| (name, Page::Message(message))));
    pages
}
