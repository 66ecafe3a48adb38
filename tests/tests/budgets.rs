//! What the worst client of each kind pins of a server's memory.

use std::time::Duration;

use tests::attack::measure::kernel_memory;
use tests::attack::worst::worst;
use tests::attack::{Attack, Attacker, Doors, Tally};
use tests::bench::process::resident;
use tests::client::get_once;
use tests::patience::within;
use tests::{Launch, Scratch};
use tokio::task::JoinSet;

/// Clients of each kind, so that what the server has anyhow weighs little.
const CLIENTS: usize = 16;

/// `max_conn_memory`, and what the allocator and the task of a connection add to it.
const MOST: u64 = (4 << 20) + (512 << 10);

/// How long each kind is watched: what it sends has arrived long before.
const WATCH: Duration = Duration::from_secs(4);

const PLAN: &str = "server web 127.0.0.1:0 header_read_timeout=20000ms handshake_timeout=20000ms\n\
                    server tls 127.0.0.1:0 tls=self_signed header_read_timeout=20000ms handshake_timeout=20000ms";

/// What a server of its own has shown.
struct Figure {
    name: String,
    /// By how much it has grown at most, for each client.
    bytes: u64,
    /// The clients that it still bears at the end.
    held: usize,
}

async fn pinned_by_each(attacker: Attacker) -> Figure {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, PLAN).start("tls").await;
    // What all large responses share is made now.
    get_once(&app.target("web").await, "/large").await.expect("a response");
    let doors = Doors { plain: app.address("web").await, tls: app.address("tls").await };
    let before = resident(app.pid());
    let attack = Attack::begin(doors, vec![(attacker, CLIENTS)], Duration::ZERO);
    let mut most = 0;
    let watch = async {
        loop {
            most = most.max(resident(app.pid()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // It never ends by itself.
    _ = tokio::time::timeout(WATCH, watch).await;
    let (name, Tally { connections, held, .. }) = attack.tallies().remove(0);
    attack.dismiss();
    assert!(connections >= CLIENTS as u64, "{name}: {connections} connections");
    Figure { name, bytes: most.saturating_sub(before) / CLIENTS as u64, held }
}

#[tokio::test]
async fn no_client_pins_more_than_four_mebibytes() {
    let kernel = kernel_memory();
    let mut kinds = JoinSet::new();
    for (place, attacker) in worst().into_iter().enumerate() {
        kinds.spawn(async move { (place, pinned_by_each(attacker).await) });
    }
    let mut figures = within(Duration::from_secs(60), "all kinds", kinds.join_all()).await;
    figures.sort_unstable_by_key(|(place, _)| *place);
    println!("kernel memory before {kernel}, now {}", kernel_memory());
    println!("| client | pins, KiB | still held |\n| --- | --- | --- |");
    for (_, Figure { name, bytes, held }) in &figures {
        println!("| {name} | {} | {held} of {CLIENTS} |", bytes >> 10);
    }
    for (_, Figure { name, bytes, .. }) in figures {
        assert!(bytes <= MOST, "{name}: {bytes} bytes for each client");
    }
}
