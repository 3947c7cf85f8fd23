//! Large angles without 64-bit arithmetic: the same product with 2/pi as in the neighbouring file, in 32-bit words.

use super::coefficients::TWO_OVER_PI;
use super::math::Math;
use odc_ir::core::{Binary, DType, Scalar, Value};
use odc_ir::loops::{LoopType, Op};

const WORD: LoopType = LoopType::Scalar(DType::U32);

impl Math<'_, '_> {
    fn word(&mut self, x: u32) -> Value {
        self.b.op1(Op::Const { value: Scalar::Int(i64::from(x)) }, &[], WORD)
    }
    fn shr(&mut self, x: Value, by: u32) -> Value {
        let by = self.word(by);
        self.bin(Binary::Shr, x, by)
    }

    /// The high word of a product.
    fn mul_high(&mut self, a: Value, b: Value) -> Value {
        let mask = self.word(0xffff);
        let (a0, a1) = (self.and(a, mask), self.shr(a, 16));
        let (b0, b1) = (self.and(b, mask), self.shr(b, 16));
        let (p00, p10, p01, p11) = (self.mul(a0, b0), self.mul(a1, b0), self.mul(a0, b1), self.mul(a1, b1));
        let middle = self.shr(p00, 16);
        let (low, high) = (self.and(p10, mask), self.shr(p10, 16));
        let middle = self.add(middle, low);
        let sum = self.add(p11, high);
        let (low, high) = (self.and(p01, mask), self.shr(p01, 16));
        let middle = self.add(middle, low);
        let sum = self.add(sum, high);
        let carry = self.shr(middle, 16);
        self.add(sum, carry)
    }

    /// For `a >= 0`: the remainder by pi/2, and how many there are.
    pub(super) fn turns_32(&mut self, a: Value) -> (Value, Value) {
        let bits = self.b.op1(Op::Bitcast {}, &[a], WORD);
        let exponent = self.shr(bits, 23);
        let (fraction, leading) = (self.word(0x7f_ffff), self.word(0x80_0000));
        let mantissa = self.and(bits, fraction);
        let mantissa = self.bin(Binary::Or, mantissa, leading);
        let least = self.word(88);
        let at = self.bin(Binary::Max, exponent, least);
        let at = self.sub(at, least);
        let index = self.shr(at, 5);
        let last = self.word(31);
        let shift = self.and(at, last);
        let back = self.sub(last, shift);
        // Two words of nothing, then 2/pi.
        let words: Vec<u32> = [0, 0].into_iter().chain(TWO_OVER_PI.iter().flat_map(|w| [(w >> 32) as u32, *w as u32])).collect();
        let words: Vec<Value> = words.into_iter().map(|w| self.word(w)).collect();
        let is: Vec<Value> = (0..5)
            .map(|k| {
                let k = self.word(k);
                self.bin(Binary::Eq, index, k)
            })
            .collect();
        let picked: Vec<Value> = (0..4)
            .map(|k| {
                let zero = words.first().copied().unwrap_or(a);
                let mut w = words.get(5 + k).copied().unwrap_or(zero);
                for (j, here) in is.iter().enumerate().rev() {
                    w = self.select(*here, words.get(j + k).copied().unwrap_or(zero), w);
                }
                w
            })
            .collect();
        let window: Vec<Value> = picked
            .windows(2)
            .map(|pair| {
                let (w0, w1) = (pair.first().copied().unwrap_or(a), pair.get(1).copied().unwrap_or(a));
                let h = self.bin(Binary::Shl, w0, shift);
                // By 32 - shift, which may be 32.
                let l = self.shr(w1, 1);
                let l = self.bin(Binary::Shr, l, back);
                self.bin(Binary::Or, h, l)
            })
            .collect();
        let [h0, h1, h2] = window.as_slice() else { return (a, a) };
        let (l1, u1, u2) = (self.mul(mantissa, *h1), self.mul_high(mantissa, *h1), self.mul_high(mantissa, *h2));
        let low = self.add(l1, u2);
        let carry = self.lt(low, l1);
        let carry = self.b.op1(Op::Cast {}, &[carry], WORD);
        let high = self.mul(mantissa, *h0);
        let high = self.add(high, u1);
        let high = self.add(high, carry);
        // 62 bits of fraction.
        let half = self.word(1 << 29);
        let q = self.add(high, half);
        let q = self.shr(q, 30);
        let thirty = self.word(30);
        let whole = self.bin(Binary::Shl, q, thirty);
        let high = self.sub(high, whole);
        // The size of what is left, and its sign.
        let (zero, ones) = (self.word(0), self.word(u32::MAX));
        let top = self.shr(high, 31);
        let negative = self.bin(Binary::Ne, top, zero);
        let low_is_zero = self.bin(Binary::Eq, low, zero);
        let borrow = self.b.op1(Op::Cast {}, &[low_is_zero], WORD);
        let minus_low = self.sub(zero, low);
        let minus_high = self.bin(Binary::Xor, high, ones);
        let minus_high = self.add(minus_high, borrow);
        let (high, low) = (self.select(negative, minus_high, high), self.select(negative, minus_low, low));
        let (t, bits) = (self.t, self.bits);
        let (high, low) = (self.b.op1(Op::Cast {}, &[high], t), self.b.op1(Op::Cast {}, &[low], t));
        let unit = std::f64::consts::FRAC_PI_2 / (1u64 << 62) as f64;
        let r = self.fma_c(high, 4_294_967_296.0, low);
        let unit = self.c(unit);
        let r = self.mul(r, unit);
        let minus = self.neg(r);
        let r = self.select(negative, minus, r);
        (r, self.b.op1(Op::Cast {}, &[q], bits))
    }
}
