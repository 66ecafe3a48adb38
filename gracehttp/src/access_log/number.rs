//! Numbers in decimal. A line has several, most of them small.

/// The numbers below 100 in two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
};

/// Appends a number.
#[inline]
pub(super) fn put(line: &mut Vec<u8>, number: u64) {
    if number >= 10_000 {
        return put_long(line, number);
    }
    // Four digits are copied, of which the zeros in front are shifted out: that takes no branch and no call.
    let zeros = usize::from(number < 1000) + usize::from(number < 100) + usize::from(number < 10);
    let digits = u32::from_be_bytes(four_digits(number)) << (8 * zeros);
    line.extend_from_slice(&digits.to_be_bytes());
    line.truncate(line.len() - zeros);
}

fn put_long(line: &mut Vec<u8>, number: u64) {
    put(line, number / 10_000);
    line.extend_from_slice(&four_digits(number % 10_000));
}

/// A number below 1000 with zeros in front.
pub(super) fn three_digits(number: u16) -> [u8; 3] {
    let [_, digits @ ..] = four_digits(number.into());
    digits
}

/// A number below 10 000 with zeros in front.
fn four_digits(number: u64) -> [u8; 4] {
    let [[a, b], [c, d]] = [number / 100, number % 100].map(|pair| PAIRS[pair as usize]);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_all_their_digits_and_no_others() {
        let powers = (0..20).map(|exponent| 10_u64.pow(exponent));
        let near = powers.flat_map(|power| [power - 1, power, power + 1, power.saturating_mul(9)]);
        for number in near.chain(0..=10_100).chain([u64::MAX]) {
            let mut line = b"n=".to_vec();
            put(&mut line, number);
            assert_eq!(line, format!("n={number}").into_bytes());
        }
    }
}
