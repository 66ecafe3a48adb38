//! The cost of a strict read of a request head, before hyper reads it: in nanoseconds, and as a share of the cost of
//! the whole request for bare hyper.
//!
//! ```text
//! cargo bench -p tests --bench heads
//! cargo bench -p tests --bench heads -- browser --rounds 20
//! ```
//!
//! Both are CPU time, user and system, so other work of the machine counts in neither. The reader recognizes the
//! fields of a request if an earlier one on the connection had the same. That holds for all of these but two:
//! `changing` is the head of a browser with other fields in each request, and `cookie` has too many bytes for it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use gracehttp::__private::read_heads;
use tests::bench::contestant::{self, BARE, Contestant, OURS};
use tests::bench::machine;
use tests::bench::options::Options;
use tests::bench::process::cpu_time;
use tests::bench::security::Security;
use tests::bench::statistics::Spread;
use tests::bench::traffic::Traffic;

/// The time for repeated reads of a head in one round.
const READING: Duration = Duration::from_millis(200);

/// How many reads come between two looks at the clock.
const BATCH: u64 = 1000;

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

/// Heads of a client, one after the other, by name.
fn heads() -> [(&'static str, Vec<String>); 5] {
    let cookie = "session=0123456789abcdef0123456;".repeat(256);
    let large = LEAST.replace("\r\n\r\n", &format!("\r\nCookie: {cookie}\r\n\r\n"));
    let changing = (10..42).map(|number| BROWSER.replace("theme=dark", &format!("theme=da{number}")));
    [
        ("least", vec![LEAST.into()]),
        ("curl", vec![CURL.into()]),
        ("browser", vec![BROWSER.into()]),
        ("changing", changing.collect()),
        ("cookie", vec![large]),
    ]
}

fn main() -> ExitCode {
    contestant::main(&[BARE, OURS], run)
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: &Options) -> Result<(), String> {
    let rounds: usize = options.value("rounds", 7);
    let time = Duration::from_secs_f64(options.value("seconds", 1.0));
    println!("heads: {}; {rounds} rounds", machine::describe());
    let start = |server| Contestant::start(server, Security::Plain, 1);
    let servers = [start(BARE).await, start(OURS).await];
    for (name, heads) in heads().into_iter().filter(|(name, _)| options.wants(name)) {
        let head = &heads[0];
        let body = (!head.starts_with("GET /ping")).then(|| b"unknown".to_vec());
        let request = Traffic { request: head.clone().into(), body, ..Traffic::keep_alive(64) };
        let mut figures = Vec::new();
        for _ in 0..rounds {
            let [hyper, ours] = servers.each_ref().map(|server| time_of_request(server, &request, time));
            figures.push([time_of_reader(&heads), hyper?, ours?]);
        }
        let spread = |figure: fn(&[f64; 3]) -> f64| Spread::of(figures.iter().map(figure));
        println!("\n{name}, {} bytes", head.len());
        println!("  the reader                 {:.1} ns", spread(|figures| figures[0]));
        println!("  a request of bare hyper    {:.0} ns", spread(|figures| figures[1]));
        println!("  the reader's share of that {:.2} %", spread(|figures| figures[0] / figures[1] * 100.0));
        println!("  a request of gracehttp     {:.0} ns", spread(|figures| figures[2]));
    }
    Ok(())
}

fn time_of_reader(heads: &[String]) -> f64 {
    let bytes = heads.concat();
    let (start, before) = (Instant::now(), cpu_time(std::process::id()));
    let (mut read, batch) = (0, BATCH * heads.len() as u64);
    while start.elapsed() < READING {
        read += batch;
        assert_eq!(read_heads(bytes.as_bytes(), BATCH), batch, "each of them is valid");
    }
    nanoseconds(cpu_time(std::process::id()) - before, read)
}

fn time_of_request(server: &Contestant, request: &Traffic, time: Duration) -> Result<f64, String> {
    let answer = request.learn(&server.endpoint, &server.pong())?;
    let clients = request.open(&server.endpoint)?;
    let before = cpu_time(server.pid());
    let tally = request.drive(clients, &server.endpoint, &answer, time)?;
    Ok(nanoseconds(cpu_time(server.pid()) - before, tally.answers))
}

fn nanoseconds(time: Duration, times: u64) -> f64 {
    time.as_secs_f64() * 1e9 / times as f64
}
