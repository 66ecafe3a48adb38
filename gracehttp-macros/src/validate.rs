//! Second step: checks the values that were read, and turns them into the types that the third step, `generate`, takes.
//!
//! Faults join the errors. The valid part is kept, so that one mistake does not cause other errors.

mod arguments;
mod function;
mod handler;
mod health;
mod main;
mod parameters;
mod paths;
mod routes;
mod server;
mod types;

use std::ops::Deref;

pub(crate) use crate::parse::{Acme, Argument, Conditional, Endpoint, Pair, Setting, Shell, Signals, Tls};
pub(crate) use handler::{Handler, HandlerArgument};
pub(crate) use health::{HealthCheck, HealthItem, health};
pub(crate) use main::{Main, MainItem, main};
pub(crate) use routes::{Answer, Routes, RoutesItem, routes};
pub(crate) use server::{FunctionServer, Role, Server, ServerItem, server};

/// What has passed the checks. Only this step can make one, and generation takes nothing else.
pub(crate) struct Checked<T>(T);

impl<T> Deref for Checked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
