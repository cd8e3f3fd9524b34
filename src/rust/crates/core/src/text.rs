//! Making a server's text fit to be shown to a person: no control characters, no secrets, not too long.

use secrecy::{ExposeSecret, SecretString};

/// As much of a server's text as an error shows, in characters.
const LONGEST: usize = 1_000;

/// What stands where a secret was.
const REDACTED: &str = "<REDACTED>";

/// The text on one line, without control characters or text-direction overrides, with `secrets` and
/// anything that looks like a JSON Web Token masked, cut at 1,000 characters.
///
/// A server may quote our own request back at us, which is how a secret would get here.
#[must_use]
pub fn presentable(text: &str, secrets: &[SecretString]) -> String {
    let text = masked(text, secrets);
    let mut shown = String::new();
    for word in text.split(|c: char| c.is_control() || c == ' ') {
        let word: String = word.chars().filter(|c| !is_override(*c)).collect();
        if word.is_empty() {
            continue;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(&mask_web_tokens(&word));
    }
    if shown.chars().count() > LONGEST {
        shown = shown.chars().take(LONGEST).collect();
        shown.push('…');
    }
    shown
}

/// The text with `secrets` masked; otherwise as it is.
#[must_use]
pub fn masked(text: &str, secrets: &[SecretString]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| {
        match secret.expose_secret() {
            "" => text,
            secret => text.replace(secret, REDACTED),
        }
    })
}

/// Bidirectional overrides and isolates can make a line read as something else.
fn is_override(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Masks each run that starts like the base64url of `{"` and is long enough to be part of a token.
fn mask_web_tokens(word: &str) -> String {
    const SHORTEST: usize = 20;
    let mut masked = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(start) = rest.find("eyJ") {
        let (before, candidate) = rest.split_at(start);
        let end = candidate
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=')))
            .unwrap_or(candidate.len());
        let (token, after) = candidate.split_at(end);
        masked.push_str(before);
        masked.push_str(if token.len() >= SHORTEST {
            REDACTED
        } else {
            token
        });
        rest = after;
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_single_spaces() {
        assert_eq!(
            presentable("AADSTS1: no.\r\nTrace ID: 7\u{1b}[31m", &[]),
            "AADSTS1: no. Trace ID: 7 [31m"
        );
    }

    #[test]
    fn text_direction_overrides_are_dropped() {
        assert_eq!(presentable("a\u{202e}b\u{61c}c", &[]), "abc");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let shown = presentable(&"ä".repeat(100_000), &[]);
        assert_eq!(shown.chars().count(), LONGEST + 1);
    }

    #[test]
    fn the_given_secret_and_web_tokens_are_masked() {
        assert_eq!(
            presentable(
                "cookie=a|b|c token=eyJhbGciOiJSUzI1NiJ9.eyJh.sig!",
                &["a|b|c".into()]
            ),
            "cookie=<REDACTED> token=<REDACTED>!"
        );
        assert_eq!(presentable("eyJshort", &[]), "eyJshort");
    }
}
