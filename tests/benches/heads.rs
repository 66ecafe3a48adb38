//! What it costs to read a request head strictly, before hyper reads it.
//!
//! ```text
//! cargo bench -p tests --bench heads
//! cargo bench -p tests --bench heads -- browser --rounds 20
//! ```
//!
//! A request over a kept connection takes 5 to 10 µs of CPU time in all; see the benchmark `throughput`.

use std::time::Instant;

use gracehttp::__private::read_heads;
use tests::bench::machine;
use tests::bench::options::Options;
use tests::bench::statistics::Spread;

/// Heads are read so many times in a round.
const TIMES: u64 = 200_000;

const LEAST: &str = "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";

const CURL: &str =
    "GET /ping?a=b HTTP/1.1\r\nHost: 127.0.0.1:9090\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";

const BROWSER: &str = "GET /users/4711/orders?page=2&sort=date HTTP/1.1\r\nHost: shop.example\r\n\
    Connection: keep-alive\r\nsec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\
    Referer: https://shop.example/users/4711\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n";

fn main() {
    let options = Options::of_process();
    let rounds: usize = options.value("rounds", 11);
    println!("heads: {}; {rounds} rounds of {TIMES}", machine::describe());
    for (name, head) in [("least", LEAST), ("curl", CURL), ("browser", BROWSER)] {
        if !options.wants(name) {
            continue;
        }
        let round = |_| {
            let start = Instant::now();
            assert_eq!(read_heads(head.as_bytes(), TIMES), TIMES, "each of them is valid");
            start.elapsed().as_secs_f64() * 1e9 / TIMES as f64
        };
        println!("{name:>8}, {:3} bytes: {:.1} ns", head.len(), Spread::of((0..rounds).map(round)));
    }
}
