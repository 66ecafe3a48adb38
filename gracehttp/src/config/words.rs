//! Words that are no keys, and the keys that may have been meant by them.

use super::keys::{PROCESS_KEYS, SERVER_KEYS};

/// Keys of `#[server(…)]` that are code, which no file and no variable can set.
const CODE_OF_SERVER: &[&str] = gracehttp_macros::keys!(server.code);

/// Keys of `#[gracehttp::main(…)]` that are code.
const CODE_OF_PROCESS: &[&str] = gracehttp_macros::keys!(process.code);

/// Keys of a server that need a feature of this library.
const FEATURES_OF_SERVER: &[(&str, &str)] = gracehttp_macros::keys!(server.features);

/// Keys of the process that need a feature of this library.
const FEATURES_OF_PROCESS: &[(&str, &str)] = gracehttp_macros::keys!(process.features);

/// Keys of a server with the words that other programs use for them.
const OTHER_WORDS_OF_SERVER: &[(&str, &[&str])] = gracehttp_macros::keys!(server.other_words);

/// Keys of the process with the words that other programs use for them.
const OTHER_WORDS_OF_PROCESS: &[(&str, &[&str])] = gracehttp_macros::keys!(process.other_words);

/// The message about a key of `#[server(…)]` that is code.
pub(super) fn code_of_server(word: &str) -> Option<String> {
    code(word, CODE_OF_SERVER, "#[server(…)]")
}

/// The message about a key of `#[gracehttp::main(…)]` that is code.
pub(super) fn code_of_process(word: &str) -> Option<String> {
    code(word, CODE_OF_PROCESS, "#[gracehttp::main(…)]")
}

fn code(word: &str, keys: &[&str], attribute: &str) -> Option<String> {
    keys.contains(&word).then(|| format!("`{word}` is set in the code alone, as a key of `{attribute}`"))
}

/// The feature that would bring this key of a server, if the program is built without it.
pub(super) fn missing_feature_of_server(word: &str) -> Option<&'static str> {
    missing_feature(word, FEATURES_OF_SERVER, |table| SERVER_KEYS.iter().any(|key| key.name == table))
}

/// The feature that would bring this key of the process, if the program is built without it.
pub(super) fn missing_feature_of_process(word: &str) -> Option<&'static str> {
    missing_feature(word, FEATURES_OF_PROCESS, |table| PROCESS_KEYS.iter().any(|key| key.name == table))
}

fn missing_feature(
    word: &str,
    features: &[(&str, &'static str)],
    is_there: impl Fn(&str) -> bool,
) -> Option<&'static str> {
    // What stands in a table needs what the table needs.
    let (table, _) = word.split_once('.').unwrap_or((word, ""));
    let (_, feature) = features.iter().find(|(key, _)| *key == table && !is_there(table))?;
    Some(feature)
}

/// The keys of a server that this word stands for.
pub(super) fn other_word_of_server(word: &str) -> Vec<&'static str> {
    let meant = other_word(word, OTHER_WORDS_OF_SERVER);
    // A key without its feature is absent.
    meant.into_iter().filter(|meant| SERVER_KEYS.iter().any(|key| key.name == *meant)).collect()
}

/// The keys of the process that this word stands for.
pub(super) fn other_word_of_process(word: &str) -> Vec<&'static str> {
    other_word(word, OTHER_WORDS_OF_PROCESS)
}

fn other_word(word: &str, table: &[(&'static str, &[&str])]) -> Vec<&'static str> {
    let word = spelled(word);
    table.iter().filter(|(_, words)| words.contains(&word.as_str())).map(|(key, _)| *key).collect()
}

/// The keys of a server that may have been meant.
pub(super) fn meant_of_server(word: &str) -> Vec<&'static str> {
    let keys: Vec<&str> = SERVER_KEYS.iter().map(|key| key.name).collect();
    or_closest(other_word_of_server(word), word, &keys)
}

/// The keys of the process, or the `others`, that may have been meant.
pub(super) fn meant_of_process(word: &str, others: &[&'static str]) -> Vec<&'static str> {
    let keys: Vec<&str> = PROCESS_KEYS.iter().map(|key| key.name).chain(others.iter().copied()).collect();
    or_closest(other_word_of_process(word), word, &keys)
}

fn or_closest<'k>(meant: Vec<&'k str>, word: &str, keys: &[&'k str]) -> Vec<&'k str> {
    if meant.is_empty() { closest(&spelled(word), keys).into_iter().collect() } else { meant }
}

/// A word spelled like a key.
fn spelled(word: &str) -> String {
    word.to_ascii_lowercase().replace('-', "_")
}

/// The most similar of the known words, if it is similar enough to help.
pub(super) fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    const ALIKE: f64 = 0.75;
    // In a short word a single typing error changes the similarity too much, so it is counted.
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
    fn typing_errors_upper_case_and_other_words_find_the_key() {
        assert_eq!(meant_of_process("drain_timout", &[]), ["drain_timeout"]);
        assert_eq!(meant_of_process("DRAIN-TIMEOUT", &[]), ["drain_timeout"]);
        assert_eq!(meant_of_process("grace_period", &[]), ["drain_timeout"]);
        assert_eq!(meant_of_process("sever", &["server"]), ["server"]);
        assert_eq!(meant_of_server("timeout"), ["request_timeout"]);
        assert_eq!(meant_of_server("keep_alive"), ["idle_timeout", "tcp_keepalive"]);
        assert_eq!(meant_of_server("cert").len(), usize::from(cfg!(feature = "tls")));
        assert!(meant_of_server("colour").is_empty());
    }

    #[test]
    fn other_words_are_no_keys_and_mean_keys() {
        fn check(table: &[(&'static str, &[&'static str])], code: &[&str], known: &[&str]) {
            for (key, words) in table {
                assert!(known.contains(key) || key.starts_with("tls."), "{key}");
                assert!(words.iter().all(|word| !known.contains(word)), "{words:?}");
            }
            assert!(code.iter().all(|word| !known.contains(word)), "{code:?}");
        }
        let of_server: Vec<&str> = SERVER_KEYS.iter().map(|key| key.name).collect();
        check(OTHER_WORDS_OF_SERVER, CODE_OF_SERVER, &of_server);
        let of_process: Vec<&str> = PROCESS_KEYS.iter().map(|key| key.name).collect();
        check(OTHER_WORDS_OF_PROCESS, CODE_OF_PROCESS, &of_process);
    }
}
