//! A real binary under test, and the chain of generations that restarts make of it.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use rustix::process::{Signal, getpid, set_child_subreaper};

use crate::bench::machine;
use crate::client::{Target, get_once};
use crate::generation::{Exit, Generation};
use crate::log::Log;
use crate::patience::{GLANCE, PATIENCE, within};
use crate::scratch::Scratch;
use crate::strace;

/// What the predecessor writes once it has started its successor.
pub const RESTARTED: &str = "start new process success, pid ";

/// How to start a binary.
#[derive(Debug)]
pub struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    shell: Option<String>,
}

impl Launch {
    /// An example of the package `examples`.
    pub fn example(name: &str) -> Self {
        let path = target_directory().join("examples").join(name);
        assert!(
            path.exists(),
            "\n\n*** {} does not exist.\n*** `cargo test -p tests` does not build the examples that these tests \
             start. Run\n***\n***     cargo build --workspace --examples\n***\n*** first, or `cargo test \
             --workspace`, which builds them.\n",
            path.display()
        );
        Self::program(path)
    }

    /// A binary of this package.
    pub fn bin(name: &str) -> Self {
        Self::program(bin(name))
    }

    /// The binary `app` with this plan, which lies in `scratch` as `plan` and may change for later
    /// generations. Its standby is short, for tests that await the end of the predecessor.
    pub fn app(scratch: &Scratch, plan: &str) -> Self {
        Self::bin("app").plan(scratch, plan).env("GRACEHTTP_STANDBY", "300ms")
    }

    /// Gives it a plan, if it is a copy of `app`.
    pub fn plan(self, scratch: &Scratch, plan: &str) -> Self {
        self.env("APP_PLAN", scratch.write("plan", plan))
    }

    /// Any file.
    pub fn program(path: impl Into<PathBuf>) -> Self {
        let env = vec![("RUST_BACKTRACE".into(), "0".into())];
        Self { program: path.into(), args: Vec::new(), env, directory: None, shell: None }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().into()));
        self
    }

    /// Lets `server` listen at `endpoint` instead of what its attribute says.
    pub fn listen(self, server: &str, endpoint: &str) -> Self {
        self.env(&format!("GRACEHTTP_SERVER__{}__LISTEN", server.to_uppercase()), endpoint)
    }

    /// Its working directory.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Shell words that come before it in the same process: `ulimit -n 40;`, or `exec 2>&-;`.
    pub fn after(mut self, shell: &str) -> Self {
        self.shell = Some(shell.to_owned());
        self
    }

    /// Starts it, and awaits nothing.
    pub fn spawn(self) -> App {
        prepare_this_process();
        let mut command = match &self.shell {
            None => Command::new(&self.program),
            Some(words) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("{words} exec \"$0\" \"$@\"")).arg(&self.program);
                shell
            }
        };
        for (name, _) in std::env::vars_os() {
            let ours = name.to_string_lossy().starts_with("GRACEHTTP_") || name == "RUST_LOG";
            if ours {
                command.env_remove(name);
            }
        }
        command.args(&self.args).envs(self.env);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        // One pipe for both streams: their lines stay in order.
        let (output, stdout) = std::io::pipe().expect("a pipe");
        let pipe = Mutex::new((stdout.try_clone().expect("a pipe"), 0));
        let stderr = stdout.try_clone().expect("a pipe");
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("start {}: {error}", self.program.display()),
        };
        // The command holds the pipe's writing end, too: with it the log would never end. Ours goes with the `App`.
        drop(command);

        let first = Generation::hold(child.id()).expect("our own child");
        let chain = Arc::new(Chain { generations: Mutex::new(vec![Arc::new(first)]) });
        let log = Log::new();
        let learner = Arc::clone(&chain);
        log.follow(output, move |line| learner.learn_from(line));
        App { log, pipe, chain, strays: Mutex::default() }
    }

    /// Starts it, and awaits the banner of `server`: from then on a client can connect.
    pub async fn start(self, server: &str) -> App {
        let app = self.spawn();
        app.url(server).await;
        app
    }
}

/// Where cargo put a binary of this package.
pub fn bin(name: &str) -> PathBuf {
    target_directory().join(name)
}

