//! A git credential helper that answers for Azure DevOps with a delegated token: one that stands for the
//! signed-in person, taken from their session as entrar takes every token. No personal access token is needed.
//!
//! git runs `git-credential-pwb get` with a description of what it wants to reach on stdin ([`protocol`]). For
//! a repository of Azure DevOps ([`place`]) it gets a user name and a fresh token; for anything else, nothing.
//! `store` and `erase` tell how the token fared ([`erasures`]). Nothing is stored on disk, ever; on Linux the kernel
//! keeps the token in memory for the next process ([`keyring`]).
//! `configure` and `unconfigure` put the helper into git's configuration and take it out ([`configure`]).

mod answer;
mod challenge;
mod command;
pub mod configure;
mod erasures;
mod keyring;
pub mod place;
mod prompt;
pub mod protocol;
mod report;
mod runtime_directory;
mod trace;
mod turn;

pub use command::main;
