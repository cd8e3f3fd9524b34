//! Making a server's text fit to be shown to a person: nothing that is not seen, no secrets, not too long.

use secrecy::{ExposeSecret, SecretString};

/// As much of a server's text as an error shows, in characters.
const LONGEST: usize = 1_000;

/// What stands where a secret was.
const REDACTED: &str = "<REDACTED>";

/// The text on one line, without control characters and others that are not seen, with `secrets` and
/// anything that looks like a JSON Web Token masked, cut at 1,000 characters.
///
/// A server may quote our own request back at us, which is how a secret would get here.
#[must_use]
pub fn presentable(text: &str, secrets: &[SecretString]) -> String {
    let seen: String = masked(text, secrets)
        .chars()
        .filter(|c| !is_unseen(*c))
        .collect();
    let mut shown = String::new();
    // Once more, for a secret that something unseen has split.
    for word in masked(&seen, secrets).split(is_space) {
        if word.is_empty() {
            continue;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(&mask_web_tokens(word));
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

fn is_space(c: char) -> bool {
    c.is_control() || matches!(c, ' ' | '\u{2028}' | '\u{2029}')
}

/// Characters that draw nothing themselves: those that turn the direction of a text or join what stands beside them, fillers
/// and variants, and tags (Unicode's `Default_Ignorable_Code_Point`, with the characters for annotations). With them a line
/// can read as something else, or a name as another one.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
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
    fn what_is_not_seen_is_dropped() {
        for unseen in [
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{202a}',
            '\u{202b}',
            '\u{202c}',
            '\u{202d}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2067}',
            '\u{2068}',
            '\u{2069}',
            '\u{206f}',
            '\u{feff}',
            '\u{fe0f}',
            '\u{3164}',
            '\u{e0041}',
        ] {
            let shown = presentable(&format!("a{unseen}b"), &[]);
            assert_eq!(shown, "ab", "{unseen:?}");
        }
        for line_end in ['\u{2028}', '\u{2029}', '\u{85}'] {
            assert_eq!(presentable(&format!("a{line_end}b"), &[]), "a b");
        }
        for seen in ["Zoë Ünal", "אדה", "李雷", "e\u{301}"] {
            assert_eq!(presentable(seen, &[]), seen);
        }
    }

    #[test]
    fn nothing_unseen_hides_a_secret() {
        let shown = presentable(
            "can\u{200b}ary ey\u{2060}JhbGciOiJSUzI1NiJ9.sig",
            &["canary".into()],
        );
        assert_eq!(shown, "<REDACTED> <REDACTED>");
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
