//! Restart signals at difficult moments: two at once, a hundred, during a drain; a stop during a restart.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tests::client::{get, get_once};
use tests::load::Style;
use tests::patience::{GLANCE, PATIENCE, eventually};
use tests::process::{RESTARTED, bin, run, tool};
use tests::{App, Client, Exit, Generation, Kind, Launch, Load, Scratch, Signal, Target};

const WEB: &str = "server web 127.0.0.1:0";

struct Stage {
    app: App,
    web: Target,
    scratch: Scratch,
}

impl Stage {
    async fn new() -> Self {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, WEB).spawn();
        Self { web: app.target("web").await, app, scratch }
    }

    /// Sends a signal, and waits until the successor runs its slow start-up code.
    async fn begin_restart(&self, start_up: &str) -> Arc<Generation> {
        self.scratch.write("plan", format!("{WEB}\nstart {start_up}"));
        let start = self.app.log.end();
        self.app.signal(Signal::USR2);
        self.app.log.line(start, "start-up code of pid").await;
        self.app.starting()
    }

    /// Waits until a process other than these serves, and returns its pid.
    async fn another_serves(&self, but: &[u32]) -> u32 {
        loop {
            let pid = get_once(&self.web, "/ping").await.expect("an answer").pid().expect("a pid");
            if !but.contains(&pid) {
                return pid;
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}

/// Each generation had one process, and each process that was started has served. Of two successors that were starting at
/// once, one would have failed, or both would be of the same generation.
///
/// The order of the lines tells nothing: each process has a thread that writes its messages when it gets to it.
fn assert_one_at_a_time(app: &App) {
    let lines = app.log.since(0);
    let started = lines.iter().filter(|line| line.contains("start-up code of pid")).count();
    let mut generations: Vec<usize> = lines
        .iter()
        .filter_map(|line| line.split_once("serving web on ")?.1.split_once("generation ")?.1.split_once(','))
        .map(|(number, _)| number.parse().expect("a number"))
        .collect();
    generations.sort_unstable();
    assert_eq!(generations, (1..=started).collect::<Vec<_>>(), "{started} were started\n{}", app.log);
}

#[tokio::test]
async fn case_18_two_signals_at_once_cause_at_most_two_restarts() {
    let stage = Stage::new().await;
    let load = Load::on(&stage.web).clients(4, Style::Get).clients(2, Style::Fresh);
    load.answers(20).await;
    load.mark("two signals");
    stage.app.signal(Signal::USR2);
    stage.app.signal(Signal::HUP);
    stage.app.successor_since(0).await;
    stage.app.predecessors_exit().await;
    load.answers(50).await;
    load.stop().await.assert_unnoticed();
    stage.app.catch_up().await;
    assert!((2..=3).contains(&stage.app.generations()), "{}", stage.app.log);
    stage.app.predecessors_exit().await;
    assert!(stage.app.stop().await.is_clean());
    assert_one_at_a_time(&stage.app);
}

#[tokio::test]
async fn case_19_a_hundred_signals_in_a_second_never_start_two_successors() {
    let stage = Stage::new().await;
    let load = Load::on(&stage.web).clients(4, Style::Get).clients(2, Style::Fresh);
    load.answers(20).await;
    for number in 1..=100 {
        let current = stage.app.current();
        let children = current.children();
        assert!(children.len() <= 1, "{children:?} of {}", current.pid());
        // A process that has just ended gets no signal: service managers signal the main process.
        if current.is_running() {
            current.signal(if number % 2 == 0 { Signal::USR1 } else { Signal::USR2 });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    load.mark("a hundred signals");
    stage.app.predecessors_exit().await;
    load.answers(50).await;
    load.stop().await.assert_unnoticed();
    let restarts = stage.app.log.count(0, RESTARTED);
    assert!((1..=101).contains(&restarts), "{restarts} restarts");
    // Remembered signals may still cause a restart.
    eventually("the last restart to end", || stage.app.current().children().is_empty()).await;
    let last = stage.another_serves(&[]).await;
    stage.app.predecessors_exit().await;
    assert_eq!(last, stage.app.pid());
    assert!(stage.app.stop().await.is_clean());
    assert_one_at_a_time(&stage.app);
}

#[tokio::test]
async fn signal_during_a_restart_causes_one_more_restart() {
    let stage = Stage::new().await;
    let first = stage.app.current();
    let successor = stage.begin_restart("sleep 2500").await;
    for _ in 0..3 {
        first.signal(Signal::USR2);
    }
    let third = stage.another_serves(&[first.pid(), successor.pid()]).await;
    assert_eq!(first.exit().await, Exit::Code(0));
    let children = |pid: u32| Generation::hold(pid).map_or(0, |generation| generation.children().len());
    eventually("the third generation alone", || children(third) == 0).await;
    stage.app.catch_up().await;
    assert_eq!(stage.app.log.count(0, "start-up code of pid"), 3, "{}", stage.app.log);
}

#[tokio::test]
async fn signal_during_the_first_start_up_restarts_afterwards() {
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, &format!("{WEB}\nstart sleep 1500")).spawn();
        app.log.line(0, "start-up code of pid").await;
        app.signal(signal);
        let web = app.target("web").await;
        get_once(&web, "/ping").await.unwrap();
        let successor = app.successor_since(0).await;
        app.serves(&web, &successor).await;
    }
}

/// A configuration file that makes its readers wait.
struct Pipe(PathBuf);

impl Pipe {
    fn new(scratch: &Scratch) -> Self {
        let path = scratch.join("config");
        _ = std::fs::remove_file(&path);
        run("mkfifo", &[path.as_os_str()]);
        Self(path)
    }

    /// Waits until a process opens the configuration.
    async fn reader(&self) -> std::fs::File {
        let path = self.0.clone();
        let opened = tokio::task::spawn_blocking(move || std::fs::File::options().write(true).open(path));
        opened.await.expect("no panic").expect("a pipe that is read")
    }

    /// The reader gets an empty configuration; later readers get it without a wait.
    fn answer(self, reader: std::fs::File) {
        std::fs::remove_file(&self.0).expect("a pipe");
        std::fs::write(&self.0, "").expect("a file");
        drop(reader);
    }
}

#[tokio::test]
async fn signal_before_the_configuration_is_read_takes_effect_later() {
    let signalled = async |scratch: &Scratch, signal| {
        let pipe = Pipe::new(scratch);
        let app = Launch::app(scratch, WEB).env("GRACEHTTP_CONFIG", &pipe.0).spawn();
        let reader = pipe.reader().await;
        app.signal(signal);
        pipe.answer(reader);
        app
    };
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
        let scratch = Scratch::new();
        signalled(&scratch, signal).await.successor_since(0).await;
    }
    for signal in [Signal::INT, Signal::TERM, Signal::QUIT, Signal::TSTP] {
        let scratch = Scratch::new();
        let app = signalled(&scratch, signal).await;
        assert_eq!(app.current().exit().await, Exit::Code(0), "{signal:?}: {}", app.log);
        app.log.line(0, "stopped").await;
    }
}

#[tokio::test]
async fn stop_signal_ends_a_successor_with_its_handlers_set_and_the_predecessor_serves_on() {
    let scratch = Scratch::new();
    let file = scratch.write("config", "");
    let app = Launch::app(&scratch, WEB).env("GRACEHTTP_CONFIG", &file).spawn();
    let web = app.target("web").await;
    let pipe = Pipe::new(&scratch);
    app.signal(Signal::USR2);
    let reader = pipe.reader().await;
    app.starting().signal(Signal::TERM);
    pipe.answer(reader);
    app.log.line(0, "it exited with status 0 before it was ready: a signal may have stopped it").await;
    assert_eq!(get_once(&web, "/ping").await.unwrap().pid(), Some(app.first().pid()));
}

/// The successor ignores them, since their default effect would kill it.
#[tokio::test]
async fn successor_ignores_restart_signals_before_its_program_begins() {
    let scratch = Scratch::new();
    let program = scratch.install(&bin("app"), "app");
    let app = Launch::program(program).plan(&scratch, WEB).env("GRACEHTTP_STANDBY", "300ms").spawn();
    let web = app.target("web").await;
    let real = scratch.install(&bin("app"), "real");
    let script = format!("#!/bin/sh\necho a script waits\nsleep 3\nexec {} \"$@\"\n", real.display());
    let installed = scratch.install(&scratch.write("script", script), "app");
    std::fs::set_permissions(installed, std::fs::Permissions::from_mode(0o755)).unwrap();
    app.signal(Signal::USR2);
    app.log.line(0, "a script waits").await;
    let successor = app.starting();
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2] {
        successor.signal(signal);
    }
    app.serves(&web, &successor).await;
    app.predecessors_exit().await;
    assert_eq!(app.log.count(0, RESTARTED), 1, "{}", app.log);
}

