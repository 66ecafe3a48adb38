//! The unit files of the repository, under a real systemd.

use tests::Systemd;
use tests::process::{bin, skipped};
use tests::systemd::{WEB, pid};

/// The unit files of the repository, by name.
fn examples() -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy");
    let files = std::fs::read_dir(folder).expect("the folder").map(|file| file.expect("a file").path());
    let units =
        files.filter(|path| path.extension().is_some_and(|kind| kind == "service" || kind == "socket"));
    let units = units.map(|path| {
        let text = std::fs::read_to_string(&path).expect("a text");
        (path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned(), text)
    });
    units.collect()
}

#[test]
fn systemd_understands_the_example_units() {
    let version = std::process::Command::new("systemd-analyze").arg("--version").output();
    let Ok(version) = version else { return skipped("systemd-analyze") };
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let version: u32 =
        version.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default();
    let scratch = tests::Scratch::new();
    let mut files = Vec::new();
    for (name, text) in examples() {
        // `notify-reload` came with 253. The rest of the unit is checked all the same.
        let text = match version < 253 {
            true => text.replace("Type=notify-reload", "Type=notify").replace("ReloadSignal=SIGHUP\n", ""),
            false => text,
        };
        files.push(scratch.write(&name, text.replace("/usr/local/bin/app", bin("app").to_str().unwrap())));
    }
    assert!(files.len() >= 6, "{files:?}");
    let mut analyze = std::process::Command::new("systemd-analyze");
    let output = analyze.args(["verify", "--man=no"]).args(&files).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    // Faults in the machine's own units are not ours.
    let ours: Vec<&str> = told.lines().filter(|line| line.contains("app")).collect();
    assert!(ours.is_empty() && output.status.success(), "{told}");
}

#[tokio::test]
async fn the_hardened_unit_serves_and_restarts() {
    let (_, unit) = examples().into_iter().find(|(name, _)| name == "app-hardened.service").unwrap();
    let unit = unit.replace("/usr/local/bin/app", "{app}").replace(
        "RuntimeDirectory=app",
        "RuntimeDirectory=app\n\
         Environment=GRACEHTTP_CONTROL=unix:/run/app/app.sock GRACEHTTP_STANDBY=300ms GRACEHTTP_PID_FILE=/run/app/app.pid",
    );
    // Programs and logs of the test lie where the unit hides them.
    let unit = unit.replace("PrivateTmp=yes\n", "");
    let Some((systemd, web)) = Systemd::with_service(&unit, WEB).await else { return };
    let generation = pid(&web).await;
    systemd.reload().await;
    assert_ne!(pid(&web).await, generation);
    let pid_file = systemd.run(&["cat", "/run/app/app.pid"]);
    assert_eq!(String::from_utf8_lossy(&pid_file.stdout).trim(), systemd.main_pid("app").to_string());
    // In tenths: 10.0 is the worst. It is what the unit's comment says, and some room for other versions of systemd.
    let graded = systemd.run(&["systemd-analyze", "security", "--threshold=25", "app.service"]);
    assert!(graded.status.success(), "{}", String::from_utf8_lossy(&graded.stdout));
    systemd.stop();
}
