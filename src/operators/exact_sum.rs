//! Sums of floats that do not depend on the order of additions, and from which a value can be taken back without a trace.
//!
//! A finite float is an integer times a power of two. A sum is kept as such, exactly: mostly as one 128-bit integer; where
//! the summands lie too far apart for that, as a fixed-point number over the whole range of floats.

/// An exact sum of floats.
#[derive(Clone, Debug, Default)]
pub(super) struct ExactSum {
    /// The sum is `mantissa * 2^exponent`, if it is not wide.
    mantissa: i128,
    exponent: i32,
    wide: Option<Box<WideSum>>,
}

/// The lowest bit of the smallest float.
const LOWEST_EXPONENT: i32 = -1074;
const LIMB_BITS: i32 = 32;
/// From 2^-1074 to 2^1024, and 64 bits more for the number of summands.
const N_LIMBS: usize = 68;

/// A fixed-point number of [`N_LIMBS`] digits of 32 bits, the top one signed; and the summands that are not finite.
#[derive(Clone, Debug)]
struct WideSum {
    limbs: [i64; N_LIMBS],
    n_nan: i64,
    n_positive_infinite: i64,
    n_negative_infinite: i64,
}

impl ExactSum {
    /// Adds `value` as often as `weight` says; a negative weight takes it back.
    pub fn add(&mut self, value: f64, weight: i64) {
        if value == 0.0 || weight == 0 {
            return;
        }
        if !value.is_finite() {
            return self.widen().add_special(value, weight);
        }
        let (integer, exponent) = decompose(value);
        let product = i128::from(integer) * i128::from(weight);
        if self.wide.is_none() {
            if self.mantissa == 0 {
                (self.mantissa, self.exponent) = (product, exponent);
                return;
            }
            if let Some((mantissa, exponent)) = add_scaled((self.mantissa, self.exponent), (product, exponent)) {
                (self.mantissa, self.exponent) = (mantissa, exponent);
                return;
            }
        }
        self.widen().add_scaled(product, exponent);
    }

    /// Adds another sum, as if its summands had been added.
    pub fn absorb(&mut self, other: &Self) {
        match &other.wide {
            None if other.mantissa == 0 => {}
            None => {
                let theirs = (other.mantissa, other.exponent);
                let narrow = match (self.wide.is_some(), self.mantissa) {
                    (true, _) => None,
                    (false, 0) => Some(theirs),
                    (false, mine) => add_scaled((mine, self.exponent), theirs),
                };
                match narrow {
                    Some((mantissa, exponent)) => (self.mantissa, self.exponent) = (mantissa, exponent),
                    None => self.widen().add_scaled(theirs.0, theirs.1),
                }
            }
            Some(theirs) => {
                let mine = self.widen();
                mine.n_nan = mine.n_nan.wrapping_add(theirs.n_nan);
                mine.n_positive_infinite = mine.n_positive_infinite.wrapping_add(theirs.n_positive_infinite);
                mine.n_negative_infinite = mine.n_negative_infinite.wrapping_add(theirs.n_negative_infinite);
                theirs.limbs.iter().enumerate().for_each(|(limb, digit)| mine.add_digit(limb, *digit));
            }
        }
    }

    fn widen(&mut self) -> &mut WideSum {
        let (mantissa, exponent) = (std::mem::take(&mut self.mantissa), self.exponent);
        self.wide.get_or_insert_with(|| {
            let mut wide = WideSum { limbs: [0; N_LIMBS], n_nan: 0, n_positive_infinite: 0, n_negative_infinite: 0 };
            wide.add_scaled(mantissa, exponent);
            Box::new(wide)
        })
    }

    /// The float nearest to the sum, ties to even; infinite where it exceeds all floats.
    pub fn value(&self) -> f64 {
        match &self.wide {
            Some(wide) => wide.value(),
            None => {
                let magnitude = scale(self.mantissa.unsigned_abs() as f64, self.exponent);
                if self.mantissa < 0 { -magnitude } else { magnitude }
            }
        }
    }

    /// Whether nothing has been added that was not taken back, as far as a sum can tell.
    pub fn is_zero(&self) -> bool {
        match &self.wide {
            Some(w) => {
                (w.n_nan, w.n_positive_infinite, w.n_negative_infinite) == (0, 0, 0) && w.limbs.iter().all(|l| *l == 0)
            }
            None => self.mantissa == 0,
        }
    }

    /// Memory held outside the value itself, in bytes.
    pub fn heap_bytes(&self) -> usize {
        if self.wide.is_some() { size_of::<WideSum>() } else { 0 }
    }

