//! Where a person's browser ended: with a code, or with why there is none.

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::form_urlencoded;

/// The answer to an authorization request (RFC 6749, 4.1.2).
#[derive(Debug)]
pub struct Answer {
    /// What came back of the request's state.
    pub state: String,
    /// What it says.
    pub outcome: Outcome,
}

/// What an answer says.
#[derive(Debug)]
pub enum Outcome {
    /// The authorization code.
    Code(SecretString),
    /// An OAuth error object.
    Error(Map<String, Value>),
}

impl Answer {
    /// Reads the query of the address; `None` if it is no answer. A field that comes twice makes it none: who reads the
    /// first and who reads the last must not differ.
    #[must_use]
    pub fn read(query: &str) -> Option<Self> {
        let mut fields = Map::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = Value::from(value.into_owned());
            if fields.insert(name.into_owned(), value).is_some() {
                return None;
            }
        }
        let text = |fields: &Map<String, Value>, name: &str| {
            let text = fields.get(name)?.as_str()?.to_owned();
            (!text.is_empty()).then_some(text)
        };
        let state = text(&fields, "state")?;
        let outcome = match (text(&fields, "code"), text(&fields, "error")) {
            (Some(code), None) => Outcome::Code(code.into()),
            (None, Some(_)) => {
                // Only what OAuth means by it: everything else in the address is somebody else's.
                let known = ["error", "error_description", "error_subcode", "claims"];
                fields.retain(|name, _| known.contains(&name.as_str()));
                Outcome::Error(fields)
            }
            _ => return None,
        };
        Some(Self { state, outcome })
    }
}

/// The query of what a person pasted: a whole address, or its end.
pub(super) fn pasted_query(text: &str) -> &str {
    let text = text.trim().trim_matches(['"', '\'', '<', '>']);
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    text.split_once('?').map_or(text, |(_, query)| query)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_code_or_an_error_is_read_with_its_state() {
        let answer = Answer::read("code=a%2Bb&state=s&session_state=x").unwrap();
        assert_eq!(answer.state, "s");
        assert!(matches!(answer.outcome, Outcome::Code(code) if code.expose_secret() == "a+b"));
        let answer =
            Answer::read("error=access_denied&error_description=No%21&state=s&x=y").unwrap();
        let Outcome::Error(error) = answer.outcome else {
            panic!()
        };
        assert_eq!(error["error_description"], "No!");
        assert!(!error.contains_key("x"));
    }

    #[test]
    fn anything_else_is_no_answer() {
        for query in [
            "",
            "code=a",
            "state=s",
            "code=&state=s",
            "code=a&state=",
            "code=a&error=b&state=s",
            "code=a&code=b&state=s",
            "code=a&state=s&state=t",
        ] {
            assert!(Answer::read(query).is_none(), "{query}");
        }
    }

    #[test]
    fn an_address_is_pasted_whole_or_in_part() {
        for text in [
            "http://localhost:1/?code=a&state=s",
            "  http://localhost:1/?code=a&state=s\n",
            "<http://localhost:1/?code=a&state=s>",
            "localhost:1/?code=a&state=s#",
            "?code=a&state=s",
            "code=a&state=s",
        ] {
            assert_eq!(pasted_query(text), "code=a&state=s", "{text}");
        }
    }
}
