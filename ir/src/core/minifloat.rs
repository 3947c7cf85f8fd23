//! Floats of 8 bits and fewer: their formats as numbers, and the values of their codes. In memory a code takes a byte of its own, in
//! the low bits. Encoding is ONNX's cast with `saturate` set: to nearest, ties to even, and what is too large becomes the largest.

/// How a format spends its bits; the sign comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MiniFloat {
    /// Bits of the exponent and of the mantissa.
    pub exponent: u32,
    pub mantissa: u32,
    pub bias: i32,
    pub special: Special,
}

/// Codes that are no finite number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Special {
    /// There are none.
    None,
    /// As in IEEE 754: the largest exponent means infinity and NaN.
    Ieee,
    /// All bits but the sign set: NaN.
    AllOnes,
    /// The code of -0, which does not exist, is NaN.
    MinusZero,
}

pub const F8E4M3FN: MiniFloat = MiniFloat { exponent: 4, mantissa: 3, bias: 7, special: Special::AllOnes };
pub const F8E4M3FNUZ: MiniFloat = MiniFloat { exponent: 4, mantissa: 3, bias: 8, special: Special::MinusZero };
pub const F8E5M2: MiniFloat = MiniFloat { exponent: 5, mantissa: 2, bias: 15, special: Special::Ieee };
pub const F8E5M2FNUZ: MiniFloat = MiniFloat { exponent: 5, mantissa: 2, bias: 16, special: Special::MinusZero };
pub const F6E2M3: MiniFloat = MiniFloat { exponent: 2, mantissa: 3, bias: 1, special: Special::None };
pub const F6E3M2: MiniFloat = MiniFloat { exponent: 3, mantissa: 2, bias: 3, special: Special::None };
pub const F4E2M1: MiniFloat = MiniFloat { exponent: 2, mantissa: 1, bias: 1, special: Special::None };

impl MiniFloat {
    /// The sign's bit.
    pub const fn sign(&self) -> u8 {
        1 << (self.exponent + self.mantissa)
    }
    /// The code of the largest finite number.
    pub const fn largest(&self) -> u8 {
        let all = self.sign() - 1;
        match self.special {
            Special::None | Special::MinusZero => all,
            Special::AllOnes => all - 1,
            Special::Ieee => all - (1 << self.mantissa),
        }
    }
    /// The code of infinity, where there is one.
    pub const fn infinity(&self) -> Option<u8> {
        match self.special {
            Special::Ieee => Some(self.largest() + 1),
            Special::None | Special::AllOnes | Special::MinusZero => None,
        }
    }
    /// The code of a NaN; formats without one give 0.
    pub const fn nan(&self) -> u8 {
        match self.special {
            Special::None => 0,
            Special::Ieee => self.largest() + 2,
            Special::AllOnes => self.largest() + 1,
            Special::MinusZero => self.sign(),
        }
    }
    /// The exponent of the least number's last place: numbers below the least normal one are multiples of its power of two.
    pub const fn least(&self) -> i32 {
        1 - self.bias - self.mantissa as i32
    }

    pub fn decode(&self, code: u8) -> f64 {
        let size = code & (self.sign() - 1);
        let negative = code & self.sign() != 0;
        let nan = match self.special {
            Special::None => false,
            Special::Ieee => size > self.largest() + 1,
            Special::AllOnes => size > self.largest(),
            Special::MinusZero => code == self.sign(),
        };
        let (e, m) = (i32::from(size >> self.mantissa), f64::from(size & ((1 << self.mantissa) - 1)));
        let value = if nan {
            f64::NAN
        } else if Some(size) == self.infinity() {
            f64::INFINITY
        } else if e == 0 {
            m * 2f64.powi(self.least())
        } else {
            (m + f64::from(1u8 << self.mantissa)) * 2f64.powi(e - 1 + self.least())
        };
        if negative { -value } else { value }
    }

    /// The code of a value that the format has, infinity where it has one, or the nearest.
    pub fn code(&self, x: f64) -> u8 {
        match self.infinity().filter(|_| x.is_infinite()) {
            Some(c) if x < 0.0 => c | self.sign(),
            Some(c) => c,
            None => self.encode(x),
        }
    }

