//! `entrar emulator`: a made-up tenant alone, in the foreground, for those who want to try a sign-in without a network.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use entra_emulator::{
    App, BLOB_ACCOUNT, Certificate, Credential, Emulator, Fault, Membership, Options, Step, Tenant,
    User,
};

use crate::child::Signals;
use crate::command_line;
use crate::variables::{Written, write_new};

/// The file that the authority's certificate is written to.
const CA_FILE: &str = "entra-emulator-ca.pem";
/// The apps beside the default one, which is public.
const SECRET_APP: &str = "5ec3e7a0-0b1d-4c55-8f5e-2d6f0a1b7c33";
const CERTIFICATE_APP: &str = "ce47f1ca-7e90-4b1f-9a44-6c1d8e0f5a21";
/// The same at every start: nothing that takes it is real.
const SECRET: &str = "emulated-not-a-secret";

/// Run a made-up Entra ID tenant on this machine that one can sign in to
///
/// Serves the tenant's sign-in page, device code page and token endpoint, and three resources to spend tokens on, and
/// prints what a client needs. Whoever signs in chooses a user on a page; there are no passwords. Tokens are worth nothing
/// elsewhere. It ends with Ctrl-C and forgets everything.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The port of 127.0.0.1 to listen at [default: any free one]
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 0,
        hide_default_value = true
    )]
    port: u16,
    /// Serve https, as Microsoft's own clients want it, and write the certificate to trust to
    /// DIRECTORY/entra-emulator-ca.pem. It vouches for this machine's loopback alone, and the file is removed at the end
    #[arg(long, value_name = "DIRECTORY")]
    https: Option<PathBuf>,
    /// Somebody who can sign in, in the place of those that are there by default; may be given several times, the first is
    /// the default user. 'Ada Example <ada@example.com>', or the address alone
    #[arg(long = "user", value_name = "USER", value_parser = user)]
    users: Vec<User>,
    /// The same as a guest of the tenant; may be given several times
    #[arg(long = "guest", value_name = "USER", value_parser = user)]
    guests: Vec<User>,
    /// Sign in the default user, or whom the app names, without a page
    #[arg(long)]
    auto_consent: bool,
    /// Where answers may go beside http://localhost; may be given several times
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// Register one more app, which proves who it is by the certificate in FILE (PEM, with an RSA key)
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    #[command(flatten)]
    lifetime: Lifetime,
    /// Revoke a refresh token as soon as it was used; Entra ID does not, other providers do
    #[arg(long)]
    one_time_refresh_tokens: bool,
    /// What the tenant does in the place of what is asked; may be given several times
    ///
    /// STEP is authorize, code, device_code, device, refresh or app; without it the fault is met whenever a token is granted.
    /// KIND is sign_in_required, consent_required, access_denied, throttled, unavailable, slow or mfa_required; or what is
    /// wrong with an answer: wrong_state, wrong_nonce, wrong_audience, wrong_issuer, expired_id_token, other_user,
    /// no_id_token.
    #[arg(long = "fault", value_name = "[STEP:][RESOURCE=]KIND", value_parser = fault)]
    faults: Vec<Fault>,
}

/// The same for every tenant that is made up.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Lifetime {
    /// How long access tokens live
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 3599,
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub(crate) token_lifetime: u32,
}

const EXAMPLES: &str = "\
Examples:
  entrar emulator
  entrar emulator --https . --user 'Grace Hopper <grace@example.com>'
  entrar emulator --fault code:mfa_required";

/// Why there is no tenant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the tenant cannot listen at 127.0.0.1:{0}: {1}")]
    Listen(u16, io::Error),
    #[error("the tenant cannot be set up: {0}")]
    Tenant(#[from] entra_emulator::Error),
    #[error(
        "{file} exists already: another emulator uses the directory, or one was killed and the file may go",
        file = .0.display()
    )]
    CaExists(PathBuf),
    #[error("the certificate cannot be written to {file}: {0}", file = .1.display())]
    Ca(io::Error, PathBuf),
    #[error("the app's certificate cannot be read from {file}: {0}", file = .1.display())]
    Certificate(io::Error, PathBuf),
    #[error("the operating system refuses a runtime, signals or output: {0}")]
    System(#[from] io::Error),
}

