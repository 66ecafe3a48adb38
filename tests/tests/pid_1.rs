//! A service that is PID 1, as in a container.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tests::client::get_once;
use tests::patience::{GLANCE, PATIENCE, eventually, within};
use tests::process::{bin, tool};
use tests::{Exit, Generation, Scratch, Signal, Target};

const WEB: &str = "server web 127.0.0.1:0";
const NAMESPACE: [&str; 3] = ["--pid", "--fork", "--kill-child"];

/// A process in a namespace of its own. The log is a file: its pids are those of the namespace, and mean nothing outside.
struct Container {
    unshare: Generation,
    scratch: Scratch,
}

impl Drop for Container {
    fn drop(&mut self) {
        // PID 1 goes with it.
        self.unshare.kill();
        self.unshare.reap_blocking(PATIENCE);
    }
}

impl Container {
    /// Starts `app` with this plan. None if this machine lets nobody make a namespace.
    async fn start(plan: &str) -> Option<Self> {
        let works = tool("unshare") && {
            let tried = Command::new("unshare").args(NAMESPACE).arg("true").output();
            tried.is_ok_and(|output| output.status.success())
        };
        if !works {
            println!("SKIPPED: this test needs to make a PID namespace");
            return None;
        }
        let scratch = Scratch::new();
        let log = File::create(scratch.join("log")).expect("a log");
        let mut unshare = Command::new("unshare");
        unshare.args(NAMESPACE).arg(bin("app")).env("APP_PLAN", scratch.write("plan", plan));
        unshare.env("GRACEHTTP_STANDBY", "300ms").env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        unshare.stdout(log.try_clone().expect("a log")).stderr(log);
        #[expect(clippy::zombie_processes, reason = "it is reaped when the container is dropped")]
        let unshare = unshare.spawn().expect("unshare");
        let unshare = Generation::hold(unshare.id()).expect("our own child");
        Some(Self { unshare, scratch })
    }

    /// PID 1, as it is known outside.
    async fn init(&self) -> Generation {
        let mut init = None;
        eventually("PID 1", || {
            init = self.unshare.children().first().and_then(|pid| Generation::hold(*pid).ok());
            init.is_some()
        })
        .await;
        init.expect("found")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("log")).expect("the log")
    }

    async fn logs(&self, words: &str) {
        let written = async {
            while !self.log().contains(words) {
                tokio::time::sleep(GLANCE).await;
            }
        };
        within(PATIENCE, &format!("`{words}` in the log"), written).await;
    }

    async fn target(&self) -> Target {
        self.logs("serving web on http").await;
        let log = self.log();
        let (_, rest) = log.split_once("serving web on ").expect("the banner");
        Target::from_url(rest.split_whitespace().next().expect("an address"))
    }

    /// The only worker, as it is known outside. A predecessor that has not ended yet has its successor as a child.
    async fn worker(&self) -> Generation {
        let (init, mut worker) = (self.init().await, None);
        eventually("one worker", || {
            if let [pid] = init.children()[..] {
                worker = Generation::hold(pid).ok().filter(|worker| worker.children().is_empty());
            }
            worker.is_some()
        })
        .await;
        worker.expect("found")
    }

    /// How the container ends, as `unshare` tells it.
    async fn exit(&self) -> Exit {
        self.unshare.exit().await
    }
}

/// Connects again and again. Returns how many were answered, once `done`; a refused one is a failure.
async fn knock(target: Target, done: Arc<AtomicBool>, answered: Arc<AtomicUsize>) -> Vec<String> {
    let mut refused = Vec::new();
    while !done.load(Ordering::Relaxed) {
        match get_once(&target, "/ping").await {
            Ok(_) => _ = answered.fetch_add(1, Ordering::Relaxed),
            Err(failure) if failure.to_string().contains("refused") => refused.push(failure.to_string()),
            // A crash loses the connections of its process.
            Err(_) => {}
        }
    }
    refused
}

/// The pid, within the namespace, of the process that answers.
async fn answering(target: &Target) -> u32 {
    get_once(target, "/ping").await.expect("an answer").pid().expect("a pid")
}

#[tokio::test]
async fn a_container_restarts_survives_crashes_reaps_orphans_and_stops() {
    let Some(container) = Container::start(&format!("{WEB}\nstart orphans 1000")).await else { return };
    let target = container.target().await;
    assert_ne!(answering(&target).await, 1, "PID 1 serves nothing");
    container.logs("orphans begun").await;
    container.worker().await;
    container.scratch.write("plan", WEB);

    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> =
        (0..4).map(|_| tokio::spawn(knock(target.clone(), done.clone(), answered.clone()))).collect();
    for generation in [2, 3] {
        container.init().await.signal(Signal::USR2);
        container.logs(&format!("generation {generation}, pid")).await;
        eventually("the end of the predecessor", || {
            container.log().matches("has ended; pid ").count() == generation - 1
        })
        .await;
    }
    for generation in [4, 5, 6] {
        let worker = container.worker().await;
        let before = answered.load(Ordering::Relaxed);
        worker.signal(Signal::KILL);
        container.logs(&format!("generation {generation}, pid")).await;
        eventually("answers of the fresh worker", || answered.load(Ordering::Relaxed) > before + 10).await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.await.expect("no panic"), [""; 0], "{}", container.log());
    }
    container.init().await.signal(Signal::TERM);
    assert_eq!(container.exit().await, Exit::Code(0), "{}", container.log());
}

#[tokio::test]
async fn a_container_ends_with_the_status_of_its_service() {
    for (start, status) in [("refuse no coffee", 1), ("exit 3", 3), ("abort", 134)] {
        let Some(container) = Container::start(&format!("{WEB}\nstart {start}")).await else { return };
        assert_eq!(container.exit().await, Exit::Code(status), "{start}\n{}", container.log());
    }
}

#[tokio::test]
async fn a_container_whose_worker_was_stopped_ends_cleanly() {
    let Some(container) = Container::start(WEB).await else { return };
    container.target().await;
    let worker = container.worker().await;
    worker.signal(Signal::TERM);
    assert_eq!(container.exit().await, Exit::Code(0), "{}", container.log());
}
