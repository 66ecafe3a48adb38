//! The words of the keys of TLS.

/// The values of `tls.min_version`.
pub(crate) const VERSIONS: &[&str] = gracehttp_macros::keys!(tls.versions);

/// The names in the IANA registry of the cipher suites that the record layer knows.
pub(crate) const CIPHER_SUITES: &[&str] = gracehttp_macros::keys!(tls.cipher_suites);

/// The names in the IANA registry of the groups of the key exchange.
pub(crate) const CURVES: &[&str] = gracehttp_macros::keys!(tls.curves);

/// Whether each of these is one of `all`. An error says what is valid.
pub(crate) fn check<'w>(words: impl IntoIterator<Item = &'w str>, all: &[&str]) -> Result<(), String> {
    match words.into_iter().find(|word| !all.contains(word)) {
        Some("") => Err(format!("valid are {}", all.join(", "))),
        Some(word) => Err(format!("`{word}` is unknown here; valid are {}", all.join(", "))),
        None => Ok(()),
    }
}