    /// ONNX's cast: what is too large, infinity too, becomes the largest number.
    pub fn encode(&self, x: f64) -> u8 {
        if x.is_nan() {
            return self.nan();
        }
        let size = x.abs();
        // The exponent of the number, or of the least normal one, gives the last place that is kept.
        let e = ((size.to_bits() >> 52) as i32 - 1023).max(1 - self.bias);
        let places = (size * 2f64.powi(self.mantissa as i32 - e)).round_ties_even();
        // `places` may reach the next power of two: the sum carries into the exponent.
        let below = i64::from(e - 1 + self.bias) << self.mantissa;
        let code = if size > 1e9 { i64::MAX } else { below + places as i64 };
        let code = code.min(i64::from(self.largest())) as u8;
        let lost = code == 0 && self.special == Special::MinusZero;
        if x.is_sign_negative() && !lost { code | self.sign() } else { code }
    }
}

/// Rounded once, to nearest even, to what IEEE 754's format of so many exponent and mantissa bits holds.
pub fn rounded(x: f64, exponent: i32, mantissa: i32) -> f64 {
    let top = (1 << (exponent - 1)) - 1;
    let e = ((x.abs().to_bits() >> 52) as i32 - 1023).max(1 - top);
    if x.is_nan() || e > top {
        return if x.is_nan() { x } else { f64::INFINITY.copysign(x) };
    }
    let y = (x * 2f64.powi(mantissa - e)).round_ties_even() * 2f64.powi(e - mantissa);
    if y.abs() >= 2f64.powi(top + 1) { f64::INFINITY.copysign(x) } else { y }
}

/// The powers of two of f8e8m0; code 255 is NaN.
pub mod e8m0 {
    pub const NAN: u8 = 255;

    pub fn decode(code: u8) -> f64 {
        if code == NAN { f64::NAN } else { 2f64.powi(i32::from(code) - 127) }
    }

    /// Up to the next power of two, saturating (ONNX's `up`); the sign is lost.
    pub fn encode(x: f64) -> u8 {
        if x.is_nan() {
            return NAN;
        }
        let bits = x.abs().to_bits();
        let up = i64::from(bits << 12 != 0);
        ((bits >> 52) as i64 - 1023 + 127 + up).clamp(0, 254) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::super::dtype::{DType, Scalar};
    use super::*;

    const ALL: [MiniFloat; 7] = [F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F6E2M3, F6E3M2, F4E2M1];

    /// The codes that are finite numbers, by value.
    fn numbers(f: MiniFloat) -> Vec<(f64, u8)> {
        let mut all: Vec<_> = (0..f.sign()).map(|c| (f.decode(c), c)).filter(|(x, _)| x.is_finite()).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    }

    #[test]
    fn known_codes() {
        assert_eq!(ALL.map(|f| f.decode(f.largest())), [448.0, 240.0, 57344.0, 57344.0, 7.5, 28.0, 6.0]);
        assert_eq!(ALL.map(|f| f.decode(1)), [-9, -10, -16, -17, -3, -4, -1].map(|e| 2f64.powi(e)));
        assert!(F8E4M3FN.decode(0xff).is_nan() && F8E4M3FNUZ.decode(0x80).is_nan() && F8E5M2.decode(0x7d).is_nan());
        assert_eq!((F8E5M2.decode(0xfc), F8E4M3FN.decode(0xfe)), (f64::NEG_INFINITY, -448.0));
        assert_eq!([0.0, 1.0, 1.5, 3.0, 1e39].map(e8m0::encode), [0, 127, 128, 129, 254]);
        assert_eq!((e8m0::decode(0), e8m0::decode(254)), (2f64.powi(-127), 2f64.powi(127)));
    }

    /// Between two neighbours the nearer one, at the middle the even one: by search in the list of all numbers.
    #[test]
    fn encoding_is_a_search_for_the_nearest() {
        for f in ALL {
            for pair in numbers(f).windows(2) {
                let [(a, low), (b, high)] = pair else { continue };
                let middle = (a + b) / 2.0;
                let tie = if low % 2 == 0 { low } else { high };
                for (x, code) in [(*a, low), (middle, tie), (middle.next_down(), low), (middle.next_up(), high)] {
                    assert_eq!(f.encode(x), *code, "{f:?} {x}");
                    let minus = if *code == 0 && f.special == Special::MinusZero { 0 } else { code | f.sign() };
                    assert_eq!(f.encode(-x), minus, "{f:?} -{x}");
                }
            }
            let most = f.largest();
            assert_eq!([1e6, 1e300, f64::INFINITY].map(|x| f.encode(x)), [most; 3]);
            let codes = (0..f.sign()).filter(|c| !f.decode(*c).is_nan());
            codes.for_each(|c| assert_eq!(f.code(f.decode(c)), c, "{f:?}"));
            assert_eq!((f.encode(-f64::INFINITY), f.encode(f64::NAN)), (most | f.sign(), f.nan()));
        }
    }

    #[test]
    fn doubles_round_once() {
        let tie = 1.0 + 2f64.powi(-11);
        assert_eq!([tie, tie + 1e-12, tie - 1e-12].map(|x| rounded(x, 5, 10)), [1.0, 1.0 + 2f64.powi(-10), 1.0]);
        assert_eq!([65519.9, 65520.0, -1e300].map(|x| rounded(x, 5, 10)), [65504.0, f64::INFINITY, -f64::INFINITY]);
        assert_eq!([2f64.powi(-25), 2f64.powi(-25) * 1.001, -1e-40].map(|x| rounded(x, 5, 10)), [0.0, 2f64.powi(-24), -0.0]);
        for bits in 0..=u16::MAX {
            let (h, b) = (half::f16::from_bits(bits).to_f64(), half::bf16::from_bits(bits).to_f64());
            assert!(h.is_nan() || rounded(h, 5, 10).to_bits() == h.to_bits());
            assert!(b.is_nan() || rounded(b, 8, 7).to_bits() == b.to_bits());
        }
    }

    /// FNV-1a, so that tables of another implementation fit a line.
    fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
        bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
    }

