//! Random clients, and a random fault in the restart: the receipt equals the counts of the clients.

use super::*;

use tests::random::Random;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Idle,
    IdleOverTls,
    Silent,
    HalfHead,
    /// Its request is answered in time.
    Slow,
    /// Its request is not.
    TooSlow,
    Http2,
    /// It leaves in the middle of its request.
    Leaves,
}

const KINDS: [Kind; 8] = [
    Kind::Idle,
    Kind::IdleOverTls,
    Kind::Silent,
    Kind::HalfHead,
    Kind::Slow,
    Kind::TooSlow,
    Kind::Http2,
    Kind::Leaves,
];

/// What becomes of a restart.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// The successor is killed so long after it has begun to serve: before the end of standby, or on a slow machine after
    /// it.
    Killed(Duration),
    /// It is stopped so long after that, and goes on later.
    Stopped(Duration, Duration),
    /// The predecessor is.
    PredecessorStopped(Duration, Duration),
}

enum Actor {
    Http1(Kind, Client),
    Http2(Http2),
}

/// What a client has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    /// Its connection is open, and this process answers.
    Open(u32),
    /// The server said that it closes the connection.
    Told,
    /// The connection ended without a word.
    Cut,
    /// It has closed the connection itself.
    Left,
}

impl Actor {
    async fn new(stage: &Stage, kind: Kind) -> Self {
        if kind == Kind::Http2 {
            let mut client = Http2::connect(&stage.web).await.expect("a connection");
            assert!(matches!(client.get("/ping").await, Ok(Outcome::Reply(_))));
            return Self::Http2(client);
        }
        let client = match kind {
            Kind::Idle => stage.idle(&stage.web).await,
            Kind::IdleOverTls => stage.idle(&stage.tls).await,
            Kind::Slow => stage.busy("/slow?ms=500").await,
            Kind::TooSlow | Kind::Leaves => stage.busy("/slow?ms=60000").await,
            _ => {
                let mut client = Client::connect(&stage.web).await.expect("a connection");
                if kind == Kind::HalfHead {
                    client.send("GET /ping HTTP/1.1\r\n").await.expect("an open connection");
                }
                client
            }
        };
        Self::Http1(kind, client)
    }

    /// What has become of its connection, once the restart is over.
    async fn end(self, stays: bool) -> Seen {
        match self {
            Self::Http1(Kind::Leaves, _) => Seen::Left,
            // In a restart that was taken back, the handler is still at work.
            Self::Http1(Kind::TooSlow, mut client) if stays => {
                match client.pause(Duration::from_millis(1)).await {
                    tests::client::Pause::Open => Seen::Open(0),
                    _ => Seen::Cut,
                }
            }
            Self::Http1(kind, mut client) => {
                let answered = match kind {
                    Kind::Slow | Kind::TooSlow => client.reply().await.map(|reply| reply.closes()),
                    _ => Ok(false),
                };
                match answered {
                    Err(_) => return Seen::Cut,
                    Ok(true) => return Seen::Told,
                    Ok(false) => {}
                }
                let reply = match kind {
                    Kind::HalfHead => match client.send("Host: a\r\n\r\n").await {
                        Ok(()) => client.reply().await,
                        Err(failure) => Err(failure),
                    },
                    _ => client.get("/ping").await,
                };
                reply.map_or(Seen::Cut, |reply| Seen::Open(reply.pid().expect("a process")))
            }
            Self::Http2(mut client) => match client.get("/ping").await {
                Ok(Outcome::Reply(reply)) => Seen::Open(reply.pid().expect("a process")),
                Ok(Outcome::NotSent) => Seen::Told,
                Err(_) => Seen::Cut,
            },
        }
    }
}

