//! The command lines of the benchmarks: `--key value`, and words that choose a part.

use std::str::FromStr;

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

    /// Whether to measure a part: the command line names it, or names none.
    pub fn wants(&self, part: &str) -> bool {
        let mut words = self.words.iter();
        let mut named_any = false;
        while let Some(word) = words.next() {
            if word.starts_with("--") {
                words.next();
            } else if word == part {
                return true;
            } else {
                named_any = true;
            }
        }
        !named_any
    }
}
