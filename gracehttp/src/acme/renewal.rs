//! When a certificate is renewed: as its authority suggests (ACME Renewal Information, RFC 9773), or else by its dates.

use std::hash::{DefaultHasher, Hasher as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use instant_acme::CertificateIdentifier;
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::Der;

use crate::acme::failure::Failure;
use crate::acme::information::Answer;
use crate::acme::retry::jitter;
use crate::lifecycle::SuggestionOutcome;
use crate::tls::{Certificate, Issuance};

/// The shortest and the longest time between two questions, whatever the authority says (RFC 9773 section 4.3.2).
pub(super) const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = DAY;

/// The time until the next question if the authority does not say it, and after many failures (section 4.3.3).
const USUAL: Duration = Duration::from_secs(6 * 60 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What the authority has said of a certificate, as the cache keeps it. So a restart asks no authority and changes no time, and
/// only one of several processes asks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct SavedRenewal {
    /// The certificate in question.
    certificate: String,
    /// The last window that made sense.
    window: Option<Window>,
    explanation: Option<String>,
    /// When to ask again, in seconds since 1970.
    ask_at: u64,
    /// How many questions in a row had no useful answer.
    failures: u32,
    suggested_order: Option<SuggestedOrder>,
}

/// A period, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    start: i64,
    end: i64,
}

/// The last order that the authority suggested, by the certificate that it replaces.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SuggestedOrder {
    certificate: String,
    at: u64,
}

/// The time of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Renewal {
    pub(super) at: SystemTime,
    pub(super) is_suggested: bool,
}

/// What identifies a certificate to its authority (section 4.1). None if the certificate does not say it: then the authority can't
/// be asked.
pub(super) fn identifier(certificate: &Certificate) -> Option<CertificateIdentifier<'static>> {
    let Issuance { authority_key, serial } = certificate.issuance()?;
    Some(CertificateIdentifier::new(Der::from_slice(authority_key), Der::from_slice(serial)).into_owned())
}

impl SavedRenewal {
    /// What is known of this certificate. What was said of another one is forgotten.
    pub(super) fn about(self, certificate: &CertificateIdentifier<'_>) -> Self {
        let certificate = certificate.to_string();
        match self.certificate == certificate {
            true => self,
            false => Self { certificate, suggested_order: self.suggested_order, ..Self::default() },
        }
    }

    /// The newer one of two.
    pub(super) fn or_newer(self, other: Self) -> Self {
        if other.ask_at > self.ask_at { other } else { self }
    }

    /// How long to wait before the next question.
    pub(super) fn time_to_question(&self, now: SystemTime) -> Duration {
        let left = seconds(self.ask_at).duration_since(now).unwrap_or_default();
        // Longer only if the clock was set back, or the file was changed.
        if left > LONGEST { Duration::ZERO } else { left }
    }

    /// When to renew the certificate. None if its dates make no sense.
    pub(super) fn renewal(&self, certificate: &Certificate) -> Option<Renewal> {
        let by_dates = certificate.renewal()?;
        let latest = certificate.latest_renewal()?;
        let Some(window) = self.window.filter(|window| window.fault(certificate).is_none()) else {
            return Some(Renewal { at: by_dates, is_suggested: false });
        };
        let suggested = window.moment(fraction(&self.certificate)).min(latest);
        // An authority might suggest of each new certificate that it be renewed at once: it gets one order a day.
        let earliest = match &self.suggested_order {
            Some(order) if order.certificate != self.certificate => {
                seconds(order.at.saturating_add(DAY.as_secs())).min(by_dates)
            }
            _ => UNIX_EPOCH,
        };
        Some(Renewal { at: suggested.max(earliest), is_suggested: true })
    }

    /// The certificate is about to be renewed because the authority suggests it.
    pub(super) fn note_suggested_order(&mut self, now: SystemTime) {
        self.suggested_order =
            Some(SuggestedOrder { certificate: self.certificate.clone(), at: since_1970(now) });
    }

    /// Notes an answer. Returns what there is to tell. After a failure the last window stays.
    pub(super) fn note(
        &mut self,
        answer: Result<Option<Answer>, Failure>,
        certificate: &Certificate,
        now: SystemTime,
    ) -> Option<SuggestionOutcome> {
        match answer {
            Ok(Some(Answer { start, end, explanation, pause })) => {
                let window = Window { start, end };
                if let Some(fault) = window.fault(certificate) {
                    return Some(self.note_failure(fault.to_owned(), pause, now));
                }
                self.note_question(pause.unwrap_or(USUAL), now);
                self.failures = 0;
                if self.window == Some(window) && self.explanation == explanation {
                    return Some(SuggestionOutcome::Unchanged);
                }
                let is_new = self.explanation != explanation;
                self.explanation = explanation;
                self.window = Some(window);
                Some(SuggestionOutcome::New {
                    start: moment(start),
                    end: moment(end),
                    at: self.renewal(certificate)?.at,
                    explanation: self.explanation.clone().filter(|_| is_new),
                })
            }
            // The authority gives no such information. It may do so later.
            Ok(None) => {
                self.note_question(LONGEST, now);
                (self.window, self.explanation, self.failures) = (None, None, 0);
                None
            }
            Err(Failure { why, wanted, .. }) => Some(self.note_failure(why, wanted, now)),
        }
    }

