//! The guide, a chapter a module.
//!
//! 1. [Getting started](getting_started): a first program, and its three parts
//! 2. [Servers](servers): handlers, factories, endpoints, limits
//! 3. [Routes](routes): many paths on one server, over several files, with layers
//! 4. [Restarts](restarts): the steps, what moves, what drains, what can go wrong
//! 5. [Configuration](configuration) by a file and by the environment
//! 6. [Logging](logging), and messages that scripts may rely on
//! 7. [TLS](tls): certificates, renewal, sessions
//! 8. [Signals](signals) and exit statuses
//! 9. [Background tasks](background), and clean-up code
//! 10. [Testing](testing): a server in memory, on a port, and through a restart
//! 11. [The worst client](worst_client): what one client can cost a server, and the results of public test suites
//! 12. [Coming from Go](coming_from_go): each call of the Go package, and its counterpart
//!
//! The guide is documentation only: a compiled program has no module `guide`.
//!
//! # Words
//!
#![doc = include_str!("../docs/guide/words.md")]

#[doc = include_str!("../docs/guide/getting_started.md")]
pub mod getting_started {}

#[doc = include_str!("../docs/guide/servers.md")]
pub mod servers {}

#[doc = include_str!("../docs/guide/routes.md")]
pub mod routes {}

#[doc = include_str!("../docs/guide/restarts.md")]
pub mod restarts {}

#[doc = include_str!("../docs/guide/configuration.md")]
pub mod configuration {}

#[doc = include_str!("../docs/guide/logging.md")]
pub mod logging {}

#[doc = include_str!("../docs/guide/tls.md")]
pub mod tls {}

#[doc = include_str!("../docs/guide/signals.md")]
pub mod signals {}

#[doc = include_str!("../docs/guide/background.md")]
pub mod background {}

#[doc = include_str!("../docs/guide/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/guide/worst_client.md")]
pub mod worst_client {}

#[doc = include_str!("../docs/guide/coming_from_go.md")]
pub mod coming_from_go {}
