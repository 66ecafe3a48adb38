//! Third step: emits the calls that the attributes stand for. Users could write them by hand beside their item.

mod bounds;
mod builder;
mod calls;
mod conditions;
mod health;
mod main;
mod routes;
mod server;
mod tokens;

pub(crate) use calls::{duration, number};
pub(crate) use conditions::conditional;
pub(crate) use health::health;
pub(crate) use main::main;
pub(crate) use routes::routes;
pub(crate) use server::server;
pub(crate) use tokens::library;
