//! `configure` and `unconfigure`: the helper's part of a git configuration file, put in and taken out.
//!
//! The part is a piece of text between two comments. Nothing else in the file changes by a byte, and taking the
//! part out needs no guess about what was there before.
//!
//! Each section begins with an empty `helper`, which makes git forget the helpers it has read so far. Otherwise
//! git would hand our token to each of them, to store.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use entrar_core::env::Env;
use entrar_core::git::{DEVOPS_URLS, helper_value};

const BEGIN: &str = "# git-credential-pwb: Azure DevOps by your Microsoft sign-in; `entrar::use_azure_git(remove = TRUE)` in R removes this";
const END: &str = "# git-credential-pwb: end";
/// What is recognised of the first line, so that its wording may change.
const BEGINS: &str = "# git-credential-pwb: ";

/// What names the person's own directory.
const HOME: &str = if cfg!(windows) {
    "HOME nor USERPROFILE"
} else {
    "HOME"
};

/// How the path of every helper ends that `entrar::use_azure_git()` has put in: where R installs it, or the link to it.
const INSTALLED: &str = if cfg!(windows) {
    "/entrar/bin/git-credential-pwb.exe"
} else {
    "/entrar/bin/git-credential-pwb"
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
    let file = fs::canonicalize(&file).unwrap_or(file);
    let shown = file.display().to_string();
    // A device would be replaced, a pipe would keep us waiting for ever.
    if fs::metadata(&file).is_ok_and(|metadata| !metadata.is_file()) {
        let error = io::Error::other("it is no regular file");
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
        lines(&parts.ours, '-'),
        lines(part.as_bytes(), '+')
    ))
}

/// As git chooses the file that `git config --global` writes to.
fn users_file(env: &Env, windows: bool) -> Result<PathBuf, Error> {
    if let Some(file) = env.var("GIT_CONFIG_GLOBAL") {
        return Ok(file.into());
    }
    let home = home(env, windows);
    let base = env.var("XDG_CONFIG_HOME").map(PathBuf::from);
    let in_home = home.as_ref().map(|home| home.join(".gitconfig"));
    let in_base = base
        .or_else(|| Some(home?.join(".config")))
        .map(|base| base.join("git").join("config"));
    match (in_home, in_base) {
        (Some(in_home), Some(in_base)) if !in_home.exists() && in_base.exists() => Ok(in_base),
        (Some(in_home), _) => Ok(in_home),
        (None, Some(in_base)) if in_base.exists() => Ok(in_base),
        (None, _) => Err(Error::NoHome),
    }
}

/// The person's own directory: on Windows, where HOME is as a rule not set, as git for Windows finds it.
fn home(env: &Env, windows: bool) -> Option<PathBuf> {
    let variable = |name| env.var(name).map(PathBuf::from);
    let on_drive = || {
        let path = format!("{}{}", env.var("HOMEDRIVE")?, env.var("HOMEPATH")?);
        Some(PathBuf::from(path)).filter(|path| path.is_dir())
    };
    let home = variable("HOME");
    if windows {
        home.or_else(on_drive).or_else(|| variable("USERPROFILE"))
    } else {
        home
    }
}

/// Only git knows where a repository, or one of several worktrees, keeps its configuration.
fn projects_file() -> Result<PathBuf, Error> {
    let output = Command::new("git")
        .args(["rev-parse", "--git-path", "config"])
        .output()
        .map_err(Error::NoGit)?;
    let mut path = output.stdout;
    if !output.status.success() || path.pop() != Some(b'\n') {
        return Err(Error::NoRepository);
    }
    #[cfg(unix)]
    let path: OsString = std::os::unix::ffi::OsStringExt::from_vec(path);
    #[cfg(not(unix))]
    let path = OsString::from(String::from_utf8_lossy(&path).into_owned());
    Ok(path.into())
}

/// The helpers that are ours, as `credential.helper` names them: the one to put in, and this command.
struct Ours([String; 2]);

/// Our part of a file.
fn block(Ours([helper, _]): &Ours) -> String {
    let mut text = format!("{BEGIN}\n");
    for url in DEVOPS_URLS {
        text.push_str(&format!(
            "{}\n\thelper =\n\thelper = {}\n\tuseHttpPath = true\n",
            header(url),
            quoted(helper)
        ));
    }
    text + END + "\n"
}

/// The first line of the section for a URL.
fn header(url: &str) -> String {
    format!("[credential \"{url}\"]")
}

