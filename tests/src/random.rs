//! Random enough for pauses, and the same in every run.

use std::time::Duration;

/// A xorshift generator.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        // Spread small seeds; the state must not be zero.
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number below `bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        if bound == 0 { 0 } else { self.0 % bound }
    }

    /// A pause up to `longest`; most are short, as with real clients.
    pub fn pause(&mut self, longest: Duration) -> Duration {
        let micros = longest.as_micros() as u64;
        if self.below(4) == 0 {
            Duration::from_micros(self.below(micros + 1))
        } else {
            Duration::from_micros(self.below(micros / 8 + 1))
        }
    }
}
