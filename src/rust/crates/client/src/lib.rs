//! Client of the session RPC through which Posit Workbench, or entrar's own broker, hands out
//! *delegated* Microsoft Entra ID access tokens: tokens that stand for the signed-in person.
//!
//! A token's way: [`session::Session::discover`] finds the server, [`session::Session::cookie`]
//! the session's cookie, [`rpc::delegated_token`] asks, and [`token::Token`] is the answer.
//! Whatever goes wrong is an [`error::Error`] of one of fourteen [`error::Kind`]s.
//!
//! The crate knows nothing of R, of git or of the broker.

pub mod cookie;
pub mod env;
pub mod error;
mod file;
pub mod http;
pub mod oauth;
pub mod proxy;
pub mod renewal;
pub mod report;
pub mod resource;
pub mod retry;
pub mod rpc;
pub mod session;
pub mod text;
pub mod timeout;
mod tls;
pub mod token;
