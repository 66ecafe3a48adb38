//! The command lines of the benchmarks: `--key value`, switches, and words that choose a part.

use std::str::FromStr;

/// The flags without a value.
const SWITCHES: [&str; 3] = ["--bless", "--quick", "--readme"];

/// The words of the command line.
#[derive(Debug)]
pub struct Options {
    words: Vec<String>,
}

impl Options {
    /// The options of this process.
    pub fn of_process() -> Self {
        // cargo adds `--bench` to the caller's words.
        Self { words: std::env::args().skip(1).filter(|word| word != "--bench").collect() }
    }

    /// The value of `--key`, or its default.
    pub fn value<T: FromStr>(&self, key: &str, default: T) -> T {
        let flag = format!("--{key}");
        let Some(place) = self.words.iter().position(|word| *word == flag) else { return default };
        match self.words.get(place + 1).map(|word| word.parse()) {
            Some(Ok(value)) => value,
            _ => panic!("{flag} wants a value, such as {flag} 10"),
        }
    }

    /// Whether a flag without a value is set, such as `--quick`.
    pub fn has(&self, switch: &str) -> bool {
        let flag = format!("--{switch}");
        assert!(SWITCHES.contains(&flag.as_str()), "{flag} is no switch");
        self.words.contains(&flag)
    }

    /// Whether to measure a part: the command line names it, or names none.
    pub fn wants(&self, part: &str) -> bool {
        let named = self.named();
        named.is_empty() || named.contains(&part)
    }

    /// The parts that the command line names.
    pub fn named(&self) -> Vec<&str> {
        let mut words = self.words.iter();
        let mut named = Vec::new();
        while let Some(word) = words.next() {
            if !word.starts_with("--") {
                named.push(word.as_str());
            } else if !SWITCHES.contains(&word.as_str()) {
                words.next();
            }
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn a_switch_takes_no_word_away() {
        let words = ["--quick", "idle", "--rounds", "3", "restart", "--bless"];
        let options = Options { words: words.map(str::to_owned).to_vec() };
        assert_eq!(options.named(), ["idle", "restart"]);
        assert!(options.has("quick") && options.has("bless") && !options.has("readme"));
        assert_eq!(options.value("rounds", 10), 3);
        assert!(options.wants("idle") && !options.wants("wake"));
    }
}
