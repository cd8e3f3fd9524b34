//! Numbers for monitoring, in Prometheus' text format. Labels hold results, names of well-known resources and of keys, and
//! never who anybody is.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use entrar_broker::entra::{Granted, Refusal};
use entrar_broker::exchange::{Load, Over};
use entrar_core::resource::{Resource, name_of};
use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::store::Counts;

/// Upper bounds of what is told apart of an exchange's time, in seconds. The last one is an exchange's deadline.
const SECONDS: [f64; 9] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];
/// Every other resource. There may be as many of them as anybody likes.
const OTHER: &str = "other";

type NoLabel = [(&'static str, &'static str); 0];
type Label<V> = [(&'static str, V); 1];
type Outcome = [(&'static str, &'static str); 2];

/// The numbers.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    token_requests: Family<Outcome, Counter>,
    exchanges: Family<Outcome, Counter>,
    exchange_seconds: Family<Label<&'static str>, Histogram>,
    under_way: Gauge,
    waiting: Gauge,
    sign_ins: Family<Label<String>, Counter>,
    people: Family<NoLabel, Gauge>,
    sessions: Family<NoLabel, Gauge>,
    key: Family<Label<String>, Gauge>,
    database_up: Gauge,
    reload_failed: Gauge,
    /// Held while they are written: some are set just before.
    writing: Mutex<()>,
}

impl Default for Metrics {
    /// Nothing has been counted.
    fn default() -> Self {
        let mut all = Registry::with_prefix("entrar_hub");
        let build: Family<Label<&'static str>, Gauge> = Family::default();
        build
            .get_or_create(&[("version", env!("CARGO_PKG_VERSION"))])
            .set(1);
        all.register("build_info", "The version of entrar-hub", build);
        let new = Self {
            registry: Registry::default(),
            token_requests: Family::default(),
            exchanges: Family::default(),
            exchange_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            under_way: Gauge::default(),
            waiting: Gauge::default(),
            sign_ins: Family::default(),
            people: Family::default(),
            sessions: Family::default(),
            key: Family::default(),
            database_up: Gauge::default(),
            reload_failed: Gauge::default(),
            writing: Mutex::default(),
        };
        all.register(
            "token_requests",
            "Requests for a token that were answered",
            new.token_requests.clone(),
        );
        all.register(
            "exchanges",
            "Exchanges with the tenant; requests that overlap share one",
            new.exchanges.clone(),
        );
        all.register(
            "exchange_seconds",
            "How long exchanges took, the wait for their turn included",
            new.exchange_seconds.clone(),
        );
        all.register(
            "exchanges_under_way",
            "Exchanges under way now, the waiting ones included",
            new.under_way.clone(),
        );
        all.register(
            "exchanges_waiting",
            "Exchanges that wait for another one of the same account now",
            new.waiting.clone(),
        );
        all.register(
            "sign_ins",
            "Sign-ins on the page that have come to an end",
            new.sign_ins.clone(),
        );
        all.register(
            "people_signed_in",
            "Accounts that are signed in now",
            new.people.clone(),
        );
        all.register(
            "sessions_open",
            "Sessions of other people's clients that are open now",
            new.sessions.clone(),
        );
        all.register("key_info", "The key that seals now", new.key.clone());
        all.register(
            "database_up",
            "Whether the database could be written to just now",
            new.database_up.clone(),
        );
        all.register(
            "reload_failed",
            "Whether the last attempt to read the settings anew came to nothing",
            new.reload_failed.clone(),
        );
        Self {
            registry: all,
            ..new
        }
    }
}

/// What a resource is called in a label; `None` is one that makes no sense.
#[must_use]
pub fn label_of(resource: Option<&Resource>) -> &'static str {
    resource.and_then(name_of).unwrap_or(OTHER)
}

impl Metrics {
    /// A request for a token was answered.
    pub fn answered(&self, resource: &'static str, outcome: &Result<Granted, Refusal>) {
        let result = match outcome {
            Ok(_) => "ok",
            Err(refusal) => refusal.error().kind().as_str(),
        };
        let labels = [("result", result), ("resource", resource)];
        self.token_requests.get_or_create(&labels).inc();
    }

