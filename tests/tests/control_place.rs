//! Where the control socket is, and what may be in its way.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use tests::control::{Ran, Script, Stage, WEB, address, program};
use tests::process::bin;
use tests::{Exit, Launch, Scratch};

/// What `status` prints, if it is run in this directory with these variables and without others that say where the
/// socket is.
fn status(directory: &Path, variables: &[(&str, &str)]) -> Ran {
    let mut command = program(bin("app"));
    command
        .arg("status")
        .current_dir(directory)
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("XDG_RUNTIME_DIR");
    command.envs(variables.iter().copied());
    Ran::from(command.output().expect("the command"))
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().expect("a file").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_process_without_a_socket_says_how_to_have_one() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).start("web").await;
    let status = |value: Option<&str>, args: &[&str]| {
        let mut command = program(bin("app"));
        command.arg("status").args(args).env_remove("RUNTIME_DIRECTORY");
        command.env_remove("XDG_RUNTIME_DIR").envs(value.map(|value| ("GRACEHTTP_CONTROL", value)));
        Ran::from(command.output().expect("the command")).failed()
    };
    let told = status(None, &[]);
    assert!(told.starts_with("where is the control socket?") && told.contains("--control PATH"), "{told}");
    let told = status(Some("off"), &[]);
    assert!(told.starts_with("the control socket is off"), "{told}");
    let told = status(None, &["--control", "/nowhere/app.sock"]);
    assert!(
        told.starts_with("the control socket /nowhere/app.sock can't be reached: there is no such"),
        "{told}"
    );
    let told = status(Some("127.0.0.1:80"), &[]);
    assert!(told.contains("valid is `unix:` and the path of a socket"), "{told}");
    assert_eq!(app.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn a_socket_that_can_not_be_had_keeps_the_process_from_starting() {
    let scratch = Scratch::new();
    let other = Launch::app(&scratch, WEB).env("GRACEHTTP_CONTROL", address(&scratch)).start("web").await;
    let long = format!("unix:/tmp/{}", "x".repeat(200));
    for (control, told) in [
        (address(&scratch).as_str(), "the socket is in use by pid "),
        (
            "unix:/nowhere/app.sock",
            "the directory /nowhere does not exist; create it, or choose another one by `control`",
        ),
        (long.as_str(), "the path is longer than the 107 bytes"),
    ] {
        let app = Launch::app(&scratch, WEB).env("GRACEHTTP_CONTROL", control).spawn();
        assert_eq!(app.current().exit().await, Exit::Code(1), "{}", app.log);
        app.catch_up().await;
        assert_eq!(app.log.count(0, "the control socket cannot listen on unix:"), 1, "{}", app.log);
        assert_eq!(app.log.count(0, told), 1, "{told}\n{}", app.log);
    }
    assert_eq!(other.stop().await, Exit::Code(0));

    // A file that a dead process has left is replaced.
    let killed = Launch::app(&scratch, WEB).env("GRACEHTTP_CONTROL", address(&scratch)).start("web").await;
    killed.current().kill();
    killed.current().exit().await;
    let next = Launch::app(&scratch, WEB).env("GRACEHTTP_CONTROL", address(&scratch)).start("web").await;
    assert_eq!(Script::new(&scratch.join("control.sock")).ask(r#"{"command":"status"}"#)["type"], "status");
    assert_eq!(next.stop().await, Exit::Code(0));
}

#[tokio::test]
async fn another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED another_user_is_refused: only root can become another user");
        return;
    }
    let stage = Stage::new().await;
    std::fs::set_permissions(stage.scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // A copy that the other user can reach.
    let program = stage.scratch.install(&bin("app"), "app");
    let mut command = self::program(program);
    command.args(["status", "--control"]).arg(stage.socket()).uid(65_534).gid(65_534).current_dir("/");
    match command.output() {
        Ok(output) => {
            let told = Ran::from(output).failed();
            assert!(told.contains("permission denied: only the user that runs the process"), "{told}");
        }
        Err(error) => {
            eprintln!("SKIPPED another_user_is_refused: another user can't run the program: {error}");
        }
    }
    stage.stop().await;
}

/// The usual place is the directory that systemd makes.
#[tokio::test]
async fn the_usual_place_is_the_runtime_directory() {
    let scratch = Scratch::new();
    let directory = scratch.join("run");
    std::fs::create_dir(&directory).unwrap();
    let app = Launch::app(&scratch, WEB).env("RUNTIME_DIRECTORY", &directory).start("web").await;
    let mut command = program(bin("app"));
    command.arg("status").env("RUNTIME_DIRECTORY", &directory);
    let told = Ran::from(command.output().expect("the command")).succeeded();
    assert!(told.starts_with("generation 1"), "{told}");
    assert!(directory.join("app.sock").exists());
    assert_eq!(app.stop().await, Exit::Code(0));
    assert!(!directory.join("app.sock").exists());
}

/// Also where the path of the pid file is relative: both are in the working directory of the process.
#[tokio::test]
async fn the_usual_place_is_also_beside_the_pid_file_and_stays_there_through_a_restart() {
    for pid_file in ["absolute", "relative"] {
        let scratch = Scratch::new();
        let path = scratch.join("shop.pid");
        let path = if pid_file == "relative" { "shop.pid" } else { path.to_str().unwrap() };
        let launch = Launch::app(&scratch, WEB).env("GRACEHTTP_PID_FILE", path).directory(scratch.path());
        let app = launch.after("umask 0;").start("web").await;
        let socket = scratch.join("shop.sock");
        assert_eq!(mode(&socket), 0o600, "whatever the umask is");
        let variables = [("GRACEHTTP_PID_FILE", path)];
        let told = status(scratch.path(), &variables).succeeded();
        assert!(told.starts_with("generation 1"), "{told}");
        let successor = app.restart().await;
        app.serves(&app.target("web").await, &successor).await;
        let told = status(scratch.path(), &variables).succeeded();
        assert!(told.starts_with("generation 2"), "{told}");
        assert_eq!(mode(&socket), 0o600);
        assert!(app.stop().await.is_clean());
        assert!(!socket.exists());
    }
}

/// A usual place is an offer: without it the process serves, and says why there is no socket.
#[tokio::test]
async fn a_usual_place_that_can_not_be_had_is_said_and_the_process_serves() {
    let scratch = Scratch::new();
    let long = scratch.join(&"x".repeat(120));
    std::fs::create_dir(&long).unwrap();
    let (taken, file) = (scratch.join("taken"), scratch.join("file"));
    std::fs::create_dir(&taken).unwrap();
    std::fs::create_dir(&file).unwrap();
    let other = UnixListener::bind(taken.join("app.sock")).unwrap();
    std::fs::write(file.join("app.sock"), "somebody's").unwrap();
    for (directory, told) in [
        (scratch.join("nowhere"), "does not exist"),
        (long, "the path is longer than the 107 bytes"),
        (taken, "the socket is in use"),
        (file.clone(), "a file that is not a socket is in its place"),
    ] {
        let app = Launch::app(&scratch, WEB).env("RUNTIME_DIRECTORY", &directory).start("web").await;
        app.log.line(0, told).await;
        assert_eq!(app.log.count(0, "the control socket cannot listen on unix:"), 1, "{}", app.log);
        assert_eq!(app.log.count(0, told), 1, "{told}\n{}", app.log);
        assert_eq!(app.stop().await, Exit::Code(0), "{}", app.log);
    }
    drop(other);
    assert_eq!(std::fs::read_to_string(file.join("app.sock")).unwrap(), "somebody's");
}

#[tokio::test]
async fn a_stale_socket_in_the_usual_place_is_replaced() {
    let scratch = Scratch::new();
    let socket = scratch.join("app.sock");
    drop(UnixListener::bind(&socket).unwrap());
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).unwrap();
    let app = Launch::app(&scratch, WEB).env("RUNTIME_DIRECTORY", scratch.path());
    let app = app.after("umask 0777;").start("web").await;
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(Script::new(&socket).ask(r#"{"command":"status"}"#)["type"], "status");
    assert_eq!(app.stop().await, Exit::Code(0));
    assert!(!socket.exists());
}

/// A command runs in a shell, or for logrotate, without the variables of the service, and is needed most when the file has
/// a mistake.
#[tokio::test]
async fn a_command_reads_no_more_of_the_configuration_than_where_the_socket_is() {
    let stage = Stage::new().await;
    let socket = stage.socket();
    let directory = Scratch::new();
    let file = |text: &str| {
        directory.write("Gracehttp.toml", text);
    };
    let control = format!("control = \"{}\"\n", address(&stage.scratch));
    for other in
        ["drain_timuot = \"5s\"", "standby = 10\n[server.nobody]\nport = 1\n[app]\nx = 1", "[server.web\n"]
    {
        file(&format!("{control}{other}"));
        let told = status(directory.path(), &[("GRACEHTTP_STANBY", "2s")]).succeeded();
        assert!(told.starts_with("generation 1"), "{other}\n{told}");
    }

    // What it reads has to be right.
    file("\ncontrol = 5");
    let told = status(directory.path(), &[]).failed();
    assert!(told.starts_with("Gracehttp.toml:2: `control = 5`: valid is `unix:` and"), "{told}");
    let missing = ("GRACEHTTP_CONFIG", "/nowhere/app.toml");
    let told = status(directory.path(), &[missing]).failed();
    assert!(told.contains("/nowhere/app.toml") && told.ends_with("by --control PATH"), "{told}");
    let told = status(directory.path(), &[missing, ("GRACEHTTP_CONTROL", &address(&stage.scratch))]);
    assert!(told.succeeded().starts_with("generation 1"));

    // A relative path leads elsewhere from here, and the argument may be written as the key is.
    file("control = \"unix:control.sock\"");
    let told = status(directory.path(), &[]).failed();
    let place = format!("control.sock (as {}) can't be reached", directory.join("control.sock").display());
    assert!(told.contains(&place), "{told}");
    for path in [address(&stage.scratch), socket.display().to_string()] {
        let told = stage.run(&["status", "--control", &path]).await.succeeded();
        assert!(told.starts_with("generation 1"), "{told}");
    }
    stage.stop().await;
}
