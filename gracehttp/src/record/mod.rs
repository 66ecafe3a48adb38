//! The TLS record layer after the handshake: RFC 8446 section 5 for TLS 1.3, RFC 5246 section 6 for TLS 1.2.
//!
//! It does no input and no output: it opens and seals records in memory. A [`Session`] is in use. A [`SessionAtRest`]
//! is not in use, and only it can go to another process.
//!
//! Each record is sealed with a sequence number, and a number that is used twice under one key breaks AES-GCM (RFC 5116
//! section 5.1.1). So neither type can be cloned, each becomes the other only by value, and a session that was sent to
//! another process is a [`SentSession`], which can seal nothing. A number is taken before the cipher is called, and
//! stays taken if the cipher fails (`DirectionParts::take_sequence`). The unit tests of all rooms note each sealed
//! record, and fail if a number is used twice (`recorder`).
//!
//! To audit it, read `suite`, `keys` (from secret to key and IV), `aead` (the only calls of the cipher), `header`, `seal`,
//! `open`, `message` and `alert` (what may come besides data), `limit`, then `established`, `session` and `at_rest`
//! (the life of a session).

mod aead;
mod alert;
mod at_rest;
mod client_chain;
mod established;
#[cfg(any(test, feature = "test-kit"))]
mod forger;
#[cfg(feature = "test-kit")]
mod fuzz;
#[cfg(all(feature = "test-kit", any(test, feature = "self-signed")))]
mod fuzz_twins;
mod header;
mod keys;
mod limit;
mod message;
mod open;
mod seal;
mod session;
mod suite;
#[cfg(any(test, all(feature = "test-kit", feature = "self-signed")))]
mod twins;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod recorder;
#[cfg(test)]
mod reuse_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod vector_tests;

/// The library with the ciphers. Both have the same interface.
#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs as provider;
#[cfg(not(feature = "aws-lc-rs"))]
use ring as provider;

pub(crate) use alert::Fault;
pub(crate) use at_rest::{
    Alpn, DirectionParts, Facts, PackedSession, SentSession, SessionAtRest, SessionParts, WrongSecret,
};
pub(crate) use client_chain::ClientChain;
pub(crate) use established::{Established, NotEstablished, TrafficSecrets};
#[cfg(feature = "test-kit")]
pub(crate) use fuzz::open_records;
#[cfg(all(feature = "test-kit", feature = "self-signed"))]
pub(crate) use fuzz_twins::open_as_rustls;
pub(crate) use header::{HEADER_LENGTH, MAX_PLAIN_LENGTH, MAX_SEALED_LENGTH};
pub(crate) use keys::Secret;
#[cfg(feature = "test-kit")]
pub(crate) use limit::lower_limit;
pub(crate) use message::CutMessage;
pub(crate) use open::{Content, Opened};
pub(crate) use seal::WornOut;
pub(crate) use session::Session;
pub(crate) use suite::Suite;
