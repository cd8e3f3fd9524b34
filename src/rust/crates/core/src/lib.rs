//! What both sides of the session RPC speak, and what both need to ask over HTTP: resources, tokens, cookies and
//! addresses; errors of fourteen kinds; one HTTP client with its TLS, proxies and retries.
//!
//! The crate finds no session and knows no server; nothing in it reads the environment but [`env`].

pub mod address;
pub mod agent;
pub mod authority;
pub mod cookie;
pub mod env;
pub mod error;
pub mod file;
pub mod git;
pub mod guid;
pub mod http;
pub mod hub;
pub mod hub_socket;
pub mod loopback;
pub mod oauth;
pub mod private_directory;
pub mod proxy;
pub mod question;
pub mod resource;
pub mod retry;
pub mod rpc;
pub mod session_directory;
pub mod system_user;
pub mod text;
pub mod time;
pub mod tls;
pub mod token;
pub mod variables;
