//! The hub: the broker for many people, run by an administrator.

pub mod command_line;
pub mod configuration;
pub mod desk;
pub mod doors;
pub mod health;
pub mod hub;
pub mod keys;
pub mod limits;
pub mod local_user;
pub mod metrics;
pub mod operation;
mod pairing;
mod reload;
pub mod seal;
pub mod serve;
mod service_manager;
pub mod store;
pub mod tenant;
mod upkeep;
pub mod web;
