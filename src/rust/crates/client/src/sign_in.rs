//! The sign-in that somebody asks for, put together from what they said and from the environment.

use std::path::Path;

use entrar_core::agent::{AZURE_CLI, Credential, Method, Secret, SignIn};
use entrar_core::authority::Authority;
use entrar_core::env::Env;
use entrar_core::error::{Details, Error, Kind};
use entrar_core::guid::Guid;

/// The variables of azure-identity's, which name an app and how it proves itself.
const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
const SECRET: &str = "AZURE_CLIENT_SECRET";
const CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
const FEDERATED: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// The word for Azure CLI's own app.
pub const AZURE_CLI_WORD: &str = "azure-cli";

/// The tenant where nobody names one: any organisation's, but nobody's private account.
const ANY_TENANT: &str = "organizations";

/// What the person said. What is `None` comes from the environment, or has a usual value.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// The tenant: a GUID, a domain, or `organizations`.
    pub tenant: Option<String>,
    /// The app: a GUID, or `azure-cli`.
    pub client_id: Option<String>,
    /// Entra ID's address.
    pub authority: Option<String>,
    /// How to meet Entra ID; `None` looks whether a browser can open.
    pub method: Option<Method>,
    /// The user name that the sign-in page begins with.
    pub login_hint: Option<String>,
    /// Whether whoever asks can open a browser of its own making, on this machine.
    pub has_browser: bool,
}

/// The sign-in to ask an agent for.
///
/// # Errors
/// [`Kind::Misconfigured`] for an app, tenant or authority that is missing or none, with what to do.
pub fn request(env: &Env, arguments: Arguments) -> Result<SignIn, Error> {
    let client_id = client_id(env, arguments.client_id.as_deref())?;
    let is_azure_cli = client_id == AZURE_CLI;
    let method = match arguments.method {
        Some(method) => method,
        None => usual_method(env, arguments.has_browser, |path| Path::new(path).exists()),
    };
    if is_azure_cli && method == Method::Paste {
        return Err(no_pasting(arguments.method.is_none()));
    }
    Ok(SignIn {
        authority: authority(env, arguments.authority.as_deref())?
            .address()
            .to_string(),
        tenant: tenant(env, arguments.tenant)?,
        credential: credential(env, client_id),
        client_id: client_id.to_string(),
        method,
        select_account: arguments.login_hint.is_none(),
        login_hint: arguments.login_hint,
    })
}

fn client_id(env: &Env, given: Option<&str>) -> Result<Guid, Error> {
    let Some(text) = given.map(str::to_owned).or_else(|| env.var(CLIENT)) else {
        return Err(misconfigured(
            "no app is named to sign in to",
            &format!(
                "Ask your administrator for the client id of an app registration, and give it as `client_id` or in {CLIENT}; the command `entrar setup entra` prints what creates one. Or sign in as Azure CLI does, with client_id = \"{AZURE_CLI_WORD}\"."
            ),
        ));
    };
    if text == AZURE_CLI_WORD {
        return Ok(AZURE_CLI);
    }
    text.parse().map_err(|_| {
        misconfigured(
            "the client id is no GUID",
            "It is the \"Application (client) ID\" of an app registration, such as 11111111-2222-3333-4444-555555555555; the app's name is none.",
        )
    })
}

fn tenant(env: &Env, given: Option<String>) -> Result<String, Error> {
    let tenant = given
        .or_else(|| env.var(TENANT))
        .unwrap_or_else(|| ANY_TENANT.to_owned());
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if tenant.len() <= 253
        && tenant.contains(|c: char| c.is_ascii_alphanumeric())
        && tenant.chars().all(is_name)
    {
        return Ok(tenant.to_ascii_lowercase());
    }
    Err(misconfigured(
        "the tenant is neither a GUID nor a domain",
        "Give the tenant's id, or one of its domains, such as \"contoso.onmicrosoft.com\".",
    ))
}

/// Whoever can set a variable must not be able to send a person to a page of theirs: the environment may name one of
/// Microsoft's clouds only.
fn authority(env: &Env, given: Option<&str>) -> Result<Authority, Error> {
    let read = match (given, env.var(AUTHORITY)) {
        (Some(given), _) => Authority::given(given),
        (None, Some(variable)) => Authority::of_a_cloud(&variable),
        (None, None) => return Ok(Authority::default()),
    };
    read.map_err(|bad| {
        let place = given.map_or(AUTHORITY, |_| "`authority`");
        misconfigured(
            &format!("{place} cannot be used: {bad}"),
            "Give the address of Entra ID in your cloud, such as https://login.microsoftonline.com; another one only as the argument `authority`.",
        )
    })
}

