//! The head of a visitor's request, and what the front door makes of it.

use crate::connect::VISITOR_HEADER;

/// How much of what comes after the head belongs to the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// So many bytes.
    Body(u64),
    /// Another protocol, if the app agrees to that.
    Upgrade,
}

/// Why a head does not get through, as an HTTP status and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) &'static str);

const MALFORMED: Refused = Refused("400 Bad Request");
const NO_LENGTH: Refused = Refused("411 Length Required");

/// The head as the app is to see it: with the visitor's token if there is a visitor, and with none that the browser sent.
/// `head` ends with its empty line.
///
/// All but upgrades are told to close the connection: what would follow on it did not come through here.
pub(crate) fn rewrite(head: &[u8], token: Option<&str>) -> Result<(Vec<u8>, Rest), Refused> {
    let head = head.strip_suffix(b"\r\n\r\n").ok_or(MALFORMED)?;
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next().and_then(line).ok_or(MALFORMED)?;
    let fields = lines
        .map(|bytes| line(bytes).and_then(field).ok_or(MALFORMED))
        .collect::<Result<Vec<_>, _>>()?;
    let rest = rest(&fields)?;

    let mut rewritten = first.to_vec();
    for (name, value) in &fields {
        let dropped = rest != Rest::Upgrade && (is(name, "connection") || is(name, "keep-alive"));
        if !dropped && !is(name, VISITOR_HEADER) {
            add(&mut rewritten, name, value);
        }
    }
    if rest != Rest::Upgrade {
        add(&mut rewritten, b"Connection", b" close");
    }
    if let Some(token) = token {
        add(
            &mut rewritten,
            VISITOR_HEADER.as_bytes(),
            format!(" {token}").as_bytes(),
        );
    }
    rewritten.extend_from_slice(b"\r\n\r\n");
    Ok((rewritten, rest))
}

/// A line without its carriage return. No other control characters are let through.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    let line = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let is_clean = line.iter().all(|byte| *byte >= b' ' || *byte == b'\t');
    is_clean.then_some(line)
}

/// A name, and its value with the space before it. A line that goes on with another one's value has no name.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let is_name = !name.is_empty() && !name.iter().any(u8::is_ascii_whitespace);
    is_name.then_some((name, value.get(1..)?))
}

fn rest(fields: &[(&[u8], &[u8])]) -> Result<Rest, Refused> {
    let values = |wanted| {
        let named = fields.iter().filter(move |(name, _)| is(name, wanted));
        named.map(|(_, value)| String::from_utf8_lossy(value).trim().to_lowercase())
    };
    if values("transfer-encoding").next().is_some() {
        return Err(NO_LENGTH);
    }
    let mut lengths = values("content-length").map(|length| length.parse().map_err(|_| MALFORMED));
    let length = lengths.next().unwrap_or(Ok(0))?;
    if lengths.next().is_some() {
        return Err(MALFORMED);
    }
    let asks =
        values("connection").any(|value| value.split(',').any(|word| word.trim() == "upgrade"));
    if asks && values("upgrade").next().is_some() && length == 0 {
        return Ok(Rest::Upgrade);
    }
    Ok(Rest::Body(length))
}

/// Whether an app may take two names for one: their case does not count, and some servers make no difference between
/// `-` and `_`.
fn is(name: &[u8], wanted: &str) -> bool {
    let plain = |byte: u8| match byte {
        b'_' => b'-',
        byte => byte.to_ascii_lowercase(),
    };
    name.iter()
        .copied()
        .map(plain)
        .eq(wanted.bytes().map(plain))
}

fn add(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(name);
    head.extend_from_slice(b":");
    head.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(head: &str, token: Option<&str>) -> Result<(String, Rest), &'static str> {
        rewrite(head.as_bytes(), token)
            .map(|(head, rest)| (String::from_utf8(head).unwrap(), rest))
            .map_err(|Refused(why)| why)
    }

    #[test]
    fn a_visitor_is_known_by_the_door_alone() {
        let head = "GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\
                    posit-connect-user-session-token: forged\r\nPosit_Connect_User_Session_Token: forged\r\n\r\n";
        let start = "GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: close";
        assert_eq!(
            rewritten(head, Some("token")),
            Ok((
                format!("{start}\r\nPosit-Connect-User-Session-Token: token\r\n\r\n"),
                Rest::Body(0)
            ))
        );
        assert_eq!(
            rewritten(head, None),
            Ok((format!("{start}\r\n\r\n"), Rest::Body(0)))
        );
    }

    #[test]
    fn a_handshake_stays_one() {
        let head = "GET /websocket/ HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let expected = head.replace(
            "websocket\r\n\r\n",
            "websocket\r\nPosit-Connect-User-Session-Token: t\r\n\r\n",
        );
        assert_eq!(rewritten(head, Some("t")), Ok((expected, Rest::Upgrade)));
    }

    #[test]
    fn a_body_has_a_length() {
        let of = |fields: &str| {
            let head = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n");
            rewritten(&head, None).map(|(_, rest)| rest)
        };
        assert_eq!(of("Content-Length: 12"), Ok(Rest::Body(12)));
        assert_eq!(of("Transfer-Encoding: chunked"), Err("411 Length Required"));
        for fields in [
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: -1",
            "no colon",
            ": no name",
            "A: b\r\n folded: too",
            "A : b",
            "A: b\rC: d",
        ] {
            assert_eq!(of(fields), Err("400 Bad Request"), "{fields:?}");
        }
    }
}
