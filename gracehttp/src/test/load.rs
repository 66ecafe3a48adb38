//! Clients that never rest, and hold every failure against the server.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::server::Request;
use crate::test::client::{Connection, Fault, Target};

/// How long clients rest between two requests: some are idle at every moment, and some are not.
const PAUSE: Duration = Duration::from_millis(3);

/// How long a number of answers may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes what each client sends.
pub(super) type MakeRequest = Arc<dyn Fn() -> Request + Send + Sync>;

/// A running load.
pub(super) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

/// What the clients have seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) requests: u64,
    pub(super) connections: u64,
    pub(super) faults: Vec<String>,
}

struct Shared {
    target: Target,
    request: MakeRequest,
    seen: Mutex<Seen>,
    requests: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// Starts `clients` that keep their connection, and as many that open a new one for each request.
    pub(super) fn start(target: Target, request: MakeRequest, clients: usize) -> Self {
        let shared = Arc::new(Shared {
            target,
            request,
            seen: Mutex::default(),
            requests: watch::Sender::new(0),
            stop: watch::Sender::new(false),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            tasks.spawn(shared.clone().keep_one_connection());
            tasks.spawn(shared.clone().open_many());
        }
        Self { shared, clients: tasks }
    }

    /// Waits for `count` more requests to be answered or lost.
    pub(super) async fn requests(&self, count: u64) {
        let mut requests = self.shared.requests.subscribe();
        let goal = *requests.borrow_and_update() + count;
        let came = timeout(PATIENCE, requests.wait_for(|requests| *requests >= goal)).await;
        assert!(came.is_ok(), "{count} requests were not answered within {PATIENCE:?}");
    }

    /// Lets every client finish what it does.
    pub(super) async fn stop(mut self) -> Seen {
        self.shared.stop.send_replace(true);
        while self.clients.join_next().await.is_some() {}
        std::mem::take(&mut *self.shared.seen())
    }
}

impl Shared {
    async fn keep_one_connection(self: Arc<Self>) {
        let mut kept: Option<Connection> = None;
        while !self.is_stopping() {
            let connection = match kept.take() {
                Some(connection) => Ok(connection),
                None => self.open().await,
            };
            kept = match connection {
                Ok(connection) => self.ask(connection).await.filter(|kept| !kept.is_told_to_close()),
                Err(fault) => {
                    self.count(Err(fault));
                    None
                }
            };
            sleep(PAUSE).await;
        }
    }

    async fn open_many(self: Arc<Self>) {
        while !self.is_stopping() {
            match self.open().await {
                Ok(connection) => drop(self.ask(connection).await),
                Err(fault) => self.count(Err(fault)),
            }
            sleep(PAUSE).await;
        }
    }

    async fn open(&self) -> Result<Connection, Fault> {
        self.seen().connections += 1;
        Connection::open(&self.target).await
    }

    /// One request. The connection comes back if it can take another.
    async fn ask(&self, mut connection: Connection) -> Option<Connection> {
        let answered = connection.send((self.request)()).await;
        let lives = answered.is_ok();
        self.count(answered.and_then(|response| match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(Fault::new(format!("the answer was {status}"))),
        }));
        lives.then_some(connection)
    }

    fn count(&self, outcome: Result<(), Fault>) {
        let mut seen = self.seen();
        seen.requests += 1;
        seen.faults.extend(outcome.err().map(|fault| fault.to_string()));
        self.requests.send_replace(seen.requests);
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    fn root() -> MakeRequest {
        Arc::new(|| crate::test::get("/"))
    }

    /// The faults of a load on a server that gives each connection these bytes and closes it.
    async fn faults_of(answer: &'static [u8]) -> Vec<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target { address: listener.local_addr().unwrap(), tls: false };
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer).await;
            }
        });
        let load = Load::start(target, root(), 1);
        load.requests(4).await;
        let seen = load.stop().await;
        server.abort();
        seen.faults
    }

    fn all_say(faults: &[String], words: &str) -> bool {
        !faults.is_empty() && faults.iter().all(|fault| fault.contains(words))
    }

    #[tokio::test]
    async fn every_kind_of_loss_is_noticed() {
        let faults = faults_of(b"").await;
        assert!(all_say(&faults, "the request was not answered"), "{faults:?}");
        let faults = faults_of(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
        assert!(all_say(&faults, "the answer broke off"), "{faults:?}");
        let faults = faults_of(b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        assert!(all_say(&faults, "the answer was 500"), "{faults:?}");
        // Closed without notice after a good answer: a client that keeps the connection loses its next request, or finds it
        // closed.
        let faults = faults_of(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        assert!(all_say(&faults, "connection"), "{faults:?}");
    }

    #[tokio::test]
    async fn a_refusal_is_noticed_and_a_close_that_was_announced_is_none() {
        let faults = faults_of(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        assert_eq!(faults, [""; 0]);
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let load = Load::start(Target { address: free, tls: false }, root(), 1);
        load.requests(4).await;
        let faults = load.stop().await.faults;
        assert!(all_say(&faults, "the connection was not accepted"), "{faults:?}");
    }
}
