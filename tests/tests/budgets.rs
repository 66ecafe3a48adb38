//! How much memory of a server the worst client of each kind pins, and how much CPU time one flood of each kind costs.
//! The guide's chapter on the worst client has the figures.

use std::time::{Duration, Instant};

use tests::attack::worst::{in_small_chunks, worst};
use tests::attack::{Addresses, Attack, Attacker, Reads, Tally, floods};
use tests::bench::process::{cpu_time, resident};
use tests::client::get_once;
use tests::patience::{PATIENCE, within};
use tests::uploads::Uploads;
use tests::{App, Launch, Scratch, Target};
use tokio::task::JoinSet;

/// Clients of each kind. There are several, so that the server's own memory counts little.
const CLIENTS: usize = 16;

/// `max_conn_memory`, and what the allocator and the task of a connection add to it.
const MOST: u64 = (4 << 20) + (512 << 10);

/// How long the test watches each kind. The server receives all input long before the end.
const WATCH: Duration = Duration::from_secs(4);

/// How much of a core a build without optimization may use for one flood.
const MOST_OF_A_CORE: f64 = 0.5;

const PLAN: &str = "server web 127.0.0.1:0 header_read_timeout=20000ms handshake_timeout=20000ms\n\
                    server tls 127.0.0.1:0 tls=self_signed header_read_timeout=20000ms handshake_timeout=20000ms";

/// A server for one kind of attack. It has already allocated everything that it needs without an attack.
async fn server(scratch: &Scratch) -> (App, Addresses) {
    let app = Launch::app(scratch, PLAN).start("tls").await;
    // This request allocates what all large responses share.
    get_once(&app.target("web").await, "/large").await.expect("a response");
    let addresses = Addresses { plain: app.address("web").await, tls: app.address("tls").await };
    (app, addresses)
}

/// The measurements of one server.
struct Figure {
    name: String,
    /// The largest growth of its memory, divided by the number of clients.
    bytes: u64,
    /// The clients that the server still holds at the end.
    held: usize,
}

