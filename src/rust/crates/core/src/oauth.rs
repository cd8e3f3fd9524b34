//! OAuth errors as Entra ID's token endpoint writes them, and what each means for the person.

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::error::{Details, Error, Kind, Outlook};
use crate::text::{masked, presentable};

/// The kind of an OAuth error object: by `suberror`, then by AADSTS code, then by `error`.
///
/// `object` is the token endpoint's error body, or an RPC reply's `oauth2_error`: `{error,
/// error_description?, error_codes?, suberror?, claims?, correlation_id?, trace_id?, retry_after?}`.
/// `secrets` are masked wherever the server repeats them.
#[must_use]
pub fn error_from_object(object: &Map<String, Value>, secrets: &[SecretString]) -> Error {
    let text = |name: &str| {
        let value = object.get(name)?.as_str()?;
        Some(presentable(value, secrets)).filter(|shown| !shown.is_empty())
    };
    let description = text("error_description");
    let described = description.as_deref().unwrap_or_default();
    let mut details = Details {
        oauth_error: text("error"),
        suberror: text("suberror"),
        claims: claims(object, secrets),
        correlation_id: text("correlation_id").or_else(|| id_after(described, "Correlation ID: ")),
        trace_id: text("trace_id").or_else(|| id_after(described, "Trace ID: ")),
        aadsts: codes(object.get("error_codes"), described),
        retry_after: object.get("retry_after").and_then(seconds),
        ..Details::default()
    };
    let kind = if details.retry_after.is_some() {
        Kind::Throttled
    } else {
        kind_of(&details)
    };
    let message = headline(kind);
    details.server_text = description.or_else(|| details.oauth_error.clone());
    let decisive = details
        .aadsts
        .iter()
        .copied()
        .find(|code| kind_of_code(*code).is_some());
    let remedy = decisive
        .filter(|code| kind_of_code(*code) == Some(kind))
        .and_then(remedy_of_code);
    let error = Error::with(kind, message, details).remedied(remedy);
    // Whoever reports it has already tried again.
    match error.outlook() {
        Outlook::Retry => error.with_outlook(Outlook::Later),
        _ => error,
    }
}

/// The claims challenge whole, since it is passed on: a JSON text, written anew so that nothing
/// but JSON gets through.
fn claims(object: &Map<String, Value>, secrets: &[SecretString]) -> Option<String> {
    const LONGEST: usize = 8_192;
    let challenge: Value = serde_json::from_str(object.get("claims")?.as_str()?).ok()?;
    let text = masked(&challenge.to_string(), secrets);
    (challenge.is_object() && text.len() <= LONGEST).then_some(text)
}

/// The error in a free text, if it names an AADSTS code, or is itself one of OAuth's error names.
#[must_use]
pub fn error_from_text(text: &str, secrets: &[SecretString]) -> Option<Error> {
    let mut object = Map::new();
    if kind_of_error(text).is_some() {
        object.insert("error".into(), text.into());
    } else if first_code(text).is_some() {
        object.insert("error_description".into(), text.into());
    } else {
        return None;
    }
    Some(error_from_object(&object, secrets))
}

/// What happened, in words, for an error that Entra ID reported.
pub fn headline(kind: Kind) -> &'static str {
    match kind {
        Kind::BadResource => "Entra ID knows no such resource or scope",
        Kind::SignInRequired => "Entra ID wants you to sign in again",
        Kind::ConsentRequired => "a permission for this resource, or consent to it, is missing",
        Kind::AccessDenied => "your organisation does not allow this access",
        Kind::Misconfigured => "the server's own registration with Entra ID is not in order",
        Kind::Throttled => "too many requests were made in a short time",
        Kind::Unavailable => "the service is not available at the moment",
        _ => "the server could not get a token",
    }
}

