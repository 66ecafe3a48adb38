//! The control socket: how the commands of the same program, and scripts, speak with a running one.

mod client;
mod place;
mod progress;
mod protocol;
#[cfg(test)]
mod protocol_tests;
mod server;

pub(crate) use client::{Client, Outcome};
pub(crate) use place::{Surroundings, place};
pub(crate) use progress::Progress;
pub(crate) use server::{Control, Reopen};
