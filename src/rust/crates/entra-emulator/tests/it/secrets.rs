//! Nothing shows a secret that was not asked for.

use std::sync::Arc;

use entra_emulator::{App, Credential, Emulator, Options, Tenant, User};
use secrecy::ExposeSecret;

use crate::Emulated;

#[test]
fn debug_shows_no_secret() {
    let canary = "canary-client-secret";
    let options = Options {
        apps: vec![App::confidential(Credential::Secret(canary.into()))],
        ..Options::default()
    };
    let tenant = Arc::new(Tenant::new(options.clone()).unwrap());
    let refresh_token = tenant.sign_in(&User::default()).unwrap();
    let emulator = Emulator::start(Arc::clone(&tenant), ([127, 0, 0, 1], 0).into()).unwrap();
    let shown = format!("{options:#?} {tenant:#?} {emulator:#?} {refresh_token:#?}");
    assert!(!shown.contains(canary));
    assert!(!shown.contains(refresh_token.expose_secret()));
    // What is shown of the key is its name.
    assert!(shown.contains("SigningKey {\n        kid: "));
    // A key's bytes would come as a list of numbers.
    let is_number = |line: &str| line.trim().trim_end_matches(',').parse::<u8>().is_ok();
    assert!(!shown.lines().any(is_number), "{shown}");
}

#[test]
fn refusals_repeat_no_secret() {
    let emulated = Emulated::confidential();
    let mut form = emulated
        .form("canary-refresh-token", "https://storage.azure.com/.default")
        .to_vec();
    form.push(("client_secret", "canary-client-secret"));
    assert!(!emulated.post(&form).text.contains("canary"));
    form[4].1 = "the app's secret";
    let reply = emulated.post(&form);
    assert_eq!(reply.json()["error"], "invalid_grant");
    assert!(!reply.text.contains("canary") && !reply.text.contains("the app's secret"));
}
