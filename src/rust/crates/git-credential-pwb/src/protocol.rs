//! git's credential protocol: the request on stdin, and the answer on stdout.
//!
//! Source: git's documentation, `git-credential` and `gitcredentials`.

use std::io::{self, BufRead};

use entrar_core::time::UnixTime;
use secrecy::{ExposeSecret, SecretString};

/// The longest line that is read, in bytes without its line feed: git's own limit.
pub const LONGEST_LINE: usize = 65_535;
/// The longest request that is read, in bytes: far more than git writes.
pub const LONGEST_REQUEST: u64 = 1 << 20;

/// The state that asks for a second chance: this word comes back with the `get` that follows a refusal.
/// Every helper sees it, so it names ours.
const SECOND_CHANCE: &[u8] = b"git-credential-pwb:second-chance";

/// What git wants a credential for. The keys that nobody asks for, `password` among them, are not kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The URL's scheme.
    pub protocol: Option<String>,
    /// The URL's host, with its port if there is one.
    pub host: Option<String>,
    /// The URL's path, decoded; only where `useHttpPath` is set.
    pub path: Option<String>,
    /// The URL's user name, decoded. Some people write a personal access token in its place.
    pub username: Option<Vec<u8>>,
    /// The server's challenges, one a header.
    pub challenges: Vec<String>,
    /// What git can do beyond the basics.
    pub capabilities: Vec<String>,
    /// Whether this is the second chance that an earlier answer asked for.
    pub second_chance: bool,
}

/// Nothing of a request is shown: user name and path can hold secrets.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Request(<REDACTED>)")
    }
}

/// Why a request cannot be read. The line is told by its number, since it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading stdin failed.
    #[error("the request cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A NUL or a carriage return could make a line mean something else to somebody else.
    #[error("line {0} of the request holds a NUL or a carriage return")]
    ControlCharacter(usize),
    /// Not `key=value`.
    #[error("line {0} of the request is not of the form key=value")]
    NoValue(usize),
    /// Longer than [`LONGEST_LINE`].
    #[error("line {0} of the request is longer than {LONGEST_LINE} bytes")]
    TooLong(usize),
    /// Longer than [`LONGEST_REQUEST`].
    #[error("the request is longer than {LONGEST_REQUEST} bytes")]
    TooLarge,
}

impl Request {
    /// Reads a request up to a blank line or the end. Keys that are not known are passed over.
    ///
    /// # Errors
    /// What is wrong with it. A request that is not understood in full is not answered.
    pub fn read(input: impl BufRead) -> Result<Self, Error> {
        let mut input = input.take(LONGEST_REQUEST + 1);
        let mut request = Self::default();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            input.read_until(b'\n', &mut line)?;
            if input.limit() == 0 {
                return Err(Error::TooLarge);
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            if text.is_empty() {
                break;
            }
            if text.len() > LONGEST_LINE {
                return Err(Error::TooLong(number));
            }
            if text.contains(&0) || text.contains(&b'\r') {
                return Err(Error::ControlCharacter(number));
            }
            let mut parts = text.splitn(2, |byte| *byte == b'=');
            match (parts.next(), parts.next()) {
                (Some(key), Some(value)) => request.set(key, value),
                _ => return Err(Error::NoValue(number)),
            }
        }
        Ok(request)
    }

    /// A key that comes twice counts with its last value, as in git; an empty member empties a list.
    fn set(&mut self, key: &[u8], value: &[u8]) {
        // No host, scheme, organisation or challenge of Azure DevOps has bytes that are no UTF-8: replacing
        // them makes none look like one.
        let text = || String::from_utf8_lossy(value).into_owned();
        let push = |list: &mut Vec<String>| {
            if value.is_empty() {
                list.clear();
            } else {
                list.push(text());
            }
        };
        match key {
            b"protocol" => self.protocol = Some(text()),
            b"host" => self.host = Some(text()),
            b"path" => self.path = Some(text()),
            b"username" => self.username = Some(value.to_vec()),
            b"wwwauth[]" => push(&mut self.challenges),
            b"capability[]" => push(&mut self.capabilities),
            b"state[]" if value.is_empty() => self.second_chance = false,
            b"state[]" if value == SECOND_CHANCE => self.second_chance = true,
            _ => {}
        }
    }

