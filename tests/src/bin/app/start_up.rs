//! What the application does before it serves, and beside.

use std::process::Command;
use std::time::Duration;

use crate::say;

/// Registers a background task, or clean-up code.
pub(crate) fn register((what, how): (String, String)) {
    let pid = std::process::id();
    match (what.as_str(), how.as_str()) {
        ("task", "heeds") => gracehttp::spawn(async move |shutdown| {
            shutdown.await;
            say(&format!("task of pid {pid} is told"));
            tokio::time::sleep(Duration::from_millis(300)).await;
            say(&format!("task of pid {pid} ends"));
        }),
        ("task", "ignores") => gracehttp::spawn(|_| std::future::pending()),
        ("task", "panics") => gracehttp::spawn(async |_| panic!("the task panics")),
        ("exit", "quick") => gracehttp::on_exit(async move { say(&format!("clean-up of pid {pid}")) }),
        ("exit", "slow") => gracehttp::on_exit(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            say(&format!("slow clean-up of pid {pid}"));
        }),
        ("exit", "hangs") => gracehttp::on_exit(std::future::pending()),
        _ => panic!("not understood in the plan: {what} {how}"),
    }
}

pub(crate) async fn start_up(what: Vec<String>) -> Result<(), String> {
    let words: Vec<&str> = what.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number in the plan");
    say(&format!("start-up code of pid {}: {words:?}", std::process::id()));
    match words.as_slice() {
        [] => (),
        ["sleep", millis] => tokio::time::sleep(Duration::from_millis(number(millis))).await,
        ["panic"] => panic!("the start-up code panics"),
        ["exit", code] => std::process::exit(number(code) as i32),
        ["abort"] => std::process::abort(),
        ["hang"] => std::future::pending().await,
        ["refuse", words @ ..] => return Err(words.join(" ")),
        ["only", "once", mark] => {
            std::fs::File::create_new(mark).map_err(|_| "it has run once".to_owned())?;
        }
        ["leave", millis] => {
            let millis = number(millis);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(millis));
                std::process::exit(3);
            });
        }
        // This blocks every thread that serves, and soon: tasks that are queued behind this code wait as long.
        ["block", millis] => {
            let length = Duration::from_millis(number(millis));
            let threads = tokio::runtime::Handle::current().metrics().num_workers();
            (0..threads).for_each(|_| drop(tokio::spawn(async move { std::thread::sleep(length) })));
        }
        // The process stops, as if by SIGSTOP from outside.
        ["stop", millis] => {
            let millis = number(millis);
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(millis));
                _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
            });
        }
        // Processes that end as orphans.
        ["orphans", count] => {
            let words = format!("for i in $(seq {}); do (true &) ; done; echo orphans begun", number(count));
            Command::new("sh").arg("-c").arg(words).status().expect("a shell");
        }
        ["subscribe"] => tracing_subscriber::fmt().without_time().with_ansi(false).init(),
        ["subscribe", "stderr"] => tracing_subscriber::fmt().with_writer(std::io::stderr).init(),
        ["subscribe", "hang"] => {
            use tracing_subscriber::prelude::*;
            tracing_subscriber::registry()
                .with(tracing_subscriber::fmt::layer())
                .with(HangsWithAccess)
                .init();
        }
        ["callbacks", "hang"] => {
            let hang = |_: &str| loop {
                std::thread::park();
            };
            gracehttp::log::set_info(hang);
            gracehttp::log::set_notice(hang);
            gracehttp::log::set_error(hang);
        }
        // It continues until the system has no more.
        ["eat"] => {
            let mut eaten = Vec::new();
            loop {
                eaten.push(vec![1_u8; 1 << 20]);
            }
        }
        _ => panic!("not understood in the plan: start {words:?}"),
    }
    Ok(())
}

pub(crate) fn use_stderr(words: &[String]) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["says", words @ ..] => eprintln!("pid {} says {}", std::process::id(), words.join(" ")),
        ["floods", lines] => {
            let lines: u32 = lines.parse().expect("a number in the plan");
            (1..=lines).for_each(|line| eprintln!("line {line} of {lines} {}", "x".repeat(80)));
        }
        // It repeats what comes through the FIFO, and outlives this process.
        ["sidecar", fifo] => {
            let words = format!("exec 3<>{fifo}; while read line <&3; do echo \"sidecar: $line\" >&2; done");
            let mut sidecar = Command::new("sh").arg("-c").arg(words).spawn().expect("a shell");
            std::thread::spawn(move || sidecar.wait());
        }
        ["redirected", file] => {
            let file = std::fs::File::create(file).expect("a file");
            rustix::stdio::dup2_stderr(&file).expect("standard error");
        }
        _ => panic!("not understood in the plan: stderr {words:?}"),
    }
}

/// Never comes back from a line of the access log.
struct HangsWithAccess;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for HangsWithAccess {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        while event.metadata().target() == "gracehttp::access" {
            say("the access log hangs");
            std::thread::park();
        }
    }
}
