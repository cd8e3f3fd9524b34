//! What the token endpoint hands out.

use std::collections::HashSet;

use axum::http::StatusCode;
use entra_emulator::{Options, User};
use serde_json::json;

use crate::{Emulated, HOST, NOW};

#[test]
fn every_resource_is_granted_in_both_spellings_and_becomes_the_audience_unchanged() {
    let emulated = Emulated::new();
    let resources = [
        ("https://storage.azure.com", "user_impersonation"),
        ("https://vault.azure.net", "user_impersonation"),
        ("https://database.windows.net", "user_impersonation"),
        ("https://management.azure.com", "user_impersonation"),
        ("https://graph.microsoft.com", "User.Read"),
        ("499b84ac-1321-427f-aa17-267ca6975798", "user_impersonation"),
        ("2ff814a6-3304-4ab8-85cb-cd0e6f879c1d", "user_impersonation"),
        ("https://cognitiveservices.azure.com", "user_impersonation"),
    ];
    for (resource, permission) in resources {
        for resource in [resource.to_owned(), format!("{resource}/")] {
            let reply = emulated.exchange(&emulated.refresh_token, &format!("{resource}/.default"));
            assert_eq!(reply.status, StatusCode::OK, "{resource}");
            let body = reply.json();
            assert_eq!(
                body["scope"],
                format!("{resource}/{permission} {resource}/.default")
            );
            let claims = emulated.claims(body["access_token"].as_str().unwrap());
            assert_eq!(
                (&claims["aud"], &claims["scp"]),
                (&json!(resource), &json!(permission))
            );
        }
    }
}

#[test]
fn the_reply_holds_what_was_asked_for_and_nothing_else() {
    let emulated = Emulated::new();
    let mut body = emulated
        .exchange(
            &emulated.refresh_token,
            "https://storage.azure.com/.default",
        )
        .json();
    assert!(body["access_token"].take().is_string());
    assert_eq!(
        body,
        json!({
            "token_type": "Bearer",
            "scope": "https://storage.azure.com/user_impersonation https://storage.azure.com/.default",
            "expires_in": 3599,
            "ext_expires_in": 3599,
            "access_token": null,
        })
    );
}

#[test]
fn token_replies_must_not_be_stored() {
    let emulated = Emulated::new();
    let reply = emulated.exchange(
        &emulated.refresh_token,
        "https://storage.azure.com/.default",
    );
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("content-type"), "application/json");
}

#[test]
fn an_access_token_tells_who_may_do_what_until_when() {
    let emulated = Emulated::with(Options {
        token_lifetime: 600,
        ..Options::default()
    });
    let reply = emulated.exchange(
        &emulated.refresh_token,
        "https://database.windows.net//.default",
    );
    assert_eq!(reply.json()["expires_in"], 600);
    let mut claims = emulated.claims(reply.json()["access_token"].as_str().unwrap());
    let unique = claims.as_object_mut().unwrap();
    assert_eq!(unique.remove("uti").unwrap().as_str().unwrap().len(), 22);
    assert_eq!(unique.remove("jti").unwrap().as_str().unwrap().len(), 36);
    let user = User::default();
    assert_eq!(
        claims,
        json!({
            "aud": "https://database.windows.net/",
            "iss": format!("https://sts.windows.net/{}/", emulated.tenant.id()),
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + 600,
            "appid": emulated.tenant.client_id(),
            "appidacr": "0",
            "family_name": "Example",
            "given_name": "Ada",
            "name": "Ada Example",
            "oid": user.object_id,
            "scp": "user_impersonation",
            "sub": user.object_id,
            "tid": emulated.tenant.id(),
            "unique_name": "ada@example.com",
            "upn": "ada@example.com",
            "ver": "1.0",
        })
    );
}

#[test]
fn no_two_access_tokens_are_equal_even_within_a_second() {
    let emulated = Emulated::new();
    let claims: Vec<_> = (0..20)
        .map(|_| emulated.claims(&emulated.access_token("https://vault.azure.net")))
        .collect();
    for name in ["jti", "uti"] {
        let distinct: HashSet<_> = claims
            .iter()
            .map(|claims| claims[name].as_str().unwrap())
            .collect();
        assert_eq!(distinct.len(), 20, "{name}");
    }
}

