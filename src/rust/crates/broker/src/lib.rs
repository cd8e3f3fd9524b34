//! The broker, a library: it answers the session RPC as Posit Workbench does. It holds one refresh token an account and
//! exchanges it for access tokens at the tenant's token endpoint.
//!
//! A request's way: [`listen::Server`] takes the connection, [`admission::Admission`] finds out whose request it is,
//! [`exchange::Exchanges`] finds the refresh token of the account and waits for its turn, [`entra::Entra`] posts to the token
//! endpoint, [`accounts::Accounts`] keeps the newest refresh token.

pub mod accounts;
pub mod admission;
pub mod entra;
pub mod exchange;
pub mod listen;
pub mod random;
mod refusals;
pub mod rpc;