/// The directory of the profile: the test runs in its `deps`.
fn target_directory() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    test.ancestors().nth(2).expect("target/PROFILE/deps").to_owned()
}

/// What this process needs once, before it starts applications.
fn prepare_this_process() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A successor whose predecessor has exited becomes a child of the test, which can then wait for it.
        set_child_subreaper(Some(getpid())).expect("PR_SET_CHILD_SUBREAPER");
        // A thousand clients need more than the 1024 descriptors that most systems give. The applications inherit
        // that: a test of their own limit sets it with `ulimit`.
        machine::raise_descriptor_limit();
    });
}

/// The generations that the log told of, in order.
#[derive(Debug)]
struct Chain {
    generations: Mutex<Vec<Arc<Generation>>>,
}

impl Chain {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Generation>>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn_from(&self, line: &str) {
        // One that died and was reaped meanwhile needs no one to hold it.
        if let Some(generation) = successor_in(line).and_then(|pid| Generation::hold(pid).ok()) {
            self.lock().push(Arc::new(generation));
        }
    }
}

/// The pid in a line that tells of a new generation.
pub fn successor_in(line: &str) -> Option<u32> {
    let (_, pid) = line.split_once(RESTARTED)?;
    pid.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A running application: all its generations, and their common log.
#[derive(Debug)]
pub struct App {
    /// What all generations write.
    pub log: Arc<Log>,
    /// Where all generations write, and how often the test has written there itself.
    pipe: Mutex<(std::io::PipeWriter, usize)>,
    chain: Arc<Chain>,
    /// Processes of which the log has not told, yet or ever.
    strays: Mutex<Vec<Arc<Generation>>>,
}

impl App {
    /// The newest generation.
    pub fn current(&self) -> Arc<Generation> {
        Arc::clone(self.chain.lock().last().expect("there is always a first"))
    }

    /// The one that the test started.
    pub fn first(&self) -> Arc<Generation> {
        Arc::clone(&self.chain.lock()[0])
    }

    /// The newest one's pid.
    pub fn pid(&self) -> u32 {
        self.current().pid()
    }

    /// Takes hold of a generation of which the log tells nothing, so that it does not outlive the test.
    pub fn hold(&self, pid: u32) -> Arc<Generation> {
        let generation = Arc::new(Generation::hold(pid).expect("a process that lives"));
        self.strays.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&generation));
        generation
    }

    /// The successor that the newest generation has started and that is not ready yet.
    pub fn starting(&self) -> Arc<Generation> {
        match self.current().children().as_slice() {
            [pid] => self.hold(*pid),
            others => panic!("one successor is expected to start, not {others:?}\n{}", self.log),
        }
    }

    /// How many generations there have been.
    pub fn generations(&self) -> usize {
        self.chain.lock().len()
    }

    /// Where `server` says that it serves, in its first banner: `http://127.0.0.1:4711`.
    pub async fn url(&self, server: &str) -> String {
        self.url_since(0, server).await
    }

    /// The same, in the first banner at or after the line `start`.
    pub async fn url_since(&self, start: usize, server: &str) -> String {
        let words = format!("serving {server} on ");
        let line = self.log.line(start, &words).await;
        let (_, rest) = line.split_once(&words).expect("found by these words");
        rest.split_whitespace().next().unwrap_or_default().to_owned()
    }

    /// What a client connects to for `server`.
    pub async fn target(&self, server: &str) -> Target {
        Target::from_url(&self.url(server).await)
    }

    /// The TCP address of `server`.
    pub async fn address(&self, server: &str) -> SocketAddr {
        self.target(server).await.address()
    }

    /// Sends a signal to the newest generation.
    pub fn signal(&self, signal: Signal) {
        self.current().signal(signal);
    }

    /// Restarts with SIGUSR2, and returns the new generation.
    pub async fn restart(&self) -> Arc<Generation> {
        self.restart_by(Signal::USR2).await
    }

    /// Restarts with the given signal.
    pub async fn restart_by(&self, signal: Signal) -> Arc<Generation> {
        let start = self.log.end();
        self.signal(signal);
        self.successor_since(start).await
    }

    /// The generation that the log tells of at or after the line `start`.
    pub async fn successor_since(&self, start: usize) -> Arc<Generation> {
        let line = self.log.line(start, RESTARTED).await;
        let pid = successor_in(&line).expect("found by these words");
        let generations = self.chain.lock();
        let found = generations.iter().rev().find(|generation| generation.pid() == pid);
        Arc::clone(
            found.unwrap_or_else(|| panic!("pid {pid} was gone before it could be held:\n{}", self.log)),
        )
    }

    /// Stops the newest generation with SIGTERM, and returns how it ended.
    pub async fn stop(&self) -> Exit {
        self.signal(Signal::TERM);
        let exit = self.current().exit().await;
        self.catch_up().await;
        exit
    }

    /// Awaits that all is in the log that was written up to now, by whoever has ended since, too.
    pub async fn catch_up(&self) {
        self.log.catch_up(&self.pipe).await;
    }

    /// Awaits that `generation` answers new connections of `target`: the commit is over.
    pub async fn serves(&self, target: &Target, generation: &Generation) {
        let served = async {
            loop {
                match get_once(target, "/ping").await {
                    Ok(reply) if reply.pid() == Some(generation.pid()) => return,
                    Ok(_) => tokio::time::sleep(GLANCE).await,
                    Err(failure) => panic!("a new connection failed: {failure}\n{}", self.log),
                }
            }
        };
        within(PATIENCE, &format!("pid {} to serve", generation.pid()), served).await;
    }

    /// Every predecessor has drained and left with status 0.
    pub async fn predecessors_leave_cleanly(&self) {
        let exits = self.predecessors_exit().await;
        // One that ends in the same instant as its own predecessor is that one's to reap; its last line tells.
        let ended = self.log.count(0, "has ended; pid ");
        assert!(exits.iter().all(|exit| exit.is_clean()) && ended == exits.len(), "{exits:?}\n{}", self.log);
    }

    /// Waits for the end of every generation but the newest.
    pub async fn predecessors_exit(&self) -> Vec<Exit> {
        let mut generations = self.chain.lock().clone();
        generations.pop();
        let mut exits = Vec::new();
        for generation in generations {
            exits.push(generation.exit().await);
        }
        self.catch_up().await;
        exits
    }
}

