//! curl, with several requests in one process: it tells how many connections it opened for each.

use std::collections::BTreeSet;
use std::process::Stdio;

use tests::patience::{PATIENCE, within};
use tokio::process::Command;

use super::*;

/// How many requests one process makes, and how many of them begin in a second.
const REQUESTS: usize = 24;
const RATE: usize = 8;

#[tokio::test]
async fn curl_keeps_its_connection() {
    if !tool("curl") {
        return;
    }
    for options in [["--tlsv1.3"].as_slice(), &["--tls-max", "1.2"]] {
        let service = Service::new(TLS).await;
        let url = format!("https://{}/facts?[1-{REQUESTS}]", service.target.address());
        let curl = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--insecure", "--http1.1"])
            .args(options)
            .args(["--rate", &format!("{}/m", 60 * RATE)])
            .args(["--write-out", " %{num_connects} %{local_port} %header{connection}\n", &url])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("curl");
        let output = tokio::spawn(curl.wait_with_output());
        let mut pids = 0;
        while !output.is_finished() {
            service.restart().await;
            pids += 1;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
        let output =
            within(PATIENCE, "the end of curl", output).await.expect("no panic").expect("its output");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}\n{text}", output.status);
        let (mut opened, mut answered, mut ports) = (0, BTreeSet::new(), BTreeSet::new());
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            // A connection that ends would be a fourth word behind the pid.
            let ["pong", "by", pid, connects, port] = words[..] else { panic!("{line:?} in\n{text}") };
            opened += connects.parse::<usize>().expect("a number");
            answered.insert(pid.to_owned());
            ports.insert(port.to_owned());
        }
        assert_eq!((text.lines().count(), opened, ports.len()), (REQUESTS, 1, 1), "{text}");
        assert!(answered.len() > 2, "{answered:?} of {pids} generations answered");
        service.app.predecessors_leave_cleanly().await;
        assert!(service.app.stop().await.is_clean());
    }
}
