//! Who has signed in, as the id_token says.
//!
//! It is taken from the token endpoint's own reply over TLS and from nowhere else, so that its signature need not be looked
//! at (OpenID Connect Core 1.0, 3.1.3.7, 6). Everything else of it is.

use entrar_core::error::{Error, Kind};
use entrar_core::guid::Guid;
use entrar_core::text::presentable;
use entrar_core::time::UnixTime;
use entrar_core::token::claims;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::failure::with_remedy;
use super::secrets;
use crate::accounts::AccountId;

/// By how many seconds the clocks of this machine and of Entra ID may differ.
const LEEWAY: f64 = 300.0;

/// Who has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: AccountId,
    /// The user name, for show.
    pub username: Option<String>,
    /// The claim `upn`, unchanged, where the app's registration asks for it: the directory's own name for the account.
    pub upn: Option<String>,
    /// The person's name, for show.
    pub name: Option<String>,
    /// Whether the account is a guest of its tenant, where the token tells.
    pub is_guest: bool,
}

/// What an id_token is held against.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    /// As discovery says it, perhaps with `{tenantid}` in it.
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    /// `None` for a device code, which has none.
    pub(super) nonce: Option<&'a SecretString>,
    /// The tenant that the person asked for, if it was a GUID.
    pub(super) tenant: Option<Guid>,
    pub(super) now: UnixTime,
}

/// Reads an id_token and checks it.
pub(super) fn identity(
    id_token: Option<&SecretString>,
    expected: &Expected<'_>,
) -> Result<Identity, Error> {
    let id_token =
        id_token.ok_or_else(|| bad("Entra ID sent no id_token, which says who signed in"))?;
    let claims = claims(id_token.expose_secret())
        .filter(Value::is_object)
        .ok_or_else(|| bad("the id_token cannot be read"))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    // The directory lets people choose names, and R asks by them whether one account may take another's place.
    let shown = |name: &str| {
        text(name)
            .map(|text| presentable(text, &[]))
            .filter(|text| !text.is_empty())
    };
    let account = account(&claims)?;
    let issuer = expected
        .issuer
        .replace("{tenantid}", &account.tid.to_string());
    if text("iss") != Some(&*issuer) {
        return Err(bad("the id_token is of another issuer"));
    }
    if text("aud") != Some(expected.client_id) {
        return Err(bad("the id_token is for another app"));
    }
    if let Some(nonce) = expected.nonce {
        if !text("nonce").is_some_and(|text| secrets::is(nonce, text)) {
            return Err(bad("the id_token is of another sign-in"));
        }
    }
    check_times(&claims, expected.now)?;
    if expected.tenant.is_some_and(|tenant| tenant != account.tid) {
        return Err(with_remedy(
            Kind::AccessDenied,
            &format!(
                "you signed in to the tenant {}, not to the one that was asked for",
                account.tid
            ),
            "Sign in again with an account of that tenant, or name the other tenant.",
        ));
    }
    Ok(Identity {
        account,
        username: shown("preferred_username").or_else(|| shown("upn")),
        upn: text("upn").map(str::to_owned),
        name: shown("name"),
        is_guest: claims.get("acct").and_then(Value::as_i64) == Some(1),
    })
}

/// Whether a reply's id_token names another account than this one. Such a reply must not be used at all.
#[must_use]
pub fn is_of_another(id_token: Option<&SecretString>, wanted: AccountId) -> bool {
    id_token
        .and_then(|id_token| claims(id_token.expose_secret()))
        .and_then(|claims| account(&claims).ok())
        .is_some_and(|account| account != wanted)
}

fn account(claims: &Value) -> Result<AccountId, Error> {
    let guid = |name: &str| -> Option<Guid> { claims.get(name)?.as_str()?.parse().ok() };
    match (guid("tid"), guid("oid")) {
        (Some(tid), Some(oid)) => Ok(AccountId { tid, oid }),
        _ => Err(bad(
            "the id_token does not name an account by tenant and object id (tid, oid)",
        )),
    }
}

