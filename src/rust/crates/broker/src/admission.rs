//! Whose request it is. Strangers are turned away before anything else is looked at: a page in a browser can post to this
//! machine's ports, and by a name of its own that leads here (DNS rebinding) it can read the replies too.

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use entrar_core::address::is_loopback_host;
use entrar_core::cookie::{BadCookie, CookieKey};
use entrar_core::rpc::{COOKIE_HEADER, Code};
use entrar_core::time::UnixTime;

use crate::rpc::Refused;

/// What every browser says of where a request comes from, and no client of the RPC.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Turns away what comes from a browser, and what was sent to another host's name than one of this machine.
pub(crate) fn refuse_strangers(uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
    let refused = |what| {
        Err(Refused::new(
            StatusCode::FORBIDDEN,
            Code::InvalidRequest,
            what,
        ))
    };
    if [ORIGIN, SEC_FETCH_SITE]
        .iter()
        .any(|name| headers.contains_key(name))
    {
        return refused("pages in a browser are not served");
    }
    let mut hosts = headers.get_all(HOST).iter();
    let is_ours = match (hosts.next(), hosts.next()) {
        (None, _) => true,
        (Some(host), None) => host
            .to_str()
            .ok()
            .and_then(|host| host.parse::<Authority>().ok())
            .is_some_and(|host| is_loopback_host(host.host())),
        _ => false,
    };
    if !is_ours || uri.host().is_some_and(|host| !is_loopback_host(host)) {
        return refused("the request was sent to another host");
    }
    Ok(())
}

/// The user whom the request's cookie stands for, at `now`.
pub(crate) fn user(
    key: &CookieKey,
    headers: &HeaderMap,
    now: UnixTime,
) -> Result<String, BadCookie> {
    let mut cookies = headers.get_all(COOKIE_HEADER).iter();
    match (cookies.next().map(|cookie| cookie.to_str()), cookies.next()) {
        (Some(Ok(cookie)), None) => key.verify(cookie.trim(), now),
        _ => Err(BadCookie::Missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_admitted(uri: &str, headers: &[(&str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        refuse_strangers(&uri.parse().unwrap(), &map).is_ok()
    }

    #[test]
    fn this_machines_names_are_admitted_and_no_others() {
        for host in [
            "127.0.0.1:8787",
            "localhost:1",
            "LOCALHOST",
            "[::1]:8787",
            "127.1.2.3",
        ] {
            assert!(is_admitted("/x", &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example:8787",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "user@evil.example",
            "",
            "a b",
        ] {
            assert!(!is_admitted("/x", &[("host", host)]), "{host}");
        }
        assert!(!is_admitted(
            "/x",
            &[("host", "localhost"), ("host", "localhost")]
        ));
        assert!(!is_admitted(
            "http://evil.example/x",
            &[("host", "localhost")]
        ));
        assert!(is_admitted(
            "http://localhost:1/x",
            &[("host", "localhost:1")]
        ));
        assert!(is_admitted("/x", &[]));
    }

    #[test]
    fn a_page_in_a_browser_is_not_admitted() {
        for header in [
            ("origin", "http://localhost:8787"),
            ("origin", "null"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert!(
                !is_admitted("/x", &[("host", "localhost"), header]),
                "{header:?}"
            );
        }
    }
}