    fn note_failure(
        &mut self,
        reason: String,
        wanted: Option<Duration>,
        now: SystemTime,
    ) -> SuggestionOutcome {
        let doubled = SHORTEST.saturating_mul(1 << self.failures.min(16)).min(USUAL);
        // The authority may have failed for all of its clients at once.
        let pause = self.note_question(wanted.unwrap_or(doubled + jitter(doubled / 4)), now);
        let is_repeated = self.failures > 0;
        self.failures = self.failures.saturating_add(1);
        SuggestionOutcome::Failed { reason, pause, is_repeated }
    }

    /// The next question comes after this time, within the bounds.
    fn note_question(&mut self, pause: Duration, now: SystemTime) -> Duration {
        let pause = pause.clamp(SHORTEST, LONGEST);
        self.ask_at = since_1970(now + pause);
        pause
    }
}

impl Window {
    /// Why this window makes no sense for this certificate (section 4.2).
    fn fault(self, certificate: &Certificate) -> Option<&'static str> {
        let not_after = since_1970(certificate.facts().not_after?);
        match self {
            Self { start, end } if end <= start => {
                Some("the window that it suggests does not end after its start")
            }
            Self { end, .. } if end > i64::try_from(not_after).unwrap_or(i64::MAX) => {
                Some("the window that it suggests is not over when the certificate expires")
            }
            _ => None,
        }
    }

    /// The moment at which this fraction of it is over.
    fn moment(self, fraction: f64) -> SystemTime {
        let start = moment(self.start);
        let length = moment(self.end).duration_since(start).unwrap_or_default();
        start + length.mul_f64(fraction)
    }
}

