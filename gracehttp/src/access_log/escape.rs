//! Texts of strangers, made harmless: a line of the log is ASCII without control characters, so no client can end it,
//! forge another, or speak to the operator's terminal.

/// How a byte is written that may not stand for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// `\x0a`, as Apache and nginx write it.
    Hex,
    /// `\u000a`, in a string of JSON.
    Json,
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What stands at the end of a text that was cut off.
pub(super) const CUT: &[u8] = b"...";

/// Whether a byte stands for itself in both styles.
fn is_plain(byte: u8) -> bool {
    (b' '..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// How many bytes of a text are looked at together.
const BLOCK: usize = 16;

/// Whether all bytes of a text stand for themselves.
fn are_plain(text: &[u8]) -> bool {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    // Without branches: the compiler looks at all bytes of a block at once.
    blocks.iter().all(|block| block.iter().fold(true, |plain, byte| plain & is_plain(*byte)))
        && rest.iter().all(|byte| is_plain(*byte))
}

/// Appends a text, in at most `most` bytes and the mark of a text that was cut off.
pub(super) fn put(line: &mut Vec<u8>, style: Style, text: &[u8], most: usize) {
    let shown = &text[..text.len().min(most)];
    if are_plain(shown) {
        line.extend_from_slice(shown);
    } else if !put_escaped(line, style, shown, most) {
        line.extend_from_slice(CUT);
        return;
    }
    if shown.len() < text.len() {
        line.extend_from_slice(CUT);
    }
}

/// Returns false if the text was cut off.
#[cold]
fn put_escaped(line: &mut Vec<u8>, style: Style, text: &[u8], most: usize) -> bool {
    let end = line.len().saturating_add(most);
    match style {
        Style::Hex => text.iter().all(|byte| {
            match *byte {
                byte if is_plain(byte) => line.push(byte),
                byte @ (b'"' | b'\\') => line.extend_from_slice(&[b'\\', byte]),
                byte => line.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte)]),
            }
            line.len() < end
        }),
        Style::Json => text.utf8_chunks().all(|chunk| {
            let invalid = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
            chunk.valid().chars().chain(invalid).all(|character| {
                match u8::try_from(character) {
                    Ok(byte) if is_plain(byte) => line.push(byte),
                    Ok(byte @ (b'"' | b'\\')) => line.extend_from_slice(&[b'\\', byte]),
                    _ => {
                        let mut units = [0; 2];
                        character.encode_utf16(&mut units).iter().for_each(|unit| put_unit(line, *unit));
                    }
                }
                line.len() < end
            })
        }),
    }
}

fn put_unit(line: &mut Vec<u8>, unit: u16) {
    let [high, low] = unit.to_be_bytes();
    line.extend_from_slice(&[b'\\', b'u', digit(high >> 4), digit(high), digit(low >> 4), digit(low)]);
}

fn digit(byte: u8) -> u8 {
    DIGITS[usize::from(byte & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(style: Style, text: &[u8], most: usize) -> String {
        let mut line = Vec::new();
        put(&mut line, style, text, most);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn plain_text_stays_and_a_long_one_is_cut_off() {
        for style in [Style::Hex, Style::Json] {
            assert_eq!(shown(style, b"/a b?c=~", 100), "/a b?c=~");
            assert_eq!(shown(style, b"abcdef", 6), "abcdef");
            assert_eq!(shown(style, b"abcdefg", 6), "abcdef...");
            assert!(shown(style, &[b'\n'; 1000], 60).len() < 80);
        }
    }

    #[test]
    fn nothing_ends_a_line_a_string_or_reaches_a_terminal() {
        assert_eq!(shown(Style::Hex, b"a\r\nb\"c\\d\x1b[2J\x7f\xff\xc3\xa4", 100), {
            r#"a\x0d\x0ab\"c\\d\x1b[2J\x7f\xff\xc3\xa4"#
        });
        assert_eq!(shown(Style::Json, b"a\r\nb\"c\\d\x1b[2J\x7f\xff\xc3\xa4", 100), {
            r#"a\u000d\u000ab\"c\\d\u001b[2J\u007f\ufffd\u00e4"#
        });
        assert_eq!(
            shown(Style::Json, "\u{202e}\u{85}\u{1f600}".as_bytes(), 100),
            r"\u202e\u0085\ud83d\ude00"
        );
    }

    #[test]
    fn every_byte_sequence_is_ascii_and_valid() {
        let mut random = 7_u32;
        for _ in 0..20_000 {
            let text: [u8; 24] = std::array::from_fn(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 24) as u8
            });
            for style in [Style::Hex, Style::Json] {
                let shown = shown(style, &text, 1000);
                assert!(shown.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{shown}");
            }
            #[cfg(any(feature = "cli", feature = "admin"))]
            {
                let json = format!("\"{}\"", shown(Style::Json, &text, 1000));
                let read: String = serde_json::from_str(&json).unwrap();
                assert_eq!(read, String::from_utf8_lossy(&text));
            }
        }
    }
}
