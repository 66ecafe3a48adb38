//! A real binary under test, and the chain of generations that its restarts create.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
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

/// A port of 127.0.0.1 that only the one who is told its number can listen at: the kernel gives it to no other socket.
#[derive(Debug)]
pub struct ReservedPort(socket2::Socket);

impl Default for ReservedPort {
    fn default() -> Self {
        Self::new()
    }
}

impl ReservedPort {
    /// A free port.
    pub fn new() -> Self {
        Self::of(Ipv4Addr::LOCALHOST.into())
    }

    /// A free port of this address.
    pub fn of(host: IpAddr) -> Self {
        let address = SocketAddr::new(host, 0);
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        // Beside a bound socket that does not listen, another one with this option may bind, and listen.
        socket.set_reuse_address(true).expect("an option");
        socket.bind(&address.into()).expect("a free port");
        Self(socket)
    }

    /// The address, with the port.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket")
    }

    /// The port.
    pub fn number(&self) -> u16 {
        self.address().port()
    }
}

/// The predecessor's log line after it has started its successor.
pub const RESTARTED: &str = "start new process success, pid ";

/// How to start a binary.
#[derive(Debug)]
pub struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    shell: Option<String>,
    /// A program that becomes this one, with its own arguments.
    through: Option<(PathBuf, Vec<OsString>)>,
}

impl Launch {
    /// An example of the package `examples`.
    pub fn example(name: &str) -> Self {
        Self::program(example(name))
    }

    /// A binary of this package.
    pub fn bin(name: &str) -> Self {
        Self::program(bin(name))
    }

    /// The binary `app` with this plan. The file `plan` in `scratch` holds the plan and may change for later
    /// generations. The standby is short, for tests that wait for the end of the predecessor.
    pub fn app(scratch: &Scratch, plan: &str) -> Self {
        Self::bin("app").plan(scratch, plan).env("GRACEHTTP_STANDBY", "300ms")
    }

    /// Sets the plan of a copy of `app`.
    pub fn plan(self, scratch: &Scratch, plan: &str) -> Self {
        self.env("APP_PLAN", scratch.write("plan", plan))
    }

    /// Any executable file.
    pub fn program(path: impl Into<PathBuf>) -> Self {
        let env = vec![("RUST_BACKTRACE".into(), "0".into())];
        Self { program: path.into(), args: Vec::new(), env, directory: None, shell: None, through: None }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().into()));
        self
    }

    /// Lets `server` listen at `endpoint`, which overrides its attribute.
    pub fn listen(self, server: &str, endpoint: &str) -> Self {
        self.env(&format!("GRACEHTTP_SERVER__{}__LISTEN", server.to_uppercase()), endpoint)
    }

    /// Sets its working directory.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Sets shell words that run before it in the same process: `ulimit -n 40;`, or `exec 2>&-;`.
    pub fn after(mut self, shell: &str) -> Self {
        self.shell = Some(shell.to_owned());
        self
    }

    /// Starts a binary of this package instead, which becomes this one.
    pub fn through(mut self, name: &str) -> Self {
        self.through = Some((bin(name), Vec::new()));
        self
    }

    /// Adds one argument of the program that becomes this one.
    pub fn before(mut self, arg: impl AsRef<OsStr>) -> Self {
        let (_, arguments) = self.through.as_mut().expect("a program to go through");
        arguments.push(arg.as_ref().into());
        self
    }

    /// Starts it, and waits for nothing.
    pub fn spawn(mut self) -> App {
        prepare_this_process();
        if let Some((program, mut arguments)) = self.through.take() {
            arguments.push(std::mem::replace(&mut self.program, program).into());
            self.args.splice(..0, arguments);
        }
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
        // One pipe for both streams keeps their lines in order.
        let (output, stdout) = std::io::pipe().expect("a pipe");
        let pipe = Mutex::new((stdout.try_clone().expect("a pipe"), 0));
        let stderr = stdout.try_clone().expect("a pipe");
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("start {}: {error}", self.program.display()),
        };
        // The command also holds the pipe's writing end, and with it the log would never end. The `App` drops the end
        // of this process.
        drop(command);

        let first = Generation::hold(child.id()).expect("our own child");
        let chain = Arc::new(Chain::new(first));
        let log = Log::new();
        let learner = Arc::clone(&chain);
        log.follow(output, move |line| learner.learn_from(line));
        App { log, pipe, chain, strays: Mutex::default() }
    }

    /// Starts it, and waits for the banner of `server`: from then on a client can connect.
    pub async fn start(self, server: &str) -> App {
        let app = self.spawn();
        app.url(server).await;
        app
    }
}

/// The path where cargo put a binary of this package.
pub fn bin(name: &str) -> PathBuf {
    target_directory().join(name)
}

/// The path where cargo put an example of the package `examples`.
pub fn example(name: &str) -> PathBuf {
    let path = target_directory().join("examples").join(name);
    assert!(
        path.exists(),
        "\n\n*** {} does not exist.\n*** `cargo test -p tests` does not build the examples that these tests \
         start. Run\n***\n***     cargo build --workspace --examples\n***\n*** first, or `cargo test \
         --workspace`, which builds them.\n",
        path.display()
    );
    path
}

/// The directory of the profile: the test runs in its `deps`.
fn target_directory() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    test.ancestors().nth(2).expect("target/PROFILE/deps").to_owned()
}

