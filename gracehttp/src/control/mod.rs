//! The control socket: how the commands of the same program, and scripts, speak with a running one.

mod place;

pub(crate) use place::{Surroundings, place};
