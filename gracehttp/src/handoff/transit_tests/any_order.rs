//! Faults in any order.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use tokio::time::{sleep, timeout};

use crate::handoff::transit_tests::stage::Stage;
use crate::handoff::transit_tests::{LATE, SOON};
use crate::handoff::wire::{ToPredecessor, ToSuccessor};

/// Pseudo-random numbers, the same for the same seed (xorshift64).
struct Choices(u64);

impl Choices {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What the relay has in hand.
#[derive(Default)]
struct Held {
    batches: Vec<(ToSuccessor, Vec<OwnedFd>)>,
    confirmations: Vec<ToPredecessor>,
}

/// One thing that can happen to connections on their way. What the relay holds it can deliver late, without some of the
/// descriptors, or not at all.
async fn happen(stage: &mut Stage, held: &mut Held, choices: &mut Choices, step: u32) {
    match choices.below(14) {
        0 | 1 => stage.leave(step),
        2 => stage.leave_with(None, b""),
        3 | 4 => {
            let batch = timeout(SOON, stage.next_batch()).await;
            held.batches.extend(batch.ok().flatten());
        }
        5 | 6 => {
            if let Some((batch, fds)) = held.batches.pop() {
                // Some descriptors found no room. The first is the token.
                let cut = if choices.below(3) == 0 { choices.below(4) as usize } else { 0 };
                stage.deliver(&batch, &fds[..fds.len().saturating_sub(cut)]).await;
            }
        }
        7 => drop(held.batches.pop()),
        8 | 9 => {
            let confirmation = timeout(SOON, stage.next_confirmation()).await;
            held.confirmations.extend(confirmation.ok().flatten());
        }
        10 => {
            if let Some(confirmation) = held.confirmations.last() {
                // A predecessor that has closed its end does not receive it.
                let _ = stage.to_predecessor.send(confirmation, &[]).await;
            }
        }
        11 => sleep(if choices.below(2) == 0 { SOON } else { LATE }).await,
        12 => {
            let end = if choices.below(2) == 0 { &stage.predecessor_end } else { &stage.successor_end };
            end.fail([None, None, Some(Errno::ENOBUFS), Some(Errno::EMSGSIZE)][choices.below(4) as usize]);
        }
        _ => {
            if choices.below(4) == 0 {
                let _ = stage.to_predecessor.send_bytes(&[0xff; 20]);
            } else {
                let unknown = ToPredecessor::TakenOf { number: 1000, count: 1 };
                let _ = stage.to_predecessor.send(&unknown, &[]).await;
            }
        }
    }
}

/// Each round ends with the use of every session; that no number is used twice, the record layer sees.
#[tokio::test(start_paused = true)]
async fn no_session_is_used_by_both_processes_whatever_happens() {
    let (mut ours, mut theirs, mut lost) = (0, 0, 0);
    for seed in 1..=400 {
        let mut choices = Choices(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15));
        let (mut stage, mut held) = (Stage::begin().await, Held::default());
        stage.leave(1000);
        for step in 0..25 {
            happen(&mut stage, &mut held, &mut choices, step).await;
        }
        drop(held);
        let (found, end) = stage.end().await;
        (ours, theirs, lost) =
            (ours + found.predecessor.len(), theirs + found.successor.len(), lost + end.lost);
    }
    // The rounds come to all ends.
    assert!(ours > 100 && theirs > 100 && lost > 20, "{ours} {theirs} {lost}");
}
