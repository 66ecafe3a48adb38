//! The times in a line. Its second is made into text once.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::access_log::number;
use crate::lifecycle::clock;

/// The names of the months, as the Common Log Format has them.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The last second that has a text: that of the year 9999.
const LAST: u64 = 253_402_300_799;

const NANOS_PER_MILLI: u64 = 1_000_000;
const NANOS_PER_SECOND: u64 = 1_000 * NANOS_PER_MILLI;

/// A second of the calendar, and its texts.
struct Second {
    /// When it began, on the clock that requests read. Below zero it wraps around: the clock may have begun within this second.
    begun: u64,
    /// The beginning of a line of JSON, with the time as in RFC 3339 up to its milliseconds.
    json: [u8; JSON.len()],
    /// What stands between client and request in the Common Log Format.
    common: [u8; COMMON.len()],
}

const JSON: [u8; 29] = *b"{\"time\":\"0000-00-00T00:00:00.";
const COMMON: [u8; 35] = *b" - - [00/Jan/0000:00:00:00 +0000] \"";

/// No time of a request lies in it.
const NO_SECOND: Second = Second { begun: u64::MAX / 2, json: JSON, common: COMMON };

thread_local! {
    static SECOND: RefCell<Second> = const { RefCell::new(NO_SECOND) };
}

/// Begins a line of JSON with a time of the [precise](clock::precise) clock, as in RFC 3339, in UTC, with milliseconds.
pub(super) fn begin_json(line: &mut Vec<u8>, at: u64) {
    with(at, |second| {
        let millis = (at.wrapping_sub(second.begun) / NANOS_PER_MILLI) as u16;
        // In three copies: one copy of what was just written in pieces would have to wait for the pieces.
        line.extend_from_slice(&second.json);
        line.extend_from_slice(&number::three_digits(millis));
        line.extend_from_slice(b"Z\"");
    });
}

/// Appends a time as in the Common Log Format, in UTC, with what stands around it.
pub(super) fn put_common(line: &mut Vec<u8>, at: u64) {
    with(at, |second| line.extend_from_slice(&second.common));
}

/// Calls this with the second in which a time lies. If the system's clock is set, later seconds follow it.
fn with(at: u64, use_it: impl FnOnce(&Second)) {
    SECOND.with_borrow_mut(|second| {
        if at.wrapping_sub(second.begun) >= NANOS_PER_SECOND {
            *second = Second::of(at);
        }
        use_it(second);
    });
}

impl Second {
    #[cold]
    fn of(at: u64) -> Self {
        let now = clock_gettime(ClockId::CLOCK_REALTIME)
            .map_or(Duration::ZERO, |now| Duration::new(now.tv_sec() as u64, now.tv_nsec() as u32));
        let date = now.saturating_sub(Duration::from_nanos(clock::precise().saturating_sub(at)));
        Self { begun: at.wrapping_sub(u64::from(date.subsec_nanos())), ..Self::since_1970(date.as_secs()) }
    }

    /// The texts of a second.
    fn since_1970(second: u64) -> Self {
        let date = UNIX_EPOCH + Duration::from_secs(second.min(LAST));
        let date = humantime::format_rfc3339_seconds(date).to_string();
        let [year, month, day] = [&date[..4], &date[5..7], &date[8..10]];
        let month = month.parse().map_or("", |month: usize| MONTHS[month - 1]);
        let (mut json, mut common) = (JSON, COMMON);
        json[9..28].copy_from_slice(&date.as_bytes()[..19]);
        common[6..26].copy_from_slice(format!("{day}/{month}/{year}:{}", &date[11..19]).as_bytes());
        Self { json, common, ..NO_SECOND }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_second_has_its_texts_until_the_last_one() {
        let text = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap();
        // A leap day.
        let second = Second::since_1970(1_709_211_600);
        assert_eq!(text(&second.json), r#"{"time":"2024-02-29T13:00:00."#);
        assert_eq!(text(&second.common), r#" - - [29/Feb/2024:13:00:00 +0000] ""#);
        assert_eq!(text(&Second::since_1970(u64::MAX).common), r#" - - [31/Dec/9999:23:59:59 +0000] ""#);
    }

    #[test]
    fn times_are_those_of_the_system_to_the_millisecond() {
        // Forwards and backwards, over the ends of seconds.
        for millis in (0..5000_u64).step_by(37).chain((0..5000).rev().step_by(41)) {
            let ago = Duration::from_millis(millis);
            let shown = |now: SystemTime| {
                let begin = humantime::format_rfc3339_millis(now - ago);
                format!("{{\"time\":\"{begin}\"")
            };
            let mut line = Vec::new();
            let before = shown(SystemTime::now());
            begin_json(&mut line, clock::precise() - millis * NANOS_PER_MILLI);
            let line = String::from_utf8(line).unwrap();
            let tolerated = shown(SystemTime::now() + Duration::from_millis(1));
            assert!((before..=tolerated).contains(&line), "{line}");
        }
    }
}