    /// The values of all codes, as f32, and the codes of all halves that are numbers, clipped to the largest: as ml_dtypes 0.5 has them.
    #[test]
    fn an_independent_implementation_agrees() {
        for (d, down, up) in [
            (DType::F8E4M3FN, 0xaf47_0900_16b8_1063, 0xdad1_d9c5_0f74_9ca5),
            (DType::F8E4M3FNUZ, 0x8085_b2e0_3800_86e3, 0xf518_51cb_11c6_3018),
            (DType::F8E5M2, 0x26fa_d67d_8c0b_8573, 0x6c1e_56b6_fb09_c905),
            (DType::F8E5M2FNUZ, 0x0d13_f62b_e652_bd63, 0x94ae_6fc4_93d4_9818),
            (DType::F6E2M3, 0x0b6f_9bfb_d018_1f43, 0x7ffa_cb24_ad8b_0aa5),
            (DType::F6E3M2, 0x5969_e490_2129_f6c3, 0x25da_1343_4201_d785),
            (DType::F4E2M1, 0x1fb1_dba6_6200_138b, 0x2403_bb76_b85d_fea5),
        ] {
            let halves = (0..=u16::MAX).filter_map(|b| Scalar::read(DType::F16, &b.to_le_bytes())).filter(|x| !x.as_f64().is_nan());
            let mut codes = vec![];
            halves.for_each(|x| x.cast(DType::F16, d).write(d, &mut codes));
            assert_eq!(hash(codes), down, "to {d}");
            assert_eq!(hash((0..1u32 << d.bits()).flat_map(|c| single(d, c as u8))), up, "from {d}");
        }
        assert_eq!(hash((0..=255).flat_map(|c| single(DType::F8E8M0, c))), 0x6d2c_8b41_c3f0_e5a5);
        for (d, codes) in [
            (DType::I4, 0x435f_2b53_83f9_d11d),
            (DType::U4, 0x73ce_dc35_4992_0a7d),
            (DType::I2, 0x5223_4f00_647e_f5bd),
            (DType::U2, 0x2460_3aac_47e8_c6ad),
        ] {
            let mut bytes = vec![];
            (-300..300).for_each(|x| Scalar::Int(x).cast(DType::I32, d).write(d, &mut bytes));
            assert_eq!(hash(bytes), codes, "to {d}");
        }
    }

    fn single(d: DType, code: u8) -> [u8; 4] {
        let x = Scalar::read(d, &[code]).map_or(f32::NAN, |x| x.as_f64() as f32);
        if x.is_nan() { 0x7fc0_0000u32.to_le_bytes() } else { x.to_le_bytes() }
    }
}