fn kind_of(details: &Details) -> Kind {
    details
        .suberror
        .as_deref()
        .and_then(kind_of_suberror)
        .or_else(|| details.aadsts.iter().find_map(|code| kind_of_code(*code)))
        .or_else(|| details.oauth_error.as_deref().and_then(kind_of_error))
        .unwrap_or(Kind::ServerError)
}

/// Only what a suberror says unmistakably; for the others the code knows better.
fn kind_of_suberror(suberror: &str) -> Option<Kind> {
    match suberror {
        "consent_required" => Some(Kind::ConsentRequired),
        "bad_token" | "basic_action" | "token_expired" | "user_password_expired" => {
            Some(Kind::SignInRequired)
        }
        "device_authentication_failed" | "protection_policy_required" => Some(Kind::AccessDenied),
        _ => None,
    }
}

/// Source: Microsoft Entra authentication and authorization error codes.
fn kind_of_code(code: i32) -> Option<Kind> {
    match code {
        50_055 | 50_058 | 50_074 | 50_076 | 50_078 | 50_079 | 50_132 | 50_158 | 50_173 | 50_199
        | 70_008 | 70_043 | 500_133 | 530_036 | 700_082 => Some(Kind::SignInRequired),
        65_001 | 65_004 | 90_094 | 650_056 | 650_057 => Some(Kind::ConsentRequired),
        // The account or the device, not the sign-in: to sign in again as the same person does not help.
        50_020 | 50_057 | 50_105 | 53_000 | 53_001 | 53_003 | 53_011 | 90_072 | 530_003
        | 530_032 | 530_034 | 530_035 => Some(Kind::AccessDenied),
        28_002 | 70_011 | 90_009 | 500_011 | 500_014 | 650_052 | 700_022 => Some(Kind::BadResource),
        50_011 | 50_194 | 65_002 | 90_002 | 90_019 | 700_016 | 700_025 | 700_027 | 700_213
        | 7_000_215 | 7_000_218 | 7_000_222 => Some(Kind::Misconfigured),
        // The loop detection comes as `invalid_grant`: signing in again would not help.
        50_196 => Some(Kind::Throttled),
        50_033 | 90_006 | 90_024 | 90_033 | 90_055 => Some(Kind::Unavailable),
        // A code used twice is a fault of whoever used it, though it comes as `invalid_grant`.
        54_005 => Some(Kind::ServerError),
        _ => None,
    }
}

/// What to do about a code for which the kind's own remedy says too little, or the wrong thing.
fn remedy_of_code(code: i32) -> Option<&'static str> {
    match code {
        50_020 | 90_072 => Some(
            "Your account is of another tenant: ask an administrator of this one to invite it as a guest.",
        ),
        50_057 => Some("Ask an administrator of your organisation: your account is disabled."),
        50_105 => Some(
            "Ask an administrator to assign you, or a group that you are in, to the server's enterprise application.",
        ),
        530_003 | 53_000 | 53_001 | 53_011 | 530_034 => Some(
            "Ask an administrator of your organisation: a policy wants another device, or finds a risk in the sign-in.",
        ),
        65_004 => Some(
            "Sign in again and agree to what the app asks for, or ask an administrator to consent for everybody.",
        ),
        50_055 => Some("Your password has expired: change it, then sign in again."),
        530_036 => Some(
            "The sign-in was begun with a device code, which your organisation no longer allows: sign in again in a browser.",
        ),
        _ => None,
    }
}

/// The codes for a service that is known, but not set up or switched off in this tenant.
const NO_SERVICE: [i32; 2] = [500_014, 650_052];

/// Whether an error says that the service behind the resource is missing in this tenant.
pub fn lacks_the_service(error: &Error) -> bool {
    error
        .details()
        .aadsts
        .iter()
        .any(|code| NO_SERVICE.contains(code))
}

