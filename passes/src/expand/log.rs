//! The logarithm and what is made of it: inverse hyperbolic functions.

use super::coefficients::{LOG_F32, LOG_S_F64};
use super::math::Math;
use odc_ir::core::{Binary, Unary, Value};
use odc_ir::loops::Op;

impl Math<'_, '_> {
    pub fn log(&mut self, x: Value) -> Value {
        self.log_scaled(x, None)
    }

    /// `x = 2^e (1 + f)` with 1 + f from sqrt(1/2) to sqrt 2: e and f, both floats. Denormals are scaled up first.
    pub fn split(&mut self, x: Value) -> (Value, Value) {
        let (k, zero) = (self.k, self.c(0.0));
        let least = self.c(k.least_normal);
        let tiny = self.lt(x, least);
        let up = self.c((1i64 << k.mantissa) as f64);
        let scaled = self.mul(x, up);
        let normal = self.select(tiny, scaled, x);
        let down = self.c(-(k.mantissa as f64));
        let bias = self.select(tiny, down, zero);
        let bits = self.bits_of(normal);
        let half = self.int(k.sqrt_half);
        let above = self.sub(bits, half);
        let by = self.int(k.mantissa);
        let e = self.bin(Binary::Shr, above, by);
        let exponent = self.shl(e, k.mantissa);
        let m = self.sub(bits, exponent);
        let m = self.float_of(m);
        let e = self.b.op1(Op::Cast {}, &[e], self.t);
        let e = self.add(e, bias);
        let one = self.c(1.0);
        (e, self.sub(m, one))
    }

    /// `ln(x 2^more)`.
    fn log_scaled(&mut self, x: Value, more: Option<Value>) -> Value {
        let k = self.k;
        let (zero, inf) = (self.c(0.0), self.c(f64::INFINITY));
        let (mut e, f) = self.split(x);
        if let Some(more) = more {
            e = self.add(e, more);
        }
        let f2 = self.mul(f, f);
        let y = if k.double {
            // f - (f^2/2 - s (f^2/2 + z M(z))), s = f / (2 + f), z = s^2
            let (two, h) = (self.c(2.0), self.c(0.5));
            let d = self.add(two, f);
            let s = self.div(f, d);
            let z = self.mul(s, s);
            let r = self.poly(LOG_S_F64, z);
            let r = self.mul(r, z);
            let half_square = self.mul(f2, h);
            let r = self.add(half_square, r);
            let low = self.c(k.ln2.1);
            let low = self.mul(e, low);
            let r = self.fma(s, r, low);
            let r = self.sub(half_square, r);
            self.sub(f, r)
        } else {
            let p = self.poly(LOG_F32, f);
            let pf = self.mul(p, f);
            let low = self.c(k.ln2.1);
            let low = self.mul(e, low);
            let y = self.fma(pf, f2, low);
            let y = self.fma_c(f2, -0.5, y);
            self.add(f, y)
        };
        let y = self.fma_c(e, k.ln2.0, y);
        let (minus_inf, nan) = (self.c(f64::NEG_INFINITY), self.c(f64::NAN));
        let negative = self.lt(x, zero);
        let is_zero = self.bin(Binary::Eq, x, zero);
        let other = self.select(negative, nan, x);
        let other = self.select(is_zero, minus_inf, other);
        let positive = self.lt(zero, x);
        let finite = self.lt(x, inf);
        let usual = self.and(positive, finite);
        self.select(usual, y, other)
    }

    /// `ln(1 + u)`, or `ln(2 u)` where `big`: what the sum's rounding lost comes back as a quotient.
    fn log1p(&mut self, u: Value, big: Option<Value>) -> Value {
        let (one, zero, inf) = (self.c(1.0), self.c(0.0), self.c(f64::INFINITY));
        let mut w = self.add(one, u);
        let back = self.sub(w, one);
        let lost = self.sub(u, back);
        let lost = self.div(lost, w);
        let mut keep = self.lt(w, inf);
        let mut more = None;
        if let Some(big) = big {
            w = self.select(big, u, w);
            more = Some(self.select(big, one, zero));
            let small = self.b.op1(Op::Unary { f: Unary::Not }, &[big], self.bools);
            keep = self.and(keep, small);
        }
        let lost = self.select(keep, lost, zero);
        let y = self.log_scaled(w, more);
        self.add(y, lost)
    }

    /// `ln(1 + a + a^2 / (1 + sqrt(1 + a^2)))`
    pub fn asinh(&mut self, x: Value) -> Value {
        let (a, one, most) = (self.abs(x), self.c(1.0), self.c(self.k.big));
        let big = self.lt(most, a);
        let a2 = self.mul(a, a);
        let s = self.add(one, a2);
        let s = self.sqrt(s);
        let s = self.add(one, s);
        let q = self.div(a2, s);
        let u = self.add(a, q);
        let u = self.select(big, a, u);
        let y = self.log1p(u, Some(big));
        self.with_sign(y, x)
    }

    /// `ln(1 + t + sqrt(t (t + 2)))` with `t = x - 1`
    pub fn acosh(&mut self, x: Value) -> Value {
        let (one, two, most, nan) = (self.c(1.0), self.c(2.0), self.c(self.k.big), self.c(f64::NAN));
        let big = self.lt(most, x);
        let t = self.sub(x, one);
        let t2 = self.add(t, two);
        let s = self.mul(t, t2);
        let s = self.sqrt(s);
        let u = self.add(t, s);
        let u = self.select(big, x, u);
        let y = self.log1p(u, Some(big));
        let below = self.lt(x, one);
        self.select(below, nan, y)
    }

    /// `ln(1 + 2a / (1 - a)) / 2`
    pub fn atanh(&mut self, x: Value) -> Value {
        let (a, one, half) = (self.abs(x), self.c(1.0), self.c(0.5));
        let top = self.add(a, a);
        let bottom = self.sub(one, a);
        let u = self.div(top, bottom);
        let y = self.log1p(u, None);
        let y = self.mul(y, half);
        // The NaN of |x| > 1 keeps its own sign; any does.
        self.with_sign(y, x)
    }
}
