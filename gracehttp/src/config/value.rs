//! Values as an operator writes them. A fault comes back as the second half of a sentence: what would be
//! valid.

use std::time::Duration;

use crate::server::Endpoint;

/// Longer ones are a slip of the pen, and a deadline that is computed from them would overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        Ok(_) => Err("a duration is at most a year".into()),
        Err(_) if text.parse::<f64>().is_ok() => Err(format!("a duration needs a unit, such as `{text}s`")),
        Err(_) => Err("valid is a duration such as `30s`, `500ms` or `1m 30s`".into()),
    }
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("valid is a duration above zero, such as `30s`".into()),
        duration => Ok(duration),
    }
}

/// A time limit that may be absent.
pub(super) fn duration_or_off(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "off" => Ok(None),
        _ => match positive_duration(text) {
            Ok(duration) => Ok(Some(duration)),
            Err(reason) => Err(format!("{reason}, or `off`")),
        },
    }
}

/// A number from 1 on. Underscores are allowed, as in Rust: `100_000`.
pub(super) fn count(text: &str) -> Result<usize, String> {
    let digits = text.replace('_', "");
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    number.filter(|number| *number > 0).ok_or_else(|| "valid is a whole number from 1 on".to_owned())
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| "valid is a port from 0 to 65535 (0: the kernel chooses)".to_owned())
}

/// One endpoint, or several with commas between them.
pub(super) fn endpoints(text: &str) -> Result<Vec<Endpoint>, String> {
    let mut endpoints = Vec::new();
    for part in text.split(',').map(str::trim) {
        let endpoint: Endpoint = part.parse().map_err(|error: crate::Error| error.to_string())?;
        if endpoints.contains(&endpoint) {
            return Err(format!("`{endpoint}` is listed twice"));
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_have_a_bound() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("30"), Err("a duration needs a unit, such as `30s`".into()));
        assert!(duration("soon").unwrap_err().contains("`1m 30s`"));
        assert!(duration("1000years").unwrap_err().contains("at most a year"));
        assert!(positive_duration("0s").unwrap_err().contains("above zero"));
        assert_eq!(duration_or_off("off"), Ok(None));
        assert_eq!(duration_or_off("5s"), Ok(Some(Duration::from_secs(5))));
        assert!(duration_or_off("never").unwrap_err().ends_with(", or `off`"));
    }

    #[test]
    fn numbers_have_their_range() {
        assert_eq!(count("100_000"), Ok(100_000));
        for wrong in ["0", "-1", "+1", "many", "", "_", "1.5", "99999999999999999999999"] {
            assert!(count(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!((port("0"), port("65535")), (Ok(0), Ok(65535)));
        for wrong in ["65536", "-1", "+1", "http", ""] {
            assert!(port(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn endpoints_are_listed_with_commas() {
        let texts =
            |list: &str| endpoints(list).map(|list| list.iter().map(Endpoint::to_string).collect::<Vec<_>>());
        assert_eq!(texts(":80, [::1]:81,unix:/run/a.sock").unwrap(), [":80", "[::1]:81", "unix:/run/a.sock"]);
        assert!(texts(":80,").unwrap_err().contains("is not an endpoint"));
        assert_eq!(texts(":80,:80").unwrap_err(), "`:80` is listed twice");
    }
}
