//! The broker: it answers the session RPC as Posit Workbench does. It holds one refresh token a person and exchanges
//! it for access tokens at the tenant's token endpoint.
//!
//! A request's way: [`rpc::app`] checks the cookie ([`session`]), [`exchange::Exchanges`] finds the person's refresh
//! token and waits for its turn, [`entra::Entra`] posts to the token endpoint.
//!
//! The library is there for the `entrar` command and for its tests.

pub mod cli;
mod command;
mod demo;
pub mod entra;
pub mod exchange;
pub mod rpc;
pub mod session;
mod variables;
