//! The README in two languages has the same commands and the same output. Documentation tests of the library compile
//! its programs.

const ENGLISH: &str = include_str!("../../README.md");
const CHINESE: &str = include_str!("../../README.zh-CN.md");
const MANIFEST: &str = include_str!("../../Cargo.toml");

#[test]
fn both_languages_have_the_same_commands_and_output() {
    for language in ["sh", "console", "text"] {
        let english = blocks(ENGLISH, language);
        assert!(!english.is_empty(), "no block of {language} in README.md");
        assert_eq!(english, blocks(CHINESE, language), "the blocks of {language}");
    }
}

#[test]
fn status_names_the_version_and_rust_of_the_manifest() {
    for key in ["version", "rust-version"] {
        let value = MANIFEST.split(&format!("\n{key} = \"")).nth(1).and_then(|rest| rest.split('"').next());
        let cell = format!(" | {}", value.expect("the manifest has the key"));
        assert!(ENGLISH.contains(&cell), "README.md has another {key} than{cell}");
        assert!(CHINESE.contains(&cell), "README.zh-CN.md has another {key} than{cell}");
    }
}

#[test]
fn both_languages_have_as_many_programs_and_rows() {
    for start in ["```rust", "```toml", "| ", "## "] {
        let count = |text: &str| text.lines().filter(|line| line.starts_with(start)).count();
        // The Chinese README contains the table for users of the Go version; the English one leaves it to the guide.
        let (english, chinese) = (count(ENGLISH), count(&without_section(CHINESE, "## 从 Go 版迁移")));
        assert_eq!(english, chinese, "lines that begin with {start}");
    }
}

/// From a bare system to a service that has restarted.
#[test]
fn production_takes_less_than_ten_lines() {
    let (_, section) = ENGLISH.split_once("## In production").expect("the section");
    let section = section.split("\n## ").next().expect("a text");
    let lines = blocks(section, "sh").concat();
    let (start, restart) = (lines.lines().count(), 1);
    assert!(lines.contains("systemctl enable --now") && section.contains("systemctl reload"), "{lines}");
    assert!(start + restart < 10, "{start} lines to start, and one to restart");
}

#[test]
fn each_language_links_to_the_other() {
    assert!(ENGLISH.contains("(README.zh-CN.md)") && CHINESE.contains("(README.md)"));
}

/// The code blocks of a language, in order.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    text.split(&opening).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// The text without the section under a heading.
fn without_section(text: &str, heading: &str) -> String {
    let (before, section) = text.split_once(heading).expect("the heading is there");
    let after = section.split_once("\n## ").map_or("", |(_, after)| after);
    format!("{before}## {after}")
}