/// Prepares this process once, before it starts applications.
fn prepare_this_process() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A successor whose predecessor has exited becomes a child of the test, so the test can wait for it.
        set_child_subreaper(Some(getpid())).expect("PR_SET_CHILD_SUBREAPER");
        // A thousand clients need more than the 1024 descriptors that most systems give. The applications inherit this
        // limit: a test of a lower limit sets it with `ulimit`.
        machine::raise_descriptor_limit();
    });
}

/// The generations that the log names, in order.
#[derive(Debug)]
struct Chain {
    generations: Mutex<Vec<Arc<Generation>>>,
    /// The number of a generation by its pid, from its banner.
    numbers: Mutex<BTreeMap<u32, u64>>,
}

impl Chain {
    fn new(first: Generation) -> Self {
        Self { generations: Mutex::new(vec![Arc::new(first)]), numbers: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Generation>>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn_from(&self, line: &str) {
        // A process that has already died and been reaped needs no handle.
        let successor = successor_in(line).and_then(|pid| Generation::hold(pid).ok());
        let number = number_in(line);
        if successor.is_none() && number.is_none() {
            return;
        }
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.extend(number);
        let mut generations = self.lock();
        generations.extend(successor.map(Arc::new));
        // A successor that restarts at once may name its own before its predecessor has named it. Those without a
        // banner stay in the order of their names.
        let number = |generation: &Generation| numbers.get(&generation.pid()).copied();
        if generations.iter().all(|generation| number(generation).is_some()) {
            generations.sort_by_key(|generation| number(generation));
        }
    }
}

/// The pid and the number of the generation whose banner this line is.
fn number_in(line: &str) -> Option<(u32, u64)> {
    let (number, pid) = line.split_once(", generation ")?.1.split_once(", pid ")?;
    Some((pid.trim_end_matches(')').parse().ok()?, number.parse().ok()?))
}

/// The pid in a line that announces a new generation.
pub fn successor_in(line: &str) -> Option<u32> {
    let (_, pid) = line.split_once(RESTARTED)?;
    pid.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A running application: all its generations, and their common log.
#[derive(Debug)]
pub struct App {
    /// The output of all generations.
    pub log: Arc<Log>,
    /// The pipe that all generations write to, and how often the test has written to it.
    pipe: Mutex<(std::io::PipeWriter, usize)>,
    chain: Arc<Chain>,
    /// Processes that the log has not named, yet or ever.
    strays: Mutex<Vec<Arc<Generation>>>,
}

impl App {
    /// The newest generation.
    pub fn current(&self) -> Arc<Generation> {
        Arc::clone(self.chain.lock().last().expect("there is always a first"))
    }

    /// The generation that the test started.
    pub fn first(&self) -> Arc<Generation> {
        Arc::clone(&self.chain.lock()[0])
    }

    /// The newest one's pid.
    pub fn pid(&self) -> u32 {
        self.current().pid()
    }

    /// Holds a generation that the log does not name, so that it does not outlive the test.
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

    /// The URL of `server` in its first banner: `http://127.0.0.1:4711`.
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

    /// The target for clients of `server`.
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

    /// The generation that the log names at or after the line `start`.
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

    /// Waits until the log has everything that was written so far, also by processes that have ended since.
    pub async fn catch_up(&self) {
        self.log.catch_up(&self.pipe).await;
    }

    /// Waits until `generation` answers new connections of `target`: the commit is over.
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

    /// Checks that every predecessor has drained and exited with status 0.
    pub async fn predecessors_leave_cleanly(&self) {
        let exits = self.predecessors_exit().await;
        // A process that ends at the same instant as its predecessor is reaped by that predecessor; its last log line
        // shows the end.
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
    /// Ends the processes that the test left running, each by its own handle.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the application's log:\n{}---", self.log);
        }
        let mut doomed: Vec<Arc<Generation>> = self.chain.lock().clone();
        doomed.append(&mut self.strays.lock().unwrap_or_else(PoisonError::into_inner));
        // Only the predecessor knows a successor that the log has not named.
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

/// Runs a command to its end, and panics with its stderr if it fails.
pub fn run(program: &str, args: &[&OsStr]) {
    let output = match Command::new(program).args(args).output() {
        Ok(output) => output,
        Err(error) => panic!("{program}: {error}"),
    };
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether a tool that a test needs is there and may do its work; prints a notice if not.
pub fn tool(name: &str) -> bool {
    let there = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| Path::new(&dir).join(name).is_file()));
    if !there {
        skipped(&format!("`{name}`, which is not installed"));
        return false;
    }
    // Where ptrace is restricted (Yama, a container), only root may trace a process that is not its own child.
    let useful = name != "strace" || strace::may_attach();
    if !useful {
        skipped("`strace`, which may not trace other processes here");
    }
    useful
}

/// Whether the machine has IPv6; prints a notice if not.
pub fn ipv6() -> bool {
    let there = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !there {
        skipped("IPv6, which this machine does not have");
    }
    there
}

/// Prints that a test needs what is not there. `eprintln!` would not work: the harness hides its output, since the
/// test passes.
pub fn skipped(needs: &str) {
    _ = writeln!(std::io::stderr(), "\n*** SKIPPED: this test needs {needs}.\n");
}