/// Serves the tenant until there is a signal.
pub(crate) fn run(arguments: Arguments) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> Result<(), Error> {
    let mut signals = Signals::catch()?;
    let Arguments {
        port,
        https,
        users,
        guests,
        auto_consent,
        redirect_uris,
        certificate,
        lifetime: Lifetime { token_lifetime },
        one_time_refresh_tokens,
        faults,
    } = arguments;
    let certificate = certificate.map(read_certificate).transpose()?;
    let guests = guests.into_iter().map(User::guest);
    let named: Vec<_> = users.into_iter().chain(guests).collect();
    let tenant = Arc::new(Tenant::new(Options {
        apps: apps(&redirect_uris, certificate),
        users: if named.is_empty() {
            default_users()
        } else {
            named
        },
        auto_consent,
        token_lifetime,
        revoke_used_refresh_tokens: one_time_refresh_tokens,
        https: https.is_some(),
        faults,
        ..Options::default()
    })?);
    let emulator = Emulator::start(Arc::clone(&tenant), ([127, 0, 0, 1], port).into())
        .map_err(|error| Error::Listen(port, error))?;
    let ca = match (https, tenant.ca_pem()) {
        (Some(directory), Some(pem)) => Some(write_ca(&directory, pem)?),
        _ => None,
    };
    let ca_file = ca.as_ref().map(|(file, _)| file.as_path());
    let mut out = io::stdout().lock();
    out.write_all(introduction(&emulator, ca_file).as_bytes())?;
    out.flush()?;
    drop(out);
    signals.any().await;
    Ok(())
}

pub(crate) fn default_users() -> Vec<User> {
    vec![
        User::default(),
        User::new("Bob Example", "bob@example.com"),
        User::new("Grace Guest", "grace@partner.example").guest(),
    ]
}

fn apps(redirect_uris: &[String], certificate: Option<Certificate>) -> Vec<App> {
    let app = |client_id: Option<&str>, name: &str, credentials: Vec<Credential>| {
        let mut app = App {
            name: name.to_owned(),
            // As a hub's registration asks for them.
            optional_claims: !credentials.is_empty(),
            credentials,
            ..App::default()
        };
        if let Some(client_id) = client_id {
            client_id.clone_into(&mut app.client_id);
        }
        app.redirect_uris.extend_from_slice(redirect_uris);
        app
    };
    let secret = Credential::Secret(SECRET.into());
    let certificate = certificate.map(|certificate| {
        let credential = Credential::Certificate(certificate);
        app(
            Some(CERTIFICATE_APP),
            "Emulated app with a certificate",
            vec![credential],
        )
    });
    [
        app(None, "Emulated public app", Vec::new()),
        app(Some(SECRET_APP), "Emulated app with a secret", vec![secret]),
    ]
    .into_iter()
    .chain(certificate)
    .collect()
}

fn read_certificate(file: PathBuf) -> Result<Certificate, Error> {
    match std::fs::read_to_string(&file) {
        Ok(pem) => Ok(Certificate::from_pem(&pem)?),
        Err(error) => Err(Error::Certificate(error, file)),
    }
}

/// The file's whole path, for processes that run elsewhere, and what removes it.
fn write_ca(directory: &Path, pem: &str) -> Result<(PathBuf, Written), Error> {
    let file = std::path::absolute(directory.join(CA_FILE))?;
    match write_new(file.clone(), pem.as_bytes()) {
        Ok(written) => Ok((file, written)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::CaExists(file)),
        Err(error) => Err(Error::Ca(error, file)),
    }
}

/// What a client needs to know.
fn introduction(emulator: &Emulator, ca_file: Option<&Path>) -> String {
    let (tenant, url) = (emulator.tenant(), emulator.url());
    let (id, client_id) = (tenant.id(), tenant.client_id());
    let users: String = tenant.users().iter().map(line_of_user).collect();
    let apps: String = tenant.apps().iter().map(line_of_app).collect();
    let mut text = format!(
        "An emulated Entra ID tenant. Nothing in it is real. It ends with Ctrl-C.\n\n\
         Authority   {authority}\n\
         Tenant id   {id}\n\
         Device code {url}/device\n\n\
         Users\n{users}\n\
         Apps\n{apps}\n\
         Resources\n  \
           {url}/v1.0/me  (Microsoft Graph)\n  \
           {url}/{BLOB_ACCOUNT}?comp=list  (Azure Storage)\n  \
           {url}/secrets?api-version=7.4  (Azure Key Vault)\n\n\
         In R\n",
        authority = emulator.authority(),
    );
    let ca_file = ca_file.map(|file| file.to_string_lossy());
    if let Some(file) = &ca_file {
        let _ = writeln!(text, "  Sys.setenv(CURL_CA_BUNDLE = {})", quoted(file, '"'));
    }
    let _ = writeln!(
        text,
        "  azure_sign_in(tenant = \"{id}\", client_id = \"{client_id}\", authority = \"{url}\")\n"
    );
    let _ = writeln!(text, "In a shell, for clients that read variables");
    let variables = [
        ("AZURE_AUTHORITY_HOST", Some(url)),
        ("AZURE_TENANT_ID", Some(id)),
        ("AZURE_CLIENT_ID", Some(client_id)),
        ("REQUESTS_CA_BUNDLE", ca_file.as_deref()),
    ];
    for (name, value) in variables {
        if let Some(value) = value {
            let _ = writeln!(text, "  export {name}={}", quoted(value, '\''));
        }
    }
    let note = if ca_file.is_some() {
        "\nWhere that certificate is trusted, no other server is: set it for the trial alone.\n"
    } else {
        "\nMSAL and azure-identity want https: --https DIRECTORY.\n"
    };
    text.push_str(note);
    text
}

