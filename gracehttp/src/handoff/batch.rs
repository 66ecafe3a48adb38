//! Connections that are sent together, and which process owns them until the successor has confirmed them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use tokio::time::Instant;

use crate::conn::Leaving;
use crate::handoff::token::OwnershipToken;
use crate::handoff::wire::{ConnectionV1, ConnectionV2, ToSuccessor, Version};

/// How long a successor may take to confirm a batch. A slower one is blocked or stopped, and its clients are served here
/// meanwhile.
const CONFIRM_WITHIN: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) number: u32,
    pub(super) connections: VecDeque<Leaving>,
    withdrawal: Withdrawal,
}

#[derive(Debug)]
enum Withdrawal {
    /// Impossible: a successor of version 1 would not notice it.
    Unsupported,
    Possible {
        token: OwnershipToken,
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
            Version::One => Withdrawal::Unsupported,
            Version::Two => match OwnershipToken::new() {
                Ok(token) => Withdrawal::Possible { token, at: Instant::now() + CONFIRM_WITHIN },
                Err(error) => return Err((connections, error)),
            },
        };
        Ok(Self { number, connections, withdrawal })
    }

    /// The message that is sent.
    pub(super) fn message(&self) -> ToSuccessor {
        match self.withdrawal {
            Withdrawal::Unsupported => {
                ToSuccessor::Connections { connections: self.connections.iter().map(connection_v1).collect() }
            }
            _ => ToSuccessor::Batch {
                number: self.number,
                connections: self.connections.iter().map(connection_v2).collect(),
            },
        }
    }

    /// The descriptors that go with the message.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let token = match &self.withdrawal {
            Withdrawal::Possible { token, .. } => Some(token.as_fd()),
            Withdrawal::Unsupported | Withdrawal::TooLate => None,
        };
        let sockets = self.connections.iter().map(|(_, resting)| resting.socket.fd.as_fd());
        token.into_iter().chain(sockets).collect()
    }

    /// When the time to confirm is over.
    pub(super) fn withdraw_at(&self) -> Option<Instant> {
        match self.withdrawal {
            Withdrawal::Possible { at, .. } => Some(at),
            Withdrawal::Unsupported | Withdrawal::TooLate => None,
        }
    }

    /// Takes the connections back, unless the successor was faster.
    pub(super) fn withdraw(&mut self) -> bool {
        match std::mem::replace(&mut self.withdrawal, Withdrawal::TooLate) {
            Withdrawal::Possible { token, .. } => token.claim(),
            Withdrawal::Unsupported | Withdrawal::TooLate => false,
        }
    }

    /// Whether the successor has owned it for a while without a confirmation: some of its reports about the connections
    /// may have come before this process could understand them.
    pub(super) fn is_late(&self) -> bool {
        matches!(self.withdrawal, Withdrawal::TooLate)
    }

    /// The connections, if a successor that is gone has not served them: it confirms before it reads a byte. But if this
    /// process was suspended, the successor may have waited in vain, and have begun without a confirmation.
    pub(super) fn unserved(self, was_suspended: bool) -> Option<VecDeque<Leaving>> {
        let is_ours = match self.withdrawal {
            Withdrawal::Possible { token, .. } => !was_suspended || token.claim(),
            Withdrawal::TooLate => !was_suspended,
            Withdrawal::Unsupported => true,
        };
        is_ours.then_some(self.connections)
    }
}

fn connection_v1((context, resting): &Leaving) -> ConnectionV1 {
    ConnectionV1 {
        server: context.options.name.clone(),
        family: resting.socket.family.into(),
        stage: resting.stage.into(),
        ahead: resting.ahead.to_vec(),
    }
}

fn connection_v2(leaving: &Leaving) -> ConnectionV2 {
    ConnectionV2 { listener: leaving.1.socket.listener, connection: connection_v1(leaving) }
}