async fn pinned_by_each(attacker: Attacker, clients: usize) -> Figure {
    let scratch = Scratch::new();
    let (app, addresses) = server(&scratch).await;
    let before = resident(app.pid());
    let attack = Attack::begin(addresses, vec![(attacker, clients)], Duration::ZERO);
    let mut most = 0;
    let begun = Instant::now();
    let watch = async {
        // A busy machine may take longer to connect all of them.
        while begun.elapsed() < WATCH || attack.tallies()[0].1.connections < clients as u64 {
            most = most.max(resident(app.pid()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // The attack does not end by itself.
    _ = tokio::time::timeout(WATCH + PATIENCE, watch).await;
    let (name, Tally { connections, held, .. }) = attack.tallies().remove(0);
    attack.dismiss();
    assert!(connections >= clients as u64, "{name}: {connections} connections");
    Figure { name, bytes: most.saturating_sub(before) / clients as u64, held }
}

#[tokio::test]
async fn no_client_pins_more_than_four_mebibytes() {
    let mut kinds = JoinSet::new();
    for (place, attacker) in worst().into_iter().enumerate() {
        kinds.spawn(async move { (place, pinned_by_each(attacker, CLIENTS).await) });
    }
    let mut figures = within(Duration::from_secs(60), "all kinds", kinds.join_all()).await;
    figures.sort_unstable_by_key(|(place, _)| *place);
    println!("| client | pins, KiB | still held |\n| --- | --- | --- |");
    for (_, Figure { name, bytes, held }) in &figures {
        println!("| {name} | {} | {held} of {CLIENTS} |", bytes >> 10);
    }
    for (_, Figure { name, bytes, .. }) in figures {
        assert!(bytes <= MOST, "{name}: {bytes} bytes for each client");
    }
}

/// The test has only one client, because the client costs the server much time. Its body has 200 000 bytes.
#[tokio::test]
async fn a_body_in_small_chunks_that_a_handler_collects_pins_little_more_than_its_bytes() {
    for attacker in in_small_chunks() {
        let Figure { name, bytes, .. } = pinned_by_each(attacker, 1).await;
        println!("| {name} | {} |", bytes >> 10);
        assert!(bytes <= 3 << 20, "{name}: {bytes} bytes");
    }
}

/// The same limit for uploads that handlers collect: the uploads themselves, the copy that a handler makes of one, and
/// the memory that a build without optimization needs for the tasks of a hundred streams.
const MOST_OF_UPLOADS: u64 = 8 << 20;

/// The largest body that a server takes by default.
const BODY: usize = 2 << 20;

/// The number of connections. Each has a hundred uploads of a whole body, or of a body without its last chunk.
const UPLOADERS: usize = 4;

/// The memory that a hundred uploads over one connection pin. They continue until the server ends them.
async fn pinned_by_uploads(is_tls: bool, path: &'static str, short_of: usize) -> Figure {
    let scratch = Scratch::new();
    let (app, addresses) = server(&scratch).await;
    let target = if is_tls { Target::Tls(addresses.tls) } else { Target::Plain(addresses.plain) };
    let before = resident(app.pid());
    let mut clients = JoinSet::new();
    for _ in 0..UPLOADERS {
        let target = target.clone();
        clients.spawn(async move {
            let mut client = Uploads::open(&target).await;
            for _ in 0..100 {
                client.post(path, BODY - short_of, short_of == 0).await;
            }
            // A silent upload blocks the others: the server resets it, and the next one continues.
            client.send(2 * WATCH).await;
        });
    }
    let mut most = 0;
    let watch = async {
        loop {
            most = most.max(resident(app.pid()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    _ = tokio::time::timeout(2 * WATCH, watch).await;
    let held = clients.len();
    let name = format!("100 uploads to {path}, {short_of} bytes short, TLS: {is_tls}");
    Figure { name, bytes: most.saturating_sub(before) / UPLOADERS as u64, held }
}

#[tokio::test]
async fn uploads_that_handlers_collect_pin_no_more_than_others() {
    let mut kinds = JoinSet::new();
    for is_tls in [false, true] {
        kinds.spawn(pinned_by_uploads(is_tls, "/length", 16 << 10));
        kinds.spawn(pinned_by_uploads(is_tls, "/length?ms=60000", 0));
    }
    let figures = within(Duration::from_secs(60), "all kinds", kinds.join_all()).await;
    for Figure { name, bytes, .. } in &figures {
        println!("| {name} | {} |", bytes >> 10);
    }
    for Figure { name, bytes, .. } in figures {
        assert!(bytes <= MOST_OF_UPLOADS, "{name}: {bytes} bytes for each client");
    }
}

/// One byte that no handler reads, then 16 KiB that a handler reads, again and again. Each byte keeps a whole read
/// buffer of the server.
async fn pinned_by_bytes_between(is_tls: bool) -> u64 {
    let scratch = Scratch::new();
    let options = "max_body=100000000";
    let plan = format!("server web 127.0.0.1:0 {options}\nserver tls 127.0.0.1:0 tls=self_signed {options}");
    let app = Launch::app(&scratch, &plan).start("tls").await;
    let target = app.target(if is_tls { "tls" } else { "web" }).await;
    let before = resident(app.pid());
    let mut client = Uploads::open(&target).await;
    client.post_in_frames("/never", 1900, false, 1).await;
    client.post("/count", 1900 * (16 << 10), false).await;
    let attack = tokio::spawn(async move { client.send(WATCH).await });
    let mut most = 0;
    let watch = async {
        // The connection ends, or the client has sent everything.
        while !attack.is_finished() {
            most = most.max(resident(app.pid()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    _ = tokio::time::timeout(4 * WATCH, watch).await;
    attack.abort();
    most.saturating_sub(before)
}

#[tokio::test]
async fn bytes_that_no_handler_reads_between_others_pin_no_more_than_other_uploads() {
    for is_tls in [false, true] {
        let bytes = pinned_by_bytes_between(is_tls).await;
        println!("| single bytes between large frames, TLS: {is_tls} | {} |", bytes >> 10);
        assert!(bytes <= MOST_OF_UPLOADS, "TLS: {is_tls}: {bytes} bytes");
    }
}

/// The share of a core that a flood takes, and the number of its connections. The flood reconnects half a second after
/// each cut.
async fn cores_taken_by(attacker: Attacker, least: u64) -> (f64, u64) {
    let scratch = Scratch::new();
    let (app, addresses) = server(&scratch).await;
    let before = cpu_time(app.pid());
    let attack = Attack::begin(addresses, vec![(attacker, 1)], Duration::ZERO);
    let begun = Instant::now();
    tokio::time::sleep(WATCH).await;
    let connections = || attack.tallies()[0].1.connections;
    // A busy machine may take longer to cut it.
    let cut = async {
        while connections() < least {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    _ = tokio::time::timeout(PATIENCE, cut).await;
    let (taken, time) = (cpu_time(app.pid()) - before, begun.elapsed());
    let connections = connections();
    attack.dismiss();
    (taken.as_secs_f64() / time.as_secs_f64(), connections)
}

#[tokio::test]
async fn no_flood_takes_a_core() {
    println!("| flood | cores | connections |\n| --- | --- | --- |");
    for attackers in floods().chunks(3) {
        let mut kinds = JoinSet::new();
        for attacker in attackers.iter().cloned() {
            // A client that reads nothing is no flood, and time limits apply to it.
            let least = if attacker.reads == Reads::Nothing { 1 } else { 2 };
            kinds.spawn(async move { (attacker.name.clone(), least, cores_taken_by(attacker, least).await) });
        }
        for (name, least, (cores, connections)) in kinds.join_all().await {
            println!("| {name} | {cores:.3} | {connections} |");
            assert!(cores < MOST_OF_A_CORE, "{name}: {cores}");
            assert!(connections >= least, "{name} was never cut");
        }
    }
}
