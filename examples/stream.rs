//! An endless response that ends in order when its process ends.
//!
//! ```text
//! cargo run --example stream
//! curl -N localhost:9090          # tick 1, tick 2, …
//! kill -USR1 PID                  # the stream says goodbye and ends; ask again and the successor ticks
//! ```
//!
//! Without `Shutdown` the drain would wait for the stream, and cut it after `drain_timeout`.
//!
//! `GRACEHTTP_SERVER__TICKS__PORT=8080` sets another port.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use gracehttp::{Body, Shutdown, server};
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;

/// Sends one line a second, until the drain begins.
#[server(port = 9090, max_conns = 1000)]
async fn ticks(shutdown: Shutdown) -> Body {
    let ticks = IntervalStream::new(interval(Duration::from_secs(1)))
        .enumerate()
        .map(|(count, _)| format!("tick {} from pid {}\n", count + 1, std::process::id()))
        .take_until(shutdown);
    let goodbye = stream::once(async { "goodbye\n".to_owned() });
    Body::from_stream(ticks.chain(goodbye).map(Ok::<_, Infallible>))
}

#[gracehttp::main(servers(ticks))]
async fn main() {}
