//! From one process to the next: what a restart hands on, and how.
//!
//! Predecessor and successor share one socketpair that keeps message boundaries. Over it they agree on a
//! version, the listeners travel, the successor says that it is ready, the predecessor commits, and from then
//! on live connections and permits follow.
//!
//! All of it runs on the control runtime, where no handler can block it.

mod adopter;
mod batch;
mod channel;
mod command;
mod handover;
mod heartbeat;
mod predecessor;
mod routes;
mod standby;
mod successor;
mod suspension;
mod token;
mod wire;

pub(crate) use adopter::Adopter;
pub(crate) use channel::{Channel, WeakChannel};
pub(crate) use command::StartUp;
pub(crate) use handover::{Handover, Outcome, StandbyLine, held_of};
pub(crate) use heartbeat::UNRESPONSIVE_AFTER;
pub(crate) use predecessor::{Inherited, Predecessor, inherited};
pub(crate) use routes::{Destination, Routes};
pub(crate) use successor::{Claims, Successor};
pub(crate) use wire::{Offer, ToPredecessor};