/// A value as a configuration file has it.
fn quoted(value: &str) -> String {
    if value
        .chars()
        .all(|c| c.is_ascii_graphic() && !"\"\\;#!'".contains(c))
    {
        return value.to_owned();
    }
    let escaped = value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
        .replace('\t', r"\t");
    format!("\"{escaped}\"")
}

/// The path in a line of the file, if [`helper_value`] and [`quoted`] make that line of it.
fn path_in_file(line: &str) -> Option<String> {
    let inner = |text: &str, from: &str, to: &str| {
        let inner = text.strip_prefix(from)?.strip_suffix(to)?;
        Some(inner.to_owned())
    };
    let value = match inner(line, "\"", "\"") {
        Some(text) => text.replace("\\\"", "\"").replace(r"\\", r"\"),
        None => line.to_owned(),
    };
    let path = match inner(&value, "!'", "'") {
        Some(text) => text.replace(r"'\''", "'"),
        None => value,
    };
    (quoted(&helper_value(Path::new(&path))) == line).then_some(path)
}

/// A file, cut in three.
struct Parts {
    before: Vec<u8>,
    ours: Vec<u8>,
    after: Vec<u8>,
}

impl Parts {
    /// `None` if our part has no end.
    fn of(text: &[u8]) -> Option<Self> {
        let mut parts = Self {
            before: Vec::new(),
            ours: Vec::new(),
            after: Vec::new(),
        };
        let mut place = Place::Before;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let bare = line.trim_ascii_end();
            if matches!(place, Place::Before)
                && bare.starts_with(BEGINS.as_bytes())
                && bare != END.as_bytes()
            {
                place = Place::Ours;
            }
            match place {
                Place::Before => parts.before.extend_from_slice(line),
                Place::Ours => parts.ours.extend_from_slice(line),
                Place::After => parts.after.extend_from_slice(line),
            }
            if matches!(place, Place::Ours) && bare == END.as_bytes() {
                place = Place::After;
            }
        }
        (!matches!(place, Place::Ours)).then_some(parts)
    }

    /// The file with this in the place of our part, at the end.
    fn with(&self, part: &str, ours: &Ours) -> Vec<u8> {
        let kept = foreign(&self.ours, ours);
        let mut text = [&*self.before, &*kept, &*self.after].concat();
        if !part.is_empty() && !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text.extend_from_slice(part.as_bytes());
        text
    }
}

/// What somebody else wrote into our part, with its sections: `git config` puts a new setting into the last
/// section of its name, which may be ours.
fn foreign(part: &[u8], ours: &Ours) -> Vec<u8> {
    let mut kept = Vec::new();
    // In a section of ours its first line, until it is kept for what stands below it.
    let mut header_of_ours: Option<&[u8]> = Some(b"");
    for line in part.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let bare = text.trim();
        if DEVOPS_URLS.iter().any(|url| bare == header(url)) {
            header_of_ours = Some(line);
            continue;
        }
        if bare.starts_with('[') {
            header_of_ours = None;
        }
        match header_of_ours {
            _ if bare.starts_with(BEGINS) => {}
            Some(_) if ours.has_written(bare) => {}
            Some(header) => {
                kept.extend_from_slice(header);
                kept.extend_from_slice(line);
                header_of_ours = Some(b"");
            }
            None => kept.extend_from_slice(line),
        }
    }
    kept
}

impl Ours {
    /// Whether a line of our sections is as we wrote it, this time or an earlier one. Others have helpers of the
    /// same name, Workbench among them, and shell commands that hold it.
    fn has_written(&self, line: &str) -> bool {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "" => true,
            "usehttppath" => value == "true",
            "helper" => value.is_empty() || self.has_written_helper(value),
            _ => false,
        }
    }

    fn has_written_helper(&self, value: &str) -> bool {
        self.0.iter().any(|helper| value == quoted(helper))
            || path_in_file(value).is_some_and(|path| path.ends_with(INSTALLED))
    }
}

enum Place {
    Before,
    Ours,
    After,
}

/// Each line behind this mark, as in a diff.
fn lines(text: &[u8], mark: char) -> String {
    String::from_utf8_lossy(text)
        .lines()
        .map(|line| format!("{mark}{line}\n"))
        .collect()
}

/// The file's lock, which git takes too.
struct Lock(PathBuf);

