//! Clients that leave before the successor has their connections. It asks no socket: such a connection parks like any
//! other, and its parking lot wakes it.

use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::AsRawFd as _;
use tokio::time::sleep;

use crate::conn::wake_parked;
use crate::handoff::transit_tests::SOON;
use crate::handoff::transit_tests::stage::{Stage, session};

/// One client closes its connection on the way, and another one its own side.
#[tokio::test(start_paused = true)]
async fn the_permit_of_a_client_that_left_on_the_way_returns() {
    for is_secure in [false, true] {
        let mut stage = Stage::begin().await;
        for name in [1, 2] {
            stage.leave_with(is_secure.then(|| session(name, b"")), b"");
            let (batch, fds) = stage.batch().await;
            let client = stage.clients.pop().expect("the one that has left");
            if name == 2 {
                shutdown(client.as_raw_fd(), Shutdown::Write).unwrap();
                stage.clients.push(client);
            }
            stage.deliver(&batch, &fds).await;
            let confirmation = stage.confirmation().await;
            stage.to_predecessor.send(&confirmation, &[]).await.unwrap();
        }
        sleep(SOON).await;
        let servers = [&stage.predecessor, &stage.successor]
            .map(|process| if is_secure { &process.secure } else { &process.plain });
        let held = || servers.map(|server| server.permits.held());
        assert_eq!((stage.predecessor.moved(), held()), (2, [0, 2]), "secure: {is_secure}");
        assert_eq!(servers[1].lot.len(), 2, "secure: {is_secure}");

        let waking = tokio::spawn(wake_parked(servers[1].clone()));
        for _ in 0..100 {
            if held() == [0, 0] {
                break;
            }
            sleep(SOON).await;
        }
        assert_eq!((held(), servers[1].lot.len()), ([0, 0], 0), "secure: {is_secure}");
        waking.abort();
    }
}
