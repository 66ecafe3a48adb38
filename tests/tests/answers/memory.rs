//! The memory of requests.

use super::*;
use gracehttp::Request;

/// Answers with the address of its request. It may keep the request for more than one poll.
#[server(port = 1)]
async fn whereabouts(request: Request) -> String {
    let path = request.uri().path();
    if path == "/wait" {
        tokio::task::yield_now().await;
    }
    format!("{:p}", path.as_ptr())
}

#[tokio::test]
async fn an_answered_request_is_freed_before_hyper_reads_on() {
    let server = TestServer::spawn(whereabouts::server(), ()).await;
    let mut client = client(&Target::from_url(&server.url())).await;
    let mut places = Vec::new();
    for _ in 0..10 {
        places.push(client.get("/where").await.expect("an answer").text());
    }
    // A connection that rests between two requests gets another buffer. One that stays awake would need another one, too,
    // as long as it keeps the request before.
    assert!(places.windows(2).any(|pair| pair[0] == pair[1]), "one buffer is enough: {places:?}");
    assert_eq!(client.get("/wait").await.expect("an answer").status, 200);
    server.shutdown().await;
}
