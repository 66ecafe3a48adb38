//! The files of `examples/deploy` fit the program, each other, and the platforms that they are written for.

mod files;
mod kubernetes;
mod schema;
mod script;