/// One restart with a random fault and random clients.
async fn random_restart(seed: u64) {
    let mut random = Random::new(seed);
    let stage = Stage::new("1s", "2500ms").await;
    let old = stage.app.first();
    let mut actors = Vec::new();
    for kind in KINDS {
        for _ in 0..random.below(4) {
            actors.push(Actor::new(&stage, kind).await);
        }
    }
    let total = actors.len() as u64;
    let millis = |random: &mut Random, below| Duration::from_millis(random.below(below));
    let fault = match random.below(4) {
        0 => Fault::None,
        1 => Fault::Killed(millis(&mut random, 800)),
        2 => Fault::Stopped(millis(&mut random, 400), millis(&mut random, 900)),
        _ => Fault::PredecessorStopped(millis(&mut random, 400), millis(&mut random, 900)),
    };
    println!("seed {seed}: {total} clients, {fault:?}");

    let start = stage.app.log.end();
    let successor = stage.app.restart().await;
    // They leave before anything else happens to them.
    let (leave, mut actors): (Vec<_>, Vec<_>) =
        actors.into_iter().partition(|actor| matches!(actor, Actor::Http1(Kind::Leaves, _)));
    let left = leave.len() as u64;
    drop(leave);
    match fault {
        Fault::None => {}
        Fault::Killed(after) => {
            tokio::time::sleep(after).await;
            successor.kill();
        }
        Fault::Stopped(after, length) => {
            tokio::time::sleep(after).await;
            successor.signal(Signal::STOP);
            tokio::time::sleep(length).await;
            successor.signal(Signal::CONT);
        }
        Fault::PredecessorStopped(after, length) => {
            tokio::time::sleep(after).await;
            old.signal(Signal::STOP);
            tokio::time::sleep(length).await;
            old.signal(Signal::CONT);
        }
    }
    let (line, account) = stage.receipt(start).await;
    assert_eq!((account.before, account.accepted), (total, 0), "seed {seed}: {line}");
    let was_taken_back = line.contains("restart taken back");
    let mut seen = Vec::new();
    for actor in actors.drain(..) {
        seen.push(actor.end(was_taken_back).await);
    }
    let count = |what: Seen| seen.iter().filter(|seen| **seen == what).count() as u64;
    let ends = |names: &[&str]| names.iter().map(|name| account.count(name)).sum::<u64>();
    let told = &format!("seed {seed}, {fault:?}: {line}\n{seen:?}\n{}", stage.app.log);
    if was_taken_back {
        // One whose GOAWAY was on its way, or whose client was just leaving, may have had either end by then.
        let open = seen.iter().filter(|seen| matches!(seen, Seen::Open(_))).count() as u64;
        let gone = count(Seen::Told) + count(Seen::Cut);
        let kept = ends(&["taken back", "stayed"]);
        assert!(kept >= open && kept <= open + count(Seen::Told) + left, "{told}");
        assert!(ends(&["lost with the successor"]) <= gone, "{told}");
        assert_eq!(ends(&["cut at the deadline", "cut at the exit"]), 0, "{told}");
    } else if line.contains("restart failed, ") {
        // All that had moved ended with the successor; the predecessor finished what it had.
        assert!(matches!(fault, Fault::Killed(_)), "{told}");
        assert!(!seen.iter().any(|seen| matches!(seen, Seen::Open(_))), "{told}");
        assert!(ends(&["moved", "answered and moved", "cut at the deadline"]) <= count(Seen::Cut), "{told}");
        assert!(ends(&["finished"]) >= left, "{told}");
    } else {
        assert_eq!(ends(&["moved", "answered and moved"]), count(Seen::Open(successor.pid())), "{told}");
        assert_eq!(ends(&["told to close"]), count(Seen::Told), "{told}");
        // A client that has left may still read, for all that the server knows, until it has waited for a while: on a slow
        // machine the deadline comes first.
        let (cut, finished) = (ends(&["cut at the deadline"]), ends(&["finished"]));
        assert!(cut >= count(Seen::Cut) && finished <= left, "{told}");
        assert_eq!(cut + finished, count(Seen::Cut) + left, "{told}");
        eventually("the predecessor's end", || !old.is_running()).await;
    }
}

/// Some fifteen in the usual run.
#[tokio::test]
async fn receipts_equal_the_clients_counts_in_random_restarts() {
    let is_long = std::env::var_os("GRACEHTTP_LONG").is_some();
    let (lanes, restarts) = if is_long { (5, 200) } else { (5, 15) };
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..lanes {
        tasks.spawn(async move {
            for seed in (lane..restarts).step_by(lanes as usize) {
                random_restart(seed).await;
            }
        });
    }
    while let Some(lane) = tasks.join_next().await {
        lane.expect("no failure");
    }
}
