//! The files of `examples/deploy` fit the program, each other, and the platforms that they are written for.

mod containers;
mod files;
mod kubernetes;
mod managers;
mod schema;
mod script;
