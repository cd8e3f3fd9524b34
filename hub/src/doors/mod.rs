//! The ways in for processes: the socket of this machine, what launchers ask, and what monitoring asks.

pub mod health;
pub mod launcher;
pub mod socket;
