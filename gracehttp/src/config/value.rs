//! Reads values from text. An error is the second half of a sentence: it says what would be valid.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "cli")]
use super::ControlAddress;
use super::UnknownKeys;
use crate::lifecycle::{Signal, Supervise, show};
use crate::log::{self, LogFormat};
use crate::proxy::{BelievedFields, Network, Networks};
#[cfg(feature = "tls")]
use crate::server::Hsts;
use crate::server::kinds::{LONGEST, LONGEST_KEEPALIVE};
use crate::server::{AccessLog, AccessLogTo, Endpoint, HealthPath, Mode, WhenFull};

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

/// A time limit, or none.
pub(super) fn duration_or_off(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "off" => Ok(None),
        _ => match positive_duration(text) {
            Ok(duration) => Ok(Some(duration)),
            Err(reason) => Err(format!("{reason}, or `off`")),
        },
    }
}

/// The idle time before the kernel's probes.
pub(super) fn keepalive_or_off(text: &str) -> Result<Option<Duration>, String> {
    match duration_or_off(text)? {
        Some(idle) if idle > LONGEST_KEEPALIVE => {
            Err(format!("the kernel's longest is {}", show(LONGEST_KEEPALIVE)))
        }
        idle => Ok(idle),
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

/// The mode of a socket's file.
pub(super) fn mode(text: &str) -> Result<Mode, String> {
    Mode::parse(text).ok_or_else(|| "valid are the permission bits in octal, such as `0660`".to_owned())
}

/// The name or number of a user or a group.
pub(super) fn named(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("valid is a name or a number".to_owned()) } else { Ok(text.to_owned()) }
}

/// One endpoint, or several with commas between them.
pub(super) fn endpoints(text: &str) -> Result<Vec<Endpoint>, String> {
    if text.is_empty() {
        return Err("valid is at least one endpoint, such as `:9090`".into());
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let endpoint: Endpoint = part.parse().map_err(|error: crate::error::Error| error.to_string())?;
        match endpoints.iter().find(|earlier| endpoint.clashes_within(earlier)) {
            Some(same) if *same == endpoint => return Err(format!("`{endpoint}` is listed twice")),
            Some(earlier) => {
                return Err(format!(
                    "`{endpoint}` and `{earlier}` can't both be had: the one includes the other"
                ));
            }
            None => {}
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

/// One endpoint, or several, or none.
#[cfg(feature = "tls")]
pub(super) fn endpoints_or_off(text: &str) -> Result<Vec<Endpoint>, String> {
    if text == "off" { Ok(Vec::new()) } else { endpoints(text) }
}

/// How long browsers are to come over HTTPS alone, or nothing about that.
#[cfg(feature = "tls")]
pub(super) fn hsts_or_off(text: &str) -> Result<Option<Hsts>, String> {
    match text {
        "off" => Ok(None),
        _ => text.parse().map(Some).map_err(|reason| format!("{reason}; or `off`")),
    }
}

/// Where the control socket is.
#[cfg(feature = "cli")]
pub(crate) fn control(text: &str) -> Result<ControlAddress, String> {
    match text {
        "off" => Ok(ControlAddress::Off),
        _ => {
            match text.parse() {
                Ok(Endpoint::Unix(path)) => Ok(ControlAddress::At(path)),
                _ => Err("valid is `unix:` and the path of a socket, such as `unix:/run/app.sock`, or `off`"
                    .into()),
            }
        }
    }
}

/// Where the process itself listens, or nowhere.
#[cfg(feature = "admin")]
pub(crate) fn endpoint_or_off(text: &str) -> Result<Option<Endpoint>, String> {
    match text {
        "off" => Ok(None),
        _ => text.parse().map(Some).map_err(|error: crate::error::Error| error.to_string()),
    }
}

/// Names of signals with commas between them. The list may be empty.
pub(super) fn signals(text: &str) -> Result<Vec<Signal>, String> {
    let mut signals = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let signal: Signal = name.parse().map_err(|error: crate::error::Error| error.to_string())?;
        if signals.contains(&signal) {
            return Err(format!("{signal} is listed twice"));
        }
        signals.push(signal);
    }
    Ok(signals)
}

/// Networks with commas between them. The list may be empty.
pub(super) fn networks(text: &str) -> Result<Networks, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| part.parse::<Network>().map_err(|reason| format!("`{part}`: {reason}"))).collect()
}

/// Names of header fields with commas between them.
pub(super) fn believed_fields(text: &str) -> Result<BelievedFields, String> {
    BelievedFields::read(text.split(',').map(str::trim).filter(|name| !name.is_empty()))
}

/// The path of a server's readiness, or none.
pub(super) fn health_path(text: &str) -> Result<Option<HealthPath>, String> {
    match text {
        "off" => Ok(None),
        _ => text.parse().map(Some).map_err(|reason: String| format!("{reason}; or `off`")),
    }
}

pub(super) fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "valid is `true` or `false`".to_owned())
}

