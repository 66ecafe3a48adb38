//! Callbacks that can't take a message.

use gracehttp::server;

#[server(port = 8080)]
async fn ping() {}

fn owned(message: String) {
    println!("{message}");
}

fn two(level: &str, message: &str) {
    println!("{level} {message}");
}

#[gracehttp::main(servers(ping), on_info = owned, on_notice = two, on_error = "error.log")]
async fn main() {}