/// A number from 0 to 1, made of the certificate's identifier, which is random. So all processes with this certificate choose the
/// same moment, also after a restart, and processes with other certificates choose other ones.
fn fraction(certificate: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(certificate.as_bytes());
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// A time before 1970 becomes 1970: both are long over.
fn moment(second: i64) -> SystemTime {
    seconds(u64::try_from(second).unwrap_or_default())
}

/// The time so many seconds after 1970. A number that is too large for a time, as a damaged file may have it, becomes 1970.
fn seconds(seconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}

fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    /// A certificate that is valid for 90 days from now on.
    fn certificate() -> (Certificate, SystemTime) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
        let now = seconds(since_1970(SystemTime::now()));
        params.not_before = now.into();
        params.not_after = (now + 90 * DAY).into();
        params.use_authority_key_identifier_extension = true;
        let chain = vec![params.self_signed(&key).unwrap().der().clone()];
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        (Certificate::check("a test", chain, key).unwrap(), now)
    }

    fn known(certificate: &Certificate) -> SavedRenewal {
        SavedRenewal::default().about(&identifier(certificate).unwrap())
    }

    /// A window that begins and ends so many days after `now`, and when to ask again.
    fn answer(now: SystemTime, days: (i64, i64), pause: Option<u64>) -> Result<Option<Answer>, Failure> {
        let [start, end] = [days.0, days.1].map(|days| since_1970(now) as i64 + days * DAY.as_secs() as i64);
        let (explanation, pause) = (Some("https://ca.test/".to_owned()), pause.map(Duration::from_secs));
        Ok(Some(Answer { start, end, explanation, pause }))
    }

    fn at(known: &SavedRenewal, certificate: &Certificate) -> SystemTime {
        known.renewal(certificate).unwrap().at
    }

    #[test]
    fn the_moment_lies_in_the_window_and_stays_the_same() {
        let mut moments = Vec::new();
        for _ in 0..20 {
            let (certificate, now) = certificate();
            let mut known = known(&certificate);
            assert_eq!(
                known.renewal(&certificate),
                Some(Renewal { at: now + 60 * DAY, is_suggested: false })
            );
            assert!(matches!(
                known.note(answer(now, (30, 40), None), &certificate, now),
                Some(SuggestionOutcome::New { explanation: Some(_), .. })
            ));
            let first = at(&known, &certificate);
            assert!(first >= now + 30 * DAY && first <= now + 40 * DAY);
            let outcome = known.note(answer(now, (30, 40), None), &certificate, now);
            assert_eq!(outcome, Some(SuggestionOutcome::Unchanged));
            let read: SavedRenewal = serde_json::from_slice(&serde_json::to_vec(&known).unwrap()).unwrap();
            assert_eq!(at(&read, &certificate), first, "after a restart");
            // The window moves, and the moment with it; the explanation is not told again.
            let outcome = known.note(answer(now, (20, 30), None), &certificate, now);
            assert!(matches!(outcome, Some(SuggestionOutcome::New { explanation: None, .. })));
            assert_eq!(at(&known, &certificate), first - 10 * DAY);
            moments.push(first.duration_since(now + 30 * DAY).unwrap());
        }
        moments.sort();
        assert!(moments[19] - moments[0] > DAY, "they are not all the same: {moments:?}");
    }

    #[test]
    fn the_next_question_comes_within_bounds() {
        let (certificate, now) = certificate();
        let mut known = known(&certificate);
        assert!(known.time_to_question(now).is_zero());
        for (wanted, pause) in
            [(Some(0), 60), (Some(1), 60), (Some(7200), 7200), (Some(1 << 40), 86400), (None, 21600)]
        {
            known.note(answer(now, (30, 40), wanted), &certificate, now);
            assert_eq!(known.time_to_question(now).as_secs(), pause, "{wanted:?}");
        }
        known.note(Ok(None), &certificate, now);
        assert_eq!(known.time_to_question(now), DAY);
        // The clock is set back by years, or the file was changed.
        assert!(known.time_to_question(now - 1000 * DAY).is_zero());
        known.ask_at = u64::MAX;
        assert!(known.time_to_question(now).is_zero());
    }

    #[test]
    fn failures_wait_longer_each_time_and_leave_the_last_window() {
        let (certificate, now) = certificate();
        let mut known = known(&certificate);
        known.note(answer(now, (30, 40), None), &certificate, now);
        let before = at(&known, &certificate);
        let mut last = Duration::ZERO;
        for failure in 0..12 {
            let Some(SuggestionOutcome::Failed { pause, is_repeated, .. }) =
                known.note(Err(Failure::fault("no route")), &certificate, now)
            else {
                panic!("a failure")
            };
            assert_eq!(is_repeated, failure > 0);
            assert!(
                pause >= SHORTEST && pause <= USUAL.mul_f64(1.25) && pause > last.mul_f64(0.75),
                "{pause:?}"
            );
            last = pause;
        }
        assert!(last >= USUAL);
        assert_eq!(at(&known, &certificate), before);
        known.note(Ok(None), &certificate, now);
        assert_eq!(at(&known, &certificate), now + 60 * DAY, "the authority suggests nothing any more");
    }

    #[test]
    fn windows_that_make_no_sense_are_not_taken() {
        let (certificate, now) = certificate();
        let mut known = known(&certificate);
        for days in [(40, 30), (40, 40), (89, 91), (100, 200)] {
            let outcome = known.note(answer(now, days, None), &certificate, now);
            assert!(matches!(outcome, Some(SuggestionOutcome::Failed { .. })), "{days:?}");
            assert!(!known.renewal(&certificate).unwrap().is_suggested, "{days:?}");
        }
        let extremes = Answer { start: i64::MIN, end: i64::MAX, explanation: None, pause: None };
        known.note(Ok(Some(extremes)), &certificate, now);
        // As a changed file has it.
        known.window = Some(Window { start: i64::MIN, end: i64::MAX });
        assert!(!known.renewal(&certificate).unwrap().is_suggested);
        known.window = Some(Window { start: i64::MIN, end: -1 });
        assert_eq!(at(&known, &certificate), UNIX_EPOCH);
        known.note(answer(now, (88, 90), None), &certificate, now);
        assert_eq!(at(&known, &certificate), now + 81 * DAY, "a tenth is left");
    }

    #[test]
    fn the_next_certificate_is_not_replaced_on_the_same_day() {
        let ((first, now), (second, _)) = (certificate(), certificate());
        let mut known = known(&first);
        known.note(answer(now, (-2, -1), None), &first, now);
        assert!(at(&known, &first) < now);
        known.note_suggested_order(now);
        assert!(at(&known, &first) < now, "an order that has failed is tried again");
        let mut known = known.about(&identifier(&second).unwrap());
        assert!(known.time_to_question(now).is_zero());
        known.note(answer(now, (-2, -1), None), &second, now);
        assert_eq!(at(&known, &second), now + DAY);
        known.suggested_order = Some(SuggestedOrder { certificate: String::new(), at: u64::MAX });
        assert!(at(&known, &second) <= now + 60 * DAY);
    }
}
