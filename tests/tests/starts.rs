//! Starts, stops and settings: what surrounds a process, and what it is told, must not be in its way.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use tests::client::get_once;
use tests::generation::silent_target;
use tests::patience::eventually;
use tests::process::run;
use tests::{App, Exit, Launch, Scratch, Signal};

const WEB: &str = "server web 127.0.0.1:0";

/// A pipe that is full, and that nobody reads.
struct Stuck {
    path: PathBuf,
    pipe: File,
}

impl Stuck {
    const O_NONBLOCK: i32 = 0o4000;

    fn new(scratch: &Scratch) -> Self {
        let path = scratch.join("stuck");
        run("mkfifo", &[path.as_os_str()]);
        let mut options = OpenOptions::new();
        let mut pipe =
            options.read(true).write(true).custom_flags(Self::O_NONBLOCK).open(&path).expect("a pipe");
        while pipe.write(&[b'.'; 4096]).is_ok() {}
        Self { path, pipe }
    }

    /// What the shell is to do.
    fn as_stderr(&self) -> String {
        format!("exec 2>{};", self.path.display())
    }

    /// All that is in it now.
    fn read(&mut self) -> String {
        let mut all = Vec::new();
        let mut some = [0; 4096];
        loop {
            match self.pipe.read(&mut some) {
                Ok(length) => all.extend(&some[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }
}

/// Handlers that panic are answered; the process restarts, stops, and exits in time.
async fn lives_on_with(app: App) {
    let first = app.current();
    let target = silent_target(&first).await;
    for _ in 0..50 {
        assert_eq!(get_once(&target, "/panic").await.expect("an answer").status, 500);
    }
    first.signal(Signal::USR2);
    let successor = loop {
        if let Some(pid) =
            get_once(&target, "/ping").await.expect("an answer").pid().filter(|pid| *pid != first.pid())
        {
            break app.hold(pid);
        }
    };
    assert_eq!(first.exit().await, Exit::Code(0));
    assert_eq!(get_once(&target, "/panic").await.expect("an answer").status, 500);
    successor.signal(Signal::TERM);
    assert!(successor.exit().await.is_clean());
}

#[tokio::test]
async fn b4_stderr_that_nobody_reads_stops_neither_signals_nor_panicking_handlers() {
    let scratch = Scratch::new();
    let stuck = Stuck::new(&scratch);
    lives_on_with(Launch::app(&scratch, WEB).after(&stuck.as_stderr()).spawn()).await;
}

#[tokio::test]
async fn b4_a_subscriber_that_nobody_reads_stops_no_signal() {
    let scratch = Scratch::new();
    let stuck = Stuck::new(&scratch);
    let plan = format!("{WEB}\nstart subscribe stderr");
    lives_on_with(Launch::app(&scratch, &plan).after(&stuck.as_stderr()).spawn()).await;
}

#[tokio::test]
async fn b4_callbacks_that_hang_stop_no_signal() {
    let scratch = Scratch::new();
    lives_on_with(Launch::app(&scratch, &format!("{WEB}\nstart callbacks hang")).spawn()).await;
}

#[tokio::test]
async fn b4_a_reader_that_comes_back_gets_the_messages_in_their_order() {
    let scratch = Scratch::new();
    let mut stuck = Stuck::new(&scratch);
    let app = Launch::app(&scratch, WEB).after(&stuck.as_stderr()).spawn();
    let target = silent_target(&app.first()).await;
    assert_eq!(get_once(&target, "/panic").await.expect("an answer").status, 500);
    let mut read = String::new();
    eventually("the messages", || {
        read.push_str(&stuck.read());
        ["serving web on ", "panicked at ", "panicked: the handler panics"]
            .iter()
            .all(|words| read.contains(words))
    })
    .await;
    let place = |words: &str| read.find(words);
    assert!(place("serving web on ") < place("panicked at "), "{read}");
    assert!(place("panicked at ") < place("panicked: the handler panics"), "{read}");

    app.first().signal(Signal::TERM);
    assert_eq!(app.first().exit().await, Exit::Code(0));
    read.push_str(&stuck.read());
    assert!(read.trim_end().ends_with(&format!("stopped, pid {}", app.first().pid())), "{read}");
}

/// The error of a start that fails is the last that it says, and is said in time.
#[tokio::test]
async fn b4_the_last_words_of_every_end_are_said() {
    for (start, words) in
        [("refuse no coffee", "the start-up code failed: no coffee"), ("panic", "the start-up code panics")]
    {
        let scratch = Scratch::new();
        let app = Launch::app(&scratch, &format!("{WEB}\nstart {start}")).spawn();
        assert_eq!(app.first().exit().await, Exit::Code(1));
        app.catch_up().await;
        assert!(app.log.count(0, words) > 0, "{}", app.log);
    }
    // A successor that its predecessor kills as soon as it hears of the failure.
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).start("web").await;
    scratch.write("plan", format!("{WEB}\nstart panic"));
    app.signal(Signal::USR2);
    app.log.line(0, "serves on").await;
    assert_eq!(app.log.count(0, "thread 'start-up' panicked at "), 1, "{}", app.log);
}
