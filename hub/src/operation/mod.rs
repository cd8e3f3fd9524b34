//! What an administrator does: set up, try the settings, look, and revoke.

pub mod admin;
pub mod check;
pub mod copy;
pub mod init;
pub mod print;
