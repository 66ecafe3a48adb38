//! Values that attributes hold in strings: durations, sizes, file modes.

use std::time::Duration;

/// The library's own bound: a deadline that is computed from a longer one could overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A browser can be told a longer time, which no deadline is computed from.
const LONGEST_TOLD: Duration = Duration::from_secs(10 * LONGEST.as_secs());

/// Reads `30s`, `1m 30s`, `250ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    bounded(text, LONGEST, "a year")
}

/// Reads `180d`, `2years`.
pub(super) fn long_duration(text: &str) -> Result<Duration, String> {
    bounded(text, LONGEST_TOLD, "ten years")
}

fn bounded(text: &str, longest: Duration, in_words: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` has no unit: write `{text}s` or `{text}ms`"));
    }
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= longest => Ok(duration),
        Ok(_) => Err(format!("`{text}` is too long: a duration is at most {in_words}")),
        Err(error) => Err(format!(
            "`{text}` is not a duration: {error}\nhelp: a duration is written `30s`, `1m 30s` or `250ms`"
        )),
    }
}

/// Reads `64KiB`, `2 MiB`, `1GB`, or bare bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1000 * 1000,
        "GB" => 1000 * 1000 * 1000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(not_a_size(text)),
    };
    let number: u64 = number.parse().map_err(|_| not_a_size(text))?;
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is more bytes than 64 bits can count"))
}

fn not_a_size(text: &str) -> String {
    format!("`{text}` is not a size\nhelp: a size is written `2MiB`, `64KiB`, `1GB` or as a number of bytes")
}

/// A size as messages show it.
pub(crate) fn shown_size(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// Reads the permission bits of a file: `0660`, `660`, `0o660`.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = !digits.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let bits = is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten();
    bits.filter(|bits| *bits <= 0o777).ok_or_else(|| {
        format!("`{text}` is not a file's mode\nhelp: it is the permission bits in octal, such as `0660`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        let read =
            ["0", "512B", "64KiB", "2 MiB", "1GiB", "1kB", "3MB", "1GB"].map(|text| size(text).unwrap());
        assert_eq!(read, [0, 512, 65_536, 2_097_152, 1_073_741_824, 1000, 3_000_000, 1_000_000_000]);
        for text in ["", "MiB", "2M", "2 mib", "1.5MiB", "-1", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(["0660", "660", "0o660", "0777"].map(mode), [0o660, 0o660, 0o660, 0o777].map(Ok));
        for text in ["", "0o", "888", "1777", "+660", "rw-rw----"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("366days"), Ok(LONGEST));
        for text in ["367days", "300000000000years"] {
            assert!(duration(text).unwrap_err().contains("is too long"), "{text}");
        }
        assert!(duration("10").unwrap_err().contains("write `10s`"));
        assert!(duration("10 parsecs").unwrap_err().contains("unknown time unit"));
    }
}
