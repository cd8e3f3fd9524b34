//! Whether a session's server answers at all: a question that needs neither cookie nor password.

use std::time::Duration;

use entrar_core::env::Env;
use entrar_core::error::Error;
use entrar_core::http::Http;
use entrar_core::retry::retried;
use entrar_core::time::UnixTime;
use reqwest::header::{DATE, HeaderMap};
use tokio::time::Instant;

use crate::origin::Session;
use crate::remedy::advised;
use crate::rpc::too_slow;

/// A server's answer to a question that needs none.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status. Each is a good one: it shows that somebody is there.
    pub status: u16,
    /// How long it took, a new connection included.
    pub elapsed: Duration,
    /// How many seconds the server's clock is ahead of ours, if the reply has a date; right to about
    /// half a second.
    pub clock_skew: Option<f64>,
}

/// Asks whether anybody answers as this session's server, without cookie and without password.
///
/// # Errors
/// Those of a request that gets no reply, and [`entrar_core::error::Kind::Timeout`].
pub async fn probe(
    http: &Http,
    env: &Env,
    session: &Session,
    timeout: Duration,
) -> Result<Answer, Error> {
    let deadline = Instant::now() + timeout;
    let judge = |error: &Error| (error.outlook(), None);
    match retried(deadline, 1, judge, || ask(http, env, session)).await {
        Ok(outcome) => outcome.map_err(|error| advised(session, error)),
        Err(_) => Err(too_slow(&session.server(), timeout)),
    }
}

async fn ask(http: &Http, env: &Env, session: &Session) -> Result<Answer, Error> {
    let mut url = session.root();
    // An address of http has a place for both, so neither can fail.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let sent = env.now();
    let started = Instant::now();
    let response = http
        .client()
        .get(url)
        .send()
        .await
        .map_err(|error| http.no_reply(&error, &session.server()))?;
    let elapsed = started.elapsed();
    Ok(Answer {
        status: response.status().as_u16(),
        elapsed,
        clock_skew: date(response.headers()).map(|date| date - (sent + elapsed / 2)),
    })
}

/// The middle of the second that the reply is dated with.
fn date(headers: &HeaderMap) -> Option<UnixTime> {
    let date = headers.get(DATE)?.to_str().ok()?;
    Some(UnixTime::of_http_date(date)? + 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_dated_by_the_middle_of_its_second() {
        let dated = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, text.parse().unwrap());
            date(&headers)
        };
        assert_eq!(
            dated("Mon, 23 Nov 2026 00:00:00 GMT"),
            Some(UnixTime::new(1_795_392_000.5))
        );
        assert_eq!(dated("today"), None);
        assert_eq!(date(&HeaderMap::new()), None);
    }
}
