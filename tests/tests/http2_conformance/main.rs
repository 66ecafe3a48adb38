//! A table of valid and invalid frame sequences of HTTP/2 clients: the server's reaction, and whether the connection
//! continues. Each row runs on plain text and over TLS, and all rows run at once in one process.

mod case;
mod table;

use std::sync::Arc;

use tests::{Launch, Scratch};
use tokio::task::JoinSet;

use crate::case::HEAD_TIMEOUT;
use crate::table::table;

#[tokio::test]
async fn every_sequence_of_frames_has_its_expected_outcome() {
    let scratch = Scratch::new();
    let options = format!("header_read_timeout={}ms max_headers=20 max_body=1000", HEAD_TIMEOUT.as_millis());
    let plan = format!("server web 127.0.0.1:0 {options}\nserver tls 127.0.0.1:0 tls=self_signed {options}");
    let app = Launch::app(&scratch, &plan).start("tls").await;
    let table = Arc::new(table());
    assert!(table.len() >= 60);
    let mut running = JoinSet::new();
    for server in ["web", "tls"] {
        let target = app.target(server).await;
        for row in 0..table.len() {
            let (table, target) = (Arc::clone(&table), target.clone());
            running.spawn(async move {
                let case = &table[row];
                let outcome = case.run(&target).await;
                outcome
                    .err()
                    .map(|fault| format!("{} (section {}, {server}): {fault}", case.name, case.section))
            });
        }
    }
    let faults: Vec<String> = running.join_all().await.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), 2 * table.len(), faults.join("\n"));
}
