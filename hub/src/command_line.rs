//! The command `entrar-hub`: its arguments, and what it prints.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use entrar_core::env::Env;
use entrar_core::error::Error as Failed;
use entrar_core::file::reason;
use entrar_core::http::{Http, Settings, send};
use entrar_core::hub::Failure;
use entrar_core::time::UnixTime;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;

use crate::configuration::{self, Configuration};
use crate::operation::admin::{
    ADD_LAUNCHER, AUDIT, LAUNCHERS, PAIR, PEOPLE, REKEY, REMOVE_LAUNCHER, REVOKE, REVOKE_ALL,
    SESSIONS, UNBIND,
};
use crate::operation::print::{Column, json_lines, table};
use crate::operation::{check, copy, init};
use crate::serve;

/// How long the hub may take for an administrator's request.
const TIMEOUT: Duration = Duration::from_secs(600);

/// A broker of Azure tokens for many people: they sign in once in the browser, and their sessions on this machine get
/// tokens as themselves.
#[derive(Debug, Parser)]
#[command(name = "entrar-hub", version)]
struct Arguments {
    /// The hub's settings.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/entrar-hub/hub.toml"
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write hub.toml, with a word on each setting, and a key file.
    Init {
        /// Where to.
        #[arg(value_name = "DIRECTORY", default_value = "/etc/entrar-hub")]
        directory: PathBuf,
    },
    /// Try every setting, and say what to do about what is wrong.
    Check,
    /// Copy the database from its file to a server of PostgreSQL's, while the hub does not serve.
    Copy(copy::To),
    /// Serve, until the process is told to end.
    Serve,
    /// List who has signed in.
    People(Printed),
    /// List sessions of clients that know an address and a cookie only.
    Sessions(Printed),
    /// Sign a person out everywhere.
    Revoke {
        /// The person, by local user, user name or object id.
        #[arg(required_unless_present = "all")]
        person: Option<String>,
        /// Everybody; the first step after a back-up was restored.
        #[arg(long, conflicts_with = "person")]
        all: bool,
    },
    /// Sign a person out and forget which local user they are.
    Unbind {
        /// The person, by local user, user name or object id.
        person: String,
    },
    /// Print who got a token for what, who signed in, who was refused.
    Audit {
        /// Only the last so many days.
        #[arg(long, default_value_t = 7.0)]
        days: f64,
        /// Only the newest so many rows.
        #[arg(long, default_value_t = 1_000)]
        rows: u32,
        #[command(flatten)]
        printed: Printed,
    },
    /// Let a local user who fits neither rule nor table pair with an account, once, by a code.
    Pair {
        /// The local user's name.
        user: String,
        /// For how long, such as 8h or 1d.
        #[arg(long = "for", value_name = "TIME", default_value = "1d", value_parser = time)]
        seconds: f64,
    },
    /// List launchers, which open sessions for the users on their list.
    Launchers(Printed),
    /// Add a launcher, whose key is printed once; or take one away, with its sessions.
    #[command(subcommand)]
    Launcher(LauncherCommand),
    /// Seal everything under the first key of the key file, while the hub serves.
    Rekey {
        /// Put a new key before the others first.
        #[arg(long)]
        new_key: bool,
    },
}

#[derive(Debug, Subcommand)]
enum LauncherCommand {
    /// Add a launcher, and print its key.
    Add {
        /// Its name.
        name: String,
        /// The local users that it may open sessions for.
        #[arg(long, value_delimiter = ',', required = true)]
        users: Vec<String>,
        /// The uid from which its key counts, through the socket.
        #[arg(long, required_unless_present = "network")]
        uid: Option<u32>,
        /// The network from which its key counts, by https, such as 10.1.0.0/16.
        #[arg(long, conflicts_with = "uid")]
        network: Option<String>,
        /// For how long, such as 90d.
        #[arg(long = "for", value_name = "TIME", default_value = "90d", value_parser = time)]
        seconds: f64,
    },
    /// Take a launcher's key back and end its sessions.
    Remove {
        /// Its name.
        name: String,
    },
}