/// The token was made just now: where it is not good at this time, a clock is wrong. When it was made tells by how much;
/// Entra ID dates it back by some minutes.
fn check_times(claims: &Value, now: UnixTime) -> Result<(), Error> {
    let time = |name: &str| claims.get(name).and_then(Value::as_f64).map(UnixTime::new);
    let expires_at =
        time("exp").ok_or_else(|| bad("the id_token does not tell when it expires"))?;
    let made_at = time("iat").ok_or_else(|| bad("the id_token does not tell when it was made"))?;
    let begins_at = time("nbf").map_or(made_at, |begins_at| begins_at.max(made_at));
    let skewed = |by: f64, direction: &str| {
        with_remedy(
            Kind::BadReply,
            &format!(
                "the clock of this machine is about {} {direction} that of Entra ID",
                rough(by)
            ),
            "Set this machine's clock, and sign in again.",
        )
    };
    if now - expires_at > LEEWAY {
        return Err(skewed(now - made_at.min(expires_at), "ahead of"));
    }
    if begins_at - now > LEEWAY {
        return Err(skewed(begins_at - now, "behind"));
    }
    Ok(())
}

/// So many seconds as people say it.
fn rough(seconds: f64) -> String {
    let (minute, hour, day) = (60.0, 3_600.0, 86_400.0);
    match seconds {
        _ if seconds < 2.0 * hour => format!("{:.0} minutes", seconds / minute),
        _ if seconds < 2.0 * day => format!("{:.0} hours", seconds / hour),
        _ => format!("{:.0} days", seconds / day),
    }
}

