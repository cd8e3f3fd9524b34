//! Addresses as people write them, with passwords that nobody has percent-encoded: no part of one shows, and none is
//! looked up as a host.

use entrar_client::report::Report;
use entrar_core::address::Address;
use entrar_core::env::Env;
use entrar_core::http::{Http, Settings};
use entrar_core::resource::Resource;
use proptest::prelude::*;
use url::Url;

/// A password of words that nothing else holds, with the characters between them that have a meaning in an address.
fn password() -> impl Strategy<Value = String> {
    prop::collection::vec("canary[a-z0-9]{0,4}", 1..4)
        .prop_flat_map(|words| {
            let separators = prop::collection::vec("[@:/?#%&=+!\\\\ ]{1,2}", words.len());
            (Just(words), separators)
        })
        .prop_map(|(words, separators)| {
            let parts = words.into_iter().zip(separators);
            parts
                .flat_map(|(word, separator)| [word, separator])
                .collect()
        })
}

/// The address with this user and password, where there is a place for them.
fn address() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(vec!["", "http://", "https://", "socks5://"]);
    let rest = prop::sample::select(vec![
        "server.example:8080",
        "server.example/base",
        "10.0.0.1",
    ]);
    (scheme, password(), rest)
        .prop_map(|(scheme, password, rest)| format!("{scheme}svc:{password}@{rest}"))
}

fn assert_quiet(what: &str, shown: &str) -> Result<(), TestCaseError> {
    prop_assert!(!shown.contains("canary"), "{}: {}", what, shown);
    Ok(())
}

proptest! {
    // A failing case is printed; no file is to hold it.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_part_of_a_password_shows_in_a_servers_address_or_is_its_host(address in address()) {
        match Address::parse(&address) {
            Ok(address) => {
                assert_quiet("address", &format!("{address} {address:?}"))?;
                assert_quiet("host", address.url().host_str().unwrap_or_default())?;
                assert_quiet("path", address.join("x").path())?;
            }
            Err(error) => assert_quiet("error", &format!("{error} {error:?}"))?,
        }
        let env = Env::fixed(&[("RS_SERVER_ADDRESS", &address)], 0.0);
        assert_quiet("report", &format!("{:?}", Report::new(&env, false)))?;
    }

    #[test]
    fn no_part_of_a_password_shows_of_a_proxy_or_is_its_host(address in address()) {
        let variables = [("all_proxy", &*address), ("RS_SERVER_ADDRESS", "http://server.example")];
        let env = Env::fixed(&variables, 0.0);
        assert_quiet("report", &format!("{:?}", Report::new(&env, false)))?;
        let server = Url::parse("http://server.example").unwrap();
        if let Err(error) = Http::new(Settings::new(&env, &server)) {
            assert_quiet("error", &format!("{error} {error:?}"))?;
        }
        let proxy = entrar_core::proxy::Proxy::find(&env, &server).unwrap();
        assert_quiet("proxy", &proxy.to_string())?;
        if let Ok(url) = proxy.address() {
            assert_quiet("host", url.host_str().unwrap_or_default())?;
        }
    }

    #[test]
    fn no_part_of_a_password_shows_of_what_was_given_for_a_resource(address in address(), end in "|/.default| ") {
        let error = Resource::from_caller(&format!("{address}{end}")).unwrap_err();
        assert_quiet("error", &format!("{error} {error:?}"))?;
    }
}