#[test]
fn a_tenant_called_by_an_alias_issues_the_same_tokens() {
    let emulated = Emulated::new();
    let form = emulated.form(
        &emulated.refresh_token,
        "https://storage.azure.com/.default openid",
    );
    for name in [
        "organizations",
        "common",
        &emulated.tenant.id().to_uppercase(),
    ] {
        let body = emulated.post_to(name, &form).json();
        let claims = emulated.claims(body["access_token"].as_str().unwrap());
        assert_eq!(
            claims["iss"],
            format!("https://sts.windows.net/{}/", emulated.tenant.id())
        );
        let id_claims = emulated.claims(body["id_token"].as_str().unwrap());
        assert_eq!(
            id_claims["iss"],
            format!("http://{HOST}/{}/v2.0", emulated.tenant.id())
        );
    }
}

#[test]
fn a_new_refresh_token_comes_for_offline_access_and_the_old_one_lives_on() {
    let emulated = Emulated::new();
    let scope = "https://storage.azure.com/.default offline_access";
    let newer = |refresh_token: &str| {
        let reply = emulated.exchange(refresh_token, scope);
        assert_eq!(reply.status, StatusCode::OK);
        reply.json()["refresh_token"].as_str().unwrap().to_owned()
    };
    let first = emulated.refresh_token.clone();
    let tokens = [newer(&first), newer(&first), newer(&newer(&first))];
    let distinct: HashSet<_> = tokens.iter().chain([&first]).collect();
    assert_eq!(distinct.len(), 4);
}

#[test]
fn a_refresh_token_serves_every_resource() {
    let emulated = Emulated::new();
    let newer = emulated
        .exchange(
            &emulated.refresh_token,
            "https://storage.azure.com/.default offline_access",
        )
        .json();
    let reply = emulated.exchange(
        newer["refresh_token"].as_str().unwrap(),
        "https://vault.azure.net/.default",
    );
    assert_eq!(reply.status, StatusCode::OK);
}

#[test]
fn where_used_refresh_tokens_die_only_the_newest_works() {
    let emulated = Emulated::with(Options {
        revoke_used_refresh_tokens: true,
        ..Options::default()
    });
    let scope = "https://storage.azure.com/.default offline_access";
    let newer = emulated.exchange(&emulated.refresh_token, scope).json();
    let reused = emulated.exchange(&emulated.refresh_token, scope).json();
    assert_eq!(
        (&reused["error"], &reused["error_codes"]),
        (&json!("invalid_grant"), &json!([50173]))
    );
    assert_eq!(
        emulated
            .exchange(newer["refresh_token"].as_str().unwrap(), scope)
            .status,
        StatusCode::OK
    );
}

#[test]
fn where_used_refresh_tokens_die_one_that_was_not_replaced_lives_on() {
    let emulated = Emulated::with(Options {
        revoke_used_refresh_tokens: true,
        ..Options::default()
    });
    for _ in 0..2 {
        let reply = emulated.exchange(
            &emulated.refresh_token,
            "https://storage.azure.com/.default",
        );
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.json()["refresh_token"], json!(null));
    }
}

#[test]
fn an_id_token_comes_for_openid_and_tells_names_for_profile() {
    let emulated = Emulated::new();
    let id_claims = |scope: &str| {
        let body = emulated.exchange(&emulated.refresh_token, scope).json();
        let mut claims = emulated.claims(body["id_token"].as_str().unwrap());
        claims.as_object_mut().unwrap().remove("uti").unwrap();
        claims
    };
    let user = User::default();
    let mut expected = json!({
        "aud": emulated.tenant.client_id(),
        "iss": format!("http://{HOST}/{}/v2.0", emulated.tenant.id()),
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 3599,
        "oid": user.object_id,
        "sub": user.object_id,
        "tid": emulated.tenant.id(),
        "ver": "2.0",
    });
    assert_eq!(
        id_claims("openid https://storage.azure.com/.default"),
        expected
    );
    expected["name"] = json!("Ada Example");
    expected["preferred_username"] = json!("ada@example.com");
    assert_eq!(
        id_claims("https://storage.azure.com/.default openid profile email"),
        expected
    );
}
