//! The framework's messages in the application's own hands.
//!
//! ```text
//! cargo run --example callbacks
//! kill -USR1 PID                  # every line of the restart comes through the functions below
//! ```
//!
//! A level without a callback goes on to `tracing`, target `gracehttp`. `gracehttp::log::set_info` and its
//! siblings set a callback from anywhere, at any time.
//!
//! `GRACEHTTP_SERVER__HELLO__PORT=8080` moves it to another port.

use gracehttp::server;

#[server(port = 9090, max_conns = 1000)]
async fn hello() -> &'static str {
    "hello\n"
}

fn info(message: &str) {
    println!("[info]   {message}");
}

fn notice(message: &str) {
    println!("[notice] {message}");
}

/// Where an application would page somebody.
fn error(message: &str) {
    eprintln!("[error]  {message}");
}

#[gracehttp::main(servers(hello), on_info = info, on_notice = notice, on_error = error)]
async fn main() {}
