//! The hub's web door: what a person's browser meets.

pub mod pages;
