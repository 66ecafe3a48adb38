//! The parking lot: connections that are only a socket, woken by their next byte.
//!
//! An HTTP/1.1 connection that has nothing to do needs no task, no parser and no buffer. Its descriptor lies in a slab
//! behind one epoll instance of its server, which the runtime watches as a single descriptor, and over TLS its session
//! lies among those of the others. Idle time-outs are a walk over the oldest end of the slab, and a hand-over is the slab
//! itself.

mod lot;
mod memory;
#[cfg(feature = "tls")]
mod sessions;
#[cfg(not(feature = "tls"))]
#[path = "without.rs"]
mod sessions;
mod slots;

pub(crate) use lot::{BATCH, Lot, Wakened, Woken};
pub(crate) use memory::ParkedCount;
pub(crate) use slots::Parked;
