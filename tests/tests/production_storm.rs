//! A random storm over a service in production: supervisor, control socket and pid file, while strict clients must notice
//! nothing. All that operators do comes in any order, some of it at once.
//!
//! Every action is printed with its seed. `GRACEHTTP_SEED=7` repeats one seed, `GRACEHTTP_LONG=1` runs twelve, with more
//! actions each.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::load::Style;
use tests::patience::{PATIENCE, eventually, within};
use tests::process::bin;
use tests::random::Random;
use tests::{App, Exit, Launch, Load, Scratch, Signal};
use tokio::process::Command;
use tokio::time::sleep;

const PLAN: &str = "server web 127.0.0.1:0\nserver tls 127.0.0.1:0 tls=self_signed";

struct Storm {
    app: App,
    scratch: Scratch,
    random: Random,
}

impl Storm {
    async fn begin(seed: u64) -> Self {
        let scratch = Scratch::new();
        let control = format!("unix:{}", scratch.join("control.sock").display());
        let launch = Launch::app(&scratch, PLAN).env("GRACEHTTP_SUPERVISE", "always");
        let launch = launch.env("GRACEHTTP_CONTROL", control).env("GRACEHTTP_STANDBY", "300ms");
        let app = launch.env("GRACEHTTP_PID_FILE", scratch.join("app.pid")).start("tls").await;
        Self { app, scratch, random: Random::new(seed) }
    }

    /// A command of the same program, with its outcome.
    async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(bin("app"));
        command.args(arguments).arg("--control").arg(self.scratch.join("control.sock"));
        command.stdin(Stdio::null()).kill_on_drop(true);
        within(PATIENCE, &format!("the command {arguments:?}"), command.output()).await.expect("it runs")
    }

    /// A command that has to succeed, or to fail.
    async fn ends(&self, arguments: &[&str], code: i32) {
        let ran = self.command(arguments).await;
        assert_eq!(ran.status.code(), Some(code), "{arguments:?} {ran:?}\n{}", self.app.log);
    }

    async fn status(&self) -> Value {
        let ran = self.command(&["status", "--json"]).await;
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// A pause that hits another phase of a restart each time.
    async fn moment(&mut self) {
        let pause = self.random.pause(Duration::from_millis(400));
        sleep(pause).await;
    }

    async fn act(&mut self) {
        let supervisor = self.app.first();
        let restart = if self.random.below(2) == 0 { Signal::HUP } else { Signal::USR2 };
        let action = self.random.below(10);
        println!("  action {action}, {restart:?}");
        match action {
            0 => supervisor.signal(restart),
            1 => {
                let pid = self.status().await["process"]["pid"].as_u64().expect("a pid");
                self.app.hold(pid as u32).signal(restart);
            }
            2 => self.ends(&["restart", "--wait"], 0).await,
            3 => {
                let pause = self.random.pause(Duration::from_millis(400));
                let later = async {
                    sleep(pause).await;
                    self.ends(&["restart", "--wait"], 0).await;
                };
                tokio::join!(self.ends(&["restart", "--wait"], 0), later);
            }
            4 => {
                self.settle().await;
                tokio::join!(
                    self.ends(&["restart", "--rehearse"], 0),
                    self.ends(&["restart", "--rehearse"], 0)
                );
            }
            // The rehearsal may come too late, and is told so.
            5 => {
                let rehearsal = self.command(&["restart", "--rehearse"]);
                tokio::join!(self.ends(&["restart", "--wait"], 0), rehearsal);
            }
            6 => {
                let waits = tokio::join!(self.command(&["restart", "--wait"]), async {
                    sleep(Duration::from_millis(20)).await;
                    supervisor.signal(restart);
                });
                assert!(waits.0.status.success(), "{waits:?}\n{}", self.app.log);
            }
            7 => {
                self.settle().await;
                self.scratch.write("plan", format!("{PLAN}\nstart refuse no coffee"));
                self.ends(&["restart", "--wait"], 1).await;
                self.ends(&["restart", "--rehearse"], 1).await;
                self.scratch.write("plan", PLAN);
            }
            8 => {
                supervisor.signal(restart);
                self.moment().await;
                supervisor.signal(Signal::STOP);
                self.moment().await;
                supervisor.signal(Signal::CONT);
            }
            _ => self.ends(&["logs"], 0).await,
        }
        self.moment().await;
    }

    /// Waits until one worker is left. Then all of its promises have to hold.
    async fn settle(&self) {
        let supervisor = self.app.first();
        let status = within(PATIENCE, "one worker that serves", async {
            loop {
                let status = self.status().await;
                let process = &status["process"];
                let pid = process["pid"].as_u64().expect("a pid") as u32;
                let is_alone = supervisor.children() == [pid] && self.app.hold(pid).children().is_empty();
                if is_alone && process["phase"] == "serving" && process["successor"].is_null() {
                    return status;
                }
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let pid = std::fs::read_to_string(self.scratch.join("app.pid")).expect("a pid file");
        assert_eq!(pid.trim(), supervisor.pid().to_string());
        let receipts = status["receipts"].as_array().expect("receipts");
        for server in receipts.iter().flat_map(|receipt| receipt["servers"].as_array()).flatten() {
            let count = |name: &str| server[name].as_u64().expect("a count");
            let ends = server["ends"].as_object().expect("ends").values();
            let ends: u64 = ends.map(|count| count.as_u64().expect("a count")).sum();
            assert_eq!(count("before") + count("accepted"), ends + count("stayed"), "{receipts:#?}");
        }
    }

    async fn ends_cleanly(self) {
        self.ends(&["stop", "--wait"], 0).await;
        assert_eq!(self.app.first().exit().await, Exit::Code(0), "{}", self.app.log);
        for file in ["control.sock", "app.pid"] {
            assert!(!self.scratch.join(file).exists(), "{file} is left");
        }
        self.app.catch_up().await;
        assert_eq!(self.app.log.count(0, "panicked"), 0, "{}", self.app.log);
    }
}

async fn storm(seed: u64, actions: usize) {
    println!("GRACEHTTP_SEED={seed}");
    let mut storm = Storm::begin(seed).await;
    let (web, tls) = (storm.app.target("web").await, storm.app.target("tls").await);
    let pause = Duration::from_millis(200);
    let plain = Load::on(&web).pause(pause).clients(6, Style::Get).clients(3, Style::Post);
    let plain = plain.clients(3, Style::HalfHead).clients(3, Style::Fresh);
    let secure = Load::on(&tls).pause(pause).clients(4, Style::Get).clients(1, Style::Fresh);
    plain.answers(30).await;
    let descriptors = storm.app.first().descriptors();
    for _ in 0..actions {
        storm.act().await;
        if storm.random.below(2) == 0 {
            storm.settle().await;
        }
    }
    storm.settle().await;
    // A wait for the next message may hold one.
    let supervisor = storm.app.first();
    eventually("as many descriptors as before", || supervisor.descriptors() <= descriptors + 1).await;
    for load in [plain, secure] {
        load.stop().await.assert_unnoticed();
    }
    storm.ends_cleanly().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_in_a_storm_cost_no_client_anything() {
    let is_long = std::env::var_os("GRACEHTTP_LONG").is_some();
    let seed = std::env::var("GRACEHTTP_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seeds = match seed {
        Some(seed) => seed..seed + 1,
        None if is_long => 1..13,
        None => 1..2,
    };
    for seed in seeds {
        storm(seed, if is_long || seed != 1 { 60 } else { 12 }).await;
    }
}
