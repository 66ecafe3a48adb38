//! Thousands of idle connections on their way to the successor, and what can happen in the middle. No client loses its
//! connection or an answer, and none gets a second one.
//!
//! `GRACEHTTP_LONG=1`: ten thousand, and several times.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use tests::client::{Pause, get, get_once};
use tests::patience::{PATIENCE, eventually};
use tests::{Account, App, Client, Generation, Launch, Scratch, Signal, Target};

const WEB: &str = "server web 127.0.0.1:0";

/// How long a stopped process stays stopped: longer than its partner waits for a confirmation.
const STOPPED: Duration = Duration::from_millis(800);

fn is_long() -> bool {
    std::env::var_os("GRACEHTTP_LONG").is_some()
}

/// A service whose clients have each sent one request, and are idle since then.
struct Stage {
    app: App,
    target: Target,
    idle: Vec<Client>,
    serving: Arc<Generation>,
    _scratch: Scratch,
}

/// How often the hand-over is attacked.
fn attempts() -> usize {
    if is_long() { 10 } else { 1 }
}

impl Stage {
    async fn new(options: &str) -> Self {
        let count = match (is_long(), options.contains("tls")) {
            (true, false) => 10_000,
            (false, false) => 1_500,
            (_, true) => 400,
        };
        let scratch = Scratch::new();
        let plan = format!("{WEB} max_conns={count}{options}");
        let app = Launch::app(&scratch, &plan).env("GRACEHTTP_STANDBY", "2s").start("web").await;
        let target = app.target("web").await;
        let mut idle = Vec::new();
        for _ in 0..count {
            let mut client = Client::connect(&target).await.expect("a connection").limit(PATIENCE);
            client.get("/ping").await.expect("an answer");
            idle.push(client);
        }
        assert_eq!(
            idle[count - 1].pause(Duration::from_millis(300)).await,
            Pause::Open,
            "until all are parked"
        );
        let serving = app.first();
        Self { app, target, idle, serving, _scratch: scratch }
    }

    /// Restarts, and returns both processes at the moment in which the connections begin to move.
    async fn middle_of_a_restart(&self) -> [Arc<Generation>; 2] {
        let (begin, old) = (self.app.log.end(), self.serving.clone());
        old.signal(Signal::USR2);
        [old, self.app.successor_since(begin).await]
    }

    /// Each client sends a request, and gets one answer, from one of these processes.
    async fn all_are_answered(&mut self, by: &[&Generation]) {
        let pids: Vec<_> = by.iter().map(|generation| Some(generation.pid())).collect();
        let asked = self.idle.iter_mut().enumerate().map(async |(number, client)| {
            let reply = client.get("/ping").await.map_err(|failure| format!("client {number}: {failure}"))?;
            match pids.contains(&reply.pid()) {
                true => Ok(()),
                false => {
                    Err(format!("client {number} was answered by {:?}, not by one of {pids:?}", reply.pid()))
                }
            }
        });
        let lost: Vec<String> = join_all(asked).await.into_iter().filter_map(Result::err).collect();
        assert!(lost.is_empty(), "{} lost: {:#?}\n{}", lost.len(), &lost[..lost.len().min(5)], self.app.log);
    }

    /// The drains of these processes are over: what could move has moved, and the last process answers all.
    async fn settles_in(&mut self, last: Arc<Generation>, drained: &[&Generation]) {
        for generation in drained {
            assert!(generation.exit().await.is_clean(), "{}", self.app.log);
        }
        self.all_are_answered(&[&last]).await;
        self.serving = last;
    }
}

#[tokio::test]
async fn clients_speak_while_their_connections_move() {
    for options in ["", " tls=self_signed"] {
        let mut stage = Stage::new(options).await;
        for _ in 0..attempts() {
            let [old, new] = stage.middle_of_a_restart().await;
            stage.all_are_answered(&[&old, &new]).await;
            stage.settles_in(new, &[&old]).await;
        }
    }
}

#[tokio::test]
async fn the_successor_is_stopped_in_the_middle() {
    for options in ["", " tls=self_signed"] {
        let mut stage = Stage::new(options).await;
        for _ in 0..attempts() {
            let [old, new] = stage.middle_of_a_restart().await;
            new.signal(Signal::STOP);
            let goes_on = async {
                tokio::time::sleep(STOPPED).await;
                new.signal(Signal::CONT);
            };
            let both: [&Generation; 2] = [&old, &new];
            tokio::join!(stage.all_are_answered(&both), goes_on);
            stage.settles_in(new, &[&old]).await;
        }
    }
}

