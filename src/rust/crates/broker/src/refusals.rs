//! What a tenant has refused to a person, remembered for a while: asking again would bring the same, and a tenant counts
//! equal requests until it throttles them.

use std::collections::HashMap;
use std::time::Duration;

use entrar_core::error::Kind;
use entrar_core::resource::Resource;
use tokio::time::Instant;

use crate::entra::Refusal;

/// The longest that a wish to wait keeps anybody from asking. A gateway may name a day.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// How long a resource is not asked for again that was refused.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(60);
/// How many resources are remembered for a person; real ones have a few.
const MOST_RESOURCES: usize = 1_000;
/// The refresh token has expired or was revoked, or the account is disabled: no resource will be granted with it. Other
/// codes come as `invalid_grant` too, and say nothing of other resources.
const DEAD: [i32; 4] = [700_082, 70_008, 50_173, 50_057];

/// One person's.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    throttled: Option<(Instant, Refusal)>,
    /// With the version of the refresh token that is dead.
    dead: Option<(u64, Refusal)>,
    resources: HashMap<Resource, (Instant, Refusal)>,
    /// What the latest refusal with a claims challenge was for, and the challenge.
    claims: Option<(Resource, String)>,
}

impl Refusals {
    /// The refusal to repeat without asking, if there is one. `version` is that of the refresh token to ask with.
    pub(crate) fn of(&self, resource: &Resource, version: u64, now: Instant) -> Option<Refusal> {
        let current =
            |entry: Option<&(Instant, Refusal)>| entry.filter(|(until, _)| now < *until).cloned();
        if let Some((until, refusal)) = current(self.throttled.as_ref()) {
            return Some(refusal.waiting(until - now));
        }
        match &self.dead {
            Some((dead, refusal)) if *dead == version => return Some(refusal.clone()),
            _ => {}
        }
        current(self.resources.get(resource)).map(|(_, refusal)| refusal)
    }

    /// Remembers a refusal; a fault that passes is none.
    pub(crate) fn add(
        &mut self,
        refusal: &Refusal,
        resource: &Resource,
        version: u64,
        now: Instant,
    ) {
        let error = refusal.error();
        let details = error.details();
        if let Some(claims) = &details.claims {
            self.claims = Some((resource.clone(), claims.clone()));
        }
        if let Some(seconds) = details.retry_after {
            let wait = Duration::from_secs_f64(seconds).min(LONGEST_WAIT);
            self.throttled = Some((now + wait, refusal.clone()));
        } else if details.aadsts.iter().any(|code| DEAD.contains(code)) {
            self.dead = Some((version, refusal.clone()));
        } else if error.kind() != Kind::Unavailable {
            self.resources.retain(|_, (until, _)| now < *until);
            if self.resources.len() < MOST_RESOURCES {
                let until = now + BETWEEN_ATTEMPTS;
                self.resources
                    .insert(resource.clone(), (until, refusal.clone()));
            }
        }
    }

    /// Whether the refresh token was said to be dead. A newer one may have come since.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.is_some()
    }

    /// Forgets what an answer has shown not to hold any more.
    pub(crate) fn granted(&mut self, resource: &Resource) {
        self.throttled = None;
        self.dead = None;
        self.resources.remove(resource);
        self.claims.take_if(|(refused, _)| refused == resource);
    }

    /// The app proves itself anew: what was refused for its sake may be granted.
    pub(crate) fn forget_resources(&mut self) {
        self.resources.clear();
    }

    /// The claims challenge that the next sign-in is to meet: else it brings a refresh token that is refused again.
    pub(crate) fn claims(&self) -> Option<&str> {
        self.claims.as_ref().map(|(_, claims)| claims.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(object: serde_json::Value) -> Refusal {
        Refusal::from_object(object.as_object().unwrap().clone())
    }

    fn resource(name: &str) -> Resource {
        Resource::parse(&format!("https://{name}.example")).unwrap()
    }

    fn error(refusal: Option<Refusal>) -> Option<Kind> {
        refusal.map(|refusal| refusal.error().kind())
    }

    #[test]
    fn throttling_holds_for_every_resource_until_its_time_is_over_or_an_hour() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        for (asked, over) in [(17, 17), (86_400, 3_600)] {
            let mut refusals = Refusals::default();
            let throttled = refusal(json!({"error": "invalid_grant", "retry_after": asked}));
            refusals.add(&throttled, &resource("one"), 0, now);
            let repeated = refusals.of(&resource("other"), 1, later(over - 7)).unwrap();
            assert_eq!(repeated.error().details().retry_after, Some(7.0));
            assert_eq!(error(refusals.of(&resource("one"), 0, later(over))), None);
            refusals.granted(&resource("other"));
            assert_eq!(error(refusals.of(&resource("one"), 0, now)), None);
        }
    }

    #[test]
    fn a_dead_sign_in_is_dead_for_every_resource_until_there_is_a_newer_refresh_token() {
        let now = Instant::now();
        for code in DEAD {
            let mut refusals = Refusals::default();
            let dead = refusal(json!({"error": "invalid_grant", "error_codes": [code]}));
            refusals.add(&dead, &resource("one"), 3, now);
            let much_later = now + Duration::from_secs(1_000_000);
            assert!(
                refusals.of(&resource("other"), 3, much_later).is_some(),
                "{code}"
            );
            assert!(refusals.of(&resource("one"), 4, now).is_none(), "{code}");
        }
    }

    #[test]
    fn anything_else_is_refused_for_its_resource_and_a_minute() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        let consent = refusal(json!({"error": "invalid_grant", "error_codes": [65_001]}));
        refusals.add(&consent, &resource("one"), 0, now);
        let at = |name: &str, seconds| {
            error(refusals.of(&resource(name), 0, now + Duration::from_secs(seconds)))
        };
        assert_eq!(at("one", 59), Some(Kind::ConsentRequired));
        assert_eq!(at("one", 60), None);
        assert_eq!(at("other", 0), None);
    }

    #[test]
    fn a_claims_challenge_is_kept_for_the_next_sign_in_until_it_is_met() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
        let factor = refusal(json!({"error": "interaction_required", "claims": claims}));
        refusals.add(&factor, &resource("one"), 0, now);
        let consent = refusal(json!({"error": "invalid_grant", "error_codes": [65_001]}));
        refusals.add(&consent, &resource("other"), 0, now);
        assert_eq!(refusals.claims(), Some(claims));
        refusals.granted(&resource("third"));
        assert_eq!(refusals.claims(), Some(claims));
        refusals.granted(&resource("one"));
        assert_eq!(refusals.claims(), None);
    }

    #[test]
    fn a_fault_that_passes_is_not_remembered() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        let down = refusal(json!({"error": "temporarily_unavailable"}));
        refusals.add(&down, &resource("one"), 0, now);
        assert_eq!(error(refusals.of(&resource("one"), 0, now)), None);
    }
}