/// Under `nohup`, for example: a signal that the parent ignores stays ignored in every generation.
#[tokio::test]
async fn signal_ignored_at_the_start_stays_ignored() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).env("GRACEHTTP_RESTART_ON", "USR2").after("trap '' HUP;").spawn();
    let web = app.target("web").await;
    app.signal(Signal::HUP);
    for _ in 0..2 {
        let successor = app.restart().await;
        app.serves(&web, &successor).await;
        successor.signal(Signal::HUP);
        assert_eq!(get_once(&web, "/ping").await.unwrap().pid(), Some(successor.pid()));
    }
}

#[tokio::test]
async fn case_20_restart_signal_during_a_drain_is_ignored_and_the_log_names_the_successor() {
    let stage = Stage::new().await;
    let mut client = Client::connect(&stage.web).await.unwrap();
    client.send(get("/slow?ms=6000")).await.unwrap();
    stage.app.log.line(0, "slow begins").await;
    let old = stage.app.current();
    let new = stage.app.restart().await;
    stage.app.serves(&stage.web, &new).await;
    let start = stage.app.log.end();
    old.signal(Signal::USR2);
    let pid = new.pid().to_string();
    let matches =
        |line: &str| line.contains("gracehttp") && line.contains(&pid) && !line.contains("Received");
    stage.app.log.find(start, PATIENCE, "a line that says which pid serves now", matches).await;
    assert_eq!(client.reply().await.unwrap().pid(), Some(old.pid()));
    assert_eq!(old.exit().await, Exit::Code(0));
    assert_eq!(stage.app.generations(), 2);
    assert!(new.is_running());
}