/// The environment describes one app: what proves it is no proof of another.
fn credential(env: &Env, client_id: Guid) -> Credential {
    let is_theirs = env
        .var(CLIENT)
        .and_then(|text| text.parse::<Guid>().ok())
        .is_some_and(|theirs| theirs == client_id);
    if !is_theirs {
        return Credential::Public;
    }
    if let Some(secret) = env.var(SECRET) {
        Credential::Secret(Secret(secret.into()))
    } else if let Some(path) = env.var(CERTIFICATE) {
        Credential::Certificate(path)
    } else if let Some(path) = env.var(FEDERATED) {
        Credential::FederatedToken(path)
    } else {
        Credential::Public
    }
}

/// A browser where one can open that reaches this machine's loopback; else the person pastes.
fn usual_method(env: &Env, has_browser: bool, exists: impl Fn(&str) -> bool) -> Method {
    let is_set = |name| env.var(name).is_some();
    // VS Code opens links in the browser that shows it, and forwards this machine's ports to there. code-server, which
    // shares most of its variables, does not forward.
    if is_set("VSCODE_IPC_HOOK_CLI") && is_set("BROWSER") && !is_set("VSCODE_PROXY_URI") {
        return Method::Browser;
    }
    let is_rstudio_server = env
        .var("RSTUDIO_PROGRAM_MODE")
        .is_some_and(|mode| mode == "server");
    let is_elsewhere = is_rstudio_server
        || ["JUPYTERHUB_USER", "VSCODE_PROXY_URI", "SSH_CONNECTION", "SSH_TTY", "KUBERNETES_SERVICE_HOST"]
            .into_iter()
            .any(is_set)
        // In WSL it is Windows' browser, which does not run as the same user.
        || is_set("WSL_DISTRO_NAME")
        || exists("/.dockerenv")
        || exists("/run/.containerenv");
    if is_elsewhere {
        return Method::Paste;
    }
    let has_display = cfg!(any(windows, target_os = "macos"))
        || ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER"]
            .into_iter()
            .any(is_set);
    if has_browser || has_display {
        Method::Browser
    } else {
        Method::Paste
    }
}

fn no_pasting(was_chosen_here: bool) -> Error {
    let what = if was_chosen_here {
        "no browser can open here, and with Azure CLI's app nothing is pasted: to those who watch a tenant that looks like an attack"
    } else {
        "with Azure CLI's app nothing is pasted: to those who watch a tenant that looks like an attack"
    };
    misconfigured(
        what,
        "Give the `client_id` of an app registration of your own organisation, which may be pasted for; or try method = \"device_code\".",
    )
}