    /// What is to be told of each exchange that is over.
    pub fn watch(&self) -> impl Fn(&Over<'_>) + Send + Sync + 'static {
        let (exchanges, seconds) = (self.exchanges.clone(), self.exchange_seconds.clone());
        move |over| {
            let resource = label_of(Some(over.resource));
            let labels = [("result", over.result), ("resource", resource)];
            exchanges.get_or_create(&labels).inc();
            let seconds = seconds.get_or_create(&[("resource", resource)]);
            seconds.observe(over.took.as_secs_f64());
        }
    }

    /// A sign-in has come to an end, in this word of the audit.
    pub fn signed_in(&self, result: &str) {
        let labels = [("result", result.to_owned())];
        self.sign_ins.get_or_create(&labels).inc();
    }

    /// The settings were read anew, or could not be.
    pub fn reloaded(&self, is_done: bool) {
        self.reload_failed.set(i64::from(!is_done));
    }

    /// All of it as text. What the database did not say is left out.
    ///
    /// # Errors
    /// Never: a text has room.
    pub fn text(
        &self,
        load: Load,
        is_database_up: bool,
        counts: Option<&Counts>,
    ) -> Result<String, fmt::Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.under_way.set(of(load.under_way));
        self.waiting.set(of(load.waiting));
        self.database_up.set(i64::from(is_database_up));
        self.key.clear();
        match counts {
            Some(counts) => {
                self.people.get_or_create(&[]).set(of(counts.people));
                self.sessions.get_or_create(&[]).set(of(counts.sessions));
                let key = [("key", counts.key.clone())];
                self.key.get_or_create(&key).set(1);
            }
            None => {
                self.people.clear();
                self.sessions.clear();
            }
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn of(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn text(metrics: &Metrics, counts: Option<&Counts>) -> String {
        let load = Load {
            under_way: 2,
            waiting: 1,
        };
        metrics.text(load, counts.is_some(), counts).unwrap()
    }

    #[test]
    fn an_exchanges_time_is_told_by_resource_and_what_nobody_knows_is_one() {
        let metrics = Metrics::default();
        let watch = metrics.watch();
        let over = |resource: &str, result, milliseconds| {
            watch(&Over {
                resource: &Resource::parse(resource).unwrap(),
                result,
                took: Duration::from_millis(milliseconds),
            });
        };
        over("https://vault.azure.net", "ok", 150);
        over("https://vault.azure.net/", "throttled", 150);
        over("api://canary-1", "ok", 40);
        over("api://canary-2", "ok", 40);
        let text = text(&metrics, None);
        for line in [
            "# HELP entrar_hub_exchanges_total Exchanges with the tenant; requests that overlap share one.",
            "# TYPE entrar_hub_exchanges_total counter",
            "entrar_hub_exchanges_total{result=\"ok\",resource=\"other\"} 2",
            "entrar_hub_exchanges_total{result=\"throttled\",resource=\"key_vault\"} 1",
            "# TYPE entrar_hub_exchange_seconds histogram",
            "entrar_hub_exchange_seconds_bucket{resource=\"key_vault\",le=\"0.1\"} 0",
            "entrar_hub_exchange_seconds_bucket{resource=\"key_vault\",le=\"0.2\"} 2",
            "entrar_hub_exchange_seconds_sum{resource=\"key_vault\"} 0.3",
            "entrar_hub_exchange_seconds_count{resource=\"other\"} 2",
            "entrar_hub_exchanges_under_way 2",
            "entrar_hub_exchanges_waiting 1",
        ] {
            assert!(text.lines().any(|given| given == line), "{line}: {text}");
        }
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn what_the_database_did_not_say_is_not_told() {
        let metrics = Metrics::default();
        let counts = Counts {
            people: 3,
            sessions: 4,
            key: "first".to_owned(),
        };
        let there = text(&metrics, Some(&counts));
        for line in [
            "entrar_hub_database_up 1",
            "entrar_hub_people_signed_in 3",
            "entrar_hub_sessions_open 4",
            "entrar_hub_key_info{key=\"first\"} 1",
        ] {
            assert!(there.lines().any(|given| given == line), "{line}: {there}");
        }
        let away = text(&metrics, None);
        for name in ["people_signed_in", "sessions_open", "key_info"] {
            assert!(!away.contains(&format!("\nentrar_hub_{name}")), "{away}");
        }
        let other = Counts {
            key: "second".to_owned(),
            ..counts
        };
        let rotated = text(&metrics, Some(&other));
        assert!(
            !rotated.contains("first") && rotated.contains("second"),
            "{rotated}"
        );
    }
}
