//! Functions of the application that receive the framework's messages.
//!
//! ```text
//! cargo run --example callbacks
//! kill -USR1 PID                  # the functions below print every line of the restart
//! ```
//!
//! Messages of a level without a callback go to `tracing`, target `gracehttp`. `gracehttp::log::set_info`, `set_notice`
//! and `set_error` set a callback at any time.
//!
//! `GRACEHTTP_SERVER__HELLO__PORT=8080` sets another port.

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

/// An application would send an alert here.
fn error(message: &str) {
    eprintln!("[error]  {message}");
}

#[gracehttp::main(servers(hello), on_info = info, on_notice = notice, on_error = error)]
async fn main() {}
