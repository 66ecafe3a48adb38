//! Under runit, s6 and supervisord, with the files of the repository: the pid that they watch stays, through restarts and
//! through a crash, and their command to stop waits for what is in flight.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::PathBuf;
use std::process::Output;

use tests::client::get_once;
use tests::load::Style;
use tests::patience::{GLANCE, PATIENCE, eventually, within};
use tests::process::{bin, tool};
use tests::{App, Client, Exit, Launch, Load, Scratch, Signal, Target};

use crate::files::text;

/// A user that Debian always has; root runs the service as that one, as the files do with the user `app`.
const NOBODY: (&str, u32) = ("nobody", 65534);

/// The part of `supervisord.conf` that a machine has already.
const SUPERVISORD: &str = "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={site}/pid\n\
    [unix_http_server]\nfile={site}/ctl\n[supervisorctl]\nserverurl=unix://{site}/ctl\n[rpcinterface:supervisor]\n\
    supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n";

#[derive(Clone, Copy)]
enum Manager {
    Runit,
    S6,
    Supervisord,
}

impl Manager {
    fn is_installed(self) -> bool {
        match self {
            Self::Runit => ["runsv", "sv", "chpst"].into_iter().all(tool),
            Self::S6 => {
                ["s6-supervise", "s6-svc", "s6-svstat", "s6-setuidgid", "execlineb"].into_iter().all(tool)
            }
            Self::Supervisord => ["supervisord", "supervisorctl"].into_iter().all(tool),
        }
    }
}

/// A machine on which one of them runs the service: a folder stands for `/srv/app`.
struct Site {
    manager: Manager,
    process: App,
    home: Scratch,
    target: Target,
}

impl Site {
    /// None, loudly, where it is not installed.
    async fn start(manager: Manager) -> Option<Self> {
        if !manager.is_installed() {
            return None;
        }
        let home = Scratch::new();
        fs::create_dir_all(home.join("releases/1")).expect("a folder");
        home.install(&bin("app"), "releases/1/app");
        symlink("releases/1", home.join("current")).expect("a link");
        let socket = home.join("web.sock");
        let plan = home.write("plan", format!("server web unix:{}", socket.display()));
        if rustix::process::geteuid().is_root() {
            chown(home.path(), Some(NOBODY.1), None).expect("root may");
        }
        let process = launch(manager, &home)
            .env("APP_PLAN", plan)
            .env("GRACEHTTP_STANDBY", "300ms")
            .env("GRACEHTTP_CRASH_BACKOFF", "10ms")
            .spawn();
        let site = Self { manager, process, home, target: Target::Unix(socket) };
        let answer = async {
            while get_once(&site.target, "/ping").await.is_err() {
                tokio::time::sleep(GLANCE).await;
            }
        };
        within(PATIENCE, "an answer", answer).await;
        for pid in [site.watched().await, site.serving().await] {
            site.process.hold(pid);
        }
        Some(site)
    }

    /// Kills the process that serves, and waits for the next one. It is not refused meanwhile.
    async fn survives_a_crash(&self) {
        let crashed = self.process.hold(self.serving().await);
        crashed.kill();
        let fresh = async {
            loop {
                // What the dying process had accepted is lost.
                match get_once(&self.target, "/ping").await {
                    Ok(reply) if reply.pid() != Some(crashed.pid()) => return reply.pid().expect("a pid"),
                    Ok(_) => (),
                    Err(failure) => assert!(!failure.to_string().contains("refused"), "{failure}"),
                }
            }
        };
        self.process.hold(within(PATIENCE, "a fresh process", fresh).await);
    }

    /// Waits until the service has said this. supervisord keeps its output in a file.
    async fn says(&self, words: &str) {
        let file = self.home.join("app.log");
        match self.manager {
            Manager::Runit | Manager::S6 => _ = self.process.log.line(0, words).await,
            Manager::Supervisord => {
                let said = || fs::read_to_string(&file).is_ok_and(|said| said.contains(words));
                eventually(words, said).await;
            }
        }
    }

    /// The pid of the process that answers. That a client is refused is a failure.
    async fn serving(&self) -> u32 {
        get_once(&self.target, "/ping").await.expect("an answer").pid().expect("a pid")
    }

    async fn serves_another(&self, than: u32) {
        let another = async {
            while self.serving().await == than {
                tokio::time::sleep(GLANCE).await;
            }
        };
        within(PATIENCE, "another generation", another).await;
        self.process.hold(self.serving().await);
    }

