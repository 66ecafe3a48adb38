//! The TLS record layer after the handshake: RFC 8446 section 5 for TLS 1.3, RFC 5246 section 6 for TLS 1.2.
//!
//! It does no input and no output: it opens and seals records in memory. A [`Session`] is in use; a [`SessionAtRest`]
//! is what is kept of one that is not, and the only form that can go to another process.
//!
//! Each record is sealed with a sequence number, and a number that is used twice under one key breaks AES-GCM. So
//! neither type can be cloned, each becomes the other only by value, and a session that was sent to another process is
//! a [`SentSession`], which can seal nothing.

#[cfg(feature = "tls")]
mod at_rest;
#[cfg(feature = "tls")]
mod session;
#[cfg(feature = "tls")]
mod suite;
#[cfg(not(feature = "tls"))]
mod without;

#[cfg(feature = "tls")]
pub(crate) use at_rest::{DirectionParts, Secret, SentSession, SessionAtRest, SessionParts, UnknownSuite};
#[cfg(feature = "tls")]
pub(crate) use session::{Alpn, Content, Established, Facts, Fault, Opened, Session, WornOut};
#[cfg(feature = "tls")]
pub(crate) use suite::Suite;
#[cfg(not(feature = "tls"))]
pub(crate) use without::{SentSession, SessionAtRest};
