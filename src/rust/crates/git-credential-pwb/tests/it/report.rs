//! `report`: what a program reads, line by line.

use crate::support::{Outcome, Server, Session, outcome};

/// A JSON Web Token whose tenant is 11111111-1111-4111-8111-111111111111.
const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJ0aWQiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.canary-signature";

const ASKED: &str = "protocol=https\nhost=dev.azure.com\npath=contoso\n";

/// What Azure DevOps answers for an organisation of this tenant.
fn challenge(tenant: &str) -> String {
    format!(
        "wwwauth[]=Bearer authorization_uri=https://login.microsoftonline.com/{tenant}\nwwwauth[]=TFS-Federated\n"
    )
}

/// The report, with the time of the token's expiry, which has the form of a time, taken out.
fn report(session: &Session, request: &str) -> Outcome {
    let mut found = session.run(&["report"], request.as_bytes());
    assert!(!found.stdout.contains("canary"), "{}", found.stdout);
    let time = found.stdout.lines().find_map(|line| {
        let time = line.strip_prefix("expires: ")?;
        Some(time.to_owned())
    });
    if let Some(time) = time {
        let form = time.replace(|c: char| c.is_ascii_digit(), "9");
        assert_eq!(form, "9999-99-99T99:99:99Z");
        found.stdout = found.stdout.replace(&time, "T");
    }
    found
}

#[test]
fn a_token_is_told_of_and_not_shown() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    let mine = "11111111-1111-4111-8111-111111111111";
    let other = "22222222-2222-4222-8222-222222222222";
    let token = format!("token: yes\nexpires: T\ntoken_tenant: {mine}\n");
    assert_eq!(report(&session, ASKED), outcome(0, &token, ""));
    for tenant in [mine, other] {
        let expected = format!("{token}tenant: {tenant}\n");
        let request = format!("{ASKED}{}", challenge(tenant));
        assert_eq!(report(&session, &request), outcome(0, &expected, ""));
    }
}

#[test]
fn a_token_that_tells_nothing_has_fewer_lines() {
    let server = Server::start(
        "200 OK",
        "{\"result\":true,\"token\":{\"access_token\":\"canary-opaque\"}}".to_owned(),
    );
    let session = Session::at(&server.address);
    assert_eq!(report(&session, ASKED), outcome(0, "token: yes\n", ""));
}

#[test]
fn without_a_token_the_reason_is_one_line_and_the_tenant_is_known_all_the_same() {
    let tenant = "22222222-2222-4222-8222-222222222222";
    let request = format!("{ASKED}{}", challenge(tenant));
    let body = "{\"result\":false,\"oauth2_error\":{\"error\":\"invalid_grant\",\"error_description\":\"AADSTS700082: expired\"}}";
    let server = Server::start("200 OK", body.to_owned());
    let session = Session::at(&server.address);
    let expected = format!(
        "token: no\ntenant: {tenant}\nreason: no token for Azure DevOps: Entra ID wants you to sign in again. The server said: \
         AADSTS700082: expired. Sign out of Posit Workbench and sign in again.\n"
    );
    assert_eq!(report(&session, &request), outcome(0, &expected, ""));
}

#[test]
fn a_trace_changes_nothing_in_it() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    let plain = report(&session, ASKED);
    let session = session.with("GIT_CREDENTIAL_PWB_TRACE", "1");
    let traced = report(&session, ASKED);
    assert_eq!(traced.stdout, plain.stdout);
    assert!(
        traced
            .stderr
            .starts_with("git-credential-pwb: trace: report: version "),
        "{}",
        traced.stderr
    );
}

#[test]
fn of_another_host_there_is_nothing_to_report() {
    let server = Server::granting(TOKEN);
    let session = Session::at(&server.address);
    for request in [
        "protocol=https\nhost=github.com\n",
        "protocol=http\nhost=dev.azure.com\n",
        "",
    ] {
        assert_eq!(report(&session, request), outcome(0, "", ""), "{request}");
    }
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn a_request_that_cannot_be_read_is_an_error() {
    let found = report(&Session::nowhere(), "host\n");
    assert_eq!(found.code, Some(1));
    assert_eq!(found.stdout, "");
    assert!(
        found.stderr.starts_with("git-credential-pwb: "),
        "{}",
        found.stderr
    );
}