    /// Runs a command line of the guide; `app` there is the folder of this service, or its name.
    async fn run(&self, line: &str) -> Output {
        let home = self.home.path();
        let (service, program) = (home.join("service"), home.join("current/app"));
        let line = match (self.manager, line.strip_suffix(" app")) {
            (Manager::Runit | Manager::S6, Some(command)) => format!("{command} {}", service.display()),
            _ => {
                let settings = format!("supervisorctl -c {}", service.join("main.conf").display());
                line.replace("supervisorctl", &settings)
            }
        };
        let line = line.replace("PROGRAM", &program.display().to_string());
        let command = tokio::process::Command::new("sh").arg("-c").arg(line).current_dir(home).output();
        within(PATIENCE, "the command's end", command).await.expect("a shell")
    }

    async fn succeeds(&self, line: &str) -> String {
        let output = self.run(line).await;
        assert!(output.status.success(), "{line}: {output:?}\n{}", self.process.log);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The pid that the manager watches.
    async fn watched(&self) -> u32 {
        let said = match self.manager {
            Manager::Runit => {
                fs::read_to_string(self.home.join("service/supervise/pid")).expect("runsv writes it")
            }
            Manager::S6 => self.succeeds("s6-svstat -o pid app").await,
            Manager::Supervisord => self.succeeds("supervisorctl pid app").await,
        };
        said.trim().parse().unwrap_or_else(|error| panic!("{said}: {error}"))
    }

    /// The manager ends, and leaves nothing behind.
    async fn ends(self) {
        let manager = self.process.first();
        manager.signal(Signal::TERM);
        let exit = manager.exit().await;
        assert!(matches!(exit, Exit::Code(_)), "{exit:?}");
    }
}

/// How the manager starts with the shipped file, in which only the folder and the user are those of the test.
fn launch(manager: Manager, home: &Scratch) -> Launch {
    let site = home.path().display().to_string();
    fs::create_dir(home.join("service")).expect("a folder");
    let is_root = rustix::process::geteuid().is_root();
    let adapted = |name: &str, user: &str| {
        let text = text(name).replace("/srv/app", &site);
        assert!(text.contains(user), "{name} names no user by {user:?}");
        text.replace(user, &if is_root { user.replace("app", NOBODY.0) } else { String::new() })
    };
    let run = |text: String, program: &str| {
        let path = home.write("service/run", text);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own file");
        Launch::program(program).arg(home.join("service"))
    };
    match manager {
        Manager::Runit => run(adapted("runit/run", "chpst -u app "), "runsv"),
        Manager::S6 => run(adapted("s6/run", "s6-setuidgid app\n"), "s6-supervise"),
        Manager::Supervisord => {
            let program = adapted("supervisord.conf", "user=app\n").replace("/var/log/", &format!("{site}/"));
            let text = SUPERVISORD.replace("{site}", &site) + &program;
            let path: PathBuf = home.write("service/main.conf", text);
            Launch::program("supervisord").arg("-c").arg(path)
        }
    }
}

/// The life of a service, with the manager's own commands to restart and to stop.
async fn lives(manager: Manager, restart: &str, stop: &str) {
    let Some(site) = Site::start(manager).await else { return };
    let watched = site.watched().await;
    let load = Load::on(&site.target).clients(3, Style::Get).clients(2, Style::Fresh).clients(2, Style::Post);
    for line in
        ["PROGRAM restart --wait --control app.sock", restart, "PROGRAM restart --wait --control app.sock"]
    {
        load.answers(20).await;
        let before = site.serving().await;
        assert_ne!(before, watched, "what the manager watches serves nothing");
        load.mark(line);
        site.succeeds(line).await;
        site.serves_another(before).await;
        assert_eq!(site.watched().await, watched, "after {line}");
    }
    load.answers(20).await;
    load.stop().await.assert_unnoticed();

    site.survives_a_crash().await;
    assert_eq!(site.watched().await, watched, "after a crash");

    // The command returns after the answer, and the manager starts nothing anew.
    let supervisor = site.process.hold(watched);
    let mut client = Client::connect(&site.target).await.expect("a connection");
    client.send("GET /slow?800 HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    site.says("slow begins").await;
    site.succeeds(stop).await;
    assert_eq!(client.reply().await.expect("the answer to the request in flight").status, 200);
    assert!(!supervisor.is_running(), "`{stop}` has returned");
    assert!(get_once(&site.target, "/ping").await.is_err(), "nothing serves");
    site.ends().await;
}

#[tokio::test]
async fn runit_watches_a_pid_that_stays() {
    lives(Manager::Runit, "sv hup app", "SVWAIT=40 sv stop app").await;
}

#[tokio::test]
async fn s6_watches_a_pid_that_stays() {
    lives(Manager::S6, "s6-svc -h app", "s6-svc -wD -d app").await;
}

#[tokio::test]
async fn supervisord_watches_a_pid_that_stays() {
    lives(Manager::Supervisord, "supervisorctl signal HUP app", "supervisorctl stop app").await;
}