    /// Appends the sum as bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        match &self.wide {
            None => {
                out.extend_from_slice(&self.exponent.to_le_bytes());
                out.extend_from_slice(&self.mantissa.to_le_bytes());
            }
            Some(w) => {
                for word in [w.n_nan, w.n_positive_infinite, w.n_negative_infinite].iter().chain(&w.limbs) {
                    out.extend_from_slice(&word.to_le_bytes());
                }
            }
        }
    }

    /// Reads a sum that [`ExactSum::write`] wrote; none if the bytes are not such.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() == size_of::<i32>() + size_of::<i128>() {
            let (exponent, mantissa) = bytes.split_at(size_of::<i32>());
            let exponent = i32::from_le_bytes(exponent.try_into().ok()?);
            let mantissa = i128::from_le_bytes(mantissa.try_into().ok()?);
            return (LOWEST_EXPONENT..=1024).contains(&exponent).then_some(Self { mantissa, exponent, wide: None });
        }
        if bytes.len() != (3 + N_LIMBS) * size_of::<i64>() {
            return None;
        }
        let mut words = bytes.chunks_exact(size_of::<i64>()).map(|w| w.try_into().map_or(0, i64::from_le_bytes));
        let mut next = || words.next().unwrap_or_default();
        let (n_nan, n_positive_infinite, n_negative_infinite) = (next(), next(), next());
        let limbs = std::array::from_fn(|_| next());
        let wide = WideSum { limbs, n_nan, n_positive_infinite, n_negative_infinite };
        Some(Self { wide: Some(Box::new(wide)), ..Self::default() })
    }
}

impl WideSum {
    fn add_special(&mut self, value: f64, weight: i64) {
        let count = match value {
            v if v.is_nan() => &mut self.n_nan,
            v if v > 0.0 => &mut self.n_positive_infinite,
            _ => &mut self.n_negative_infinite,
        };
        *count = count.wrapping_add(weight);
    }

    fn add_scaled(&mut self, mantissa: i128, exponent: i32) {
        let shift = (exponent - LOWEST_EXPONENT).max(0);
        let (mut limb, bit) = ((shift / LIMB_BITS) as usize, shift % LIMB_BITS);
        // The five digits that a shifted 128-bit integer covers, each with the integer's sign.
        let (sign, mut magnitude) = (mantissa.signum() as i64, mantissa.unsigned_abs());
        let mut carry_in = 0u64;
        while magnitude != 0 || carry_in != 0 {
            let digit = (((magnitude as u32) as u64) << bit) + carry_in;
            self.add_digit(limb, sign * i64::from(digit as u32));
            carry_in = digit >> LIMB_BITS;
            magnitude >>= LIMB_BITS;
            limb += 1;
        }
    }

    /// Adds a signed digit and carries, so that all digits but the top one stay within 0..2^32.
    fn add_digit(&mut self, limb: usize, digit: i64) {
        let mut carry = digit;
        for (idx, slot) in self.limbs.iter_mut().enumerate().skip(limb) {
            if carry == 0 {
                break;
            }
            let sum = slot.wrapping_add(carry);
            if idx == N_LIMBS - 1 {
                *slot = sum;
                break;
            }
            *slot = sum & 0xffff_ffff;
            carry = sum >> LIMB_BITS;
        }
    }

    fn value(&self) -> f64 {
        match (self.n_nan > 0, self.n_positive_infinite > 0, self.n_negative_infinite > 0) {
            (true, _, _) | (_, true, true) => return f64::NAN,
            (_, true, _) => return f64::INFINITY,
            (_, _, true) => return f64::NEG_INFINITY,
            _ => {}
        }
        let negative = self.limbs[N_LIMBS - 1] < 0;
        let mut digits = self.limbs;
        if negative {
            negate(&mut digits);
        }
        let Some(top) = digits.iter().rposition(|d| *d != 0) else { return 0.0 };
        // The top digit may hold more than 32 bits; then three digits below it still leave room in 128 bits.
        let bottom = top.saturating_sub(2);
        let head = digits[bottom..=top].iter().rev().fold(0u128, |n, d| (n << LIMB_BITS) | (*d as u64 as u128));
        let sticky = digits[..bottom].iter().any(|d| *d != 0);
        // With something below, a bit under the last one breaks ties; the head has room for it.
        let head = (head << 1) | u128::from(sticky);
        let magnitude = scale(head as f64, LOWEST_EXPONENT + bottom as i32 * LIMB_BITS - 1);
        if negative { -magnitude } else { magnitude }
    }
}

/// The two's complement of digits of which the top one is signed.
fn negate(digits: &mut [i64; N_LIMBS]) {
    let mut borrow = 0;
    for (idx, digit) in digits.iter_mut().enumerate() {
        let negated = 0i64.wrapping_sub(*digit).wrapping_sub(borrow);
        if idx == N_LIMBS - 1 {
            *digit = negated;
        } else {
            *digit = negated & 0xffff_ffff;
            borrow = i64::from(negated < 0);
        }
    }
}

/// A finite float as integer and exponent, the integer odd: so that few bits are taken and sums stay narrow.
fn decompose(value: f64) -> (i64, i32) {
    let bits = value.to_bits();
    let (fraction, biased) = ((bits & ((1 << 52) - 1)) as i64, ((bits >> 52) & 0x7ff) as i32);
    let (integer, exponent) =
        if biased == 0 { (fraction, LOWEST_EXPONENT) } else { (fraction | 1 << 52, biased - 1075) };
    let zeros = integer.trailing_zeros();
    let integer = integer >> zeros;
    (if value < 0.0 { -integer } else { integer }, exponent + zeros as i32)
}