fn bad(what: &str) -> Error {
    with_remedy(
        Kind::BadReply,
        what,
        "Sign in again; if it stays, give this message to your administrator.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    const TENANT: &str = "11111111-2222-3333-4444-555555555555";
    const ADA: &str = "99999999-2222-3333-4444-555555555555";
    const NOW: UnixTime = UnixTime::of_whole(1_795_392_000);

    fn token(change: impl Fn(&mut Value)) -> SecretString {
        let mut claims = json!({
            "iss": format!("https://login.example/{TENANT}/v2.0"), "aud": "app", "nonce": "n",
            "tid": TENANT, "oid": ADA, "exp": 1_795_395_600, "nbf": 1_795_392_000, "iat": 1_795_392_000,
            "preferred_username": "ada@example.com", "name": "Ada Example"
        });
        change(&mut claims);
        let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
        format!("e30.{payload}.canary").into()
    }

    fn checked(
        token: &SecretString,
        change: impl Fn(&mut Expected<'_>),
    ) -> Result<Identity, Error> {
        let nonce = "n".into();
        let mut expected = Expected {
            issuer: "https://login.example/{tenantid}/v2.0",
            client_id: "app",
            nonce: Some(&nonce),
            tenant: None,
            now: NOW,
        };
        change(&mut expected);
        identity(Some(token), &expected)
    }

    #[test]
    fn a_good_token_says_who_signed_in() {
        let identity = checked(&token(|_| {}), |_| {}).unwrap();
        assert_eq!(identity.account.tid.to_string(), TENANT);
        assert_eq!(identity.account.oid.to_string(), ADA);
        assert_eq!(identity.username.as_deref(), Some("ada@example.com"));
        assert!(!identity.is_guest);
        let guest = token(|claims| claims["acct"] = 1.into());
        assert!(checked(&guest, |_| {}).unwrap().is_guest);
        let of_device = token(|claims| claims["nonce"] = Value::Null);
        assert!(checked(&of_device, |expected| expected.nonce = None).is_ok());
        let literal = format!("https://login.example/{TENANT}/v2.0");
        assert!(identity_with_issuer(&literal).is_ok());
    }

    #[test]
    fn a_name_is_shown_in_the_order_in_which_it_is_written() {
        let token = token(|claims| {
            claims["preferred_username"] = "\u{7}".into();
            claims["upn"] = "ada\u{202e}@example.com".into();
            claims["name"] = "Ada\r\nExample\u{2066}".into();
        });
        let identity = checked(&token, |_| {}).unwrap();
        assert_eq!(identity.username.as_deref(), Some("ada@example.com"));
        assert_eq!(identity.name.as_deref(), Some("Ada Example"));
    }

    fn identity_with_issuer(issuer: &str) -> Result<Identity, Error> {
        let nonce = "n".into();
        let expected = Expected {
            issuer,
            client_id: "app",
            nonce: Some(&nonce),
            tenant: Some(TENANT.parse().unwrap()),
            now: NOW,
        };
        identity(Some(&token(|_| {})), &expected)
    }

    #[test]
    fn whatever_is_not_as_expected_is_refused() {
        let other = "00000000-2222-3333-4444-555555555555";
        for (name, value, what) in [
            ("iss", json!("https://evil.example/v2.0"), "another issuer"),
            (
                "iss",
                json!("https://login.example/{tenantid}/v2.0"),
                "another issuer",
            ),
            ("tid", json!(other), "another issuer"),
            ("aud", json!("another"), "another app"),
            ("aud", json!(["app"]), "another app"),
            ("nonce", json!("m"), "another sign-in"),
            ("nonce", Value::Null, "another sign-in"),
            ("oid", json!("ada"), "does not name an account"),
            ("tid", Value::Null, "does not name an account"),
            ("exp", Value::Null, "when it expires"),
            ("exp", json!("1795395600"), "when it expires"),
            ("iat", Value::Null, "when it was made"),
        ] {
            let token = token(|claims| claims[name] = value.clone());
            let error = checked(&token, |_| {}).unwrap_err();
            assert!(error.message().contains(what), "{name}: {error}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
        for text in ["", "opaque", "a.b.c", "e30.W10.x"] {
            assert!(checked(&text.into(), |_| {}).is_err(), "{text}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_is_named_with_the_difference() {
        let at = |seconds: f64| checked(&token(|_| {}), |expected| expected.now = NOW + seconds);
        assert!(at(-300.0).is_ok() && at(3_900.0).is_ok());
        for (seconds, words) in [
            (-301.0, "about 5 minutes behind that of Entra ID"),
            (-3_540.0, "about 59 minutes behind"),
            (-10_000_000.0, "about 116 days behind"),
            (3_901.0, "about 65 minutes ahead of that of Entra ID"),
            (7_200.0, "about 2 hours ahead"),
            (172_800.0, "about 2 days ahead"),
        ] {
            let error = at(seconds).unwrap_err();
            assert!(error.message().contains(words), "{seconds}: {error}");
            let remedy = error.details().remedy.as_deref().unwrap();
            assert!(remedy.contains("Set this machine's clock"), "{remedy}");
        }
        let not_yet = token(|claims| claims["nbf"] = 1_795_394_000.into());
        let error = checked(&not_yet, |_| {}).unwrap_err();
        assert!(error.message().contains("33 minutes behind"), "{error}");
    }

    #[test]
    fn the_tenant_that_was_asked_for_is_the_one_that_answers() {
        let other: Guid = "00000000-2222-3333-4444-555555555555".parse().unwrap();
        let error = checked(&token(|_| {}), |expected| expected.tenant = Some(other)).unwrap_err();
        assert_eq!(error.kind(), Kind::AccessDenied);
        assert!(error.message().contains(TENANT), "{error}");
    }

    #[test]
    fn a_replys_id_token_may_name_another_account() {
        let ada = AccountId {
            tid: TENANT.parse().unwrap(),
            oid: ADA.parse().unwrap(),
        };
        let bob = AccountId {
            oid: Guid::from_bits(1),
            ..ada
        };
        let token = token(|_| {});
        assert!(!is_of_another(Some(&token), ada));
        assert!(is_of_another(Some(&token), bob));
        assert!(!is_of_another(Some(&"opaque".into()), ada));
        assert!(!is_of_another(None, ada));
    }
}
