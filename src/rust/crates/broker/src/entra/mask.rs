//! Our own secrets, masked wherever a token endpoint quotes them.

use entrar_core::text::masked;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::form_urlencoded;

/// The object without these secrets, in whatever form it quotes them.
pub(super) fn without(object: Map<String, Value>, secrets: &[SecretString]) -> Map<String, Value> {
    let mut secrets: Vec<SecretString> = secrets.iter().flat_map(quotable).collect();
    // One may be a part of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
    let mut value = Value::Object(object);
    mask(&mut value, &secrets);
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The forms in which a token endpoint may quote a secret: as it is, and percent-encoded in the ways of forms and of URLs,
/// with capital letters or small ones.
fn quotable(secret: &SecretString) -> Vec<SecretString> {
    /// To mask a shorter one would garble any text.
    const SHORTEST: usize = 4;
    const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    let plain = secret.expose_secret();
    let in_form: String = form_urlencoded::byte_serialize(plain.as_bytes()).collect();
    let in_url = utf8_percent_encode(plain, UNRESERVED).to_string();
    let spaced = in_form.replace('+', "%20");
    let small = [&in_form, &in_url, &spaced].map(|text| small_escapes(text));
    [plain.to_owned(), in_form, in_url, spaced]
        .into_iter()
        .chain(small)
        .filter(|text| text.len() >= SHORTEST)
        .map(SecretString::from)
        .collect()
}

/// The text with the letters of its percent-escapes in lower case.
fn small_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let mut small = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escape, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        small.push('%');
        small.push_str(&escape.to_ascii_lowercase());
        small.push_str(rest);
    }
    small
}

/// Masks secrets in every text of a JSON value, also in the names of fields.
fn mask(value: &mut Value, secrets: &[SecretString]) {
    match value {
        Value::String(text) => *text = masked(text, secrets),
        Value::Array(values) => values.iter_mut().for_each(|value| mask(value, secrets)),
        Value::Object(object) => {
            let fields = std::mem::take(object);
            for (name, mut value) in fields {
                mask(&mut value, secrets);
                object.insert(masked(&name, secrets), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_endpoint_quotes_of_our_secrets_is_masked_wherever_it_stands() {
        let secrets = ["canary+a/b".into(), "canary s=1".into()];
        let value = json!({
            "error_description": "no: refresh_token=canary%2Ba%2Fb&client_secret=canary+s%3D1",
            "claims": "{\"canary+a/b\":\"canary%20s%3D1\"}",
            "net": "canary%2ba%2fb canary+s%3d1",
            "canary s=1": [{"deep": "canary+a/b"}, 7]
        });
        let value = Value::from(without(value.as_object().unwrap().clone(), &secrets));
        assert_eq!(
            value,
            json!({
                "error_description": "no: refresh_token=<REDACTED>&client_secret=<REDACTED>",
                "claims": "{\"<REDACTED>\":\"<REDACTED>\"}",
                "net": "<REDACTED> <REDACTED>",
                "<REDACTED>": [{"deep": "<REDACTED>"}, 7]
            })
        );
    }
}
