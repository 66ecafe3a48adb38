//! Connections that are sent together, and which process owns them until the successor has confirmed them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use tokio::time::Instant;

use crate::conn::Leaving;
use crate::handoff::token::Token;
use crate::handoff::wire::{Mover, Moving, ToSuccessor, Version};

/// How long a successor may take to confirm a batch. One that takes longer is blocked or stopped, and the clients are
/// served here meanwhile.
const CONFIRMING: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) number: u32,
    pub(super) connections: VecDeque<Leaving>,
    withdrawal: Withdrawal,
}

#[derive(Debug)]
enum Withdrawal {
    /// None: a successor of version 1 would not notice a withdrawal.
    Unknown,
    Possible {
        token: Token,
        at: Instant,
    },
    /// The successor was faster: it will confirm, or die.
    TooLate,
}

impl Batch {
    /// Fails, and gives the connections back, if no descriptor is left for the token.
    pub(super) fn new(
        number: u32,
        connections: VecDeque<Leaving>,
        version: Version,
    ) -> Result<Self, (VecDeque<Leaving>, io::Error)> {
        let withdrawal = match version {
            Version::One => Withdrawal::Unknown,
            Version::Two => match Token::new() {
                Ok(token) => Withdrawal::Possible { token, at: Instant::now() + CONFIRMING },
                Err(error) => return Err((connections, error)),
            },
        };
        Ok(Self { number, connections, withdrawal })
    }

    /// As it is written to the channel.
    pub(super) fn message(&self) -> ToSuccessor {
        match self.withdrawal {
            Withdrawal::Unknown => {
                ToSuccessor::Connections { moving: self.connections.iter().map(moving).collect() }
            }
            _ => ToSuccessor::Batch {
                number: self.number,
                moving: self.connections.iter().map(mover).collect(),
            },
        }
    }

    /// The descriptors that go with the message.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let token = match &self.withdrawal {
            Withdrawal::Possible { token, .. } => Some(token.as_fd()),
            Withdrawal::Unknown | Withdrawal::TooLate => None,
        };
        let sockets = self.connections.iter().map(|(_, resting)| resting.socket.fd.as_fd());
        token.into_iter().chain(sockets).collect()
    }

    /// When the time to confirm is over.
    pub(super) fn withdraw_at(&self) -> Option<Instant> {
        match self.withdrawal {
            Withdrawal::Possible { at, .. } => Some(at),
            Withdrawal::Unknown | Withdrawal::TooLate => None,
        }
    }

    /// Takes the connections back, unless the successor was faster.
    pub(super) fn withdraw(&mut self) -> bool {
        match std::mem::replace(&mut self.withdrawal, Withdrawal::TooLate) {
            Withdrawal::Possible { token, .. } => token.claim(),
            Withdrawal::Unknown | Withdrawal::TooLate => false,
        }
    }

    /// Whether the successor has owned it for a while without a confirmation: some of its reports about the connections
    /// may have come before this process could understand them.
    pub(super) fn is_late(&self) -> bool {
        matches!(self.withdrawal, Withdrawal::TooLate)
    }

    /// The connections, if a successor that is gone has not served them: it confirms before it reads a byte. But if
    /// we `slept`, it may have waited for us in vain, and have begun all the same.
    pub(super) fn unserved(self, slept: bool) -> Option<VecDeque<Leaving>> {
        let is_ours = match self.withdrawal {
            Withdrawal::Possible { token, .. } => !slept || token.claim(),
            Withdrawal::TooLate => !slept,
            Withdrawal::Unknown => true,
        };
        is_ours.then_some(self.connections)
    }
}

fn moving((context, resting): &Leaving) -> Moving {
    Moving {
        server: context.options.name.clone(),
        family: resting.socket.family.into(),
        stage: resting.stage.into(),
        ahead: resting.ahead.to_vec(),
    }
}

fn mover(leaving: &Leaving) -> Mover {
    Mover { listener: leaving.1.socket.listener, moving: moving(leaving) }
}
