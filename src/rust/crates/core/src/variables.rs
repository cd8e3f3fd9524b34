//! The environment variables by which the processes of a session know their server. A server sets them for a session that
//! it opens, a client reads them.

/// The server's address.
pub const ADDRESS: &str = "RS_SERVER_ADDRESS";
/// The session's cookie.
pub const COOKIE: &str = "RS_SESSION_RPC_COOKIE";
/// The directory of the cookie's file.
pub const RUNTIME_DIRECTORY: &str = "PWB_SESSION_RUNTIME_DIR";
/// The file in that directory which holds the cookie.
pub const COOKIE_FILE: &str = "rpc_cookie";
/// The server's version.
pub const VERSION: &str = "RSTUDIO_VERSION";
/// Who has opened the session, where that is a broker of ours.
pub const ORIGIN: &str = "ENTRAR_ORIGIN";
