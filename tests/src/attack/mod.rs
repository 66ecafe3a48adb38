//! Clients that attack: slow ones, which only hold their connections, and floods, which never pause.
//!
//! All of them share one thread and write prepared bytes, so that a small machine keeps its time for the server and
//! for the honest clients.

mod flood;
mod hold;
pub mod measure;
mod slow;
pub mod worst;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use flood::floods;
pub use slow::slow;

/// How long a client that lost its connection waits before it reconnects.
const AGAIN: Duration = Duration::from_millis(500);

/// How a client reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Plain text.
    Plain,
    /// TLS, with this protocol.
    Tls(&'static str),
    /// Raw bytes where the server expects TLS.
    UnderTls,
}

/// How a client continues after its first bytes.
#[derive(Debug, Clone)]
pub enum Then {
    /// Nothing.
    Waits,
    /// These bytes each second.
    Drips(fn(round: u32) -> Bytes),
    /// These bytes a thousand times a second, or as fast as the server takes them.
    Floods(fn(round: u32) -> Bytes),
}

/// How a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// It reads everything.
    All,
    /// It reads everything, and answers PING and SETTINGS.
    AnswersFrames,
    /// It leaves everything in its socket.
    Nothing,
}

/// One kind of attack.
#[derive(Debug, Clone)]
pub struct Attacker {
    /// Its name in tables.
    pub name: String,
    /// How it connects.
    pub wire: Wire,
    /// The bytes that it writes first.
    pub opening: Bytes,
    /// The bytes that it writes then.
    pub then: Then,
    /// How it reads.
    pub reads: Reads,
}

impl Attacker {
    /// An attacker that writes these bytes on plain text, waits, and reads the answer.
    fn new(name: &str, opening: impl Into<Bytes>) -> Self {
        Self {
            name: name.to_owned(),
            wire: Wire::Plain,
            opening: opening.into(),
            then: Then::Waits,
            reads: Reads::All,
        }
    }
}

/// Where the server listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// For plain text.
    pub plain: SocketAddr,
    /// For TLS.
    pub tls: SocketAddr,
}

/// The counts of all clients of one kind.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// The connections opened.
    pub connections: u64,
    /// Those that are open now.
    pub held: usize,
    /// The longest time that one stayed open.
    pub longest: Duration,
}

/// A running attack. Its thread ends with the process at the latest.
#[derive(Debug)]
pub struct Attack {
    shared: Arc<Shared>,
    thread: JoinHandle<Duration>,
}

#[derive(Debug)]
struct Shared {
    addresses: Addresses,
    attackers: Vec<Attacker>,
    tallies: Mutex<Vec<Tally>>,
    /// Set when no client reconnects any more.
    over: watch::Sender<bool>,
    /// Set when the remaining clients close their connections.
    dismissed: watch::Sender<bool>,
}

impl Shared {
    fn tallies(&self) -> MutexGuard<'_, Vec<Tally>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attack {
    /// Starts this many clients of each kind, which arrive within `arrival` and reconnect whenever the server cuts
    /// them.
    pub fn begin(addresses: Addresses, kinds: Vec<(Attacker, usize)>, arrival: Duration) -> Self {
        let (attackers, counts): (Vec<Attacker>, Vec<usize>) = kinds.into_iter().unzip();
        let shared = Arc::new(Shared {
            addresses,
            tallies: Mutex::new(vec![Tally::default(); attackers.len()]),
            attackers,
            over: watch::Sender::new(false),
            dismissed: watch::Sender::new(false),
        });
        let its = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(run(its, counts, arrival));
            cpu_time_of_this_thread()
        });
        Self { shared, thread }
    }

    /// The names, and the counts of each kind so far.
    pub fn tallies(&self) -> Vec<(String, Tally)> {
        let names = self.shared.attackers.iter().map(|attacker| attacker.name.clone());
        names.zip(self.shared.tallies().iter().cloned()).collect()
    }

    /// How many connections are open now.
    pub fn held(&self) -> usize {
        self.shared.tallies().iter().map(|tally| tally.held).sum()
    }

    /// From now on no client reconnects; clients with a connection continue until the server cuts it.
    pub fn over(&self) {
        self.shared.over.send_replace(true);
    }

    /// Ends the attack and its remaining connections, and returns its CPU time.
    pub fn dismiss(self) -> Duration {
        self.over();
        self.shared.dismissed.send_replace(true);
        self.thread.join().expect("attackers do not panic")
    }
}

async fn run(shared: Arc<Shared>, counts: Vec<usize>, arrival: Duration) {
    let all = counts.iter().sum::<usize>().max(1);
    let mut clients = JoinSet::new();
    let mut dismissed = shared.dismissed.subscribe();
    let mut arrived = 0;
    for (kind, count) in counts.into_iter().enumerate() {
        for _ in 0..count {
            let delay = arrival.mul_f64(f64::from(arrived) / all as f64);
            arrived += 1;
            clients.spawn(again_and_again(Arc::clone(&shared), kind, delay));
        }
    }
    let ended = async { while clients.join_next().await.is_some() {} };
    tokio::select! {
        () = ended => (),
        // The sender lives in `shared`.
        _ = dismissed.wait_for(|dismissed| *dismissed) => (),
    }
}

/// One client, and its next connection after each loss.
async fn again_and_again(shared: Arc<Shared>, kind: usize, delay: Duration) {
    let attacker = &shared.attackers[kind];
    let mut over = shared.over.subscribe();
    let mut pause = delay;
    loop {
        tokio::select! {
            biased;
            _ = over.wait_for(|over| *over) => return,
            () = tokio::time::sleep(pause) => pause = AGAIN,
        }
        // A full queue or a failed handshake: it tries again later.
        let Ok(connection) = hold::Connection::open(attacker, shared.addresses).await else { continue };
        let tally = |change: &dyn Fn(&mut Tally)| change(&mut shared.tallies()[kind]);
        tally(&|tally| {
            tally.connections += 1;
            tally.held += 1;
        });
        let start = Instant::now();
        connection.hold(attacker).await;
        let held = start.elapsed();
        tally(&|tally| {
            tally.held -= 1;
            tally.longest = tally.longest.max(held);
        });
    }
}

fn cpu_time_of_this_thread() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = schedstat.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
