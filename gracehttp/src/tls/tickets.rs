//! TLS session tickets that outlive the process: the next generation has their keys.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use tokio_rustls::rustls::server::ProducesTickets;

use crate::tls::key_ring::{ACCEPTED_FOR, KeyRing, TicketKey, random};

const NAME_LEN: usize = 16;

/// Makes and opens the tickets of one server.
///
/// A ticket is the key's name, a nonce, and the session under ChaCha20-Poly1305 (RFC 8439). The server's name
/// is authenticated with it: servers share the keys, but not the sessions.
pub(super) struct Tickets {
    /// For whom a ticket is: the server, and who may be its clients.
    scope: Vec<u8>,
    ring: KeyRing,
}

impl Tickets {
    /// `clients` is the digest of all that decides who may be a client, if clients are asked for certificates.
    pub(super) fn new(server: &str, clients: Option<&[u8; 32]>, ring: KeyRing) -> Self {
        // Made now: a successor would not know a first key that is made while it starts.
        let _ = ring.current(random);
        let mut scope = server.as_bytes().to_vec();
        if let Some(clients) = clients {
            // No server's name has a zero.
            scope.push(0);
            scope.extend_from_slice(clients);
        }
        Self { scope, ring }
    }

    fn aad(&self) -> Aad<&[u8]> {
        Aad::from(&self.scope)
    }
}

fn cipher(key: &TicketKey) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, &key.secret).ok().map(LessSafeKey::new)
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        ACCEPTED_FOR as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.ring.current(random)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        cipher(&key)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), self.aad(), &mut sealed)
            .ok()?;
        Some([key.name.as_slice(), &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_LEN)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let key = self.ring.find(name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut opened = sealed.to_vec();
        let len = cipher(&key)?.open_in_place(nonce, self.aad(), &mut opened).ok()?.len();
        opened.truncate(len);
        Some(opened)
    }
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_in_the_next_generation_and_nowhere_else() {
        let (ring, next) = (KeyRing::default(), KeyRing::default());
        let ticket = Tickets::new("a", None, ring.clone()).encrypt(b"session").unwrap();
        next.adopt(ring.for_successor(std::time::Duration::ZERO));
        assert_eq!(Tickets::new("a", None, next.clone()).decrypt(&ticket).unwrap(), b"session");
        assert!(Tickets::new("b", None, next.clone()).decrypt(&ticket).is_none(), "another server's session");
        let strangers = Tickets::new("a", Some(&[1; 32]), next);
        assert!(strangers.decrypt(&ticket).is_none(), "others may be clients now");
        assert!(Tickets::new("a", None, KeyRing::default()).decrypt(&ticket).is_none(), "another ring");
    }

    #[test]
    fn a_changed_or_cut_ticket_is_refused() {
        let tickets = Tickets::new("a", None, KeyRing::default());
        let mut ticket = tickets.encrypt(b"session").unwrap();
        assert!(tickets.decrypt(&ticket[..20]).is_none());
        *ticket.last_mut().unwrap() ^= 1;
        assert!(tickets.decrypt(&ticket).is_none());
        assert!(tickets.decrypt(b"").is_none());
    }
}
