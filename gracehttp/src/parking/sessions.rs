//! The TLS sessions of a parking lot.
//!
//! They lie together. Each on its own would keep a page of the memory that the handshakes around it have used: ten times
//! what it needs.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use slab::Slab;

use crate::record::{ClientChain, PackedSession, SessionAtRest};

/// How many sessions lie in one piece of memory. A piece never moves: growing would leave secrets behind.
const PIECE: usize = 256;

/// How many server names, and how many chains of clients, a lot remembers.
const REMEMBERED: usize = 16;

/// The place of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionKey(NonZeroU32);

/// Sessions at rest.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    pieces: Slab<Slab<PackedSession>>,
    /// The pieces that have room.
    open: Vec<usize>,
    names: Recent<str>,
    clients: Recent<ClientChain>,
}

/// The values that were seen last. Sessions with the same value share it.
#[derive(Debug)]
struct Recent<T: ?Sized>(VecDeque<Arc<T>>);

impl SessionKey {
    fn new(piece: usize, place: usize) -> Self {
        // No lot grows that large: each session has a descriptor, of which a process has fewer than 2^30.
        Self(NonZeroU32::MIN.saturating_add((piece * PIECE + place) as u32))
    }

    fn parts(self) -> (usize, usize) {
        let number = self.0.get() as usize - 1;
        (number / PIECE, number % PIECE)
    }
}

impl Sessions {
    pub(super) fn insert(&mut self, session: SessionAtRest) -> SessionKey {
        let Self { names, clients, .. } = self;
        let session = session.pack(|facts| {
            facts.sni.iter_mut().for_each(|name| names.share(name));
            facts.client.iter_mut().for_each(|client| clients.share(client));
        });
        let number = match self.open.last() {
            Some(number) => *number,
            None => {
                let number = self.pieces.insert(Slab::with_capacity(PIECE));
                self.open.push(number);
                number
            }
        };
        let piece = &mut self.pieces[number];
        let place = piece.insert(session);
        if piece.len() == PIECE {
            self.open.pop();
        }
        SessionKey::new(number, place)
    }

    pub(super) fn remove(&mut self, key: SessionKey) -> Option<SessionAtRest> {
        let (number, place) = key.parts();
        let piece = self.pieces.get_mut(number)?;
        // Taken where it lies, which wipes its place.
        let session = piece.get_mut(place)?.take();
        piece.remove(place);
        match piece.len() {
            // The last piece stays: one connection that parks again and again needs it each time.
            0 if self.open.len() > 1 => {
                self.pieces.remove(number);
                self.open.retain(|open| *open != number);
            }
            left if left == PIECE - 1 => self.open.push(number),
            _ => {}
        }
        Some(session)
    }
}

impl<T: ?Sized> Default for Recent<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: ?Sized + Eq> Recent<T> {
    /// Replaces a value by the equal one that other sessions have.
    fn share(&mut self, value: &mut Arc<T>) {
        if let Some(known) = self.0.iter().find(|known| *known == value) {
            *value = known.clone();
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CutMessage, DirectionParts, Facts, Secret, SessionParts, Suite};

    fn session(number: u64, name: &str) -> SessionAtRest {
        let direction = |side: u8| DirectionParts {
            secret: Secret::new(&[&number.to_be_bytes()[..], &[side; 24]].concat()).unwrap(),
            sequence: number,
        };
        let parts = SessionParts {
            suite: Suite::Tls13Aes128Gcm,
            client: direction(1),
            server: direction(2),
            owes_key_update: true,
            without_data: 3,
            warnings: 2,
            refused_renegotiation: true,
            message: CutMessage::new(&[24, 0], 0).unwrap(),
            facts: Facts { sni: Some(name.into()), ..Facts::default() },
            cut: Box::from(*b"cut"),
        };
        SessionAtRest::received(parts).unwrap()
    }

    fn is(session: SessionAtRest, number: u64, name: &str) -> bool {
        format!("{:?}", session.send().1) == format!("{:?}", self::session(number, name).send().1)
    }

    #[test]
    fn each_session_comes_back_from_its_place() {
        let mut sessions = Sessions::default();
        let mut kept: Vec<(SessionKey, u64)> = Vec::new();
        let mut random = 1_u64;
        for number in 0..5000 {
            kept.push((sessions.insert(session(number, "a.test")), number));
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if number % 3 != 0 {
                let (key, number) = kept.swap_remove((random >> 33) as usize % kept.len());
                assert!(is(sessions.remove(key).unwrap(), number, "a.test"));
                assert!(sessions.remove(key).is_none());
            }
        }
        // Holes are filled before new pieces are made.
        assert!(sessions.pieces.len() <= kept.len() / PIECE + sessions.open.len());
        for (key, number) in kept {
            assert!(is(sessions.remove(key).unwrap(), number, "a.test"));
        }
        assert_eq!((sessions.pieces.len(), sessions.open.len()), (1, 1));
    }

    #[test]
    fn equal_names_are_shared_and_few_are_remembered() {
        let mut sessions = Sessions::default();
        let name_of = |session: SessionAtRest| session.facts().sni.clone().unwrap();
        let keys = ["a.test", "b.test", "a.test"].map(|name| sessions.insert(session(1, name)));
        let [first, other, again] = keys.map(|key| name_of(sessions.remove(key).unwrap()));
        assert_eq!((&*first, &*other), ("a.test", "b.test"));
        assert!(Arc::ptr_eq(&first, &again));
        for number in 0..1000 {
            let key = sessions.insert(session(number, &number.to_string()));
            assert_eq!(*name_of(sessions.remove(key).unwrap()), *number.to_string());
        }
        assert_eq!(sessions.names.0.len(), REMEMBERED);
    }
}
