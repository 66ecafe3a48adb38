//! The keys of TLS session tickets. They pass from generation to generation and are stored nowhere else.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "tls")]
use nix::time::{ClockId, clock_gettime};
use parking_lot::{Mutex, MutexGuard};
#[cfg(feature = "tls")]
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroize;

/// For how long a key makes tickets, in seconds.
#[cfg(feature = "tls")]
const MAKES_FOR: u64 = 6 * 3600;

/// For how long after that its tickets are accepted. RFC 8446 section 4.6.1 allows seven days. A stolen key opens what
/// was sent with its tickets for so long, so less is better.
#[cfg(feature = "tls")]
pub(super) const ACCEPTED_FOR: u64 = 12 * 3600;

/// One key. Its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TicketKey {
    /// Identifies the key in a ticket (RFC 5077 section 4).
    pub(crate) name: [u8; 16],
    pub(crate) secret: [u8; 32],
    /// When it was made, in seconds since boot: all processes share that clock, and it is never set.
    pub(crate) made_at: u64,
}

impl Drop for TicketKey {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// Not derived: a secret must not get into a log.
impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketKey").field("made_at", &self.made_at).finish_non_exhaustive()
    }
}

/// The keys that are in use, the one that makes tickets first. Clones are the same ring.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "tls"), derive(Default))]
pub(crate) struct KeyRing {
    keys: Arc<Mutex<Vec<TicketKey>>>,
    /// Seconds since boot. Tests have a clock of their own, since the machine may have booted a minute ago.
    #[cfg(feature = "tls")]
    clock: fn() -> u64,
}

#[cfg(feature = "tls")]
impl Default for KeyRing {
    fn default() -> Self {
        Self { keys: Arc::default(), clock: seconds_since_boot }
    }
}

impl KeyRing {
    /// Takes over the predecessor's keys.
    pub(crate) fn adopt(&self, keys: Vec<TicketKey>) {
        *self.keys() = keys;
    }

    /// All keys, for a successor that has to be ready within this time. Until then no new key is made, because the
    /// successor would not have it.
    pub(crate) fn for_successor(&self, within: Duration) -> Vec<TicketKey> {
        #[cfg(feature = "tls")]
        if !self.keys().is_empty() {
            let _ = self.renew(within.as_secs().min(MAKES_FOR / 2), random);
        }
        #[cfg(not(feature = "tls"))]
        let _ = within;
        self.keys().clone()
    }

    /// The key to make a ticket with; a new one if the last is too old.
    #[cfg(feature = "tls")]
    pub(super) fn current(&self, random: impl Fn(&mut [u8]) -> bool) -> Option<TicketKey> {
        self.renew(0, random)
    }

    /// Makes a new key if the last is too old, or will be so many seconds from now.
    #[cfg(feature = "tls")]
    fn renew(&self, ahead: u64, random: impl Fn(&mut [u8]) -> bool) -> Option<TicketKey> {
        let now = (self.clock)();
        let mut keys = self.keys();
        keys.retain(|key| now.saturating_sub(key.made_at) < MAKES_FOR + ACCEPTED_FOR);
        if keys.first().is_none_or(|key| now.saturating_sub(key.made_at).saturating_add(ahead) >= MAKES_FOR) {
            let mut key = TicketKey { name: [0; 16], secret: [0; 32], made_at: now };
            if !random(&mut key.name) || !random(&mut key.secret) {
                return None;
            }
            keys.insert(0, key);
        }
        keys.first().cloned()
    }

    /// The key of this name.
    #[cfg(feature = "tls")]
    pub(super) fn find(&self, name: &[u8]) -> Option<TicketKey> {
        self.keys().iter().find(|key| key.name == name).cloned()
    }

    fn keys(&self) -> MutexGuard<'_, Vec<TicketKey>> {
        self.keys.lock()
    }
}

/// Fills with random bytes; false where the system has none.
#[cfg(feature = "tls")]
pub(super) fn random(bytes: &mut [u8]) -> bool {
    SystemRandom::new().fill(bytes).is_ok()
}

#[cfg(feature = "tls")]
fn seconds_since_boot() -> u64 {
    let uptime = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| time.tv_sec());
    u64::try_from(uptime).unwrap_or_default()
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::*;

    /// The time of the tests: long enough after boot for any key to be old.
    const NOW: u64 = 7 * 24 * 3600;

    fn new_ring() -> KeyRing {
        KeyRing { clock: || NOW, ..KeyRing::default() }
    }

    fn aged(name: u8, age: u64) -> TicketKey {
        TicketKey { name: [name; 16], secret: [1; 32], made_at: NOW - age }
    }

    fn random(bytes: &mut [u8]) -> bool {
        bytes.fill(9);
        true
    }

    #[test]
    fn a_key_is_made_when_there_is_none_and_kept_while_it_is_young() {
        let ring = new_ring();
        let first = ring.current(random).unwrap();
        assert_eq!(first.name, [9; 16]);
        assert_eq!(ring.current(|_| false), Some(first));
        assert!(new_ring().current(|_| false).is_none());
    }

    #[test]
    fn the_successor_accepts_what_the_predecessor_made() {
        let (old, new) = (new_ring(), new_ring());
        let key = old.current(random).unwrap();
        new.adopt(old.for_successor(Duration::ZERO));
        assert_eq!(new.find(&key.name), Some(key));
    }

    #[test]
    fn no_key_is_made_while_a_successor_starts() {
        let ring = new_ring();
        assert!(ring.for_successor(Duration::from_secs(60)).is_empty(), "without TLS there are none");
        ring.adopt(vec![aged(1, MAKES_FOR - 30)]);
        let known = ring.for_successor(Duration::from_secs(60));
        assert_eq!(known.len(), 2, "the one in use would soon be too old");
        assert_eq!(ring.current(|_| false).as_ref(), known.first());
        assert_eq!(ring.for_successor(Duration::from_secs(60)).len(), 2);
    }

    #[test]
    fn a_key_opens_tickets_for_twelve_hours_after_it_was_replaced() {
        let ring = new_ring();
        ring.adopt(vec![aged(1, MAKES_FOR + ACCEPTED_FOR - 1), aged(2, MAKES_FOR + ACCEPTED_FOR)]);
        let made = ring.current(random).unwrap();
        assert_eq!(made.name, [9; 16]);
        assert!(ring.find(&[1; 16]).is_some());
        assert!(ring.find(&[2; 16]).is_none());
    }

    /// Case D1: the machine may have booted a moment ago.
    #[test]
    fn a_machine_that_has_just_booted_makes_and_keeps_keys() {
        for clock in [(|| 0) as fn() -> u64, || 1, || 59] {
            let ring = KeyRing { clock, ..KeyRing::default() };
            let first = ring.current(random).unwrap();
            assert_eq!(ring.current(|_| false), Some(first));
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", aged(1, 0)).contains("secret"));
    }
}
