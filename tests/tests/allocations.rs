//! How often the server allocates memory for a request. A change that makes it allocate more often has to say so here.

use tests::Launch;
use tests::bench::contestant::Contestant;
use tests::bench::idle::{Arrival, Idle};
use tests::bench::security::Security;
use tests::bench::socket::learn_number;

/// So many that what happens beside them, such as a tick of a timer, does not count.
const REQUESTS: u64 = 2000;

/// What to do about it.
const CHANGED: &str =
    "the left number is what a request takes now: if it is less, or worth it, write it here";

#[tokio::test]
async fn allocations_of_a_request_to_a_handler_are_known() {
    assert_eq!(allocations_per_request("handler").await, 11, "{CHANGED}");
}

#[tokio::test]
async fn allocations_of_a_request_to_a_route_are_known() {
    assert_eq!(allocations_per_request("routed").await, 7, "{CHANGED}");
}

/// Counted by the server itself, and rounded.
async fn allocations_per_request(kind: &'static str) -> u64 {
    let launch = Launch::bin("counting");
    let server = Contestant::launch(launch, kind, Security::Plain, 1).await;
    let idle = Idle::of(&server).expect("an answer");
    let mut clients = idle.gather(1, Arrival::OneByOne).expect("a connection");
    let count = || learn_number(&server.endpoint, "/allocations").expect("a count");
    // The first requests fill what later ones find: the queue of a task, the fields of a request that come again.
    for _ in 0..10 {
        idle.ask_all(&mut clients).expect("all answers");
    }
    // A count needs a connection of its own, which allocates; so does the second one as much.
    let own = count();
    let own = count() - own;
    let before = count();
    for _ in 0..REQUESTS {
        idle.ask_all(&mut clients).expect("all answers");
    }
    let allocated = count() - before - own;
    (allocated + REQUESTS / 2) / REQUESTS
}
