//! Clients that others wrote keep their TLS connections over restarts. Connections are counted, since a client that
//! connects again hides a failure: by the client itself, and by the port that the server sees.

mod curl;
mod openssl;
mod program;

use std::path::Path;

use program::Program;
use tests::process::{run, tool};
use tests::{Scratch, Service};

const TLS: &str = "server tls 127.0.0.1:0 tls=self_signed";

/// The versions as the programs name them.
const VERSIONS: [&str; 2] = ["TLSv1_3", "TLSv1_2"];

/// The path of a program's source.
fn source(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls_real_clients").join(name);
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// The program keeps one connection over restarts: while it is idle, and while a request is in flight.
async fn keeps_its_connection(command: &[&str]) {
    for version in VERSIONS {
        let service = Service::new(TLS).await;
        let mut program = Program::start(command, &[&service.target.address().to_string(), version]);
        let first = program.ask("/facts").await;
        assert_eq!((first.status, first.opened), (200, 1), "{first:?}");
        for _ in 0..3 {
            let idle = service.app.restart().await;
            program.moves_to(idle.pid()).await;

            let begins = service.app.log.end();
            program.send("/slow?ms=500").await;
            service.app.log.line(begins, "slow begins").await;
            let busy = service.app.restart().await;
            assert_eq!(program.answer().await.pid(), Some(idle.pid()), "{version}");
            program.moves_to(busy.pid()).await;
        }
        let last = program.ask("/facts").await;
        assert_eq!((last.opened, last.peer), (1, first.peer), "{version}");
        program.ends().await;
        service.app.predecessors_leave_cleanly().await;
        assert!(service.app.stop().await.is_clean());
    }
}

#[tokio::test]
async fn python_keeps_its_connection() {
    if tool("python3") {
        keeps_its_connection(&["python3", &source("client.py")]).await;
    }
}

#[tokio::test]
async fn python_requests_keeps_its_connection() {
    if tool("python3") && program::python_has("requests") {
        keeps_its_connection(&["python3", &source("client_requests.py")]).await;
    }
}

#[tokio::test]
async fn node_keeps_its_connection() {
    if tool("node") {
        keeps_its_connection(&["node", &source("client.js")]).await;
    }
}

#[tokio::test]
async fn go_keeps_its_connection() {
    if tool("go") {
        let scratch = Scratch::new();
        let program = scratch.join("client");
        let source = source("client.go");
        run("go", &["build".as_ref(), "-o".as_ref(), program.as_os_str(), source.as_ref()]);
        keeps_its_connection(&[program.to_str().expect("a path in UTF-8")]).await;
    }
}
