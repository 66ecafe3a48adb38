//! What the end-to-end tests share: real processes, a strict client, a load that counts.
//!
//! * [`process`] starts a real binary, follows its generations and reads their log;
//! * [`service`] is such an application of which one server matters;
//! * [`supervised`] is such an application under its supervisor;
//! * [`client`] speaks HTTP over a raw socket and forgives nothing;
//! * [`tls`] gives a test the records of a TLS connection into its hands;
//! * [`load`] keeps many such clients busy, and explains every failure;
//! * [`access`] reads the access log;
//! * [`accounts`] are the receipts of restarts;
//! * [`attack`] does what no honest client does, and measures what the honest ones notice;
//! * [`control`] is an application with a control socket, and those who ask through it;
//! * [`notify`] takes the place of a service manager;
//! * [`systemd`] boots a real one;
//! * [`scratch`] holds what a test writes to the disk: plans, certificates, copies of binaries.

pub mod access;
pub mod accounts;
pub mod attack;
pub mod bench;
pub mod certificates;
pub mod client;
pub mod control;
pub mod fault;
pub mod frames;
pub mod generation;
pub mod h2;
pub mod load;
pub mod log;
pub mod notify;
pub mod patience;
pub mod process;
pub mod random;
pub mod report;
pub mod scratch;
pub mod service;
pub mod strace;
pub mod supervised;
pub mod systemd;
pub mod tls;
pub mod uploads;

pub use accounts::Account;
pub use client::{Client, Reply, Target};
pub use fault::{Failure, Kind};
pub use generation::{Exit, Generation};
pub use load::Load;
pub use notify::Manager;
pub use process::{App, Launch};
pub use report::Report;
pub use rustix::process::Signal;
pub use scratch::Scratch;
pub use service::Service;
pub use strace::Strace;
pub use systemd::Systemd;
