//! Background tasks and clean-up code, for every way in which a process can end: tasks get the signal and have time to
//! end, the deadline cuts them, and clean-up code runs.

use std::time::{Duration, Instant};

use tests::client::{get, get_once};
use tests::{App, Client, Exit, Launch, Scratch, Signal};

struct Stage {
    app: App,
    scratch: Scratch,
}

/// An application with one server and these lines in its plan.
async fn stage(beside: &str) -> Stage {
    stage_with(beside, "10s").await
}

async fn stage_with(beside: &str, drain_timeout: &str) -> Stage {
    let scratch = Scratch::new();
    let launch = Launch::app(&scratch, &plan(beside)).env("GRACEHTTP_DRAIN_TIMEOUT", drain_timeout);
    let stage = Stage { app: launch.spawn(), scratch };
    stage.app.url("web").await;
    stage
}

fn plan(beside: &str) -> String {
    format!("server web 127.0.0.1:0\n{beside}\n")
}

impl Stage {
    /// Asserts that the log has these parts in this order.
    ///
    /// A separate thread writes the framework's messages, and the application writes its own. So a line of the
    /// application may come before an earlier line of the framework: `parts` must not depend on that order.
    async fn logs(&self, parts: &[&str]) {
        self.app.catch_up().await;
        let lines = self.app.log.since(0);
        let mut rest = lines.iter();
        for part in parts {
            assert!(rest.any(|line| line.contains(part)), "{part:?} is missing in\n{}", self.app.log);
        }
    }
}

#[tokio::test]
async fn a_stop_signals_the_tasks_waits_for_them_and_then_cleans_up() {
    let stage = stage("task heeds\nexit quick").await;
    assert_eq!(stage.app.stop().await, Exit::Code(0));
    stage.logs(&["Received SIG", "stopped, pid"]).await;
    stage.logs(&["is told", "ends", "clean-up of pid", "stopped, pid"]).await;
}

#[tokio::test]
async fn after_a_restart_the_predecessor_ends_its_tasks_and_cleans_up_and_the_successor_runs_its_own() {
    let stage = stage("task heeds\nexit quick").await;
    let first = stage.app.pid();
    let successor = stage.app.restart().await;
    stage.app.predecessors_exit().await;
    stage
        .logs(&[
            &format!("start new process success, pid {}", successor.pid()),
            &format!("task of pid {first} is told"),
            &format!("task of pid {first} ends"),
            &format!("clean-up of pid {first}"),
            &format!("pid {first} has ended; pid {} serves", successor.pid()),
        ])
        .await;
    assert_eq!(stage.app.log.count(0, &format!("task of pid {} is told", successor.pid())), 0);
    assert_eq!(stage.app.stop().await, Exit::Code(0));
    stage.logs(&[&format!("task of pid {} ends", successor.pid()), "clean-up of pid"]).await;
}

#[tokio::test]
async fn a_predecessor_that_takes_over_again_still_has_its_tasks() {
    let scratch = Scratch::new();
    let launch = Launch::bin("app").plan(&scratch, &plan("task heeds")).env("GRACEHTTP_STANDBY", "5s");
    let stage = Stage { app: launch.spawn(), scratch };
    stage.app.url("web").await;
    let first = stage.app.current();
    let successor = stage.app.restart().await;
    successor.kill();
    stage.app.log.line(0, "serves again").await;
    assert_eq!(stage.app.log.count(0, "is told"), 0, "{}", stage.app.log);
    first.signal(Signal::TERM);
    first.exit().await;
    stage.logs(&["serves again", &format!("task of pid {} ends", first.pid())]).await;
}

#[tokio::test]
async fn a_task_that_ignores_the_signal_is_cut_at_the_deadline_and_clean_up_code_still_runs() {
    let stage = stage_with("task ignores\ntask ignores\nexit quick", "500ms").await;
    assert_eq!(stage.app.stop().await, Exit::Code(0));
    let cut =
        "the drain's limit of 500ms has passed: cutting 2 background tasks (tests/src/bin/app/start_up.rs:";
    stage.logs(&[cut, "stopped, pid"]).await;
    stage.logs(&["clean-up of pid", "stopped, pid"]).await;
}

#[tokio::test]
async fn clean_up_code_that_hangs_is_abandoned() {
    let stage = stage_with("exit quick\nexit hangs", "500ms").await;
    let start = Instant::now();
    assert_eq!(stage.app.stop().await, Exit::Code(0));
    assert!(start.elapsed() >= Duration::from_secs(2), "{}", stage.app.log);
    stage.logs(&["the clean-up code is given up: it has not ended within 2s; 1 more did not run"]).await;
}

