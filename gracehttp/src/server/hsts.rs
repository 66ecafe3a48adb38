//! How long browsers are to reach a server over HTTPS alone (RFC 6797).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderValue;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Longer would be a mistake: the lists of browsers ask for one year, and two are usual.
const LONGEST: Duration = Duration::from_secs(10 * 366 * DAY.as_secs());

/// The least for which the lists that browsers are shipped with take a domain.
const LEAST_OF_PRELOAD: Duration = Duration::from_secs(365 * DAY.as_secs());

/// What the field `Strict-Transport-Security` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hsts {
    max_age: Duration,
    include_subdomains: bool,
    preload: bool,
    /// All of it as the value of the field, made once.
    value: HeaderValue,
}

impl Hsts {
    /// The value of the field.
    pub(crate) fn value(&self) -> &HeaderValue {
        &self.value
    }
}

/// A duration, and the words after it: `180d, include_subdomains`. An error is the second half of a sentence: it says what
/// would be valid.
impl FromStr for Hsts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',').map(str::trim);
        let max_age = humantime::parse_duration(parts.next().unwrap_or_default()).map_err(|_| {
            "valid is a duration such as `180d`, and after it `include_subdomains` and `preload`".to_owned()
        })?;
        if max_age > LONGEST {
            return Err("valid are at most ten years".to_owned());
        }
        let (mut include_subdomains, mut preload) = (false, false);
        for word in parts {
            match word {
                "include_subdomains" => include_subdomains = true,
                "preload" => preload = true,
                _ => {
                    return Err(format!(
                        "`{word}` is neither `include_subdomains` nor `preload`, which may follow the duration"
                    ));
                }
            }
        }
        if preload && (!include_subdomains || max_age < LEAST_OF_PRELOAD) {
            return Err(
                "`preload` needs `include_subdomains` and at least `365d`: the lists of browsers take no \
                        domain with less"
                    .to_owned(),
            );
        }
        let mut field = format!("max-age={}", max_age.as_secs());
        field.push_str(if include_subdomains { "; includeSubDomains" } else { "" });
        field.push_str(if preload { "; preload" } else { "" });
        let value = HeaderValue::try_from(field).map_err(|error| error.to_string())?;
        Ok(Self { max_age, include_subdomains, preload, value })
    }
}

/// As it is read.
impl fmt::Display for Hsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.max_age.as_secs();
        match seconds.is_multiple_of(DAY.as_secs()) && seconds > 0 {
            true => write!(f, "{}d", seconds / DAY.as_secs())?,
            false => write!(f, "{seconds}s")?,
        }
        f.write_str(if self.include_subdomains { ", include_subdomains" } else { "" })?;
        f.write_str(if self.preload { ", preload" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_is_shown_and_becomes_a_field() {
        for (text, field) in [
            ("180d", "max-age=15552000"),
            ("0s", "max-age=0"),
            ("90s, include_subdomains", "max-age=90; includeSubDomains"),
            ("365d, include_subdomains, preload", "max-age=31536000; includeSubDomains; preload"),
        ] {
            let hsts: Hsts = text.parse().unwrap();
            assert_eq!((hsts.to_string().as_str(), hsts.value()), (text, &HeaderValue::from_static(field)));
        }
        assert_eq!(
            "2 years,include_subdomains".parse::<Hsts>().unwrap().value(),
            "max-age=63115200; includeSubDomains"
        );
    }

    #[test]
    fn a_wrong_policy_is_explained() {
        for (text, reason) in [
            ("", "valid is a duration such as `180d`"),
            ("180", "valid is a duration such as `180d`"),
            ("11years", "at most ten years"),
            ("180d, includeSubDomains", "`includeSubDomains` is neither"),
            ("180d,", "`` is neither"),
            ("365d, preload", "`preload` needs `include_subdomains`"),
            ("180d, include_subdomains, preload", "at least `365d`"),
        ] {
            assert!(text.parse::<Hsts>().unwrap_err().contains(reason), "{text}");
        }
    }
}
