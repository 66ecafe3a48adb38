//! What the marks of a dead successor decide.

use bytes::Bytes;
use tokio::time::{advance, sleep};

use crate::handoff::handover::Recovered;
use crate::handoff::transit_tests::SOON;
use crate::handoff::transit_tests::stage::Stage;
use crate::handoff::wire::ToSuccessor;
use crate::ledger::Mark;
use crate::socket::{Origin, Stage as At};

/// How far the two processes have come when the successor dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// The successor has claimed the batch, and its confirmation is lost.
    Claimed,
    Confirmed,
    /// After the confirmation the predecessor was suspended.
    Suspended,
}

/// Three connections with a byte of their next request; the successor marks each with one of these. Returns what comes
/// back: where they stand, and the bytes that were read of their next request.
async fn come_back(mut stage: Stage, last: Last, marks: [Mark; 3]) -> (Vec<(At, Bytes)>, usize) {
    (0..3).for_each(|_| stage.leave_with(None, b"G"));
    let (mut batch, fds) = stage.batch().await;
    let ToSuccessor::BatchV3 { connections, .. } = &mut batch else { panic!("{batch:?}") };
    // The relay keeps the bytes: the successor would serve the connections, and make marks of its own.
    connections.iter_mut().for_each(|connection| connection.connection.connection.ahead.clear());
    stage.deliver(&batch, &fds).await;
    let confirmation = stage.confirmation().await;
    sleep(SOON).await;
    assert_eq!(stage.successor.plain.lot.len(), 3);
    if last != Last::Claimed {
        stage.to_predecessor.send(&confirmation, &[]).await.unwrap();
        sleep(SOON).await;
        assert_eq!(stage.predecessor.moved(), 3);
    }
    if last == Last::Suspended {
        // Longer than the pause of any task.
        advance(10 * SOON).await;
    }
    for (number, mark) in (1..).zip(marks) {
        if let Some(entry) = stage.moved.entry(Origin::new(number)) {
            entry.set(mark);
        }
    }
    let Recovered { back, busy, .. } = stage.recover().await;
    let mut back: Vec<_> = back.into_iter().map(|(_, resting)| (resting.stage, resting.ahead)).collect();
    back.sort_by_key(|(_, ahead)| ahead.len());
    (back, busy)
}

#[tokio::test(start_paused = true)]
async fn the_marks_decide_however_far_the_successor_has_come() {
    let answered = (At::Idle, Bytes::new());
    let untouched = (At::Idle, Bytes::from_static(b"G"));
    for last in [Last::Claimed, Last::Confirmed, Last::Suspended] {
        let stage = Stage::begin_with_ledger().await;
        let (back, busy) = come_back(stage, last, [Mark::Busy, Mark::Untouched, Mark::Idle]).await;
        assert_eq!(back, [answered.clone(), untouched.clone()], "{last:?}");
        // Of the one that was on its way the log says nothing.
        assert_eq!(busy, usize::from(last != Last::Claimed), "{last:?}");
    }
}

/// Without a ledger, and without a report.
#[tokio::test(start_paused = true)]
async fn without_a_ledger_nothing_comes_back_after_a_suspension() {
    for (last, expected) in [(Last::Claimed, 3), (Last::Confirmed, 3), (Last::Suspended, 0)] {
        let (back, busy) = come_back(Stage::begin().await, last, [Mark::Busy; 3]).await;
        assert_eq!((back.len(), busy), (expected, 3 - expected), "{last:?}");
    }
}

/// A successor that lives may begin to read from any of its connections.
#[tokio::test(start_paused = true)]
async fn a_successor_that_lives_keeps_its_connections() {
    for is_dead in [false, true] {
        let mut stage = Stage::begin_with_ledger().await;
        stage.leave_with(None, b"");
        let (batch, fds) = stage.batch().await;
        stage.deliver(&batch, &fds).await;
        let confirmation = stage.confirmation().await;
        stage.to_predecessor.send(&confirmation, &[]).await.unwrap();
        sleep(SOON).await;
        let Recovered { back, busy, .. } = stage.recover_from(is_dead).await;
        assert_eq!((back.len(), busy), if is_dead { (1, 0) } else { (0, 1) });
    }
}
