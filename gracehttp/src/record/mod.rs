//! The TLS record layer after the handshake: RFC 8446 section 5 for TLS 1.3, RFC 5246 section 6 for TLS 1.2.
//!
//! It does no input and no output: it opens and seals records in memory. A [`Session`] is in use; a [`SessionAtRest`]
//! is what is kept of one that is not, and the only form that can go to another process.
//!
//! Each record is sealed with a sequence number, and a number that is used twice under one key breaks AES-GCM. So
//! neither type can be cloned, each becomes the other only by value, and a session that was sent to another process is
//! a [`SentSession`], which can seal nothing. A number is taken before the cipher is called, whatever becomes of the
//! record (`DirectionParts::take_sequence`). Tests record every record that is sealed, in all rooms (`recorder`).
//!
//! To audit it, read `suite`, `keys` (from secret to key and IV), `aead` (the only calls of the cipher), `header`, `seal`,
//! `open`, `message` and `alert` (what may come besides data), `limit`, then `established`, `session` and `at_rest`
//! (the life of a session).

#[cfg(feature = "tls")]
mod aead;
#[cfg(feature = "tls")]
mod alert;
#[cfg(feature = "tls")]
mod at_rest;
#[cfg(feature = "tls")]
mod established;
#[cfg(all(feature = "tls", any(test, feature = "test-kit")))]
mod forger;
#[cfg(all(feature = "tls", feature = "test-kit"))]
mod fuzz;
#[cfg(all(feature = "tls", feature = "test-kit", any(test, feature = "self-signed")))]
mod fuzz_twins;
#[cfg(feature = "tls")]
mod header;
#[cfg(feature = "tls")]
mod keys;
#[cfg(feature = "tls")]
mod limit;
#[cfg(feature = "tls")]
mod message;
#[cfg(feature = "tls")]
mod open;
#[cfg(feature = "tls")]
mod seal;
#[cfg(feature = "tls")]
mod session;
#[cfg(feature = "tls")]
mod suite;
#[cfg(all(feature = "tls", any(test, all(feature = "test-kit", feature = "self-signed"))))]
mod twins;
#[cfg(not(feature = "tls"))]
mod without;

#[cfg(feature = "tls")]
#[cfg(test)]
mod hostile_tests;
#[cfg(feature = "tls")]
#[cfg(test)]
mod peer;
#[cfg(feature = "tls")]
#[cfg(test)]
mod recorder;
#[cfg(feature = "tls")]
#[cfg(test)]
mod reuse_tests;
#[cfg(feature = "tls")]
#[cfg(test)]
mod session_tests;
#[cfg(feature = "tls")]
#[cfg(test)]
mod vector_tests;

/// The library with the ciphers. Both have the same interface.
#[cfg(all(feature = "tls", feature = "aws-lc-rs"))]
use aws_lc_rs as provider;
#[cfg(all(feature = "tls", not(feature = "aws-lc-rs")))]
use ring as provider;

#[cfg(feature = "tls")]
pub(crate) use alert::Fault;
#[cfg(feature = "tls")]
pub(crate) use at_rest::{
    Alpn, DirectionParts, Facts, SentSession, SessionAtRest, SessionParts, WrongSecret,
};
#[cfg(feature = "tls")]
pub(crate) use established::{Established, NotEstablished, TrafficSecrets};
#[cfg(all(feature = "tls", feature = "test-kit"))]
pub(crate) use fuzz::open_records;
#[cfg(all(feature = "tls", feature = "test-kit", feature = "self-signed"))]
pub(crate) use fuzz_twins::open_as_rustls;
#[cfg(feature = "tls")]
pub(crate) use keys::Secret;
#[cfg(all(feature = "tls", feature = "test-kit"))]
pub(crate) use limit::lower_limit;
#[cfg(feature = "tls")]
pub(crate) use message::CutMessage;
#[cfg(feature = "tls")]
pub(crate) use open::{Content, Opened};
#[cfg(feature = "tls")]
pub(crate) use seal::WornOut;
#[cfg(feature = "tls")]
pub(crate) use session::Session;
#[cfg(feature = "tls")]
pub(crate) use suite::{Suite, Version};
#[cfg(not(feature = "tls"))]
pub(crate) use without::{SentSession, SessionAtRest};
