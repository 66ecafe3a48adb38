//! Health: the checks of the application, and whether this process should get requests.

mod check;
mod dispatch;
mod probe;
mod state;

pub use check::{HealthCheck, HealthFunction, HealthOutput, IntoHealthCheck};
pub(crate) use dispatch::HealthDispatch;
pub(crate) use probe::{Outcome, Probe};
#[cfg(feature = "admin")]
pub(crate) use state::Stage;
#[cfg(any(feature = "admin", feature = "cli"))]
pub(crate) use state::Verdict;
pub(crate) use state::{Checks, Health};