fn misconfigured(what: &str, remedy: &str) -> Error {
    let details = Details {
        remedy: Some(remedy.to_owned()),
        ..Details::default()
    };
    Error::with(Kind::Misconfigured, what, details).lasting()
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "11111111-2222-3333-4444-555555555555";

    fn asked(variables: &[(&str, &str)], arguments: Arguments) -> Result<SignIn, Error> {
        request(&Env::fixed(variables, 0.0), arguments)
    }

    fn app() -> Arguments {
        Arguments {
            client_id: Some(APP.to_owned()),
            method: Some(Method::Browser),
            ..Arguments::default()
        }
    }

    fn failure(variables: &[(&str, &str)], arguments: Arguments) -> (Kind, String) {
        let error = asked(variables, arguments).unwrap_err();
        (error.kind(), error.message().to_owned())
    }

    #[test]
    fn arguments_win_over_variables_and_these_over_what_is_usual() {
        let sign_in = asked(&[], app()).unwrap();
        assert_eq!(sign_in.tenant, "organizations");
        assert_eq!(sign_in.authority, "https://login.microsoftonline.com");
        let variables = [
            (TENANT, "Contoso.example"),
            (CLIENT, "99999999-2222-3333-4444-555555555555"),
            (AUTHORITY, "login.microsoftonline.us"),
        ];
        let sign_in = asked(
            &variables,
            Arguments {
                client_id: None,
                ..app()
            },
        )
        .unwrap();
        assert_eq!(sign_in.tenant, "contoso.example");
        assert_eq!(sign_in.client_id, "99999999-2222-3333-4444-555555555555");
        assert_eq!(sign_in.authority, "https://login.microsoftonline.us");
        let given = Arguments {
            tenant: Some("fabrikam.example".to_owned()),
            authority: Some("http://127.0.0.1:8080".to_owned()),
            ..app()
        };
        let sign_in = asked(&variables, given).unwrap();
        assert_eq!(sign_in.tenant, "fabrikam.example");
        assert_eq!(sign_in.client_id, APP);
        assert_eq!(sign_in.authority, "http://127.0.0.1:8080");
    }

    #[test]
    fn without_an_app_both_ways_are_named() {
        let error = asked(&[], Arguments::default()).unwrap_err();
        let remedy = error.details().remedy.clone().unwrap();
        assert_eq!(error.kind(), Kind::Misconfigured);
        assert!(remedy.contains("entrar setup entra"), "{remedy}");
        assert!(remedy.contains("client_id = \"azure-cli\""), "{remedy}");
    }

    #[test]
    fn the_environment_may_name_a_cloud_only() {
        for address in ["https://login.example", "http://127.0.0.1:8080"] {
            let (kind, message) = failure(&[(AUTHORITY, address)], app());
            assert_eq!(kind, Kind::Misconfigured);
            assert!(message.starts_with(AUTHORITY), "{message}");
        }
    }

    #[test]
    fn what_proves_an_app_is_for_that_app() {
        let variables = [(CLIENT, APP), (SECRET, "canary"), (CERTIFICATE, "/c.pem")];
        let sign_in = asked(&variables, app()).unwrap();
        assert!(matches!(sign_in.credential, Credential::Secret(_)));
        let sign_in = asked(&variables[..1], app()).unwrap();
        assert!(matches!(sign_in.credential, Credential::Public));
        let other = Arguments {
            client_id: Some(AZURE_CLI_WORD.to_owned()),
            ..app()
        };
        let sign_in = asked(&variables, other).unwrap();
        assert_eq!(sign_in.client_id, AZURE_CLI.to_string());
        assert!(matches!(sign_in.credential, Credential::Public));
    }

    #[test]
    fn a_browser_opens_where_it_reaches_this_machine() {
        let method = |variables: &[(&str, &str)], file: &str| {
            usual_method(&Env::fixed(variables, 0.0), false, |path| path == file)
        };
        let display = ("DISPLAY", ":0");
        if cfg!(target_os = "linux") {
            assert_eq!(method(&[], ""), Method::Paste);
        }
        assert_eq!(method(&[display], ""), Method::Browser);
        assert_eq!(method(&[display], "/.dockerenv"), Method::Paste);
        for elsewhere in [
            ("RSTUDIO_PROGRAM_MODE", "server"),
            ("SSH_CONNECTION", "a"),
            ("JUPYTERHUB_USER", "ada"),
            ("WSL_DISTRO_NAME", "Debian"),
        ] {
            assert_eq!(method(&[display, elsewhere], ""), Method::Paste);
        }
        let vscode = [
            ("VSCODE_IPC_HOOK_CLI", "s"),
            ("BROWSER", "b"),
            ("SSH_CONNECTION", "a"),
        ];
        assert_eq!(method(&vscode, ""), Method::Browser);
    }

    #[test]
    fn with_azure_clis_app_nothing_is_pasted() {
        let paste = Arguments {
            client_id: Some(AZURE_CLI_WORD.to_owned()),
            method: Some(Method::Paste),
            ..app()
        };
        let (kind, message) = failure(&[], paste);
        assert_eq!(kind, Kind::Misconfigured);
        assert!(message.contains("nothing is pasted"), "{message}");
    }

    #[test]
    fn nonsense_is_refused_without_repeating_it() {
        for (arguments, words) in [
            (
                Arguments {
                    client_id: Some("canary".into()),
                    ..app()
                },
                "no GUID",
            ),
            (
                Arguments {
                    tenant: Some("canary/../x".into()),
                    ..app()
                },
                "neither a GUID",
            ),
            (
                Arguments {
                    tenant: Some("..".into()),
                    ..app()
                },
                "neither a GUID",
            ),
        ] {
            let (_, message) = failure(&[], arguments);
            assert!(
                message.contains(words) && !message.contains("canary"),
                "{message}"
            );
        }
    }
}
