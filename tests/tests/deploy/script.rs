//! `deploy.sh` against a service that runs: a release that serves, and releases that don't.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use tests::client::get_once;
use tests::patience::{PATIENCE, within};
use tests::process::example;
use tests::{App, Client, Launch, Scratch, Target};

use crate::files::folder;

/// `releases/1`, `releases/2` and so on, `current`, and the service, which runs through it.
struct Site {
    service: App,
    target: Target,
    home: Scratch,
}

impl Site {
    async fn start() -> Self {
        let home = Scratch::new();
        let site = home.path().to_owned();
        release(&home, "1");
        symlink("releases/1", site.join("current")).expect("a link");
        let service = Launch::program(site.join("current/app"))
            .listen("web", "127.0.0.1:0")
            .env("GRACEHTTP_CONTROL", format!("unix:{}", site.join("app.sock").display()))
            .env("GRACEHTTP_SUPERVISE", "always")
            .env("GRACEHTTP_ADMIN", "off")
            .env("GRACEHTTP_STANDBY", "300ms")
            .spawn();
        let target = service.target("web").await;
        Self { service, target, home }
    }

    /// Runs the script.
    async fn deploy(&self, release: &str) -> Output {
        let command = tokio::process::Command::new(folder().join("deploy.sh"))
            .arg(release)
            .env("APP_HOME", self.home.path())
            .output();
        within(PATIENCE, "the script's end", command).await.expect("the script runs")
    }

    /// The program that answers now.
    async fn serving(&self) -> PathBuf {
        let reply = get_once(&self.target, "/").await.expect("an answer").text();
        let pid = reply.trim_end().rsplit(' ').next().expect("a pid").to_owned();
        let program = fs::read_link(format!("/proc/{pid}/exe")).expect("a process that lives");
        program.strip_prefix(self.home.path()).expect("one of the releases").to_owned()
    }

    fn current(&self) -> PathBuf {
        fs::read_link(self.home.join("current")).expect("a link")
    }
}

/// Puts the program into `releases/NAME`.
fn release(home: &Scratch, name: &str) {
    fs::create_dir_all(home.join("releases").join(name)).expect("a folder");
    home.install(&example("app"), &format!("releases/{name}/app"));
}

/// Puts a program that can't serve there.
fn broken_release(home: &Scratch, name: &str, script: &str) {
    fs::create_dir_all(home.join("releases").join(name)).expect("a folder");
    let path = home.write(&format!("releases/{name}/app"), script);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own file");
}

#[tokio::test]
async fn the_script_deploys_and_rolls_back() {
    let site = Site::start().await;
    let mut client = Client::connect(&site.target).await.expect("a connection");
    assert_eq!(client.get("/").await.expect("an answer").status, 200);

    release(&site.home, "2");
    let good = site.deploy("2").await;
    assert!(good.status.success(), "{good:?}");
    assert_eq!(site.serving().await, Path::new("releases/2/app"));

    broken_release(&site.home, "3", "#!/bin/sh\necho the database is missing >&2\nexit 3\n");
    let bad = site.deploy("3").await;
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    let said = String::from_utf8_lossy(&bad.stderr);
    assert!(said.contains("it exited with status 3"), "{said}");
    assert_eq!(site.current(), Path::new("releases/2"));
    assert_eq!(site.serving().await, Path::new("releases/2/app"));

    broken_release(&site.home, "4", "this is not a program\n");
    assert_eq!(site.deploy("4").await.status.code(), Some(1));
    // A release that does not exist.
    assert_eq!(site.deploy("5").await.status.code(), Some(1));
    assert_eq!(site.serving().await, Path::new("releases/2/app"));

    // The next restart starts what is linked, and the client from before all of it has the same connection still.
    release(&site.home, "6");
    assert!(site.deploy("6").await.status.success());
    assert_eq!(site.serving().await, Path::new("releases/6/app"));
    assert_eq!(client.get("/").await.expect("the same connection").status, 200);
    assert!(site.service.stop().await.is_clean());
}
