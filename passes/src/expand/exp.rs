//! The exponential family: exp, sigmoid, tanh, sinh, cosh, erf. All reduce to `e^x = 2^n e^r` with `|r| <= ln 2 / 2`.

use super::math::Math;
use odc_ir::core::{Binary, Unary, Value};

impl Math<'_, '_> {
    /// `x = n ln 2 + r`: r, and n in the low bits of a float's mantissa.
    fn reduce_exp(&mut self, x: Value) -> (Value, Value) {
        let k = self.k;
        let (n, bits) = self.nearest(x, std::f64::consts::LOG2_E);
        let r = self.fma_c(n, -k.ln2.0, x);
        let r = self.fma_c(n, -k.ln2.1, r);
        (r, bits)
    }

    /// `y * 2^(n + more)` by adding to the exponent of `y`, which must stay in range.
    fn scale(&mut self, y: Value, n: Value, more: i64) -> Value {
        let mantissa = self.k.mantissa;
        let n = self.shl(n, mantissa);
        let bits = self.bits_of(y);
        let mut sum = self.bin(Binary::Add, bits, n);
        if more != 0 {
            let more = self.int(more << mantissa);
            sum = self.bin(Binary::Add, sum, more);
        }
        self.float_of(sum)
    }

    /// `e^x 2^more` where that is a normal number.
    fn exp_normal(&mut self, x: Value, more: i64) -> Value {
        let (r, n) = self.reduce_exp(x);
        let k = self.k;
        let q = self.poly(k.exp, r);
        let one = self.c(1.0);
        let p = self.fma(q, r, one);
        let y = self.fma(p, r, one);
        self.scale(y, n, more)
    }

    pub fn exp(&mut self, x: Value) -> Value {
        if self.exp_kept { self.un(Unary::Exp, x) } else { self.exp_poly(x) }
    }

    pub fn exp_poly(&mut self, x: Value) -> Value {
        let y = self.exp_normal(x, 0);
        let (lo, hi) = self.k.exp_range;
        let (lo, hi, zero, inf) = (self.c(lo), self.c(hi), self.c(0.0), self.c(f64::INFINITY));
        let under = self.lt(x, lo);
        let y = self.select(under, zero, y);
        // Above: infinity, or the NaN itself.
        let inside = self.le(x, hi);
        let over = self.add(x, inf);
        self.select(inside, y, over)
    }

    pub fn sigmoid(&mut self, x: Value) -> Value {
        let minus = self.neg(x);
        let e = self.exp(minus);
        let one = self.c(1.0);
        let d = self.add(one, e);
        self.div(one, d)
    }

    /// `(e^a - 1) / (e^a - 1 + 2)` at twice the magnitude, where `e^a - 1 = 2^n (e^r - 1) + (2^n - 1)` loses nothing near zero.
    pub fn tanh(&mut self, x: Value) -> Value {
        let k = self.k;
        let (a, most, one, two) = (self.abs(x), self.c(k.tanh_max), self.c(1.0), self.c(2.0));
        let a = self.bin(Binary::Min, a, most);
        let a = self.add(a, a);
        let (r, n) = self.reduce_exp(a);
        let q = self.poly(k.exp, r);
        let r2 = self.mul(r, r);
        let p = self.fma(q, r2, r);
        let s = self.scale(one, n, 0);
        let s1 = self.sub(s, one);
        let e = self.fma(s, p, s1);
        let d = self.add(e, two);
        let y = self.div(e, d);
        self.with_sign(y, x)
    }

    /// Half of `e^a` for `a >= 0`, up to where sinh overflows; beyond infinity, NaN for NaN.
    fn half_exp(&mut self, a: Value) -> Value {
        let y = self.exp_normal(a, -1);
        let (most, inf) = (self.c(self.k.sinh_max), self.c(f64::INFINITY));
        let inside = self.le(a, most);
        let over = self.add(a, inf);
        self.select(inside, y, over)
    }

    pub fn cosh(&mut self, x: Value) -> Value {
        let (a, quarter) = (self.abs(x), self.c(0.25));
        let e = self.half_exp(a);
        let back = self.div(quarter, e);
        self.add(e, back)
    }

    pub fn sinh(&mut self, x: Value) -> Value {
        let k = self.k;
        let (a, quarter, one) = (self.abs(x), self.c(0.25), self.c(1.0));
        let e = self.half_exp(a);
        let back = self.div(quarter, e);
        let large = self.sub(e, back);
        let z = self.mul(a, a);
        let p = self.poly(k.sinh, z);
        let az = self.mul(a, z);
        let small = self.fma(p, az, a);
        let near = self.lt(a, one);
        let y = self.select(near, small, large);
        self.with_sign(y, x)
    }

    /// A polynomial near zero, `1 - e^(polynomial)` beyond 1.
    pub fn erf(&mut self, x: Value) -> Value {
        let k = self.k;
        let (a, one, most) = (self.abs(x), self.c(1.0), self.c(k.erf_max));
        let z = self.mul(a, a);
        let p = self.poly(k.erf, z);
        let small = self.fma(p, a, a);
        let far = self.bin(Binary::Min, a, most);
        let g = self.poly(k.erfc, far);
        let e = self.exp_normal(g, 0);
        let large = self.sub(one, e);
        // NaN is neither near nor not far, and stays.
        let beyond = self.le(one, a);
        let y = self.select(beyond, large, small);
        self.with_sign(y, x)
    }
}
