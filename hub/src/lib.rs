//! The hub: the broker for many people, run by an administrator.

pub mod configuration;
pub mod limits;
pub mod local_user;
pub mod tenant;
pub mod web;
