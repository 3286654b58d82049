//! The chart as helm renders it, and what is made from it.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod document;
mod environment;
mod golden;
mod refusals;
mod rendering;
mod roles;
mod schema;
mod tools;
mod webhook;