#[tokio::test]
async fn a_panic_in_a_task_is_logged_and_the_process_keeps_serving() {
    let stage = stage("task panics").await;
    stage.app.log.line(0, "panicked: the task panics").await;
    get_once(&stage.app.target("web").await, "/ping").await.unwrap();
    assert_eq!(stage.app.stop().await, Exit::Code(0));
    stage.logs(&["a background task (tests/src/bin/app/start_up.rs:"]).await;
}

#[tokio::test]
async fn after_failed_start_up_code_tasks_end_and_clean_up_code_runs() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, &plan("task heeds\nexit quick\nstart refuse no database")).spawn();
    assert_eq!(app.current().exit().await, Exit::Code(1));
    Stage { app, scratch }.logs(&["is told", "ends", "clean-up of pid", "no database"]).await;
}

#[tokio::test]
async fn a_successor_that_fails_cleans_up_before_its_predecessor_ends_it() {
    let stage = stage("").await;
    stage.scratch.write("plan", plan("task heeds\nexit quick\nstart refuse no database"));
    stage.app.signal(Signal::USR2);
    stage.app.log.line(0, "serves on").await;
    stage.logs(&["is told", "ends", "clean-up of pid", "start new process failed", "serves on"]).await;
    assert_eq!(stage.app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn after_abandoned_start_up_code_tasks_end_and_clean_up_code_runs() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, &plan("task heeds\nexit quick\nstart hang")).spawn();
    app.log.line(0, "start-up code of pid").await;
    assert_eq!(app.stop().await, Exit::Code(0));
    Stage { app, scratch }.logs(&["is told", "ends", "clean-up of pid", "stopped while starting up"]).await;
}

/// The next generation hangs in its start-up code, with these lines in its plan. Then the first generation gets a stop
/// signal.
async fn stop_during_a_restart(stage: &Stage, beside: &str) -> u32 {
    stage.scratch.write("plan", plan(&format!("{beside}\nstart hang")));
    let start = stage.app.log.end();
    stage.app.signal(Signal::USR2);
    stage.app.log.line(start, "start-up code of pid").await;
    let successor = stage.app.starting().pid();
    stage.app.first().signal(Signal::TERM);
    stage.app.log.line(start, &format!("Received SIG. [PID:{successor}")).await;
    successor
}

#[tokio::test]
async fn a_stop_during_a_restart_waits_for_the_successors_clean_up_code() {
    let stage = stage("").await;
    let successor = stop_during_a_restart(&stage, "exit slow").await;
    assert_eq!(stage.app.first().exit().await, Exit::Code(0));
    stage.logs(&[&format!("slow clean-up of pid {successor}"), "stopped, pid"]).await;
}

#[tokio::test]
async fn a_second_signal_abandons_the_successors_clean_up_code() {
    let stage = stage("exit quick").await;
    let start = Instant::now();
    stop_during_a_restart(&stage, "exit hangs").await;
    stage.app.first().signal(Signal::TERM);
    assert_eq!(stage.app.first().exit().await, Exit::Code(0));
    assert!(start.elapsed() < Duration::from_secs(2), "{}", stage.app.log);
}

#[tokio::test]
async fn after_a_second_signal_clean_up_code_has_its_minimum_time() {
    let stage = stage("exit hangs").await;
    let target = stage.app.target("web").await;
    let mut client = Client::connect(&target).await.unwrap();
    client.send(get("/slow?ms=30000")).await.unwrap();
    stage.app.log.line(0, "slow begins").await;
    stage.app.signal(Signal::TERM);
    stage.app.log.line(0, "Received SIG.").await;
    let second = Instant::now();
    assert_eq!(stage.app.stop().await, Exit::Code(0));
    assert!(second.elapsed() < Duration::from_secs(5), "{}", stage.app.log);
    stage.logs(&["with 1 connection open", "has not ended within 2s", "stopped, pid"]).await;
}

#[tokio::test]
async fn a_second_signal_abandons_the_clean_up_code_of_a_start_up() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, &plan("exit hangs\nstart hang")).spawn();
    app.log.line(0, "start-up code of pid").await;
    let start = Instant::now();
    app.signal(Signal::TERM);
    app.log.line(0, "Received SIG.").await;
    assert_eq!(app.stop().await, Exit::Code(0));
    assert!(start.elapsed() < Duration::from_millis(1500), "{}", app.log);
}