/// Seconds, from a number with a unit.
fn time(text: &str) -> Result<f64, String> {
    let unit = text.chars().last().and_then(|unit| match unit {
        'm' => Some(60.0),
        'h' => Some(3_600.0),
        'd' => Some(86_400.0),
        _ => None,
    });
    let number = text
        .get(..text.len().saturating_sub(1))
        .and_then(|number| number.parse::<u32>().ok());
    match (number, unit) {
        (Some(number), Some(unit)) if number > 0 => Ok(f64::from(number) * unit),
        _ => Err("write a number of minutes, hours or days, such as 30m, 8h or 1d".to_owned()),
    }
}

#[derive(Debug, Args)]
struct Printed {
    /// Print JSON, one object on a line.
    #[arg(long)]
    json: bool,
}

/// Why a command has failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Configuration(#[from] configuration::Error),
    #[error(transparent)]
    Serve(#[from] serve::Error),
    #[error("{0}")]
    Said(String),
    #[error("{}. {}", .0.message(), .0.details().remedy.as_deref().unwrap_or_default())]
    Failed(Failed),
    #[error("nothing can be printed: {}", reason(.0))]
    Output(#[from] io::Error),
}

/// Runs the command.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Init { directory } => initialise(&directory),
        command => with_runtime(&arguments.config, command),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "entrar-hub: {}", error.to_string().trim_end());
            ExitCode::FAILURE
        }
    }
}

