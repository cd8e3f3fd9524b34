//! The broker, a library: it answers the session RPC as Posit Workbench does. It holds one refresh token a person and
//! exchanges it for access tokens at the tenant's token endpoint.
//!
//! A request's way: [`listen::Server`] takes the connection, [`rpc::app`] finds out whose request it is, [`exchange::Exchanges`] finds
//! the person's refresh token and waits for its turn, [`entra::Entra`] posts to the token endpoint.

mod admission;
pub mod entra;
pub mod exchange;
pub mod listen;
mod refusals;
pub mod rpc;