/// The sum of two integers with exponents, if it fits.
fn add_scaled(a: (i128, i32), b: (i128, i32)) -> Option<(i128, i32)> {
    let exponent = a.1.min(b.1);
    let shifted = |(mantissa, own): (i128, i32)| {
        let shift = (own - exponent) as u32;
        let room = mantissa.unsigned_abs().leading_zeros();
        // One bit for the sign.
        (mantissa == 0 || shift + 1 < room).then(|| if shift > 127 { 0 } else { mantissa << shift })
    };
    Some((shifted(a)?.checked_add(shifted(b)?)?, exponent))
}

/// `magnitude * 2^exponent`. Exact unless it exceeds all floats, because no bit lies below that of the smallest float.
fn scale(magnitude: f64, exponent: i32) -> f64 {
    let half = exponent / 2;
    magnitude * power_of_two(half) * power_of_two(exponent - half)
}

/// 2^exponent for exponents that are normal.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023).clamp(1, 2046) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_float() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |v| v.is_finite()),
            -1e6..1e6f64,
            (-1000i32..1000).prop_map(|n| f64::from(n) / 10.0),
            Just(f64::MAX),
            Just(-f64::MAX),
            Just(f64::MIN_POSITIVE),
            Just(5e-324),
        ]
    }

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|v| sum.add(*v, 1));
        sum
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter_and_bytes_keep_it(
            (values, shuffled) in prop::collection::vec(any_float(), 0..30)
                .prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle())),
        ) {
            let (a, b) = (sum(&values), sum(&shuffled));
            prop_assert_eq!(a.value().to_bits(), b.value().to_bits());
            let mut bytes = Vec::new();
            a.write(&mut bytes);
            let read = ExactSum::read(&bytes).map(|s| s.value().to_bits());
            prop_assert_eq!(read, Some(b.value().to_bits()));
        }

        #[test]
        fn what_is_taken_back_leaves_no_trace(kept in prop::collection::vec(any_float(), 0..10),
                                              gone in prop::collection::vec((any_float(), 1i64..1000), 0..10)) {
            let mut with = ExactSum::default();
            gone.iter().for_each(|(v, w)| with.add(*v, *w));
            kept.iter().for_each(|v| with.add(*v, 1));
            gone.iter().rev().for_each(|(v, w)| with.add(*v, -*w));
            prop_assert_eq!(with.value().to_bits(), sum(&kept).value().to_bits());
            kept.iter().for_each(|v| with.add(*v, -1));
            prop_assert!(with.is_zero());
        }

        #[test]
        fn sums_of_parts_add_up(parts in prop::collection::vec(prop::collection::vec(any_float(), 0..6), 0..6)) {
            let mut whole = ExactSum::default();
            parts.iter().for_each(|part| whole.absorb(&sum(part)));
            let all: Vec<f64> = parts.concat();
            prop_assert_eq!(whole.value().to_bits(), sum(&all).value().to_bits());
            all.iter().for_each(|v| whole.add(*v, -1));
            prop_assert!(whole.is_zero());
        }

        #[test]
        fn wide_and_narrow_agree(values in prop::collection::vec(-1e9..1e9f64, 0..30)) {
            let mut wide = sum(&values);
            wide.widen();
            prop_assert_eq!(wide.value().to_bits(), sum(&values).value().to_bits());
        }

        #[test]
        fn two_summands_give_what_the_processor_gives(a in any_float(), b in any_float()) {
            prop_assert_eq!(sum(&[a, b]).value(), a + b);
            let mut wide = sum(&[a]);
            wide.widen();
            wide.add(b, 1);
            prop_assert_eq!(wide.value(), a + b);
        }
    }

    #[test]
    fn ties_are_broken_by_what_lies_far_below() {
        let half = f64::EPSILON / 2.0;
        assert_eq!(sum(&[1.0, half]).value(), 1.0);
        assert_eq!(sum(&[1.0, half, 5e-324]).value(), 1.0 + f64::EPSILON);
        assert_eq!(sum(&[-1.0, -half, -5e-324]).value(), -1.0 - f64::EPSILON);
    }

    #[test]
    fn infinite_and_undefined_summands_can_be_taken_back() {
        let mut s = sum(&[1.5, f64::INFINITY]);
        assert_eq!(s.value(), f64::INFINITY);
        s.add(f64::NEG_INFINITY, 1);
        assert!(s.value().is_nan());
        s.add(f64::INFINITY, -1);
        s.add(f64::NEG_INFINITY, -1);
        assert_eq!(s.value(), 1.5);
        assert_eq!(sum(&[f64::MAX, f64::MAX]).value(), f64::INFINITY);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]).value(), f64::MAX);
    }
}
