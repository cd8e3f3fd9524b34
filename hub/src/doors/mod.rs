//! The ways in for processes: the socket of this machine, and what launchers ask.

pub mod launcher;
pub mod socket;
