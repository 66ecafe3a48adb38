//! The guide, a chapter a module. Begin with [`getting_started`]; the other chapters stand by themselves.
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

#[doc = include_str!("../docs/guide/logs.md")]
pub mod logs {}

#[doc = include_str!("../docs/guide/tls.md")]
pub mod tls {}

#[doc = include_str!("../docs/guide/behind_a_proxy.md")]
pub mod behind_a_proxy {}

#[cfg(feature = "admin")]
#[doc = include_str!("../docs/guide/metrics.md")]
pub mod metrics {}

#[doc = include_str!("../docs/guide/certificates.md")]
pub mod certificates {}

#[doc = include_str!("../docs/guide/signals.md")]
pub mod signals {}

#[doc = include_str!("../docs/guide/systemd.md")]
pub mod systemd {}

#[doc = include_str!("../docs/guide/supervision.md")]
pub mod supervision {}

#[doc = include_str!("../docs/guide/deployment.md")]
pub mod deployment {}

#[doc = include_str!("../docs/guide/background.md")]
pub mod background {}

#[doc = include_str!("../docs/guide/control.md")]
pub mod control {}

#[doc = include_str!("../docs/guide/health.md")]
pub mod health {}

// The first definition of a link counts. So the pictures are in the documentation itself, wherever it is read, and in a
// clone the chapter has them from the files beside it.
#[doc = concat!("[light]: data:image/webp;base64,", include_str!("../docs/guide/status-page-light.webp.base64"))]
#[doc = concat!("[dark]: data:image/webp;base64,", include_str!("../docs/guide/status-page-dark.webp.base64"))]
#[doc = ""]
#[doc = include_str!("../docs/guide/status-page.md")]
pub mod status_page {}

#[doc = include_str!("../docs/guide/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/guide/worst_client.md")]
pub mod worst_client {}

#[doc = include_str!("../docs/guide/performance.md")]
pub mod performance {}

#[doc = include_str!("../docs/guide/coming_from_go.md")]
pub mod coming_from_go {}
