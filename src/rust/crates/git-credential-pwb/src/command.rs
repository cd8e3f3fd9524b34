//! The command line: git's four verbs, and the two for people.

use std::ffi::OsString;
use std::io::{BufReader, Write};
use std::process::ExitCode;

use entrar_client::env::Env;

use crate::answer::{get, say};
use crate::configure::{self, Scope};
use crate::erasures::Erasures;
use crate::place::Place;
use crate::protocol::{CAPABILITIES, Request};
use crate::runtime_directory::runtime_directory;
use crate::trace::{Fact, Trace};

const USAGE: &str = "\
A git credential helper that answers for Azure DevOps with a delegated token.

Usage: git-credential-pwb configure [--project] [--dry-run]
       git-credential-pwb unconfigure [--project] [--dry-run]
       git-credential-pwb get|store|erase|capability

configure    make git use this helper for https://dev.azure.com and https://*.visualstudio.com
unconfigure  undo that
  --project  in this repository's configuration, instead of your own
  --dry-run  show the change, and make none

git itself runs the others; get, store and erase read a request on stdin.
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
        // A verb of a later git, which it expects nothing of.
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
        Verb::Store => {
            erasures().clear();
            trace.fact(stderr, &Fact::Stored);
        }
        Verb::Erase => {
            erasures().add(env.now());
            trace.fact(stderr, &Fact::Erased);
        }
    }
    (Vec::new(), 0)
}

fn change(add: bool, options: &[&str], env: &Env, stderr: &mut dyn Write) -> (Vec<u8>, u8) {
    let mut scope = Scope::User;
    let mut dry_run = false;
    for option in options {
        match *option {
            "--project" => scope = Scope::Project,
            "--dry-run" => dry_run = true,
            _ => {
                say(stderr, "the options are --project and --dry-run");
                return (Vec::new(), 2);
            }
        }
    }
    match configure::change(env, scope, add, dry_run) {
        Ok(change) => {
            if !dry_run && change.is_empty() {
                say(
                    stderr,
                    "git's configuration is so already; nothing was changed",
                );
            }
            (change.into_bytes(), 0)
        }
        Err(error) => {
            say(stderr, &error.to_string());
            (Vec::new(), 1)
        }
    }
}
