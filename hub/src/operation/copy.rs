//! Moving the hub's database from its file to a server of PostgreSQL's.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use clap::Args;
use entrar_core::file::reason;
use entrar_core::private_directory::own_uid;
use entrar_core::session_directory::has_listener;

use crate::configuration::{Configuration, SecretFile};
use crate::keys::Keys;
use crate::store::{self, Copied, Database, Server};

/// Where a hub keeps what it keeps unless it is said.
const USUAL: &str = "/var/lib/entrar-hub";

/// Where to.
#[derive(Debug, Args)]
pub struct To {
    /// An empty database, such as postgresql://entrar-hub@db.example.com/entrar, or one into which a copy was begun.
    #[arg(long, value_name = "URL")]
    to: String,
    /// A file with the password, which only the hub's user can read.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Who vouches for the server's certificate, PEM.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Copies the database, with a line for each table, and says what to write into `hub.toml`.
///
/// # Errors
/// Why it is not done, in words.
pub async fn copy(configuration: &Configuration, to: To) -> Result<(), String> {
    let Database::File(path) = &configuration.database else {
        return Err(
            "hub.toml names a server already: let [store] name the file (path) until the copy is done"
                .to_owned(),
        );
    };
    if has_listener(&configuration.socket.path) {
        return Err(format!(
            "the hub serves ({}): stop it first (systemctl stop entrar-hub), and leave it stopped",
            configuration.socket.path.display()
        ));
    }
    let keys = Keys::read(configuration.key_file.path()).map_err(|error| error.to_string())?;
    let server = Server::new(
        &to.to,
        to.password_file.clone().map(SecretFile::new),
        to.ca_file.clone(),
        1,
        // What a hub needs that serves.
        (Duration::ZERO, PathBuf::new()),
    );
    let server = server.map_err(|why| format!("--to: {why}"))?;
    let copied = store::copy(path, &server, keys, own_uid(), |copied| {
        // Whoever has closed the output still wants the copy.
        let _ = writeln!(io::stdout(), "{}", line(copied));
    });
    copied.await.map_err(|error| error.to_string())?;
    let said = settings(path, &to).map_err(|error| reason(&error))?;
    let _ = write!(io::stdout(), "{said}");
    Ok(())
}

fn line(copied: &Copied) -> String {
    let Copied {
        table,
        rows,
        written,
        forged,
    } = copied;
    let before = rows.saturating_sub(*written);
    let mut line = format!("{table:<16} {rows:>9} rows the same on both sides");
    if before > 0 {
        line.push_str(&format!(", {before} of them from before"));
    }
    if let Some(forged) = forged {
        line.push_str(&format!(
            "\n  note: {forged}. It is refused there as it is here."
        ));
    }
    line
}

/// What is to be done next.
fn settings(path: &Path, to: &To) -> io::Result<String> {
    let mut said = format!(
        "\nAll of it is there. In [store] of hub.toml, in the place of path:\n\n  url = {}\n",
        quoted(&to.to)
    );
    for (name, file) in [
        ("password_file", &to.password_file),
        ("ca_file", &to.ca_file),
    ] {
        if let Some(file) = file {
            let file = absolute(file)?;
            said.push_str(&format!(
                "  {name} = {}\n",
                quoted(&file.display().to_string())
            ));
        }
    }
    if let Some(directory) = absolute(path)?
        .parent()
        .filter(|it| *it != Path::new(USUAL))
    {
        let journal = directory.join("journal").display().to_string();
        said.push_str(&format!("  journal = {}\n", quoted(&journal)));
    }
    said.push_str(&format!(
        "\nThen: entrar-hub check, and start the hub. It does not look at {} any more. Delete that file and those beside it once people have had tokens.\n",
        path.display()
    ));
    Ok(said)
}

/// As TOML writes a text: JSON's escapes are among its own.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
