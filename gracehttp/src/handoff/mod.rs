//! From one process to the next: what a restart hands over, and how.
//!
//! Predecessor and successor share one socketpair that keeps message boundaries. Over it they agree on a
//! version, the listeners travel, the successor says that it is ready, the predecessor commits, and from then
//! on live connections and permits follow.
//!
//! All of it runs on the control runtime, where no handler can block it.

mod adopter;
mod batch;
mod channel;
mod child;
mod command;
#[cfg(all(feature = "test-kit", feature = "tls"))]
mod fuzz;
mod handover;
mod heartbeat;
mod inherited;
mod parcel;
mod permit_reports;
mod placement;
mod predecessor;
mod session;
mod standard_error;
mod standby;
mod successor;
mod suspension;
mod token;
mod transfer;
#[cfg(feature = "self-signed")]
#[cfg(test)]
mod transit_tests;
mod version;
mod wire;

pub(crate) use adopter::Adopter;
pub(crate) use channel::{Channel, WeakChannel};
pub(crate) use command::StartCommand;
#[cfg(all(feature = "test-kit", feature = "tls"))]
pub(crate) use fuzz::read_message;
pub(crate) use handover::{Handover, HandoverEnd, Recovered, StandbySignals};
pub(crate) use heartbeat::UNRESPONSIVE_AFTER;
pub(crate) use inherited::{Inherited, inherited};
#[cfg(any(feature = "admin", feature = "cli"))]
pub(crate) use parcel::STATUS;
pub(crate) use parcel::{
    DRAIN, Parcel, ParcelHandlers, ParcelSender, PredecessorParcels, RECEIPT, RECEIPTS, REHEARSAL,
    REOPEN_LOGS, RESTART, STOP,
};
pub(crate) use permit_reports::held_of;
pub(crate) use placement::{LocalServer, Placement};
pub(crate) use predecessor::Predecessor;
pub(crate) use standard_error::Overheard;
pub(crate) use successor::{Claims, Offer, Purpose, Successor};
pub(crate) use wire::ToPredecessor;
