//! Words that are no keys, and what may have been meant by them.

use super::keys::{PROCESS_KEYS, SERVER_KEYS};

/// Keys of `#[server(…)]` that are code, which no file and no variable can set.
const CODE_OF_SERVER: &[&str] = &["name", "state", "layer", "prefix", "routes", "crate"];

/// Keys of `#[gracehttp::main(…)]` that are code.
const CODE_OF_PROCESS: &[&str] = &["servers", "cli", "on_info", "on_notice", "on_error", "crate"];

/// Other words for keys of a server, whose spelling does not tell what was meant.
#[rustfmt::skip]
const OTHER_WORDS_OF_SERVER: &[(&[&str], &[&str])] = &[
    (&["cert", "certificate", "cert_file", "tls.certificate", "tls.chain"], &["tls.cert"]),
    (&["key", "private_key", "key_file", "tls.private_key"], &["tls.key"]),
    (&["ssl", "https"], &["tls.cert", "tls.key"]),
    (&["timeout", "handler_timeout", "write_timeout"], &["request_timeout"]),
    (&["read_timeout"], &["header_read_timeout"]),
    (&["keepalive", "keep_alive", "keep_alive_timeout"], &["idle_timeout", "tcp_keepalive"]),
    (&["addr", "address", "bind", "host", "socket"], &["listen"]),
    (&["body_limit", "limit", "max_request_size"], &["max_body"]),
    (&["overload", "full", "on_full"], &["when_full"]),
    (&["memory_limit", "max_memory"], &["max_conn_memory"]),
    (&["mode", "file_mode", "umask", "permissions"], &["socket_mode"]),
    (&["user", "owner"], &["socket_user"]),
    (&["group"], &["socket_group"]),
];

/// The same for keys of the process.
const OTHER_WORDS_OF_PROCESS: &[(&[&str], &[&str])] = &[
    (&["shutdown_timeout", "graceful_timeout", "grace_period", "stop_timeout"], &["drain_timeout"]),
    (&["threads", "workers", "num_threads"], &["worker_threads"]),
];

/// What is to be said of a key of the attribute that is code.
pub(super) fn code_of_server(word: &str) -> Option<String> {
    code(word, CODE_OF_SERVER, "#[server(…)]")
}

/// The same for the process.
pub(super) fn code_of_process(word: &str) -> Option<String> {
    code(word, CODE_OF_PROCESS, "#[gracehttp::main(…)]")
}

fn code(word: &str, keys: &[&str], attribute: &str) -> Option<String> {
    keys.contains(&word).then(|| format!("`{word}` is set in the code alone, as a key of `{attribute}`"))
}

/// The keys of a server that this is another word for.
pub(super) fn other_word_of_server(word: &str) -> Vec<&'static str> {
    let meant = other_word(word, OTHER_WORDS_OF_SERVER);
    // One may be absent, with its feature.
    meant.into_iter().filter(|meant| SERVER_KEYS.iter().any(|key| key.name == *meant)).collect()
}

/// The same for the process.
pub(super) fn other_word_of_process(word: &str) -> Vec<&'static str> {
    other_word(word, OTHER_WORDS_OF_PROCESS)
}

fn other_word(word: &str, table: &[(&[&str], &[&'static str])]) -> Vec<&'static str> {
    let word = spelled(word);
    let entry = table.iter().find(|(words, _)| words.contains(&word.as_str()));
    entry.map(|(_, meant)| meant.to_vec()).unwrap_or_default()
}

/// The keys of a server that may have been meant.
pub(super) fn meant_of_server(word: &str) -> Vec<&'static str> {
    let keys: Vec<&str> = SERVER_KEYS.iter().map(|key| key.name).collect();
    or_closest(other_word_of_server(word), word, &keys)
}

/// The keys of the process that may have been meant, or these words.
pub(super) fn meant_of_process(word: &str, others: &[&'static str]) -> Vec<&'static str> {
    let keys: Vec<&str> = PROCESS_KEYS.iter().map(|key| key.name).chain(others.iter().copied()).collect();
    or_closest(other_word_of_process(word), word, &keys)
}

fn or_closest<'k>(meant: Vec<&'k str>, word: &str, keys: &[&'k str]) -> Vec<&'k str> {
    if meant.is_empty() { closest(&spelled(word), keys).into_iter().collect() } else { meant }
}

/// As keys are spelled.
fn spelled(word: &str) -> String {
    word.to_ascii_lowercase().replace('-', "_")
}

/// The one that is alike enough that it helps more than it puzzles.
pub(super) fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    const ALIKE: f64 = 0.75;
    // Of short words a single slip changes too much for the one measure; the other counts it.
    let alike = |known: &str| match strsim::damerau_levenshtein(word, known) {
        0 | 1 => 1.0,
        _ => strsim::jaro_winkler(word, known),
    };
    let scored = known.iter().map(|known| (alike(known), *known));
    let best = scored.filter(|(score, _)| *score > ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_a_case_and_another_word_find_the_key() {
        assert_eq!(meant_of_process("drain_timout", &[]), ["drain_timeout"]);
        assert_eq!(meant_of_process("DRAIN-TIMEOUT", &[]), ["drain_timeout"]);
        assert_eq!(meant_of_process("grace_period", &[]), ["drain_timeout"]);
        assert_eq!(meant_of_process("sever", &["server"]), ["server"]);
        assert_eq!(meant_of_server("timeout"), ["request_timeout"]);
        assert_eq!(meant_of_server("keep_alive"), ["idle_timeout", "tcp_keepalive"]);
        assert_eq!(meant_of_server("cert").len(), usize::from(cfg!(feature = "tls")));
        assert!(meant_of_server("colour").is_empty());
    }

    /// What is said to be meant exists, and what is said not to be a key is none.
    #[test]
    fn other_words_are_no_keys_and_mean_keys() {
        let all = |others: &[(&[&'static str], &[&'static str])]| {
            let words = others.iter().flat_map(|(words, _)| words.iter().copied()).collect::<Vec<_>>();
            let keys = others.iter().flat_map(|(_, keys)| keys.iter().copied()).collect::<Vec<_>>();
            (words, keys)
        };
        let known: Vec<&str> = SERVER_KEYS.iter().map(|key| key.name).collect();
        let (words, keys) = all(OTHER_WORDS_OF_SERVER);
        assert!(words.iter().chain(CODE_OF_SERVER).all(|word| !known.contains(word)));
        assert!(keys.iter().all(|key| known.contains(key) || key.starts_with("tls.")));
        let known: Vec<&str> = PROCESS_KEYS.iter().map(|key| key.name).collect();
        let (words, keys) = all(OTHER_WORDS_OF_PROCESS);
        assert!(words.iter().chain(CODE_OF_PROCESS).all(|word| !known.contains(word)));
        assert!(keys.iter().all(|key| known.contains(key)));
    }
}
