//! The hub: the broker for many people, run by an administrator.
pub mod keys;
pub mod seal;
