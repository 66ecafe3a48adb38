//! The last stage of the Dockerfile, built and run by a container engine: what it sets makes the service one that restarts
//! and stops as in the guide. The program is copied in, and so is what it links: no registry is needed.
//!
//! `CONTAINER_ENGINE` names the engine, with options: `podman --runtime runc`. Without it nothing is built or run.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Output;

use tests::client::get_once;
use tests::load::Style;
use tests::patience::{GLANCE, PATIENCE, within};
use tests::process::{bin, skipped};
use tests::{Client, Load, Scratch, Target};

use crate::files::text;

/// The user that the base image has and an empty one has not.
const BASE: &str = "FROM scratch\nUSER 65532:65532\n";

/// As in the guide and in `compose.yaml`: nothing is writable but the place of the control socket.
const RUN: &str = "run --detach --network host --read-only --volume /run/app --memory 256m --cap-drop all --security-opt \
    no-new-privileges --stop-timeout 40 --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --env APP_PLAN=/etc/app/plan \
    --env GRACEHTTP_ADMIN=127.0.0.1:0 --env GRACEHTTP_STANDBY=300ms";

/// The command line of an engine.
struct Engine(Vec<String>);

impl Engine {
    fn named() -> Option<Self> {
        let Ok(line) = std::env::var("CONTAINER_ENGINE") else {
            skipped("a container engine: CONTAINER_ENGINE=docker, or =podman");
            return None;
        };
        Some(Self(line.split_whitespace().map(str::to_owned).collect()))
    }

    async fn call(&self, line: &str, more: &[&OsStr]) -> Output {
        let (program, options) = self.0.split_first().expect("a program");
        let mut command = tokio::process::Command::new(program);
        command.args(options).args(line.split_whitespace()).args(more);
        within(PATIENCE * 3, line, command.output())
            .await
            .unwrap_or_else(|error| panic!("{program}: {error}"))
    }
}

/// A container and its image, of the same name. Both are removed when it is dropped.
struct Container {
    engine: Engine,
    name: String,
}

impl Drop for Container {
    fn drop(&mut self) {
        for line in [format!("rm --force --volumes {}", self.name), format!("rmi {}", self.name)] {
            let mut command = std::process::Command::new(&self.engine.0[0]);
            _ = command.args(&self.engine.0[1..]).args(line.split_whitespace()).output();
        }
    }
}

impl Container {
    /// None, loudly, if no engine is named.
    async fn start() -> Option<Self> {
        let engine = Engine::named()?;
        let context = context();
        let name = format!("gracehttp-test-{}", std::process::id());
        let container = Self { engine, name };
        let build = format!("build --tag {}", container.name);
        let run = format!("{RUN} --name {}", container.name);
        for (line, last) in [(build, context.path().as_os_str()), (run, container.name.as_ref())] {
            let output = container.engine.call(&line, &[last]).await;
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Some(container)
    }

    /// Calls the engine for this container.
    async fn succeeds(&self, line: &str) -> String {
        let output = self.engine.call(&line.replace("app1", &self.name), &[]).await;
        assert!(output.status.success(), "{line}: {output:?}\n{}", self.log().await);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    async fn log(&self) -> String {
        let output = self.engine.call(&format!("logs {}", self.name), &[]).await;
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Waits for words in the log, and returns what follows them.
    async fn says(&self, words: &str) -> String {
        let said = async {
            loop {
                match self.log().await.split_once(words) {
                    Some((_, rest)) => return rest.to_owned(),
                    None => tokio::time::sleep(GLANCE).await,
                }
            }
        };
        within(PATIENCE, words, said).await
    }
}

/// What the last stage copies: the program with its libraries, the settings, and an empty folder.
fn context() -> Scratch {
    let context = Scratch::new();
    let program = bin("app");
    let copy = |from: &Path, to: &str| {
        let to = context.join("image").join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().expect("a folder")).expect("writable");
        fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    };
    copy(&program, "/usr/local/bin/app");
    let linked = std::process::Command::new("ldd").arg(&program).output().expect("ldd");
    for library in
        String::from_utf8_lossy(&linked.stdout).split_whitespace().filter(|word| word.starts_with('/'))
    {
        copy(Path::new(library), library);
    }
    fs::create_dir_all(context.join("image/etc/app")).expect("writable");
    // The program of the tests has no settings of its own.
    let settings = text("Gracehttp.toml");
    let (settings, _) = settings.split_once("[app]").expect("the table of the application");
    context.write("image/etc/app/Gracehttp.toml", settings);
    context.write("image/etc/app/plan", "server web 127.0.0.1:0");
    fs::create_dir(context.join("empty")).expect("writable");
    let dockerfile = text("Dockerfile").replace(" --from=build", "");
    let (_, stage) = dockerfile.rsplit_once("FROM ").expect("the last stage");
    let (_, stage) = stage.split_once('\n').expect("instructions");
    context.write("Dockerfile", format!("{BASE}{stage}"));
    context
}

async fn serving(target: &Target) -> u32 {
    get_once(target, "/ping").await.expect("an answer").pid().expect("a pid")
}

#[tokio::test]
async fn a_container_restarts_in_place_and_stops_with_status_0() {
    let Some(container) = Container::start().await else { return };
    let banner = container.says("serving web on ").await;
    let target = Target::from_url(banner.split_whitespace().next().expect("an address"));

    let load = Load::on(&target).clients(3, Style::Get).clients(2, Style::Fresh).clients(2, Style::Post);
    for line in ["exec app1 app restart --wait", "kill --signal HUP app1"] {
        load.answers(20).await;
        let before = serving(&target).await;
        container.succeeds(line).await;
        let another = async {
            while serving(&target).await == before {
                tokio::time::sleep(GLANCE).await;
            }
        };
        within(PATIENCE, "another generation", another).await;
    }
    load.answers(20).await;
    load.stop().await.assert_unnoticed();

    let mut client = Client::connect(&target).await.expect("a connection");
    client.send("GET /slow?1500 HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    container.says("slow begins").await;
    container.succeeds("stop app1").await;
    assert_eq!(client.reply().await.expect("the answer to the request in flight").status, 200);
    assert_eq!(container.succeeds("inspect --format {{.State.ExitCode}} app1").await, "0");
}
