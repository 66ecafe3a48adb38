//! Overrides from the environment.

/// The variable that overrides `key` of `server`: letters and digits stay, upper-cased; all else becomes `_`.
pub(crate) fn server_variable(server: &str, key: &str) -> String {
    let name: String = server
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect();
    format!("GRACEHTTP_SERVER__{name}__{key}")
}
