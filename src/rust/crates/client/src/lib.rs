//! Client of the session RPC through which Posit Workbench, or entrar's own broker, hands out
//! *delegated* Microsoft Entra ID access tokens: tokens that stand for the signed-in person.
//!
//! A token's way: [`origin::Session::find`] finds the server and how to prove who asks, [`rpc::delegated_token`] asks, and
//! [`entrar_core::token::Token`] is the answer. What to do where there is none stands in [`remedy`].
//!
//! The crate knows nothing of R, of git or of the broker.

pub mod agent;
pub mod connect;
mod cookie_place;
pub mod hub;
pub mod origin;
pub mod posit;
pub mod probe;
mod question;
pub mod remedy;
pub mod renewal;
pub mod reply;
pub mod report;
pub mod rpc;
pub mod sign_in;
pub mod timeout;
pub mod variables;
