//! What a client may not have taken yet.

/// How many of the bytes that were written the client has not taken yet, at most. A bound spares a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Untaken(u32);

impl Untaken {
    /// Nothing was written.
    pub(crate) const NOTHING: Self = Self(0);

    /// Another process may have written, or the bytes are not counted.
    pub(crate) const UNKNOWN: Self = Self(u32::MAX);

    /// The kernel has counted them.
    pub(crate) fn counted(bytes: u64) -> Self {
        Self(u32::try_from(bytes).unwrap_or(u32::MAX))
    }

    /// So many more were written.
    pub(crate) fn and(self, written: u64) -> Self {
        Self::counted(written.saturating_add(self.at_most()))
    }

    pub(crate) fn at_most(self) -> u64 {
        self.0.into()
    }
}