fn line_of_user(user: &User) -> String {
    let guest = match user.membership {
        Membership::Guest => "  (guest)",
        Membership::Member | Membership::Other(_) => "",
    };
    let name = user.display_name();
    format!("  {:<34}  {name}{guest}\n", user.user_principal_name)
}

fn line_of_app(app: &App) -> String {
    let proof = match app.credentials.first() {
        None => "public client".to_owned(),
        Some(Credential::Secret(_)) => format!("client secret (emulated): {SECRET}"),
        Some(Credential::Certificate(_)) => "your certificate".to_owned(),
        Some(Credential::Federated { .. }) => "a workload's token".to_owned(),
    };
    format!("  {}  {proof}\n", app.client_id)
}

/// A text between quotes, for R by double ones and for a shell by single ones.
fn quoted(text: &str, quote: char) -> String {
    let text = match quote {
        '"' => text.replace('\\', "\\\\").replace('"', "\\\""),
        _ => text.replace('\'', "'\\''"),
    };
    format!("{quote}{text}{quote}")
}

/// A person, written `Ada Example <ada@example.com>` or `ada@example.com`.
pub(crate) fn user(text: &str) -> Result<User, String> {
    let address = text
        .strip_suffix('>')
        .and_then(|text| text.rsplit_once('<'));
    let (name, address) = address.unwrap_or(("", text));
    match address.split_once('@') {
        Some((local, domain))
            if !local.is_empty()
                && !domain.is_empty()
                && !address.contains(|c: char| c.is_whitespace() || c.is_control()) =>
        {
            let name = name.trim();
            Ok(User::new(
                if name.is_empty() { local } else { name },
                address,
            ))
        }
        _ => Err("it is not like 'Ada Example <ada@example.com>'".to_owned()),
    }
}

/// A step is a word before the first colon; an address has slashes after that.
fn fault(text: &str) -> Result<Fault, String> {
    let Some((step, rest)) = text
        .split_once(':')
        .filter(|(step, rest)| !step.contains('=') && !rest.starts_with("//"))
    else {
        return command_line::fault(text);
    };
    let step: Step = step
        .parse()
        .map_err(|error| format!("the step is not known: {error}"))?;
    Ok(command_line::fault(rest)?.at(step))
}

#[cfg(test)]
mod tests {
    use entra_emulator::FaultKind;

    use super::*;

    #[test]
    fn a_user_is_a_name_and_an_address_or_an_address() {
        let parsed = |text| user(text).map(|user| (user.display_name(), user.user_principal_name));
        let expect = |name: &str, address: &str| Ok((name.to_owned(), address.to_owned()));
        assert_eq!(
            parsed("Grace B. Hopper <grace@example.com>"),
            expect("Grace B. Hopper", "grace@example.com")
        );
        assert_eq!(
            parsed("<grace@example.com>"),
            expect("grace", "grace@example.com")
        );
        assert_eq!(
            parsed("grace@example.com"),
            expect("grace", "grace@example.com")
        );
        for text in [
            "",
            "Grace",
            "Grace <>",
            "@example.com",
            "grace@",
            "a b@c",
            "Grace <a@b",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_fault_may_name_a_step_and_a_resource() {
        let parsed = |text| fault(text).map(|fault| (fault.step, fault.resource, fault.kind));
        let graph = || Some("https://graph.microsoft.com".to_owned());
        for (text, step, resource) in [
            ("slow", None, None),
            ("graph=slow", None, graph()),
            ("https://graph.microsoft.com=slow", None, graph()),
            ("code:slow", Some(Step::Code), None),
            ("device_code:graph=slow", Some(Step::DeviceCode), graph()),
            (
                "refresh:https://graph.microsoft.com=slow",
                Some(Step::Refresh),
                graph(),
            ),
        ] {
            assert_eq!(
                parsed(text),
                Ok((step, resource, FaultKind::Slow)),
                "{text}"
            );
        }
        assert!(
            parsed("dance:slow")
                .unwrap_err()
                .contains("one of authorize")
        );
        assert!(parsed("code:fast").unwrap_err().contains("one of"));
    }

    #[test]
    fn a_path_is_quoted_for_r_and_for_a_shell() {
        assert_eq!(quoted(r#"C:\a"b"#, '"'), r#""C:\\a\"b""#);
        assert_eq!(quoted("/it's here", '\''), r"'/it'\''s here'");
    }
}
