//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use entra_emulator::{Fault, FaultKind};
use entrar_core::env::Env;
use entrar_core::resource::Resource;
use tracing_subscriber::filter::LevelFilter;

use crate::agent;
use crate::session_env::{self, Extras};
use crate::setup::{self, Permission};
use crate::shell::Shell;
use crate::{demo, emulator};

/// The variable that says how much is logged.
const LOG: &str = "ENTRAR_LOG";

/// Delegated Microsoft Entra ID tokens for the sessions of a person
///
/// A broker holds a person's refresh token and exchanges it for access tokens. Sessions ask it as they ask Posit
/// Workbench, with entrar, rstudioapi or posit-sdk.
#[derive(Debug, Parser)]
#[command(name = "entrar", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(Demo),
    Emulator(emulator::Arguments),
    #[command(subcommand)]
    Agent(Agent),
    Env(SessionEnv),
    #[command(subcommand)]
    Setup(Setup),
}

/// Keep you signed in: the agent that `azure_sign_in()` starts in R
///
/// An agent holds what you got from Entra ID in memory, and hands out tokens to the programs of your user alone. It ends when
/// you sign out, when nobody has asked it for long, or when it is told to.
#[derive(Debug, Subcommand)]
enum Agent {
    /// Start one in the background, unless one runs
    Start {
        #[command(flatten)]
        idle: Idle,
    },
    /// Say whether one runs, who is signed in, and how it reaches Entra ID; the exit code is 3 if none runs
    Status,
    /// End it, and with it the sign-in
    Stop,
    /// Run one in the foreground, as a service manager wants it
    Run {
        #[command(flatten)]
        idle: Idle,
        /// Leave the session of the starter once it can be asked
        #[arg(long, hide = true)]
        detached: bool,
    },
}

#[derive(Debug, Args)]
struct Idle {
    /// After how many minutes without a request it ends
    #[arg(
        long,
        value_name = "MINUTES",
        default_value_t = agent::USUAL_IDLE,
        value_parser = clap::value_parser!(u32).range(1..=525_600)
    )]
    idle: u32,
}

impl Idle {
    fn duration(&self) -> std::time::Duration {
        std::time::Duration::from_secs(u64::from(self.idle) * 60)
    }
}

/// Print the commands by which other people's clients find your agent, or this machine's hub
///
/// rstudioapi, posit-sdk and git know their server by variables. These commands set them in a shell:
///
///   eval "$(entrar env)"                        sh, bash, zsh
///   entrar env | source                         fish
///   entrar env | Out-String | Invoke-Expression PowerShell
///
/// The cookie is in a file that only you can read. An agent renews it there; a hub's is good for as long as its administrator
/// lets it be, and is written anew by another `entrar env`. An agent is asked first, a hub where none runs.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct SessionEnv {
    /// Make git ask for credentials of Azure DevOps too
    #[arg(long)]
    git: bool,
    /// Put the cookie itself into the environment, which logs and bug reports may show
    #[arg(long)]
    inline: bool,
    /// The shell [default: the one that SHELL names]
    #[arg(long, value_enum)]
    shell: Option<Shell>,
}

/// Print commands for an administrator
#[derive(Debug, Subcommand)]
enum Setup {
    /// Print the commands of Azure CLI that register an app to sign in to; nothing is run
    Entra {
        /// The app's name, which people see when they sign in
        #[arg(long, default_value = "R")]
        name: String,
        /// What people may use it for, as themselves; may be given several times [default: graph and storage]
        #[arg(long = "permission", value_enum)]
        permissions: Vec<Permission>,
    },
}