    /// Whether git gives a helper its state back and calls it again after a refusal (2.46 and later).
    #[must_use]
    pub fn can_have_a_second_chance(&self) -> bool {
        self.capabilities.iter().any(|name| name == "state")
    }
}

/// A user name and a token, as git takes them.
#[derive(Debug)]
pub struct Answer<'a> {
    /// What Azure DevOps is given as user name, and does not look at.
    pub username: &'a [u8],
    /// The token.
    pub password: &'a SecretString,
    /// When the token expires.
    pub expires_at: Option<UnixTime>,
    /// Whether to be asked once more if this is refused.
    pub second_chance: bool,
}

impl Answer<'_> {
    /// The answer as git reads it. A capability stands before what depends on it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut line = |key: &str, value: &[u8]| {
            text.extend_from_slice(key.as_bytes());
            text.push(b'=');
            text.extend_from_slice(value);
            text.push(b'\n');
        };
        if self.second_chance {
            line("capability[]", b"state");
        }
        line("username", self.username);
        line("password", self.password.expose_secret().as_bytes());
        if let Some(expires_at) = self.expires_at {
            line(
                "password_expiry_utc",
                expires_at.whole().to_string().as_bytes(),
            );
        }
        if self.second_chance {
            line("continue", b"1");
            line("state[]", SECOND_CHANCE);
        }
        text
    }
}

/// The answer that makes git give up, where it would go on to ask others.
pub const QUIT: &[u8] = b"quit=1\n";