impl Lock {
    fn take(file: &Path) -> Result<Self, Error> {
        let mut path: OsString = file.into();
        path.push(".lock");
        let path = PathBuf::from(path);
        let shown = file.display().to_string();
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(_) => Ok(Self(path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Locked(shown)),
            Err(error) => Err(Error::Io(shown, error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Replaces the file in one step, whoever reads it meanwhile.
fn write(file: &Path, text: &[u8]) -> io::Result<()> {
    let mut name: OsString = file.into();
    name.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(name);
    let written = (|| {
        let mut output = OpenOptions::new().write(true).create_new(true).open(&new)?;
        if let Ok(found) = fs::metadata(file) {
            output.set_permissions(found.permissions())?;
        }
        output.write_all(text)?;
        output.sync_all()?;
        fs::rename(&new, file)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMMAND: &str = "/h/entrar/bin/git-credential-pwb";

    fn ours(helper: &str) -> Ours {
        Ours([helper.to_owned(), COMMAND.to_owned()])
    }

    fn block(helper: &str) -> String {
        super::block(&ours(helper))
    }

    fn added(text: &[u8], helper: &str) -> Vec<u8> {
        let ours = ours(helper);
        Parts::of(text).unwrap().with(&super::block(&ours), &ours)
    }

    fn removed(text: &[u8]) -> Vec<u8> {
        Parts::of(text).unwrap().with("", &ours(COMMAND))
    }

    #[test]
    fn the_part_resets_other_helpers_before_it_names_ours() {
        let expected = format!(
            "{BEGIN}
[credential \"https://dev.azure.com\"]
\thelper =
\thelper = /bin/git-credential-pwb
\tuseHttpPath = true
[credential \"https://*.visualstudio.com\"]
\thelper =
\thelper = /bin/git-credential-pwb
\tuseHttpPath = true
# git-credential-pwb: end
"
        );
        assert_eq!(block("/bin/git-credential-pwb"), expected);
    }

    #[test]
    fn it_goes_to_the_end_and_replaces_an_older_one() {
        let old = [
            b"[a]\n",
            block("/old/entrar/bin/git-credential-pwb").as_bytes(),
            b"[credential]\n\thelper = store\n",
        ]
        .concat();
        let expected = format!(
            "[a]\n[credential]\n\thelper = store\n{}",
            block("/new/git-credential-pwb")
        );
        assert_eq!(
            String::from_utf8(added(&old, "/new/git-credential-pwb")).unwrap(),
            expected
        );
    }

    #[test]
    fn what_somebody_else_wrote_into_it_stays() {
        let ours = block(COMMAND).replace(
            "\tuseHttpPath = true\n[",
            "\tuseHttpPath = true\n\tusername = ada\n\thelper = cache\n[",
        );
        let expected =
            "[a]\n[credential \"https://dev.azure.com\"]\n\tusername = ada\n\thelper = cache\n";
        let text = format!("[a]\n{ours}");
        assert_eq!(
            String::from_utf8(removed(text.as_bytes())).unwrap(),
            expected
        );
    }

    #[test]
    fn a_helper_of_somebody_else_stays_whatever_its_name() {
        for line in [
            "helper = /usr/lib/rstudio-server/bin/git-credential-pwb",
            "helper = /usr/bin/my-git-credential-pwb-wrapper",
            "helper = /x/entrar/bin/git-credential-pwb-wrapper",
            "helper = /x/not-entrar/bin/git-credential-pwb",
            "helper = /h/entrar/bin/git-credential-pwb --flag",
            "helper = /h/entrar/bin/git-credential-pwb ; mine",
            "helper = pwb",
            "helper = !git-credential-pwb",
            "helper = !/h/entrar/bin/git-credential-pwb",
            "helper = \"!f() { /h/entrar/bin/git-credential-pwb; }; f '/entrar/bin/git-credential-pwb'\"",
            "helper = \"!'/x y/log' '/h/entrar/bin/git-credential-pwb'\"",
            "useHttpPath = false",
        ] {
            let text = block(COMMAND).replacen(
                "\tuseHttpPath = true\n",
                &format!("\tuseHttpPath = true\n\t{line}\n"),
                1,
            );
            let expected = format!("[credential \"https://dev.azure.com\"]\n\t{line}\n");
            let found = removed(text.as_bytes());
            assert_eq!(String::from_utf8(found).unwrap(), expected);
        }
    }

    #[test]
    fn what_another_installation_of_ours_has_written_goes() {
        for helper in [
            "/usr/lib/R/site-library/entrar/bin/git-credential-pwb",
            "!'/home/a b/R/4.2/entrar/bin/git-credential-pwb'",
            r"!'/it'\''s \/entrar/bin/git-credential-pwb'",
            "/somewhere/target/debug/git-credential-pwb",
        ] {
            let ours = Ours([
                COMMAND.to_owned(),
                "/somewhere/target/debug/git-credential-pwb".to_owned(),
            ]);
            let part = block(helper);
            let found = Parts::of(part.as_bytes()).unwrap().with("", &ours);
            assert_eq!(String::from_utf8(found).unwrap(), "", "{helper}");
        }
    }

    #[test]
    fn sections_that_somebody_else_wrote_into_it_stay_whole() {
        let foreign = "[user] name = ada\n\temail = ada@example.com\n\n[credential \"https://example.com\"]\n\thelper =\n";
        let ours = block(COMMAND);
        let (first, last) = ours.split_at(ours.rfind("[credential").unwrap());
        let text = format!("[a]\n{first}{foreign}{last}");
        assert_eq!(
            String::from_utf8(removed(text.as_bytes())).unwrap(),
            format!("[a]\n{foreign}")
        );
        let text = format!("{}{foreign}{END}\n", ours.trim_end().trim_end_matches(END));
        assert_eq!(
            String::from_utf8(removed(text.as_bytes())).unwrap(),
            foreign
        );
    }

    #[test]
    fn without_its_end_the_part_is_not_touched() {
        let text = format!("[a]\n{BEGIN}\n[credential]\n");
        assert!(Parts::of(text.as_bytes()).is_none());
    }

    #[test]
    fn paths_are_written_so_that_git_and_the_shell_read_them_back() {
        for (path, value, in_file) in [
            ("/usr/bin/helper", "/usr/bin/helper", "/usr/bin/helper"),
            ("/a b/h", "!'/a b/h'", "\"!'/a b/h'\""),
            ("/it's/h", r"!'/it'\''s/h'", r#""!'/it'\\''s/h'""#),
            ("/a;b#c/h", "!'/a;b#c/h'", "\"!'/a;b#c/h'\""),
        ] {
            let helper = helper_value(Path::new(path));
            assert_eq!(helper, value);
            assert_eq!(quoted(&helper), in_file);
        }
    }

    #[test]
    fn the_users_file_is_the_one_that_git_would_write_to() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().to_str().unwrap();
        let file = |variables: &[(&str, &str)]| users_file(&Env::fixed(variables, 0.0), false);
        assert!(matches!(file(&[]), Err(Error::NoHome)));
        let at_home = [("HOME", path)];
        assert_eq!(file(&at_home).unwrap(), home.path().join(".gitconfig"));
        let in_base = home.path().join(".config/git/config");
        fs::create_dir_all(in_base.parent().unwrap()).unwrap();
        fs::write(&in_base, "").unwrap();
        assert_eq!(file(&at_home).unwrap(), in_base);
        fs::write(home.path().join(".gitconfig"), "").unwrap();
        assert_eq!(file(&at_home).unwrap(), home.path().join(".gitconfig"));
        let named = [("HOME", path), ("GIT_CONFIG_GLOBAL", "/named")];
        assert_eq!(file(&named).unwrap(), Path::new("/named"));
    }

    #[test]
    fn on_windows_home_is_where_git_for_windows_finds_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().to_str().unwrap();
        let file = |variables: &[(&str, &str)], windows| {
            users_file(&Env::fixed(variables, 0.0), windows).ok()
        };
        let in_home = Some(home.path().join(".gitconfig"));
        let profile = ("USERPROFILE", path);
        let gone = [("HOMEDRIVE", path), ("HOMEPATH", "/gone"), profile];
        assert_eq!(file(&[profile], true), in_home);
        assert_eq!(file(&gone, true), in_home);
        let (drive, rest) = path.split_at(1);
        let on_drive = [
            ("HOMEDRIVE", drive),
            ("HOMEPATH", rest),
            ("USERPROFILE", "/p"),
        ];
        assert_eq!(file(&on_drive, true), in_home);
        assert_eq!(
            file(&[("HOME", path), ("USERPROFILE", "/p")], true),
            in_home
        );
        assert_eq!(file(&[profile], false), None);
    }

    proptest! {
        #[test]
        fn taking_it_out_leaves_what_was_there(text in "([a-z\\[\\]=#\"\\t ]{0,20}\r?\n){0,8}") {
            let with = added(text.as_bytes(), COMMAND);
            prop_assert!(with.starts_with(text.as_bytes()));
            prop_assert_eq!(added(&with, COMMAND), with.clone());
            prop_assert_eq!(removed(&with), text.as_bytes());
        }
    }
}