/// Run a command as if it ran in Posit Workbench or on Posit Connect, without a tenant or a network
///
/// Starts a made-up tenant and a broker on this machine, signs in a made-up person, and runs COMMAND in a session of
/// theirs, which lasts for 24 hours. Tokens from it are worth something only to the tenant's own three resources, whose
/// addresses COMMAND finds in its environment:
///
///   $ENTRAR_DEMO_GRAPH/v1.0/me     Microsoft Graph: the person
///   $ENTRAR_DEMO_BLOB?comp=list    Azure Storage: the containers of an account
///   $ENTRAR_DEMO_VAULT/secrets?api-version=7.4
///                                  Azure Key Vault: its secrets
///
/// With --connect, COMMAND runs as content of Posit Connect instead: it has no session, but an emulated Connect to exchange its
/// own session token or a visitor's. If it listens at 127.0.0.1:$ENTRAR_DEMO_PORT, visitors come in by the addresses that are
/// printed to stderr; each has a front door of their own, which puts their session token on their requests.
///
/// R finds the package that this command was installed with. In a session, git asks git-credential-pwb for credentials of
/// Azure DevOps, which is not emulated.
///
/// Exits with COMMAND's own code: 128 + n if signal n ended it, 127 if there is no such command, 126 if it cannot be
/// run. Everything else that goes wrong is 1.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = DEMO_EXAMPLES)]
struct Demo {
    /// The broker's address; only this machine's own are allowed [default: any free port of 127.0.0.1]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = loopback)]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    connect: demo::connect::Arguments,
    #[command(flatten)]
    lifetime: emulator::Lifetime,
    /// What the tenant does in the place of granting tokens, for one resource or for all; may be given several times. KIND
    /// is sign_in_required, consent_required, access_denied, throttled, unavailable or slow (a token after ten seconds)
    #[arg(long = "fault", value_name = "[RESOURCE=]KIND", value_parser = fault)]
    faults: Vec<Fault>,
    /// Instead of running a command, write the session's variables to FILE, and end when standard input does
    ///
    /// A line of FILE is NAME=VALUE; a variable without a value is to be unset. FILE holds a secret: put it into a directory
    /// that nobody else enters. It must be a new one, and is removed at the end
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    environment: Option<PathBuf>,
    /// The command to run, with its arguments
    #[arg(
        required_unless_present = "environment",
        last = true,
        value_name = "COMMAND"
    )]
    command: Vec<OsString>,
}

const DEMO_EXAMPLES: &str = "\
Examples:
  entrar demo -- R
  entrar demo -- Rscript -e 'entrar::getDelegatedAzureToken(\"https://storage.azure.com\")'
  ENTRAR_LOG=info entrar demo --token-lifetime 60 -- python session.py
  entrar demo --connect -- Rscript -e 'shiny::runApp(\"app\", as.integer(Sys.getenv(\"ENTRAR_DEMO_PORT\")))'

ENTRAR_LOG says how much is logged to stderr: off, error, warn (the default), info (a line an exchange), debug, trace.";

/// Runs the command that this process was started as; the result is its exit code.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // It is help or a usage error; if even that cannot be written there is nobody to tell.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    let env = Env::process();
    let level = match log_level(env.var(LOG).as_deref()) {
        Ok(level) => level,
        Err(what) => return fail(&what, 2),
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    match cli.command {
        Command::Demo(demo) => run_demo(env, demo),
        Command::Emulator(arguments) => match emulator::run(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string(), 1),
        },
        Command::Agent(command) => run_agent(env, &command),
        Command::Env(arguments) => print_env(&env, &arguments),
        Command::Setup(Setup::Entra { name, permissions }) => {
            let chosen = match permissions.as_slice() {
                [] => &Permission::USUAL,
                chosen => chosen,
            };
            print(&setup::commands(&name, chosen))
        }
    }
}

fn run_agent(env: Env, command: &Agent) -> ExitCode {
    let done = match command {
        Agent::Start { idle } => agent::start(&env, idle.idle),
        Agent::Status => agent::status(&env),
        Agent::Stop => agent::stop(&env),
        Agent::Run { idle, detached } => {
            agent::run(env, idle.duration(), *detached).map(|()| String::new())
        }
    };
    match done {
        Ok(text) if text.is_empty() => ExitCode::SUCCESS,
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => fail(&error.to_string(), error.exit_code()),
    }
}