/// A number from 1 to `most`.
pub(super) fn count_to<N: Copy + TryFrom<usize> + PartialOrd + Display>(
    text: &str,
    most: N,
) -> Result<N, String> {
    let number =
        count(text).ok().and_then(|number| N::try_from(number).ok()).filter(|number| *number <= most);
    number.ok_or_else(|| format!("valid is a whole number from 1 to {most}"))
}

/// The units of sizes, the largest first.
const UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("KB", 1000),
    ("B", 1),
];

/// A number of bytes, or a number with a unit.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = (text[..digits].replace('_', ""), text[digits..].trim_start());
    let factor = if unit.is_empty() { Some(1) } else { known_unit(unit) };
    let bytes = number.parse::<u64>().ok().zip(factor).map(|(number, factor)| number.checked_mul(factor));
    match bytes {
        Some(Some(bytes)) => Ok(bytes),
        Some(None) => Err("that is more bytes than 64 bits can count".into()),
        None => Err("valid is a size such as `2MiB`, `64KiB`, `1GB` or a number of bytes".into()),
    }
}

fn known_unit(unit: &str) -> Option<u64> {
    UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// A size from `least` on.
pub(super) fn size_from<N: Copy + TryFrom<u64> + TryInto<u64> + PartialOrd>(
    text: &str,
    least: N,
) -> Result<N, String> {
    let bytes = N::try_from(size(text)?).ok().filter(|bytes| *bytes >= least);
    bytes.ok_or_else(|| match least.try_into().unwrap_or(u64::MAX) {
        1 => "valid is a size from 1 byte on".to_owned(),
        least => format!("valid is a size from {} on", show_size(least)),
    })
}

pub(super) fn access_log(text: &str) -> Result<AccessLog, String> {
    let form = AccessLog::ALL.into_iter().find(|form| form.name() == text);
    form.ok_or_else(|| "valid is `off`, `common`, `combined` or `json`".to_owned())
}

/// Where an access log goes.
pub(super) fn access_log_to(text: &str) -> Result<AccessLogTo, String> {
    match text {
        "" => Err("valid is `stdout`, `stderr`, `tracing`, or the path of a file".to_owned()),
        _ => Ok(AccessLogTo::of(text.into())),
    }
}

pub(super) fn when_full(text: &str) -> Result<WhenFull, String> {
    let choice = WhenFull::ALL.into_iter().find(|choice| choice.name() == text);
    choice.ok_or_else(|| "valid is `recycle` or `wait`".to_owned())
}

pub(super) fn supervise(text: &str) -> Result<Supervise, String> {
    let choice = Supervise::ALL.into_iter().find(|choice| choice.name() == text);
    choice.ok_or_else(|| "valid is `auto`, `off` or `always`".to_owned())
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    let format = LogFormat::ALL.into_iter().find(|format| format.name() == text);
    format.ok_or_else(|| "valid is `text` or `json`".to_owned())
}

pub(super) fn log_levels(text: &str) -> Result<String, String> {
    log::levels(text).map(|_| text.to_owned())
}

pub(super) fn unknown_keys(text: &str) -> Result<UnknownKeys, String> {
    let choice = UnknownKeys::ALL.into_iter().find(|choice| choice.name() == text);
    choice.ok_or_else(|| "valid is `error` or `warn`".to_owned())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("valid is the path of a file".into()) } else { Ok(text.into()) }
}

/// The path of a file, or none.
pub(super) fn path_or_off(text: &str) -> Result<Option<PathBuf>, String> {
    match text {
        "off" => Ok(None),
        _ => path(text).map(Some).map_err(|reason| format!("{reason}, or `off`")),
    }
}

/// TLS without files.
#[cfg(feature = "tls")]
pub(super) fn tls(text: &str) -> Result<Option<crate::server::Tls>, String> {
    match text {
        "off" => Ok(None),
        #[cfg(feature = "self-signed")]
        "self_signed" => Ok(Some(crate::server::Tls::self_signed())),
        #[cfg(not(feature = "self-signed"))]
        "self_signed" => Err("this program was built without the feature `self-signed` of gracehttp".into()),
        _ => Err("valid is `off`, `self_signed`, or instead of it `tls.cert` and `tls.key`".into()),
    }
}

