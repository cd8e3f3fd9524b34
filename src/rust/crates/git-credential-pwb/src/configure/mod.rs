//! `configure` and `unconfigure`: the helper's part of a git configuration file, put in and taken out.
//!
//! The part is a piece of text between two comments. Nothing else in the file changes by a byte, and taking the
//! part out needs no guess about what was there before.
//!
//! Each section begins with an empty `helper`, which makes git forget the helpers it has read so far. Otherwise
//! git would hand our token to each of them, to store.

mod file;
mod part;

use std::fs;
use std::io;
use std::path::PathBuf;

use entrar_core::env::Env;
use entrar_core::git::helper_value;

use file::{Lock, projects_file, users_file, write};
use part::{BEGINS, END, Ours, Parts, block};

/// What names the person's own directory.
const HOME: &str = if cfg!(windows) {
    "HOME nor USERPROFILE"
} else {
    "HOME"
};

/// Whose configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The person's own.
    User,
    /// This repository's.
    Project,
}

/// Why the configuration was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No variable says where the person's directory is.
    #[error("your git configuration cannot be found: neither GIT_CONFIG_GLOBAL nor {HOME} is set")]
    NoHome,
    /// git says that there is none.
    #[error("there is no git repository here")]
    NoRepository,
    /// git cannot be run.
    #[error("git cannot be run: {0}")]
    NoGit(io::Error),
    /// This executable does not know where it is.
    #[error("this command's own path is not known: {0}")]
    NoPath(io::Error),
    /// Someone changes the file at this moment.
    #[error("{0} is being changed by another process; if that is not so, delete {0}.lock")]
    Locked(String),
    /// The file cannot be read or written.
    #[error("{0} cannot be changed: {1}")]
    Io(String, io::Error),
    /// The second comment is missing.
    #[error(
        "{0} has the line \"{BEGINS}...\" but not the line \"{END}\" after it; mend that by hand"
    )]
    NoEnd(String),
}

/// What is to be changed, and how.
#[derive(Clone, Debug)]
pub struct Change {
    /// Whose configuration.
    pub scope: Scope,
    /// Whether the helper is put in, or taken out.
    pub add: bool,
    /// Whether the change is only told.
    pub dry_run: bool,
    /// The path that git is to run, such as a link to this command; without one, this command's own.
    pub helper: Option<PathBuf>,
}

/// Puts the helper in or takes it out; the result is the change, for a person to read, or empty if there is
/// none to make.
///
/// # Errors
/// Why nothing was changed.
pub fn change(env: &Env, change: &Change) -> Result<String, Error> {
    let &Change { add, dry_run, .. } = change;
    let file = match change.scope {
        Scope::User => users_file(env, cfg!(windows))?,
        Scope::Project => projects_file()?,
    };
    let own = std::env::current_exe().map_err(Error::NoPath)?;
    let own = helper_value(&own);
    let helper = change.helper.as_deref().map(helper_value);
    let ours = Ours([helper.unwrap_or_else(|| own.clone()), own]);
    // Links are followed, as git does: many keep their configuration elsewhere.
    let is_link = fs::symlink_metadata(&file).is_ok_and(|metadata| metadata.is_symlink());
    let file = fs::canonicalize(&file).map_or(file, plain);
    let shown = file.display().to_string();
    // A device would be replaced, a pipe would keep us waiting for ever.
    if fs::metadata(&file).is_ok_and(|metadata| !metadata.is_file()) {
        let error = io::Error::other("it is not a regular file");
        return Err(Error::Io(shown, error));
    }
    let _lock = if dry_run {
        None
    } else {
        Some(Lock::take(&file)?)
    };
    let old = match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(|error| Error::Io(shown.clone(), error))?,
    };
    let parts = Parts::of(&old).ok_or_else(|| Error::NoEnd(shown.clone()))?;
    let part = if add { block(&ours) } else { String::new() };
    // A part that is there already stays at its place only if nothing stands after it: what does could store
    // our token.
    if parts.ours == part.as_bytes() && (!add || parts.after.is_empty()) {
        return Ok(String::new());
    }
    if !dry_run {
        let new = parts.with(&part, &ours);
        // An empty file may be one that we made; what a link leads to is not ours.
        let changed = if new.is_empty() && !is_link {
            fs::remove_file(&file)
        } else {
            write(&file, &new)
        };
        changed.map_err(|error| Error::Io(shown.clone(), error))?;
    }
    Ok(format!(
        "{shown}\n{}{}",
        lines(&parts.taken_out(&ours), '-'),
        lines(part.as_bytes(), '+')
    ))
}

/// A path as people write it: Windows begins those that it has resolved with a mark, which nobody knows from elsewhere.
fn plain(path: PathBuf) -> PathBuf {
    let rest = path.to_str().and_then(|path| path.strip_prefix(r"\\?\"));
    match rest {
        Some(rest) if rest.as_bytes().get(1) == Some(&b':') => rest.into(),
        _ => path,
    }
}

/// Each line behind this mark, as in a diff.
fn lines(text: &[u8], mark: char) -> String {
    String::from_utf8_lossy(text)
        .lines()
        .map(|line| format!("{mark}{line}\n"))
        .collect()
}
