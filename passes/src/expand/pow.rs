//! Powers: by way of the logarithm, in more precision than the result has.

use super::coefficients::LOG_S_F64;
use super::math::Math;
use odc_ir::core::{Binary, DType, Unary, Value};
use odc_ir::loops::{LoopType, Op};

impl Math<'_, '_> {
    /// f32 is computed in f64, lane by lane: no extra precision by hand, and correct to the last bit but rarely.
    pub fn pow(&mut self, x: Value, y: Value) -> Value {
        if self.narrow {
            return self.pow_by(x, y, Math::exp_log_32);
        }
        let t = self.t;
        let double = LoopType::Scalar(DType::F64);
        let LoopType::Vector(d, lanes) = t else {
            if self.k.double {
                return self.pow_by(x, y, Math::exp_log);
            }
            let (x, y) = (self.b.op1(Op::Cast {}, &[x], double), self.b.op1(Op::Cast {}, &[y], double));
            let r = Math::new(self.b, double).pow_by(x, y, Math::exp_log);
            return self.b.op1(Op::Cast {}, &[r], t);
        };
        let element = LoopType::Scalar(d);
        let mut out = x;
        for lane in 0..lanes {
            let x = self.b.op1(Op::Extract { lane }, &[x], element);
            let y = self.b.op1(Op::Extract { lane }, &[y], element);
            let r = Math::new(self.b, element).pow(x, y);
            out = self.b.op1(Op::Insert { lane }, &[out, r], t);
        }
        out
    }

    fn exp_log(&mut self, a: Value, y: Value) -> Value {
        let l = self.log(a);
        let p = self.mul(y, l);
        self.exp(p)
    }

    /// `e^(y ln a)` with the logarithm and the product in two parts, the first of 12 bits, so that products of first parts are
    /// exact: no rounding but the last is larger than 2^-30.
    fn exp_log_32(&mut self, a: Value, y: Value) -> Value {
        let k = self.k;
        let (two, inf, zero) = (self.c(2.0), self.c(f64::INFINITY), self.c(0.0));
        // ln(1 + f) = 2 atanh(s), s = f / (2 + f) = first + rest
        let (e, f) = self.split(a);
        let d = self.add(two, f);
        let back = self.sub(d, two);
        let d_lost = self.sub(f, back);
        let s = self.div(f, d);
        let first = self.high(s);
        let d_high = self.high(d);
        let d_low = self.sub(d, d_high);
        let mut left = f;
        for part in [d_high, d_low, d_lost] {
            let p = self.mul(first, part);
            left = self.sub(left, p);
        }
        let rest = self.div(left, d);
        let z = self.mul(s, s);
        let tail = self.poly(LOG_S_F64.get(..5).unwrap_or(LOG_S_F64), z);
        let sz = self.mul(s, z);
        let tail = self.mul(sz, tail);
        let rest = self.add(rest, rest);
        let rest = self.add(rest, tail);
        let low = self.c(k.ln2.1);
        let low = self.mul(e, low);
        let rest = self.add(rest, low);
        let first = self.add(first, first);
        let high = self.c(k.ln2.0);
        let high = self.mul(e, high);
        let sum = self.add(high, first);
        let back = self.sub(sum, high);
        let lost = self.sub(first, back);
        let rest = self.add(rest, lost);
        let whole = self.add(sum, rest);
        let log_high = self.high(whole);
        let back = self.sub(log_high, sum);
        let log_low = self.sub(rest, back);
        // y ln a
        let y_high = self.high(y);
        let y_low = self.sub(y, y_high);
        let p_high = self.mul(y_high, log_high);
        let p = self.mul(y_low, log_high);
        let q = self.mul(y, log_low);
        let p_low = self.add(p, q);
        let t = self.add(p_high, p_low);
        let back = self.sub(t, p_high);
        let t_low = self.sub(p_low, back);
        // Of what is no number, or far from one, the plain product tells enough.
        let l = self.log(a);
        let plain = self.mul(y, l);
        let most = self.c(128.0);
        let (size, l_size) = (self.abs(plain), self.abs(l));
        let near = self.lt(size, most);
        let finite = self.lt(l_size, inf);
        let usual = self.and(near, finite);
        let t = self.select(usual, t, plain);
        let t_low = self.select(usual, t_low, zero);
        let e = self.exp_poly(t);
        let corrected = self.fma(e, t_low, e);
        let finite = self.lt(e, inf);
        self.select(finite, corrected, e)
    }

    /// The upper 12 bits of an f32.
    fn high(&mut self, x: Value) -> Value {
        let mask = self.int(-4096);
        let bits = self.bits_of(x);
        let bits = self.and(bits, mask);
        self.float_of(bits)
    }

    /// `x^y` where `power` gives it for positive `x`: signs and special cases.
    fn pow_by(&mut self, x: Value, y: Value, power: fn(&mut Self, Value, Value) -> Value) -> Value {
        let (zero, one, half, nan, inf) = (self.c(0.0), self.c(1.0), self.c(0.5), self.c(f64::NAN), self.c(f64::INFINITY));
        let a = self.abs(x);
        let r = power(self, a, y);
        // 1 to any power, infinite ones too, is 1; so is -1 to an infinite (even) one.
        let unit = self.bin(Binary::Eq, a, one);
        let r = self.select(unit, one, r);
        let floor = self.un(Unary::Floor, y);
        let integer = self.bin(Binary::Eq, floor, y);
        let h = self.mul(y, half);
        let h_floor = self.un(Unary::Floor, h);
        let odd = self.bin(Binary::Ne, h_floor, h);
        let odd = self.and(odd, integer);
        let negative = self.lt(x, zero);
        let finite = self.lt(a, inf);
        let fraction = self.b.op1(Op::Unary { f: Unary::Not }, &[integer], self.bools);
        let undefined = self.and(negative, finite);
        let undefined = self.and(undefined, fraction);
        let r = self.select(undefined, nan, r);
        let minus = self.with_sign(r, x);
        let r = self.select(odd, minus, r);
        let none = self.bin(Binary::Eq, y, zero);
        let base_one = self.bin(Binary::Eq, x, one);
        let trivial = self.bin(Binary::Or, none, base_one);
        self.select(trivial, one, r)
    }
}