/// Pairs of a certificate's and a key's file: `a.pem:a.key, b.pem:b.key`.
#[cfg(feature = "tls")]
pub(super) fn pairs(text: &str) -> Result<Vec<crate::server::CertificateFiles>, String> {
    let pair = |text: &str| {
        let (cert, key) = text.trim().split_once(':')?;
        let is_whole = !cert.is_empty() && !key.is_empty() && !key.contains(':');
        is_whole.then(|| crate::server::CertificateFiles { cert: cert.into(), key: key.into() })
    };
    let pairs = text.split(',').map(pair).collect::<Option<Vec<_>>>();
    pairs.ok_or_else(|| {
        "valid are pairs of files: `[[\"a.pem\", \"a.key\"], …]` in the file, `a.pem:a.key, …` in a variable".to_owned()
    })
}

/// One or several of these words.
#[cfg(feature = "tls")]
pub(super) fn words(text: &str, all: &[&str]) -> Result<Vec<String>, String> {
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    crate::server::tls_words::check(words.iter().copied(), all)?;
    Ok(words.into_iter().map(str::to_owned).collect())
}

pub(super) fn show_or_off(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "off".to_owned(), show)
}

/// A size in the largest binary unit that leaves no remainder.
pub(super) fn show_size(bytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*factor);
    UNITS[..3]
        .iter()
        .find(fits)
        .map_or_else(|| bytes.to_string(), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "tls")]
    #[test]
    fn no_word_is_told_what_is_valid() {
        assert_eq!(words("", &["a", "b"]), Err("valid are a, b".to_owned()));
        assert_eq!(words("a, c", &["a", "b"]), Err("`c` is unknown here; valid are a, b".to_owned()));
    }

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
        assert_eq!(keepalive_or_off("off"), Ok(None));
        assert_eq!(keepalive_or_off("9h 6m 7s"), Ok(Some(LONGEST_KEEPALIVE)));
        assert_eq!(keepalive_or_off("1day"), Err("the kernel's longest is 9h 6m 7s".into()));
    }

    #[test]
    fn numbers_have_their_range() {
        assert_eq!(count("100_000"), Ok(100_000));
        for wrong in ["0", "-1", "+1", "many", "", "_", "1.5", "99999999999999999999999"] {
            assert!(count(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!((count_to("1", 4096), count_to("4_096", 4096)), (Ok(1), Ok(4096)));
        for wrong in ["4097", "0", "-1", "99999999999999999999999"] {
            assert_eq!(
                count_to(wrong, 4096),
                Err("valid is a whole number from 1 to 4096".into()),
                "{wrong:?}"
            );
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
        assert_eq!(texts("").unwrap_err(), "valid is at least one endpoint, such as `:9090`");
        assert_eq!(texts(":80,:80").unwrap_err(), "`:80` is listed twice");
        assert_eq!(texts(":0,:0").unwrap_err(), "`:0` is listed twice");
        assert!(
            texts(":80,127.0.0.1:80").unwrap_err().ends_with("can't both be had: the one includes the other")
        );
    }

    #[test]
    fn sizes_have_units_and_are_shown_in_the_largest_that_fits() {
        let read = ["0", "512B", "64KiB", "2 MiB", "1GB", "1_000"].map(|text| size(text).unwrap());
        assert_eq!(read, [0, 512, 65_536, 2_097_152, 1_000_000_000, 1000]);
        for wrong in ["", "MiB", "2M", "1.5MiB", "-1", "2 mib"] {
            assert!(size(wrong).unwrap_err().contains("`2MiB`"), "{wrong}");
        }
        assert!(size("99999999999GiB").unwrap_err().contains("64 bits"));
        assert_eq!(size_from::<usize>("0", 1), Err("valid is a size from 1 byte on".into()));
        assert_eq!(size_from::<usize>("64KiB", 65_536), Ok(65_536));
        assert_eq!(size_from::<usize>("65535", 65_536), Err("valid is a size from 64KiB on".into()));
        assert_eq!([0, 1000, 65_536, 3 << 20].map(show_size), ["0", "1000", "64KiB", "3MiB"]);
    }

    #[test]
    fn signals_are_listed_with_commas_or_not_at_all() {
        assert_eq!(signals("hup, SIGUSR2"), Ok(vec![Signal::Hup, Signal::Usr2]));
        assert_eq!(signals(""), Ok(vec![]));
        assert!(signals("HUP,HUP").unwrap_err().contains("listed twice"));
        assert!(signals("KILL").unwrap_err().contains("those are HUP"));
    }

    #[test]
    fn flags_choices_and_paths() {
        assert_eq!((flag("true"), flag("false")), (Ok(true), Ok(false)));
        assert!(flag("yes").unwrap_err().contains("`true` or `false`"));
        assert_eq!((when_full("wait"), when_full("recycle")), (Ok(WhenFull::Wait), Ok(WhenFull::Recycle)));
        assert!(when_full("Wait").unwrap_err().contains("`recycle` or `wait`"));
        assert!(path("").is_err());
        assert_eq!((path_or_off("off"), path_or_off("a")), (Ok(None), Ok(Some("a".into()))));
    }
}
