//! What the benchmarks share: the contestants, a load generator that checks every answer, and the machine.
//!
//! Each benchmark is one command, such as `cargo bench -p tests --bench throughput`. It starts itself again for every
//! server that it measures, so that contestants differ only in the server.

pub mod allocation;
pub mod answer;
pub mod bare;
pub mod contestant;
pub mod entrant;
pub mod foreign;
pub mod handover;
pub mod idle;
pub mod machine;
pub mod multiplexed;
pub mod nginx;
pub mod options;
pub mod ours;
pub mod peers;
pub mod process;
pub mod routed;
pub mod security;
mod sessions;
pub mod socket;
pub mod statistics;
pub mod traffic;
pub mod waking;
pub mod wire;
