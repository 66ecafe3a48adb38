//! Which parts of a connection's input h2 still holds.
//!
//! h2 reads into large buffers. A frame that no handler has read keeps all of the buffer that it came in, even if the
//! frame is small. So the input is divided into chunks of the size of such a buffer, and a chunk counts as long as it has
//! a byte that is unread.

use std::collections::{BTreeMap, VecDeque};

/// What one of h2's buffers holds.
pub(super) const CHUNK: usize = 16 << 10;

/// The chunks that hold unread bytes, and of how many uploads.
#[derive(Debug, Default)]
pub(super) struct Pinned {
    chunks: BTreeMap<u64, u32>,
}

/// Where the unread bytes of one upload are: so many in each chunk, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Unread {
    parts: VecDeque<(u64, usize)>,
}

impl Pinned {
    pub(super) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// So many bytes have come for an upload, at this place of the input.
    pub(super) fn add(&mut self, unread: &mut Unread, place: u64, bytes: usize) {
        let (mut place, mut left) = (place, bytes);
        while left > 0 {
            let chunk = place / CHUNK as u64;
            let count = left.min(CHUNK - (place % CHUNK as u64) as usize);
            match unread.parts.back_mut() {
                Some((last, bytes)) if *last == chunk => *bytes += count,
                _ => {
                    unread.parts.push_back((chunk, count));
                    *self.chunks.entry(chunk).or_default() += 1;
                }
            }
            place += count as u64;
            left -= count;
        }
    }

    /// The reader of an upload has taken so many.
    pub(super) fn take(&mut self, unread: &mut Unread, bytes: usize) {
        let mut left = bytes;
        while let Some((chunk, bytes)) = unread.parts.front_mut() {
            if *bytes > left {
                *bytes -= left;
                return;
            }
            left -= *bytes;
            let chunk = *chunk;
            unread.parts.pop_front();
            self.release(chunk);
        }
    }

    /// h2 holds nothing more of an upload.
    pub(super) fn forget(&mut self, unread: Unread) {
        unread.parts.into_iter().for_each(|(chunk, _)| self.release(chunk));
    }

    fn release(&mut self, chunk: u64) {
        if let Some(uploads) = self.chunks.get_mut(&chunk) {
            *uploads -= 1;
            if *uploads == 0 {
                self.chunks.remove(&chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_counts_until_the_last_of_its_bytes_is_read() {
        let (mut pinned, mut one, mut other) = (Pinned::default(), Unread::default(), Unread::default());
        pinned.add(&mut one, 10, 1);
        pinned.add(&mut other, 11, 2 * CHUNK);
        pinned.add(&mut one, 11 + 2 * CHUNK as u64, 1);
        assert_eq!(pinned.bytes(), 3 * CHUNK);
        pinned.take(&mut other, 2 * CHUNK);
        assert_eq!(pinned.bytes(), 2 * CHUNK, "of the other one");
        pinned.take(&mut one, 1);
        assert_eq!(pinned.bytes(), CHUNK);
        pinned.forget(one);
        pinned.forget(other);
        assert_eq!(pinned.bytes(), 0);
    }

    #[test]
    fn neighbours_are_one_part() {
        let (mut pinned, mut unread) = (Pinned::default(), Unread::default());
        (0..100).for_each(|place| pinned.add(&mut unread, place, 1));
        assert_eq!((unread.parts.len(), pinned.bytes()), (1, CHUNK));
        pinned.take(&mut unread, 99);
        assert_eq!(pinned.bytes(), CHUNK);
        pinned.take(&mut unread, 1);
        assert_eq!(pinned.bytes(), 0);
    }
}
