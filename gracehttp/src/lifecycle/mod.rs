//! The life of a process: its start-up code, the signals that steer it, and its end.

mod aside;
mod background;
mod container;
mod drain;
mod generation;
mod shutdown;
mod signals;
mod time;

pub(crate) use aside::aside;
pub(crate) use background::{AT_LEAST, Background};
pub use background::{on_exit, spawn};
pub(crate) use container::tie;
pub(crate) use drain::{Drain, Phase};
pub use generation::generation;
pub(crate) use generation::set_generation;
pub use shutdown::Shutdown;
pub use signals::Signal;
pub(crate) use signals::{HeldBack, Request, Signals};
pub(crate) use time::{show, until_time};
