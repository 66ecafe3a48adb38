//! The binary, the link to it, or the working directory is replaced while the application runs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use tests::load::Style;
use tests::process::{bin, run};
use tests::{App, Launch, Load, Scratch};

const WEB: &str = "server web 127.0.0.1:0";

/// Restarts twice under load: the second restart shows that the first left everything in order.
async fn restarts_well(app: &App) {
    let target = app.target("web").await;
    let load = Load::on(&target).clients(3, Style::Get).clients(2, Style::Fresh);
    for number in 1..=2 {
        load.answers(20).await;
        load.mark(format!("signal {number}"));
        let successor = app.restart().await;
        app.serves(&target, &successor).await;
    }
    load.stop().await.assert_unnoticed();
    app.predecessors_leave_cleanly().await;
}

#[tokio::test]
async fn case_34_restart_runs_a_binary_replaced_by_rename() {
    let scratch = Scratch::new();
    let program = scratch.install(&bin("app"), "app");
    let app =
        Launch::program(&program).plan(&scratch, WEB).env("GRACEHTTP_STANDBY", "300ms").start("web").await;
    let old = app.current();
    scratch.install(&bin("app"), "app");
    assert!(old.program().to_string_lossy().ends_with(" (deleted)"));
    restarts_well(&app).await;
    assert_eq!(app.current().program(), program);
}

#[tokio::test]
async fn case_34_restart_runs_a_script_that_starts_the_binary() {
    let scratch = Scratch::new();
    let program = scratch.install(&bin("app"), "app");
    let app =
        Launch::program(&program).plan(&scratch, WEB).env("GRACEHTTP_STANDBY", "300ms").start("web").await;
    let words = format!("#!/bin/sh\necho the new code runs\nexec {} \"$@\"\n", bin("app").display());
    let script = scratch.write("script", words);
    scratch.install(&script, "app");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let start = app.log.end();
    restarts_well(&app).await;
    app.log.line(start, "the new code runs").await;
}

/// `version` holds the program; the link `current` leads to it.
fn point(scratch: &Scratch, version: &str) {
    fs::create_dir_all(scratch.join(version)).expect("writable");
    scratch.install(&bin("app"), &format!("{version}/app"));
    let link = scratch.join("current.new");
    symlink(version, &link).expect("writable");
    fs::rename(link, scratch.join("current")).expect("writable");
}

#[tokio::test]
async fn case_37_restart_follows_a_moved_link_to_its_new_target() {
    let scratch = Scratch::new();
    point(&scratch, "v1");
    let app = Launch::program(scratch.join("current/app"))
        .plan(&scratch, WEB)
        .env("GRACEHTTP_STANDBY", "300ms")
        .start("web")
        .await;
    assert_eq!(app.current().program(), scratch.join("v1/app"));
    point(&scratch, "v2");
    fs::remove_dir_all(scratch.join("v1")).unwrap();
    restarts_well(&app).await;
    assert_eq!(app.current().program(), scratch.join("v2/app"));
}

/// A shell starts the program as a user would, by a name that is valid only in that directory.
fn relative(scratch: &Scratch, directory: &Path, name: &str) -> Launch {
    let directory = directory.display();
    let words = format!("cd '{directory}'; PATH=\"$PWD:$PATH\"; exec {name}; :");
    Launch::program(scratch.join("unused")).plan(scratch, WEB).env("GRACEHTTP_STANDBY", "300ms").after(&words)
}

#[tokio::test]
async fn case_37_restart_runs_the_same_program_by_a_relative_name() {
    for name in ["./app", "../run/app", "app"] {
        let scratch = Scratch::new();
        let directory = scratch.join("run");
        fs::create_dir(&directory).unwrap();
        let program = scratch.install(&bin("app"), "run/app");
        let app = relative(&scratch, &directory, name).start("web").await;
        restarts_well(&app).await;
        assert_eq!(app.current().program(), program, "{name}");
    }
}

#[tokio::test]
async fn case_36_restart_works_after_the_working_directory_is_deleted() {
    let scratch = Scratch::new();
    let directory = scratch.join("directory");
    fs::create_dir(&directory).unwrap();
    let app = Launch::app(&scratch, WEB).directory(&directory).start("web").await;
    fs::remove_dir(&directory).unwrap();
    restarts_well(&app).await;
}

#[tokio::test]
async fn case_36_restart_uses_the_replaced_working_directory() {
    let scratch = Scratch::new();
    let directory = scratch.join("directory");
    fs::create_dir(&directory).unwrap();
    let app = Launch::app(&scratch, WEB).directory(&directory).start("web").await;
    fs::rename(&directory, scratch.join("old")).unwrap();
    fs::create_dir(&directory).unwrap();
    restarts_well(&app).await;
    let cwd = fs::read_link(format!("/proc/{}/cwd", app.pid())).unwrap();
    assert_eq!(cwd, directory, "the directory of that name, as at the first start");
}

#[tokio::test]
async fn arguments_and_environment_reach_every_generation() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB)
        .arg("--colour=blue")
        .arg(OsStr::new("two words"))
        .env("COLOUR", "red")
        .env("APP_WITHOUT_COMMANDS", "yes")
        .start("web")
        .await;
    let first = fs::read(format!("/proc/{}/cmdline", app.pid())).unwrap();
    restarts_well(&app).await;
    assert_eq!(fs::read(format!("/proc/{}/cmdline", app.pid())).unwrap(), first);
    let environment = fs::read(format!("/proc/{}/environ", app.pid())).unwrap();
    assert!(String::from_utf8_lossy(&environment).contains("COLOUR=red"));
}

#[tokio::test]
async fn case_33_foreign_descriptors_are_neither_closed_nor_passed_on() {
    let scratch = Scratch::new();
    let app = Launch::app(&scratch, WEB).after("exec 9</dev/zero;").start("web").await;
    let foreign = |pid: u32| fs::read_link(format!("/proc/{pid}/fd/9")).ok();
    let first = app.current();
    assert_eq!(foreign(first.pid()).as_deref(), Some(Path::new("/dev/zero")));
    let second = app.restart().await;
    assert_eq!(foreign(first.pid()).as_deref(), Some(Path::new("/dev/zero")));
    // The successor may use the number for a descriptor of its own.
    assert_ne!(foreign(second.pid()).as_deref(), Some(Path::new("/dev/zero")));
}

#[tokio::test]
async fn case_35_kernel_refuses_to_rewrite_a_running_binary() {
    let scratch = Scratch::new();
    let program = scratch.install(&bin("app"), "app");
    let app =
        Launch::program(&program).plan(&scratch, WEB).env("GRACEHTTP_STANDBY", "300ms").start("web").await;
    // The kernel answers "Text file busy": the deployment fails at once, and the application continues.
    let written = fs::OpenOptions::new().write(true).open(&program);
    assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::ExecutableFileBusy);
    run("cp", &["-f".as_ref(), bin("app").as_os_str(), program.as_os_str()]);
    restarts_well(&app).await;
}