#[tokio::test]
async fn the_predecessor_is_stopped_in_the_middle() {
    for options in ["", " tls=self_signed"] {
        let mut stage = Stage::new(options).await;
        for _ in 0..attempts() {
            let [old, new] = stage.middle_of_a_restart().await;
            old.signal(Signal::STOP);
            let goes_on = async {
                tokio::time::sleep(STOPPED).await;
                old.signal(Signal::CONT);
            };
            let both: [&Generation; 2] = [&old, &new];
            tokio::join!(stage.all_are_answered(&both), goes_on);
            stage.settles_in(new, &[&old]).await;
        }
    }
}

/// Those that have moved are idle, so all come back. (TLS connections that have moved end with the successor.) It is killed
/// as the first ones leave, and once some have moved.
#[tokio::test]
async fn the_successor_is_killed_in_the_middle() {
    let mut stage = Stage::new("").await;
    for _ in 0..attempts() {
        for moved in [0, 200] {
            let begin = stage.app.log.end();
            let [old, new] = stage.middle_of_a_restart().await;
            eventually("connections to move", || new.descriptors() > moved).await;
            new.kill();
            stage.app.log.line(begin, "serves again").await;
            stage.all_are_answered(&[&old]).await;
        }
    }
    let [old, new] = stage.middle_of_a_restart().await;
    stage.settles_in(new, &[&old]).await;
}

#[tokio::test]
async fn the_successor_is_restarted_in_the_middle() {
    for options in ["", " tls=self_signed"] {
        let mut stage = Stage::new(options).await;
        for _ in 0..attempts() {
            let [first, second] = stage.middle_of_a_restart().await;
            let begin = stage.app.log.end();
            second.signal(Signal::USR2);
            let third = stage.app.successor_since(begin).await;
            stage.all_are_answered(&[&first, &second, &third]).await;
            stage.settles_in(third, &[&first, &second]).await;
        }
    }
}

/// Half of the clients close their connections while these move. Their permits return: as many new clients are served. The
/// receipt accounts for each.
#[tokio::test]
async fn clients_leave_while_their_connections_move() {
    for options in [" when_full=wait", " when_full=wait tls=self_signed"] {
        let mut stage = Stage::new(options).await;
        let count = stage.idle.len();
        for _ in 0..attempts() {
            let begin = stage.app.log.end();
            let [old, new] = stage.middle_of_a_restart().await;
            // What is on its way now arrives without its client.
            new.signal(Signal::STOP);
            stage.idle.truncate(count / 2);
            new.signal(Signal::CONT);
            while stage.idle.len() < count {
                let mut client = Client::connect(&stage.target).await.expect("a connection").limit(PATIENCE);
                client.get("/ping").await.expect("an answer with a permit of one that left");
                stage.idle.push(client);
            }
            stage.settles_in(new, &[&old]).await;
            let account = Account::read(&stage.app.log.line(begin, "restart done").await);
            account.assert_balanced();
            assert_eq!((account.before, account.accepted), (count as u64, 0), "{account:?}");
        }
    }
}

/// The clients have all permits. One more gets none from either process, whichever holds how many of them.
#[tokio::test]
async fn the_limit_of_connections_holds_in_the_middle() {
    let mut stage = Stage::new(" when_full=wait").await;
    for _ in 0..attempts() {
        let mut waiting = Client::connect(&stage.target).await.expect("a place in the queue").limit(PATIENCE);
        waiting.send(get("/ping")).await.expect("a request");
        let [old, new] = stage.middle_of_a_restart().await;
        stage.all_are_answered(&[&old, &new]).await;
        assert_eq!(waiting.pause(Duration::from_millis(300)).await, Pause::Open, "{}", stage.app.log);
        drop(stage.idle.pop());
        waiting.reply().await.expect("an answer once there is a permit");
        stage.idle.push(waiting);
        stage.settles_in(new, &[&old]).await;
    }
    let last = stage.idle.pop();
    drop(last);
    get_once(&stage.target, "/ping").await.expect("an answer once there is a permit");
}