fn initialise(directory: &Path) -> Result<ExitCode, Error> {
    let [settings, keys] = init::init(directory).map_err(Error::Said)?;
    writeln!(
        io::stdout(),
        "{} is to be filled in, then tried: entrar-hub --config {} check\n{} holds the key under which refresh tokens are sealed: keep a copy, apart from copies of the database.",
        settings.display(),
        settings.display(),
        keys.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

fn with_runtime(path: &Path, command: Command) -> Result<ExitCode, Error> {
    // What the service manager hands over: a directory of files, which holds nothing of the tenant's address.
    let credentials = Env::process()
        .var("CREDENTIALS_DIRECTORY")
        .map(PathBuf::from);
    let settings = || Configuration::read(path, credentials.as_deref());
    let configuration = settings()?;
    // The database's threads want the other half: more workers would wake each other up more often than they help.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.div_ceil(2))
        .enable_all()
        .build()
        .map_err(|error| Error::Said(format!("no runtime: {}", reason(&error))))?;
    runtime.block_on(async {
        match command {
            Command::Init { .. } => Ok(ExitCode::SUCCESS),
            Command::Serve => {
                log(configuration.log_is_json);
                serve::run(settings).await?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Check => checked(&configuration).await,
            Command::Copy(to) => {
                copy::copy(&configuration, to).await.map_err(Error::Said)?;
                Ok(ExitCode::SUCCESS)
            }
            command => administer(&configuration.socket.path, command).await,
        }
    })
}

fn log(is_json: bool) {
    let log = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(io::stderr)
        .with_ansi(false);
    if is_json {
        log.json().init();
    } else {
        log.init();
    }
}

async fn checked(configuration: &Configuration) -> Result<ExitCode, Error> {
    let lines = check::check(configuration).await;
    for line in &lines {
        writeln!(io::stdout(), "{line}")?;
    }
    let is_good = lines.iter().all(check::Line::is_good);
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

const PEOPLE_COLUMNS: [Column; 5] = [
    ("user", "USER"),
    ("uid", "UID"),
    ("username", "ACCOUNT"),
    ("object_id", "OBJECT ID"),
    ("signed_in_at", "SIGNED IN (UTC)"),
];
const SESSION_COLUMNS: [Column; 6] = [
    ("user", "USER"),
    ("machine", "MACHINE"),
    ("opened_by", "OPENED BY"),
    ("opened_at", "OPENED (UTC)"),
    ("expires_at", "EXPIRES (UTC)"),
    ("id", "ID"),
];
const LAUNCHER_COLUMNS: [Column; 4] = [
    ("name", "NAME"),
    ("from", "FROM"),
    ("expires_at", "EXPIRES (UTC)"),
    ("users", "USERS"),
];
const AUDIT_COLUMNS: [Column; 9] = [
    ("at", "TIME (UTC)"),
    ("event", "EVENT"),
    ("user", "USER"),
    ("account", "ACCOUNT"),
    ("resource", "RESOURCE"),
    ("result", "RESULT"),
    ("machine", "MACHINE"),
    ("correlation_id", "CORRELATION ID"),
    ("detail", "DETAIL"),
];

async fn administer(socket: &Path, command: Command) -> Result<ExitCode, Error> {
    let whom = |person: &str| json!({ "person": person });
    let (name, parameters, printed): (&str, Value, Option<(&[Column], bool)>) = match &command {
        Command::People(printed) => (PEOPLE, json!({}), Some((&PEOPLE_COLUMNS, printed.json))),
        Command::Sessions(printed) => (SESSIONS, json!({}), Some((&SESSION_COLUMNS, printed.json))),
        Command::Revoke {
            person: Some(person),
            ..
        } => (REVOKE, whom(person), None),
        Command::Revoke { .. } => (REVOKE_ALL, json!({}), None),
        Command::Unbind { person } => (UNBIND, whom(person), None),
        Command::Audit {
            days,
            rows,
            printed,
        } => {
            let since = UnixTime::now() - (days * 86_400.0).clamp(0.0, 1e10);
            let parameters = json!({ "since": since.seconds(), "most": rows });
            (AUDIT, parameters, Some((&AUDIT_COLUMNS, printed.json)))
        }
        Command::Pair { user, seconds } => {
            (PAIR, json!({ "user": user, "seconds": seconds }), None)
        }
        Command::Launchers(printed) => (
            LAUNCHERS,
            json!({}),
            Some((&LAUNCHER_COLUMNS, printed.json)),
        ),
        Command::Launcher(LauncherCommand::Add {
            name,
            users,
            uid,
            network,
            seconds,
        }) => {
            let launcher = json!({ "name": name, "users": users, "uid": uid, "network": network, "seconds": seconds });
            (ADD_LAUNCHER, launcher, None)
        }
        Command::Launcher(LauncherCommand::Remove { name }) => {
            (REMOVE_LAUNCHER, json!({ "name": name }), None)
        }
        Command::Rekey { new_key } => (REKEY, json!({ "new_key": new_key }), None),
        Command::Init { .. } | Command::Check | Command::Copy(_) | Command::Serve => {
            return Ok(ExitCode::SUCCESS);
        }
    };
    let result = ask(socket, name, &parameters).await?;
    let mut out = io::stdout().lock();
    match (printed, result) {
        (Some((_, true)), Value::Array(rows)) => json_lines(&mut out, &rows)?,
        (Some((columns, false)), Value::Array(rows)) => table(&mut out, columns, &rows)?,
        (_, result) => writeln!(
            out,
            "{}",
            result
                .get("said")
                .and_then(Value::as_str)
                .unwrap_or_default()
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the hub answers.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Result(Value),
    Failure(Box<Failure>),
}

/// Asks the hub that serves.
async fn ask(socket: &Path, name: &str, parameters: &Value) -> Result<Value, Error> {
    let server = format!("the hub ({})", socket.display());
    if entrar_core::session_directory::has_listener(socket) {
        let http = Http::new(Settings::through_socket(socket)).map_err(Error::Failed)?;
        let request = http
            .client()
            .post(format!("http://localhost/admin/{name}"))
            .timeout(TIMEOUT)
            .header("content-type", "application/json")
            .body(parameters.to_string());
        let reply = send(&http, request, &server, UnixTime::now())
            .await
            .map_err(Error::Failed)?;
        let reply: Reply = serde_json::from_str(&reply.body)
            .map_err(|_| Error::Said(format!("{server} gave an answer that is not understood")))?;
        return match reply {
            Reply::Result(result) => Ok(result),
            Reply::Failure(failure) => Err(Error::Failed((*failure).into())),
        };
    }
    Err(Error::Said(format!(
        "{server} is not serving: start it first (entrar-hub serve, or systemctl start entrar-hub)"
    )))
}