#[tokio::test]
async fn case_21_stop_during_a_restart_ends_the_successor_and_then_the_predecessor() {
    for signal in [Signal::TERM, Signal::INT] {
        let stage = Stage::new().await;
        let first = stage.app.current();
        let successor = stage.begin_restart("hang").await;
        first.signal(signal);
        assert_eq!(first.exit().await, Exit::Code(0), "{}", stage.app.log);
        assert!(!successor.is_running(), "the successor outlived the stop");
        let refused = get_once(&stage.web, "/ping").await.unwrap_err();
        assert_eq!(refused.kind, Kind::Refused);
    }
}

/// A script may restart and then stop: it reads the successor's pid and signals at once.
#[tokio::test]
async fn stop_at_the_instant_of_the_commit_stops_both_generations() {
    for _ in 0..20 {
        let stage = Stage::new().await;
        let (old, new) = (stage.app.first(), stage.app.restart().await);
        new.signal(Signal::TERM);
        assert!(new.exit().await.is_clean(), "{}", stage.app.log);
        assert_eq!(old.exit().await, Exit::Code(0), "the predecessor took the stop for a death");
        assert_eq!(get_once(&stage.web, "/ping").await.unwrap_err().kind, Kind::Refused);
    }
}

#[tokio::test]
async fn case_16_successor_serves_all_when_its_predecessor_is_killed_after_the_commit() {
    let stage = Stage::new().await;
    let mut client = Client::connect(&stage.web).await.unwrap();
    client.send(get("/slow?ms=60000")).await.unwrap();
    stage.app.log.line(0, "slow begins").await;
    let old = stage.app.current();
    let new = stage.app.restart().await;
    stage.app.serves(&stage.web, &new).await;
    let load = Load::on(&stage.web).clients(3, Style::Get).clients(2, Style::Fresh);
    load.answers(20).await;
    load.mark("kill -9 of the predecessor");
    old.kill();
    assert!(matches!(old.exit().await, Exit::Killed(9)));
    load.answers(50).await;
    load.stop().await.assert_unnoticed();
    let next = stage.app.restart().await;
    stage.app.serves(&stage.web, &next).await;
    assert!(stage.app.stop().await.is_clean());
}

#[tokio::test]
async fn case_15_successor_fails_when_its_predecessor_is_killed_before_it_sent_the_listeners() {
    if !tool("strace") {
        return;
    }
    let scratch = Scratch::new();
    // It dies at its second message: the successor has answered its greeting, and receives nothing more.
    let trace = "exec strace -D -f -qq -o /dev/null -e trace=sendmsg -e inject=sendmsg:signal=KILL:when=2";
    let app = Launch::app(&scratch, WEB).after(&format!("{trace} -- \"$0\"; :")).spawn();
    let web = app.target("web").await;
    let old = app.first();
    app.signal(Signal::USR2);
    assert_eq!(old.exit().await, Exit::Killed(9));
    let matches = |line: &str| {
        line.contains("ERROR") && (line.contains("predecessor") || line.contains("GRACEHTTP_HANDOFF"))
    };
    app.log.find(0, PATIENCE, "an error of the successor", matches).await;
    // Half a server would be worse than none, because a failed start is visible at once.
    assert_eq!(app.log.count(0, "start-up code of pid"), 1, "{}", app.log);
    assert_eq!(get_once(&web, "/ping").await.unwrap_err().kind, Kind::Refused);
}

/// The successor has the listeners by then, so the service continues.
#[tokio::test]
async fn successor_serves_when_its_predecessor_is_killed_during_its_start() {
    let stage = Stage::new().await;
    let successor = stage.begin_restart("sleep 2500").await;
    let old = stage.app.current();
    let mut queued = Vec::new();
    old.kill();
    old.exit().await;
    for _ in 0..20 {
        // No process accepts now: these connections wait in the queue of the listener that the successor holds.
        let mut client = Client::connect(&stage.web).await.expect("queued");
        client.send(get("/ping")).await.unwrap();
        queued.push(client);
    }
    for client in &mut queued {
        assert_eq!(client.reply().await.unwrap().pid(), Some(successor.pid()));
    }
    successor.signal(Signal::TERM);
    assert!(successor.exit().await.is_clean());
}