impl Drop for App {
    /// Ends what the test left running, each process by its own handle.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the application's log:\n{}---", self.log);
        }
        let mut doomed: Vec<Arc<Generation>> = self.chain.lock().clone();
        doomed.append(&mut self.strays.lock().unwrap_or_else(PoisonError::into_inner));
        // A successor that never got as far as the log is known to its predecessor alone.
        let mut next = 0;
        while next < doomed.len() {
            if doomed[next].try_exit().is_none() {
                let unknown = |pid: &u32| doomed.iter().all(|known| known.pid() != *pid);
                let children = doomed[next].children();
                let found = children.iter().filter(|pid| unknown(pid)).flat_map(|pid| Generation::hold(*pid));
                let found: Vec<_> = found.map(Arc::new).collect();
                doomed.extend(found);
            }
            next += 1;
        }
        for generation in &doomed {
            generation.kill();
        }
        for generation in &doomed {
            generation.reap_blocking(Duration::from_secs(2));
        }
    }
}

/// Runs a command to its end, and panics with its stderr where it fails.
pub fn run(program: &str, args: &[&OsStr]) {
    let output = match Command::new(program).args(args).output() {
        Ok(output) => output,
        Err(error) => panic!("{program}: {error}"),
    };
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether a tool that a test needs is there, and may do its work; says so loudly where it is not.
pub fn tool(name: &str) -> bool {
    let there = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| Path::new(&dir).join(name).is_file()));
    if !there {
        skipped(&format!("`{name}`, which is not installed"));
        return false;
    }
    // Where ptrace is restricted (Yama, a container), only root may trace what is not its own child.
    let useful = name != "strace" || strace::may_attach();
    if !useful {
        skipped("`strace`, which may not trace other processes here");
    }
    useful
}

/// Whether the machine has IPv6; says so loudly where it has not.
pub fn ipv6() -> bool {
    let there = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !there {
        skipped("IPv6, which this machine does not have");
    }
    there
}

/// Not by `eprintln!`: the harness would keep it to itself, since the test passes.
fn skipped(needs: &str) {
    _ = writeln!(std::io::stderr(), "\n*** SKIPPED: this test needs {needs}.\n");
}