fn print_env(env: &Env, arguments: &SessionEnv) -> ExitCode {
    let shell = arguments
        .shell
        .unwrap_or_else(|| Shell::at(env.var("SHELL").as_deref()));
    let extras = Extras {
        cookie: arguments.inline,
        git: arguments.git,
    };
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(error) => return fail(&format!("this command's own path is not known: {error}"), 1),
    };
    match session_env::commands(env, shell, extras, &own) {
        Ok((text, warning)) => {
            if let Some(warning) = warning {
                eprintln!("entrar: {warning}");
            }
            print(&text)
        }
        Err(error) => fail(&error.to_string(), error.exit_code()),
    }
}

/// Writes to standard output, of which somebody may have read enough.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    let mut output = std::io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run_demo(env: Env, demo: Demo) -> ExitCode {
    let options = demo::Options {
        listen: demo.listen.unwrap_or_else(|| ([127, 0, 0, 1], 0).into()),
        token_lifetime: demo.lifetime.token_lifetime,
        faults: demo.faults,
        audience: match demo.environment {
            Some(file) => demo::Audience::Reader(file),
            None => demo::Audience::Command(demo.command),
        },
    };
    match demo::run(env, demo.connect, options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error.to_string(), error.exit_code()),
    }
}

fn fail(what: &str, code: u8) -> ExitCode {
    eprintln!("entrar: {what}");
    ExitCode::from(code)
}

fn log_level(text: Option<&str>) -> Result<LevelFilter, String> {
    let Some(text) = text else {
        return Ok(LevelFilter::WARN);
    };
    text.parse()
        .map_err(|_| format!("{LOG} must be off, error, warn, info, debug or trace"))
}

/// Whoever can reach the broker can try cookies on it, and nothing but the loopback keeps them from being read.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "it is not an IP address and a port, such as 127.0.0.1:8787".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("other machines could reach it; use 127.0.0.1 or [::1]".to_owned())
    }
}

/// A resource may hold an equals sign, the name of a fault does not.
pub(crate) fn fault(text: &str) -> Result<Fault, String> {
    let (resource, kind) = match text.rsplit_once('=') {
        Some((resource, kind)) => (Some(resource), kind),
        None => (None, text),
    };
    let kind: FaultKind = kind.parse().map_err(|error| format!("{error}"))?;
    let resource = resource
        .map(Resource::from_caller)
        .transpose()
        .map_err(|error| error.message().to_owned())?;
    Ok(Fault::new(kind, resource.as_ref().map(Resource::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_loopback_addresses_may_be_listened_at() {
        for text in ["127.0.0.1:8787", "127.1.2.3:0", "[::1]:80"] {
            assert_eq!(loopback(text).unwrap().to_string(), text);
        }
        for text in ["0.0.0.0:80", "[::]:80", "192.168.0.1:80"] {
            assert!(
                loopback(text).unwrap_err().contains("other machines"),
                "{text}"
            );
        }
        for text in ["", "8787", "127.0.0.1", "example.com:80"] {
            assert!(loopback(text).unwrap_err().contains("such as"), "{text}");
        }
    }

    #[test]
    fn a_fault_is_for_one_resource_or_for_all() {
        let parsed = |text| fault(text).map(|fault| (fault.kind, fault.resource));
        assert_eq!(parsed("slow"), Ok((FaultKind::Slow, None)));
        for (text, resource) in [
            ("graph=throttled", "https://graph.microsoft.com"),
            ("api://a=b=throttled", "api://a=b"),
        ] {
            let expected = (FaultKind::Throttled, Some(resource.to_owned()));
            assert_eq!(parsed(text), Ok(expected), "{text}");
        }
        for text in ["", "fast", "graph=", "graph=fast", "throttled=graph"] {
            assert!(parsed(text).unwrap_err().contains("one of"), "{text}");
        }
        for text in ["=slow", "a b=slow"] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn warnings_are_logged_unless_the_variable_says_otherwise() {
        assert_eq!(log_level(None), Ok(LevelFilter::WARN));
        assert_eq!(log_level(Some("info")), Ok(LevelFilter::INFO));
        assert_eq!(log_level(Some("OFF")), Ok(LevelFilter::OFF));
        assert!(log_level(Some("loud")).unwrap_err().contains("ENTRAR_LOG"));
    }
}
