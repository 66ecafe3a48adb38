//! The fields that a client repeats are recognised, not read again.

/// The fields of an earlier request of HTTP/1.1 on the connection that had no body and did not ask to leave HTTP. A
/// request with the same fields has none either, and does not ask.
///
/// Clients repeat their fields byte for byte, and to compare them takes a quarter of the time of reading them.
#[derive(Debug, Default)]
pub(super) struct KnownFields {
    pub(super) bytes: Vec<u8>,
    /// How many requests had others since these were learned or seen again.
    others: u32,
}

impl KnownFields {
    /// Only so many bytes are kept.
    const AT_MOST: usize = 1 << 10;

    /// How many bytes at the beginning are these fields; 0 if they are others.
    pub(super) fn begin(&mut self, bytes: &[u8]) -> usize {
        if self.bytes.is_empty() || !bytes.starts_with(&self.bytes) {
            return 0;
        }
        self.others = 0;
        self.bytes.len()
    }

    /// The first request's fields are not copied, since it may be the only one; and the more often a client has changed
    /// its fields, the less often they are.
    pub(super) fn learn(&mut self, fields: &[u8]) {
        self.others = self.others.saturating_add(1);
        let is_turn = self.others > 1 && self.others.is_power_of_two();
        if is_turn && fields.len() <= Self::AT_MOST {
            self.bytes.clear();
            self.bytes.extend_from_slice(fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_client_that_changes_them_are_copied_ever_more_seldom() {
        let mut known = KnownFields::default();
        let copied = (1..=100_u8).filter(|&number| {
            known.learn(&[number; 20]);
            known.bytes == [number; 20]
        });
        assert_eq!(copied.collect::<Vec<_>>(), [2, 4, 8, 16, 32, 64]);
        assert_eq!((known.begin(&[64; 30]), known.begin(&[65; 30])), (20, 0));
        known.learn(&[101; 20]);
        known.learn(&[102; KnownFields::AT_MOST + 1]);
        assert_eq!(known.bytes, [64; 20]);
    }
}
