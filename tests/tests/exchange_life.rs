//! The life of an HTTP/1.1 exchange: a body that nobody takes, a client that leaves or closes its side, a response that
//! is taken slowly or not at all, an answer that comes before its question has ended.

use std::time::{Duration, Instant};

use tests::client::{Pause, get_once, post_head};
use tests::{App, Client, Exit, Launch, Scratch, Target};
use tokio::task::JoinSet;

const WEB: &str = "server web 127.0.0.1:0";

struct Stage {
    app: App,
    target: Target,
    _scratch: Scratch,
}

impl Stage {
    async fn new(plan: &str) -> Self {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, plan).spawn();
        let target = app.target("web").await;
        Self { app, target, _scratch: scratch }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.target).await.expect("a connection")
    }
}

/// A request whose body comes in packets of its own, after the answer.
struct LateBody {
    name: &'static str,
    head: String,
    pieces: Vec<&'static str>,
}

impl LateBody {
    fn all() -> Vec<Self> {
        let chunked = |path: &str| {
            post_head(path, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked\r\nTE: trailers")
        };
        let late = |name, head, pieces: &[&'static str]| Self { name, head, pieces: pieces.to_vec() };
        vec![
            late("one packet", post_head("/nowhere", 5), &["12345"]),
            late("many packets", post_head("/nowhere", 5), &["1", "2", "3", "4", "5"]),
            late("chunks", chunked("/nowhere"), &["2\r\n12\r\n", "3\r\n345\r\n", "0\r\n\r\n"]),
            late("another task reads", post_head("/later/read", 5), &["123", "45"]),
            late("another task reads chunks", chunked("/later/read"), &["5\r\n12345\r\n", "0\r\n\r\n"]),
            late("another task lets it go", post_head("/later/dropped?ms=100", 5), &["123", "45"]),
        ]
    }

    async fn send_head(&self, client: &mut Client) {
        client.send(&self.head).await.expect(self.name);
        let reply = client.reply().await.expect(self.name);
        assert!(!reply.closes(), "{}: {reply:?}", self.name);
    }

    async fn send_pieces(&self, client: &mut Client) {
        for piece in &self.pieces {
            // A packet of its own.
            tokio::time::sleep(Duration::from_millis(15)).await;
            client.send(piece).await.expect(self.name);
        }
    }
}

#[tokio::test]
async fn a2_a_body_that_comes_after_its_answer_holds_no_connection_in_a_restart() {
    let scratch = Scratch::new();
    let stage = Stage::new(&format!("{WEB} unix:{}", scratch.join("socket").display())).await;
    let unix = Target::Unix(scratch.join("socket"));
    let mut clients = Vec::new();
    for target in [&stage.target, &unix] {
        for late in [LateBody::all(), LateBody::all()].into_iter().flatten() {
            let mut client = Client::connect(target).await.expect("a connection");
            late.send_head(&mut client).await;
            clients.push((late, client));
        }
    }
    // The bodies of one half come before the restart, those of the other half after it.
    let sends_now = |number: usize| (number / LateBody::all().len()) % 2 == 0;
    for (number, (late, client)) in clients.iter_mut().enumerate() {
        if sends_now(number) {
            late.send_pieces(client).await;
        }
    }
    get_once(&stage.target, "/ping").await.unwrap();
    let start = Instant::now();
    let successor = stage.app.restart().await;
    stage.app.serves(&stage.target, &successor).await;
    for (number, (late, client)) in clients.iter_mut().enumerate() {
        if !sends_now(number) {
            late.send_pieces(client).await;
        }
    }
    // Without another word of the clients: that would be an event of its own.
    assert_eq!(stage.app.first().exit().await, Exit::Code(0), "{}", stage.app.log);
    assert!(start.elapsed() < Duration::from_secs(9), "it took {:?}", start.elapsed());
    for (late, client) in &mut clients {
        let reply = client.get("/ping").await.expect(late.name);
        assert_eq!((reply.pid(), reply.closes()), (Some(successor.pid()), false), "{}", late.name);
    }
    stage.app.catch_up().await;
    assert_eq!(stage.app.log.count(0, "cutting"), 0, "{}", stage.app.log);
}

#[tokio::test]
async fn a2_a_connection_idles_as_ever_after_a_body_that_came_after_its_answer() {
    for plan in [WEB.to_owned(), format!("{WEB} tls=self_signed")] {
        let stage = Stage::new(&format!("{plan} idle_timeout=1500ms")).await;
        let mut clients = JoinSet::new();
        for late in LateBody::all() {
            let mut client = stage.client().await;
            clients.spawn(async move {
                late.send_head(&mut client).await;
                late.send_pieces(&mut client).await;
                assert_eq!(client.pause(Duration::from_millis(900)).await, Pause::Open, "{}", late.name);
                assert_eq!(client.pause(Duration::from_secs(8)).await, Pause::Closed, "{}", late.name);
            });
        }
        while let Some(outcome) = clients.join_next().await {
            outcome.unwrap_or_else(|panic| panic!("{plan}: {panic}"));
        }
    }
}
