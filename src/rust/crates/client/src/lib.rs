//! Client of the session RPC through which Posit Workbench, or entrar's own broker, hands out
//! *delegated* Microsoft Entra ID access tokens: tokens that stand for the signed-in person.
//!
//! A token's way: [`session::Session::discover`] finds the server, [`session::Session::cookie`]
//! the session's cookie, [`rpc::delegated_token`] asks, and [`entrar_core::token::Token`] is the answer.
//!
//! The crate knows nothing of R, of git or of the broker.

pub mod renewal;
pub mod report;
pub mod rpc;
pub mod session;
pub mod timeout;
