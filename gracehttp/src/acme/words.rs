//! What an authority says, made fit for our messages.

/// The longest text that is shown, in characters.
const LONGEST: usize = 500;

/// The text in one line of bounded length.
pub(super) fn in_one_line(text: &str) -> String {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}');
    let mut shown = String::new();
    for c in text.chars().take(LONGEST) {
        match is_plain(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_unicode()),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_the_line_or_is_long() {
        assert_eq!(
            in_one_line("an \"error\" at https://ca.test/?a=ü"),
            "an \"error\" at https://ca.test/?a=ü"
        );
        assert_eq!(in_one_line("a\r\n\u{1b}[31mb\u{2028}"), r"a\u{d}\u{a}\u{1b}[31mb\u{2028}");
        assert_eq!(in_one_line(&"a".repeat(100_000)).chars().count(), LONGEST + 1);
    }
}