/// What `git-credential-pwb capability` prints.
pub const CAPABILITIES: &[u8] = b"version 0\ncapability state\n";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8]) -> Result<Request, Error> {
        Request::read(text)
    }

    #[test]
    fn a_request_of_git_2_47_is_read() {
        let text = b"capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=dev.azure.com\n\
            username=contoso\npath=contoso/p/_git/r\nwwwauth[]=Bearer authorization_uri=x\n\
            wwwauth[]=Basic realm=\"y\"\nstate[]=other:1\nstate[]=git-credential-pwb:second-chance\n\npast=end\n";
        let expected = Request {
            protocol: Some("https".into()),
            host: Some("dev.azure.com".into()),
            path: Some("contoso/p/_git/r".into()),
            username: Some("contoso".into()),
            challenges: vec![
                "Bearer authorization_uri=x".into(),
                "Basic realm=\"y\"".into(),
            ],
            capabilities: vec!["authtype".into(), "state".into()],
            second_chance: true,
        };
        assert!(read(text).unwrap() == expected);
    }

    #[test]
    fn the_end_of_input_ends_a_request_too() {
        assert_eq!(read(b"host=a").unwrap().host.as_deref(), Some("a"));
        assert!(read(b"").unwrap() == Request::default());
        assert!(read(b"\n").unwrap() == Request::default());
    }

    #[test]
    fn unknown_keys_are_passed_over_and_a_value_may_hold_anything_else() {
        let request = read(b"new=1\nnew[]=2\n=\npassword=canary-p\npath=a=b c\xc3\xa9\n").unwrap();
        let expected = Request {
            path: Some("a=b cé".into()),
            ..Request::default()
        };
        assert!(request == expected);
    }

    #[test]
    fn the_last_value_counts_and_an_empty_member_empties_a_list() {
        let text = b"host=a\nhost=b\nwwwauth[]=c\nwwwauth[]=\nwwwauth[]=d\n\
            state[]=git-credential-pwb:second-chance\nstate[]=\n";
        let request = read(text).unwrap();
        assert_eq!(request.host.as_deref(), Some("b"));
        assert_eq!(request.challenges, ["d"]);
        assert!(!request.second_chance);
    }

    #[test]
    fn what_could_be_misread_is_refused_by_its_line_number() {
        for (text, message) in [
            (
                &b"host=a\npath=\0\n"[..],
                "line 2 of the request holds a NUL or a carriage return",
            ),
            (
                b"host=a\r\n",
                "line 1 of the request holds a NUL or a carriage return",
            ),
            (
                b"a=\nb=\nhost\n",
                "line 3 of the request is not of the form key=value",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_line_of_64_kib_is_read_and_one_byte_more_is_not() {
        let line = |length: usize| [b"path=", vec![b'a'; length - 5].as_slice(), b"\n"].concat();
        let request = read(&line(LONGEST_LINE)).unwrap();
        assert_eq!(request.path.unwrap().len(), LONGEST_LINE - 5);
        assert_eq!(
            read(&line(LONGEST_LINE + 1)).unwrap_err().to_string(),
            "line 1 of the request is longer than 65535 bytes"
        );
    }

    #[test]
    fn an_endless_request_is_not_read_to_its_end() {
        let endless = io::BufReader::new(io::repeat(b'a'));
        assert!(matches!(Request::read(endless), Err(Error::TooLarge)));
        let many = b"wwwauth[]=a\n".repeat(100_000);
        assert!(matches!(read(&many), Err(Error::TooLarge)));
    }

    #[test]
    fn an_answer_is_what_git_reads() {
        let password = SecretString::from("canary-token");
        let mut answer = Answer {
            username: b"contoso",
            password: &password,
            expires_at: None,
            second_chance: false,
        };
        assert_eq!(
            answer.to_bytes(),
            b"username=contoso\npassword=canary-token\n"
        );
        answer.expires_at = Some(UnixTime::of_whole(1_795_392_000));
        answer.second_chance = true;
        let expected = "capability[]=state\nusername=contoso\npassword=canary-token\n\
            password_expiry_utc=1795392000\ncontinue=1\nstate[]=git-credential-pwb:second-chance\n";
        assert_eq!(String::from_utf8(answer.to_bytes()).unwrap(), expected);
        assert!(!format!("{answer:?}").contains("canary"));
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        let byte = any::<u8>().prop_filter("ends a line", |byte| !b"\0\r\n".contains(byte));
        prop::collection::vec(byte, 0..100)
    }

    proptest! {
        #[test]
        fn any_input_is_a_request_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            if let Err(error) = read(&bytes) {
                prop_assert!(error.to_string().contains("the request"));
            }
        }

        #[test]
        fn any_value_of_a_line_is_read_whole(value in value(), before in value(), after in value()) {
            let mut text = b"x".to_vec();
            for (key, value) in [(&b"="[..], &before), (b"username=", &value), (b"password=", &after)] {
                text.extend_from_slice(key);
                text.extend_from_slice(value);
                text.push(b'\n');
            }
            prop_assert_eq!(read(&text).unwrap().username, Some(value));
        }

        #[test]
        fn bad_utf_8_is_replaced(value in value()) {
            let text = [&b"host="[..], &value, b"\n"].concat();
            let host = String::from_utf8_lossy(&value).into_owned();
            prop_assert_eq!(read(&text).unwrap().host, Some(host));
        }

        #[test]
        fn a_nul_or_carriage_return_anywhere_is_refused(
            key in value(), value in value(), bad in prop::sample::select(vec![0_u8, b'\r']), inside_key: bool
        ) {
            let mut text = b"k".to_vec();
            text.extend_from_slice(&key);
            if inside_key { text.push(bad) }
            text.push(b'=');
            text.extend_from_slice(&value);
            if !inside_key { text.push(bad) }
            prop_assert!(matches!(read(&text), Err(Error::ControlCharacter(1))));
        }

        #[test]
        fn a_long_line_is_refused_from_the_limit_on(more in 0_usize..2_000) {
            let text = [&b"path="[..], &vec![b'a'; LONGEST_LINE - 1_000 - 5 + more], b"\n"].concat();
            let is_too_long = matches!(read(&text), Err(Error::TooLong(1)));
            prop_assert_eq!(is_too_long, more > 1_000);
        }
    }
}
