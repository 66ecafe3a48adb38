//! Where the values come from: the attribute, then the environment.

pub(crate) mod env;
