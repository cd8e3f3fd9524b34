//! `entrar demo --connect`: a made-up tenant and a Posit Connect in front of it, for a command that runs as its content.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use clap::Args;
use entra_emulator::connect::{AuthType, Connect, Fault, Integration, Server};
use entra_emulator::{Emulator, Tenant, User};
use entrar_core::env::Env;
use entrar_core::resource::Resource;
use entrar_core::variables::{ADDRESS, COOKIE, ORIGIN, RUNTIME_DIRECTORY, VERSION};
use secrecy::ExposeSecret;

use super::{
    Audience, Error, Options, add_resources, command, private_directory, run_command, serve_reader,
};
use crate::child::{Signals, exit_code};
use crate::emulator;
use crate::variables::Variables;

/// The file with the content's own session token.
const TOKEN_FILE: &str = "session-token";

/// The part of the command line that is about Connect.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Run COMMAND as content of an emulated Posit Connect
    #[arg(long, conflicts_with = "listen")]
    pub(super) connect: bool,
    /// The port of 127.0.0.1 at which COMMAND is going to listen, for the front doors [default: any free one]
    #[arg(long, value_name = "PORT", requires = "connect")]
    app_port: Option<u16>,
    /// Who may visit, in the place of those that are there by default; may be given several times.
    /// 'Ada Example <ada@example.com>', or the address alone
    #[arg(long = "visitor", value_name = "USER", value_parser = emulator::user, requires = "connect")]
    visitors: Vec<User>,
    /// What is attached to the content, in the place of what is by default; may be given several times
    ///
    /// An integration for the tokens of visitors; with content: before RESOURCE for those of the content itself. none is for
    /// content that has none.
    #[arg(
        long = "integration",
        value_name = "[content:]RESOURCE",
        value_parser = integration,
        requires = "connect"
    )]
    integrations: Vec<Attached>,
    /// What Connect does in the place of what is asked, for all or for one visitor; may be given several times
    ///
    /// KIND is key_expired, visitor_refused, content_refused, no_refresh_token, opaque_token, listing_refused or scopes_refused;
    /// lifetime (replies tell it, which those of Connect do not), connect_errors or old_errors (the form of errors), rotated
    /// (the content's session token is good for one exchange). --fault is what the tenant behind Connect does.
    #[arg(
        long = "connect-fault",
        value_name = "[VISITOR=]KIND",
        requires = "connect"
    )]
    connect_faults: Vec<Fault>,
    /// The path of Connect's address, such as /connect
    #[arg(long, value_name = "PATH", value_parser = path, requires = "connect")]
    connect_path: Option<String>,
}

/// What one `--integration` says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Attached {
    None,
    Integration(Integration),
}

/// Keeps Connect up as long as its audience wants; the result is the exit code.
pub(super) async fn demonstrate(
    env: Env,
    arguments: Arguments,
    options: Options,
) -> Result<u8, Error> {
    let mut signals = Signals::catch()?;
    let users = match arguments.visitors.as_slice() {
        [] => emulator::default_users(),
        named => named.to_vec(),
    };
    let tenant = Arc::new(Tenant::new(entra_emulator::Options {
        users,
        token_lifetime: options.token_lifetime,
        faults: options.faults,
        ..entra_emulator::Options::default()
    })?);
    let emulator = Emulator::start(Arc::clone(&tenant), ([127, 0, 0, 1], 0).into())
        .map_err(Error::Emulator)?;
    let directory = private_directory(&env)?;
    let token_file = directory.path().join(TOKEN_FILE);
    let app = app_address(arguments.app_port)?;
    let connect = Arc::new(Connect::new(
        tenant,
        entra_emulator::connect::Options {
            content_token_file: Some(token_file.clone()),
            ..connect_options(arguments)
        },
    )?);
    let server = Server::start(connect, app).map_err(Error::Connect)?;

    let mut variables = Variables::default();
    for name in ["POSIT_PRODUCT", "RSTUDIO_PRODUCT"] {
        variables.set(name, "CONNECT");
    }
    // As Connect writes it.
    variables.set("CONNECT_SERVER", format!("{}/", server.url()));
    variables.set("CONNECT_API_KEY", server.connect().api_key().clone());
    variables.set("CONNECT_CONTENT_GUID", server.connect().content());
    variables.set(
        "CONNECT_CONTENT_SESSION_TOKEN_FILE",
        token_file.to_string_lossy().as_ref(),
    );
    // Those of a session around this one.
    for name in [ADDRESS, RUNTIME_DIRECTORY, COOKIE, VERSION, ORIGIN] {
        variables.set(name, "");
    }
    variables.set("CONNECT_CONTENT_SESSION_TOKEN", "");
    variables.set("ENTRAR_DEMO_PERSON", "");
    variables.set("ENTRAR_DEMO_PORT", app.port().to_string());
    add_resources(&mut variables, &env, emulator.url());
    let words = match options.audience {
        Audience::Command(words) => words,
        Audience::Reader(file) => {
            add_visitors(&mut variables, &server)?;
            return serve_reader(file, variables, &mut signals).await;
        }
    };
    announce(&introduction(&server, app));
    let command = command(&words, &variables, &env);
    Ok(exit_code(run_command(command, words, &mut signals).await?))
}