fn kind_of_error(error: &str) -> Option<Kind> {
    match error {
        "invalid_grant" | "interaction_required" | "login_required" => Some(Kind::SignInRequired),
        "consent_required" => Some(Kind::ConsentRequired),
        "access_denied" => Some(Kind::AccessDenied),
        "invalid_scope" | "invalid_resource" | "invalid_target" => Some(Kind::BadResource),
        "invalid_client" | "unauthorized_client" => Some(Kind::Misconfigured),
        "temporarily_unavailable" | "server_error" => Some(Kind::Unavailable),
        _ => None,
    }
}

/// `error_codes` where it is a list of integers, else the first code in the description.
fn codes(list: Option<&Value>, description: &str) -> Vec<i32> {
    let listed: Vec<i32> = list
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|code| i32::try_from(code.as_i64()?).ok())
        .collect();
    if listed.is_empty() {
        first_code(description).into_iter().collect()
    } else {
        listed
    }
}

/// The number behind the first `AADSTS` that has one.
fn first_code(text: &str) -> Option<i32> {
    text.split("AADSTS").skip(1).find_map(|rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        rest.get(..end)?.parse().ok()
    })
}

fn id_after(description: &str, label: &str) -> Option<String> {
    let (_, rest) = description.split_once(label)?;
    let id = rest.split_whitespace().next()?;
    Some(id.to_owned())
}

/// A believable number of seconds to wait, as a number or as a text.
fn seconds(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => believable_wait(number.as_f64()?),
        Value::String(text) => believable_wait(text.trim().parse().ok()?),
        _ => None,
    }
}

