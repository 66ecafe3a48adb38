//! Certificates that expire soon.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::lifecycle::{CertificateExpiry, Event, Events};
#[cfg(feature = "acme")]
use crate::lifecycle::{CertificateOrder, OrderOutcome};
use crate::tls::TlsAcceptor;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How many days before the end there is a notice; the last at the end itself.
const NOTICES: [u32; 6] = [30, 14, 7, 3, 1, 0];

/// Tells of certificates that expire, each notice once.
pub(super) struct Expiry {
    watched: Vec<Watched>,
    /// The last notice about each certificate, by its server and place.
    told: HashMap<(String, usize), Told>,
}

/// A server whose certificates are watched.
pub(super) struct Watched {
    pub(super) server: String,
    pub(super) acceptor: TlsAcceptor,
    /// An authority renews them, so they are told only after a renewal has failed.
    pub(super) is_renewed: bool,
}

/// The servers whose last renewal has failed.
#[derive(Debug, Default)]
pub(super) struct FailedRenewals(Mutex<HashSet<String>>);

impl FailedRenewals {
    /// Takes note of the outcome of a renewal. Returns whether there is anything to tell.
    #[cfg(feature = "acme")]
    pub(super) fn note(&self, order: &CertificateOrder) -> bool {
        match order.outcome {
            OrderOutcome::Failed { .. } => {
                self.0.lock().insert(order.server.clone());
                true
            }
            OrderOutcome::Issued { .. } | OrderOutcome::Renewed { .. } => {
                self.0.lock().remove(&order.server);
                false
            }
        }
    }
}

/// The last notice about a certificate. A renewed certificate has another end, so its notices begin anew.
struct Told {
    not_after: SystemTime,
    notice: u32,
}

impl Expiry {
    pub(super) fn new(watched: Vec<Watched>) -> Self {
        Self { watched, told: HashMap::new() }
    }

    pub(super) fn look(&mut self, now: SystemTime, failed: &FailedRenewals, events: &Events) {
        for Watched { server, acceptor, is_renewed } in &self.watched {
            if *is_renewed && !failed.0.lock().contains(server) {
                continue;
            }
            for (place, facts) in acceptor.certificates().into_iter().enumerate() {
                let Some(not_after) = facts.not_after else { continue };
                let left = not_after.duration_since(now).unwrap_or_default();
                let Some(notice) = due(left) else { continue };
                let place = (server.clone(), place);
                let is_told = |told: &Told| told.not_after == not_after && told.notice <= notice;
                if !self.told.get(&place).is_some_and(is_told) {
                    self.told.insert(place, Told { not_after, notice });
                    let (server, names) = (server.clone(), facts.names);
                    events.emit(&Event::CertificateExpires(CertificateExpiry {
                        server,
                        names,
                        not_after,
                        left,
                        renewal_failed: *is_renewed,
                    }));
                }
            }
        }
    }
}

/// The last notice that is due with so much time left.
fn due(left: Duration) -> Option<u32> {
    NOTICES.into_iter().rev().find(|days| left <= DAY * *days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_due_thirty_fourteen_seven_three_and_one_days_before_the_end() {
        for (days, notice) in [
            (31, None),
            (30, Some(30)),
            (15, Some(30)),
            (14, Some(14)),
            (7, Some(7)),
            (4, Some(7)),
            (3, Some(3)),
            (2, Some(3)),
            (1, Some(1)),
            (0, Some(0)),
        ] {
            assert_eq!(due(DAY * days), notice, "{days}");
        }
        assert_eq!(due(DAY / 2), Some(1));
    }
}