/// Where the command is going to listen.
fn app_address(port: Option<u16>) -> io::Result<SocketAddr> {
    let address = (Ipv4Addr::LOCALHOST, port.unwrap_or(0)).into();
    match port {
        Some(_) => Ok(address),
        // Free now, and only with bad luck taken by somebody else until the command listens there.
        None => TcpListener::bind(address)?.local_addr(),
    }
}

fn connect_options(arguments: Arguments) -> entra_emulator::connect::Options {
    let usual = entra_emulator::connect::Options::default();
    let integrations = if arguments.integrations.is_empty() {
        usual.integrations
    } else {
        let named = arguments.integrations.into_iter();
        named
            .filter_map(|attached| match attached {
                Attached::None => None,
                Attached::Integration(integration) => Some(integration),
            })
            .collect()
    };
    entra_emulator::connect::Options {
        path: arguments.connect_path.unwrap_or(usual.path),
        integrations,
        faults: arguments.connect_faults,
        ..usual
    }
}

/// What only the reader of the file knows, and no content: a session token of each visitor, and where they come in. The names
/// have a space, so that nobody takes them for variables.
fn add_visitors(variables: &mut Variables, server: &Server) -> Result<(), Error> {
    for door in server.doors() {
        let name = door.visitor.as_ref().map_or("", name_of);
        variables.set(format!("door {name}"), door.url.clone());
        if let Some(visitor) = &door.visitor {
            let token = server.connect().visit(visitor)?;
            variables.set(format!("visitor {name}"), token.expose_secret());
        }
    }
    Ok(())
}

fn name_of(visitor: &User) -> &str {
    &visitor.user_principal_name
}

/// Standard output is the command's.
fn announce(text: &str) {
    use std::io::Write;
    // Whoever closed it does not want to know.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// What a person needs to know who looks at the content.
fn introduction(server: &Server, app: SocketAddr) -> String {
    let mut text = format!(
        "An emulated Posit Connect at {}/. Nothing in it is real.\n\
         Its content is this command; if it listens at {app}, visitors come in here:\n",
        server.url(),
    );
    for door in server.doors() {
        let who = match &door.visitor {
            Some(visitor) => format!("{} ({})", visitor.display_name(), name_of(visitor)),
            None => "nobody who has signed in".to_owned(),
        };
        let _ = writeln!(text, "  {}  {who}", door.url);
    }
    text.push('\n');
    text
}

fn integration(text: &str) -> Result<Attached, String> {
    if text == "none" {
        return Ok(Attached::None);
    }
    let (auth_type, resource) = match text.strip_prefix("content:") {
        Some(resource) => (AuthType::ServiceAccount, resource),
        None => (AuthType::Viewer, text),
    };
    let resource = Resource::from_caller(resource).map_err(|error| error.message().to_owned())?;
    let resource = resource.as_str().trim_end_matches('/');
    Ok(Attached::Integration(Integration::new(auth_type, resource)))
}

fn path(text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if path.is_empty() || path.contains("//") || !path.chars().all(is_plain) {
        return Err("it is not like /connect".to_owned());
    }
    Ok(format!("/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integration_is_for_visitors_or_for_the_content() {
        let of =
            |auth_type, resource| Ok(Attached::Integration(Integration::new(auth_type, resource)));
        let graph = "https://graph.microsoft.com";
        assert_eq!(integration("graph"), of(AuthType::Viewer, graph));
        assert_eq!(
            integration("content:https://graph.microsoft.com/"),
            of(AuthType::ServiceAccount, graph)
        );
        assert_eq!(integration("none"), Ok(Attached::None));
        for text in ["", "content:", "a b"] {
            assert!(integration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_has_one_slash_before_each_of_its_parts() {
        assert_eq!(path("connect"), Ok("/connect".to_owned()));
        assert_eq!(path("/a/b/"), Ok("/a/b".to_owned()));
        for text in ["", "/", "a//b", "a b", "{a}", "a?b"] {
            assert!(path(text).is_err(), "{text}");
        }
    }
}