/// A number of seconds that somebody may mean: a week at most.
pub fn believable_wait(seconds: f64) -> Option<f64> {
    const WEEK: f64 = 7.0 * 24.0 * 3_600.0;
    (0.0..=WEEK).contains(&seconds).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Every kind with the codes that make it.
    const CODES: [(&str, &[i32]); 8] = [
        (
            "sign_in_required",
            &[
                700_082, 70_008, 70_043, 50_173, 50_076, 50_079, 50_074, 50_078, 50_058, 50_132,
                50_055, 50_158, 500_133, 50_199, 530_036,
            ],
        ),
        (
            "consent_required",
            &[65_001, 650_056, 650_057, 90_094, 65_004],
        ),
        (
            "access_denied",
            &[
                53_000, 53_003, 530_032, 50_105, 50_020, 90_072, 50_057, 530_003, 530_034, 53_011,
                53_001, 530_035,
            ],
        ),
        (
            "bad_resource",
            &[500_011, 70_011, 28_002, 700_022, 90_009, 650_052, 500_014],
        ),
        (
            "misconfigured",
            &[
                7_000_215, 7_000_222, 700_016, 90_002, 90_019, 50_011, 7_000_218, 65_002, 700_025,
                700_027, 700_213, 50_194,
            ],
        ),
        ("throttled", &[50_196]),
        ("unavailable", &[90_055, 90_006, 90_024, 50_033, 90_033]),
        ("server_error", &[54_005]),
    ];

    fn error(value: Value) -> Error {
        error_from_object(value.as_object().unwrap(), &[])
    }

    fn kind(value: Value) -> &'static str {
        error(value).kind().as_str()
    }

    #[test]
    fn every_code_of_the_table_has_its_kind() {
        for (name, codes) in CODES {
            for code in codes {
                let listed = json!({"error": "invalid_grant", "error_codes": [code]});
                assert_eq!(kind(listed), name, "{code} in error_codes");
                let described = json!({"error": "invalid_grant", "error_description": format!("AADSTS{code}: no.")});
                let found = error(described);
                assert_eq!(found.kind().as_str(), name, "{code} in the description");
                assert_eq!(found.details().aadsts, [*code]);
            }
        }
    }

    #[test]
    fn a_code_that_needs_other_advice_than_its_kind_has_it() {
        for (code, advice) in [
            (50_020, "another tenant"),
            (50_057, "disabled"),
            (50_105, "assign you"),
            (530_036, "in a browser"),
        ] {
            let found = error(json!({"error": "invalid_grant", "error_codes": [code]}));
            let remedy = found.details().remedy.clone().unwrap();
            assert!(remedy.contains(advice), "{code}: {remedy}");
        }
        let found = error(json!({"error": "invalid_grant", "error_codes": [700_082]}));
        assert_eq!(found.details().remedy, None);
    }

    #[test]
    fn without_a_known_code_the_error_decides() {
        for (error, expected) in [
            ("invalid_grant", "sign_in_required"),
            ("interaction_required", "sign_in_required"),
            ("login_required", "sign_in_required"),
            ("consent_required", "consent_required"),
            ("access_denied", "access_denied"),
            ("invalid_scope", "bad_resource"),
            ("invalid_resource", "bad_resource"),
            ("invalid_target", "bad_resource"),
            ("invalid_client", "misconfigured"),
            ("unauthorized_client", "misconfigured"),
            ("temporarily_unavailable", "unavailable"),
            ("server_error", "unavailable"),
            ("something_else", "server_error"),
        ] {
            assert_eq!(kind(json!({"error": error})), expected, "{error}");
        }
    }

    #[test]
    fn a_suberror_beats_the_code_and_a_code_the_error() {
        assert_eq!(
            kind(
                json!({"error": "invalid_grant", "suberror": "consent_required", "error_codes": [50076]})
            ),
            "consent_required"
        );
        assert_eq!(
            kind(
                json!({"error": "invalid_grant", "suberror": "message_only", "error_codes": [53003]})
            ),
            "access_denied"
        );
    }

    #[test]
    fn of_several_codes_the_first_known_one_counts() {
        let found = error(json!({"error": "invalid_grant", "error_codes": [1, 65001, 50076]}));
        assert_eq!(found.kind(), Kind::ConsentRequired);
        assert_eq!(found.details().aadsts, [1, 65001, 50076]);
    }

    #[test]
    fn a_retry_after_beside_it_makes_it_throttled() {
        let found = error(json!({"error": "invalid_grant", "retry_after": "17"}));
        assert_eq!(found.kind(), Kind::Throttled);
        assert_eq!(found.details().retry_after, Some(17.0));
        for absurd in [json!(-1), json!(1e300), json!("soon"), json!(null)] {
            assert_eq!(
                kind(json!({"error": "invalid_grant", "retry_after": absurd})),
                "sign_in_required"
            );
        }
    }

    #[test]
    fn ids_are_taken_from_the_description_when_their_fields_are_absent() {
        let found = error(json!({
            "error": "invalid_grant",
            "error_description":
                "AADSTS700082: The refresh token has expired.\r\nTrace ID: t-1\r\nCorrelation ID: c-2\r\nTimestamp: 2026-11-23 00:00:00Z"
        }));
        assert_eq!(found.details().trace_id.as_deref(), Some("t-1"));
        assert_eq!(found.details().correlation_id.as_deref(), Some("c-2"));
    }

    #[test]
    fn a_claims_challenge_is_kept_whole_if_it_is_json() {
        let long = format!("{{\"access_token\":{{\"x\":\"{}\"}}}}", "a  b".repeat(500));
        let claims = |text: &str| {
            error(json!({"error": "interaction_required", "claims": text}))
                .details()
                .claims
                .clone()
        };
        assert_eq!(claims(&long), Some(long.clone()));
        for bad in ["", "no json", "[1]", "\u{7}"] {
            assert_eq!(claims(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_free_text_is_an_oauth_error_only_if_it_names_one() {
        let kind = |text| error_from_text(text, &[]).map(|error| error.kind());
        assert_eq!(kind("access_denied"), Some(Kind::AccessDenied));
        assert_eq!(
            kind("boom: AADSTS65001: consent"),
            Some(Kind::ConsentRequired)
        );
        assert_eq!(kind("AADSTS: no digits"), None);
        assert_eq!(kind("no such file"), None);
    }
}
