//! The pid file: whole or absent, right after each restart, and gone at the end.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::client::get_once;
use tests::patience::eventually;
use tests::process::{bin, skipped};
use tests::{App, Exit, Launch, Scratch, Signal};

const WEB: &str = "server web 127.0.0.1:0";

fn launch(scratch: &Scratch) -> Launch {
    Launch::app(scratch, WEB).env("GRACEHTTP_PID_FILE", scratch.join("app.pid"))
}

fn read(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim_end().parse().unwrap_or_else(|_| panic!("half a pid file: {text:?}")))
}

async fn names(path: &Path, pid: u32) {
    eventually(&format!("the pid file to name {pid}"), || read(path) == Some(pid)).await;
}

async fn stop(app: &App, path: &Path) {
    app.predecessors_exit().await;
    assert_eq!(app.stop().await, Exit::Code(0));
    assert!(!path.exists(), "the file is gone with the service");
}

#[tokio::test]
async fn it_follows_restarts_and_is_removed_at_the_end() {
    let scratch = Scratch::new();
    let path = scratch.join("app.pid");
    let app = launch(&scratch).start("web").await;
    names(&path, app.pid()).await;
    for _ in 0..3 {
        let successor = app.restart().await;
        names(&path, successor.pid()).await;
    }
    app.predecessors_leave_cleanly().await;
    assert_eq!(read(&path), Some(app.pid()), "no predecessor has removed it");
    stop(&app, &path).await;
}

#[tokio::test]
async fn it_names_the_process_that_has_taken_over_again() {
    let scratch = Scratch::new();
    let path = scratch.join("app.pid");
    let app = launch(&scratch).env("GRACEHTTP_STANDBY", "10s").start("web").await;
    let successor = app.restart().await;
    names(&path, successor.pid()).await;
    successor.signal(Signal::KILL);
    names(&path, app.first().pid()).await;
    app.first().signal(Signal::TERM);
    assert_eq!(app.first().exit().await, Exit::Code(0));
    assert!(!path.exists());
}

#[tokio::test]
async fn case_25_a_stale_file_is_replaced_and_one_of_a_stranger_with_a_notice() {
    let scratch = Scratch::new();
    let path = scratch.write("app.pid", "4194304\n");
    let app = launch(&scratch).start("web").await;
    names(&path, app.pid()).await;
    app.log.line(0, "named pid 4194304, which has ended without removing it").await;
    stop(&app, &path).await;

    // The stranger gets no signal, and nothing else: it is this test's own child.
    let mut stranger = Command::new("sleep").arg("100").spawn().unwrap();
    scratch.write("app.pid", stranger.id().to_string());
    let app = launch(&scratch).start("web").await;
    names(&path, app.pid()).await;
    let words = format!("named pid {}, which is a process of another program (`sleep`)", stranger.id());
    app.log.line(0, &words).await;
    // One that another service has put there meanwhile stays.
    scratch.write("app.pid", stranger.id().to_string());
    assert_eq!(app.stop().await, Exit::Code(0));
    assert_eq!(read(&path), Some(stranger.id()));
    assert!(stranger.try_wait().unwrap().is_none(), "it lives on");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_pid_file_is_not_touched() {
    let scratch = Scratch::new();
    let path = scratch.write("app.pid", "something of value\n");
    let app = launch(&scratch).start("web").await;
    app.log.line(0, "can't be written: another file is in its place, which is no pid file").await;
    assert_eq!(get_once(&app.target("web").await, "/ping").await.unwrap().pid(), Some(app.pid()));
    assert_eq!(app.stop().await, Exit::Code(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), "something of value\n");
}

#[tokio::test]
async fn case_24_on_a_full_disk_the_service_goes_on_without_it() {
    if !rustix::process::geteuid().is_root() {
        return skipped("root, to mount a disk that is full");
    }
    let mounts = Command::new("unshare").args(["--mount", "mount", "--make-rprivate", "/"]).output();
    if !mounts.is_ok_and(|output| output.status.success()) {
        return skipped("a machine that lets root mount something");
    }
    let scratch = Scratch::new();
    let disk = scratch.join("disk");
    fs::create_dir(&disk).unwrap();
    let at = disk.display();
    let words = format!(
        "mount --make-rprivate / && mount -t tmpfs -o size=4k tmpfs {at} && head -c 4096 /dev/zero >{at}/full && exec {}",
        bin("app").display()
    );
    let launch = Launch::program("unshare").arg("--mount").arg("sh").arg("-c").arg(words);
    let launch = launch.plan(&scratch, WEB).env("GRACEHTTP_STANDBY", "0s").env("GRACEHTTP_CONTROL", "off");
    let app = launch.env("GRACEHTTP_PID_FILE", disk.join("app.pid")).spawn();
    app.log.line(0, "app.pid can't be written: No space left on device").await;
    let web = app.target("web").await;
    // The disk as the process sees it.
    let inside = |pid: u32| {
        Path::new("/proc").join(pid.to_string()).join("root").join(disk.strip_prefix("/").unwrap())
    };
    let files = fs::read_dir(inside(app.pid())).unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(files.collect::<Vec<_>>(), ["full"], "neither an empty file nor a temporary one");
    let successor = app.restart().await;
    app.serves(&web, &successor).await;
    app.predecessors_leave_cleanly().await;
    // There is room again, and the next restart writes it.
    fs::remove_file(inside(app.pid()).join("full")).unwrap();
    let successor = app.restart().await;
    names(&inside(successor.pid()).join("app.pid"), successor.pid()).await;
    app.predecessors_leave_cleanly().await;
    assert_eq!(app.stop().await, Exit::Code(0));
}
