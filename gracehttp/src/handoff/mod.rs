//! From one process to the next: what a restart hands on, and how.
//!
//! Predecessor and successor share one socketpair that keeps message boundaries. Over it they agree on a
//! version, the listeners travel, the successor says that it is ready, the predecessor commits, and from then
//! on live connections and permits follow.
//!
//! All of it runs on the control runtime, where no handler can block it.

mod channel;
mod command;
mod handover;
mod message;
mod predecessor;
mod successor;
mod vigil;
mod welcome;

pub(crate) use channel::{Channel, WeakChannel};
pub(crate) use command::StartUp;
pub(crate) use handover::{Handover, Outcome, held_of};
pub(crate) use message::{ListenerName, Reply};
pub(crate) use predecessor::{Inherited, Predecessor, inherited};
pub(crate) use successor::{Claims, Successor};
pub(crate) use welcome::{count_foreign, welcome};
