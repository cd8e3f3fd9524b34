//! The command line: git's four verbs, the two for people, and the one for R.

use std::ffi::OsString;
use std::io::{BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use entrar_core::env::Env;

use crate::answer::{forget, get, say};
use crate::configure::{self, Change, Scope};
use crate::erasures::Erasures;
use crate::place::Place;
use crate::protocol::{CAPABILITIES, Request};
use crate::report::report;
use crate::runtime_directory::runtime_directory;
use crate::trace::{Fact, Trace};

const USAGE: &str = "\
A git credential helper that answers for Azure DevOps with a delegated token.

Usage: git-credential-pwb configure [--project] [--dry-run] [--helper PATH]
       git-credential-pwb unconfigure [--project] [--dry-run]
       git-credential-pwb get|store|erase|capability|report

configure    make git use this helper for https://dev.azure.com and https://*.visualstudio.com
unconfigure  undo that
  --project  in this repository's configuration, instead of your own
  --dry-run  show the change, and make none
  --helper   what git is to run, such as a link to this command

git itself runs the others; get, store and erase read a request on stdin. report does too, and says
whether a get would bring a token: `entrar::azure_git_sitrep()` in R reads it.
GIT_CREDENTIAL_PWB_TRACE=1 or GIT_TRACE=1 tells on stderr how an answer came about.
";

/// Runs the command that this process was started as; the result is its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let env = Env::process();
    let mut stderr = std::io::stderr();
    let (output, code) = match words.as_slice() {
        ["get", ..] => on_request(Verb::Get, &env, &mut stderr),
        ["store", ..] => on_request(Verb::Store, &env, &mut stderr),
        ["erase", ..] => on_request(Verb::Erase, &env, &mut stderr),
        ["report", ..] => on_request(Verb::Report, &env, &mut stderr),
        ["capability", ..] => (CAPABILITIES.to_vec(), 0),
        ["configure", options @ ..] => change(true, options, &env, &mut stderr),
        ["unconfigure", options @ ..] => change(false, options, &env, &mut stderr),
        ["--help" | "-h", ..] => (USAGE.into(), 0),
        ["--version", ..] => (
            concat!("git-credential-pwb ", env!("CARGO_PKG_VERSION"), "\n").into(),
            0,
        ),
        [] => {
            let _ = stderr.write_all(USAGE.as_bytes());
            (Vec::new(), 2)
        }
        // A verb of a later git: a helper that does not know it has to be silent.
        _ => (Vec::new(), 0),
    };
    match std::io::stdout().write_all(&output) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}

#[derive(Clone, Copy)]
enum Verb {
    Get,
    Store,
    Erase,
    Report,
}

/// What goes to stdout, and the exit code.
fn on_request(verb: Verb, env: &Env, stderr: &mut dyn Write) -> (Vec<u8>, u8) {
    let request = match Request::read(BufReader::new(std::io::stdin())) {
        Ok(request) => request,
        Err(error) => {
            say(stderr, &error.to_string());
            return (Vec::new(), 1);
        }
    };
    let trace = Trace::new(env);
    trace.fact(
        stderr,
        &Fact::Started(match verb {
            Verb::Get => "get",
            Verb::Store => "store",
            Verb::Erase => "erase",
            Verb::Report => "report",
        }),
    );
    let Some(place) = Place::of(&request) else {
        trace.fact(stderr, &Fact::NotOurs);
        return (Vec::new(), 0);
    };
    trace.fact(stderr, &Fact::Place(&place));
    let erasures = || Erasures::of(&place, runtime_directory(env));
    match verb {
        Verb::Get => return (get(&request, &place, env, &trace, stderr), 0),
        Verb::Report => return (report(&request, &place, env), 0),
        Verb::Store => {
            erasures().clear();
            trace.fact(stderr, &Fact::Stored);
        }
        Verb::Erase => {
            erasures().add(env.now());
            trace.fact(stderr, &Fact::Erased);
            forget(env, &trace, stderr);
        }
    }
    (Vec::new(), 0)
}

fn change(add: bool, options: &[&str], env: &Env, stderr: &mut dyn Write) -> (Vec<u8>, u8) {
    let mut change = Change {
        scope: Scope::User,
        add,
        dry_run: false,
        helper: None,
    };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match (*option, add) {
            ("--project", _) => change.scope = Scope::Project,
            ("--dry-run", _) => change.dry_run = true,
            ("--helper", true) => match options.next().map(PathBuf::from) {
                Some(path) if path.is_absolute() => change.helper = Some(path),
                _ => {
                    say(stderr, "--helper needs an absolute path after it");
                    return (Vec::new(), 2);
                }
            },
            (_, true) => {
                say(
                    stderr,
                    "the options are --project, --dry-run and --helper PATH",
                );
                return (Vec::new(), 2);
            }
            (_, false) => {
                say(stderr, "the options are --project and --dry-run");
                return (Vec::new(), 2);
            }
        }
    }
    match configure::change(env, &change) {
        Ok(text) => {
            if !change.dry_run && text.is_empty() {
                say(
                    stderr,
                    "git is already configured this way; nothing was changed",
                );
            }
            (text.into_bytes(), 0)
        }
        Err(error) => {
            say(stderr, &error.to_string());
            (Vec::new(), 1)
        }
    }
}
