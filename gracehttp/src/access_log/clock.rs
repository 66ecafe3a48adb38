//! The times in a line. Its second is made into text once.

use std::cell::RefCell;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The names of the months, as the Common Log Format has them.
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The texts of one second.
struct Second {
    since_1970: u64,
    /// `2026-11-26T21:49:00.`
    rfc3339: [u8; 20],
    /// `26/Nov/2026:21:49:00 +0000`
    common: [u8; 26],
}

thread_local! {
    static SECOND: RefCell<Second> =
        const { RefCell::new(Second { since_1970: u64::MAX, rfc3339: [0; 20], common: [0; 26] }) };
}

/// When something began that has lasted for so long. The clock is some milliseconds behind, and costs little.
pub(super) fn began(lasted: Duration) -> Duration {
    let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE)
        .map_or(Duration::ZERO, |now| Duration::new(now.tv_sec() as u64, now.tv_nsec() as u32));
    now.saturating_sub(lasted)
}

/// As in RFC 3339, in UTC, with milliseconds.
pub(super) fn put_rfc3339(line: &mut Vec<u8>, at: Duration) {
    with(at.as_secs(), |second| line.extend_from_slice(&second.rfc3339));
    let millis = at.subsec_millis();
    line.extend_from_slice(&[digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
}

/// As in the Common Log Format, in UTC.
pub(super) fn put_common(line: &mut Vec<u8>, at: Duration) {
    with(at.as_secs(), |second| line.extend_from_slice(&second.common));
}

fn with(since_1970: u64, use_it: impl FnOnce(&Second)) {
    SECOND.with_borrow_mut(|second| {
        if second.since_1970 != since_1970 {
            *second = Second::new(since_1970);
        }
        use_it(second);
    });
}

impl Second {
    fn new(since_1970: u64) -> Self {
        let (year, month, day) = date(since_1970 / 86_400);
        let of_day = (since_1970 % 86_400) as u32;
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let mut rfc3339 = *b"0000-00-00T00:00:00.";
        let mut common = *b"00/Jan/0000:00:00:00 +0000";
        let two = |text: &mut [u8], number: u32| text.copy_from_slice(&[digit(number / 10), digit(number)]);
        for (text, at) in [(&mut rfc3339[..], 0), (&mut common[..], 7)] {
            two(&mut text[at..at + 2], year / 100);
            two(&mut text[at + 2..at + 4], year % 100);
        }
        two(&mut rfc3339[5..7], month);
        two(&mut rfc3339[8..10], day);
        two(&mut common[..2], day);
        common[3..6].copy_from_slice(MONTHS[month as usize - 1]);
        for (text, at) in [(&mut rfc3339[..], 11), (&mut common[..], 12)] {
            two(&mut text[at..at + 2], hour);
            two(&mut text[at + 3..at + 5], minute);
            two(&mut text[at + 6..at + 8], second);
        }
        Self { since_1970, rfc3339, common }
    }
}

fn digit(number: u32) -> u8 {
    b'0' + (number % 10) as u8
}

/// Year, month and day of a number of days since 1970. Years that begin in March have the leap day at their end.
fn date(days: u64) -> (u32, u32, u32) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let days = days + 719_468; // since March 1st of the year 0
    let (era, of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, turned) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    ((era * 400 + year + turned) as u32, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn times_are_those_of_another_calendar() {
        let mut at = 0_u64;
        while at < 5_000_000_000 {
            let mut line = Vec::new();
            let moment = Duration::new(at, 7_000_000);
            put_rfc3339(&mut line, moment);
            let expected = humantime::format_rfc3339_millis(UNIX_EPOCH + moment).to_string();
            assert_eq!(String::from_utf8(line).unwrap(), expected);
            at += 86_400 * 13 + 3661;
        }
        let mut line = Vec::new();
        put_common(&mut line, Duration::from_secs(1_709_211_600)); // a leap day
        assert_eq!(line, b"29/Feb/2024:13:00:00 +0000");
    }
}
