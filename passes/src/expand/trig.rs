//! sin, cos, tan and their inverses. Arguments are reduced by multiples of pi/2: by exact parts up to 2048, and beyond, in f32, by
//! integer arithmetic on 256 bits of 2/pi, which is right for every float.

use super::coefficients::TWO_OVER_PI;
use super::math::Math;
use odc_ir::core::{Binary, DType, Scalar, Value};
use odc_ir::loops::{LoopType, Op};

/// Beyond this the multiple of pi/2 has more bits than the exact parts leave room for.
const NEAR: f64 = 2048.0;

impl Math<'_, '_> {
    /// `x = q pi/2 + r`, |r| at most pi/4: r, and q as an integer whose low two bits count.
    fn reduce(&mut self, x: Value) -> (Value, Value) {
        if self.k.double {
            return self.reduce_near(x);
        }
        let (a, near) = (self.abs(x), self.c(NEAR));
        let far = self.lt(near, a);
        let any = match self.t {
            LoopType::Vector(_, lanes) => {
                let scalar = LoopType::Scalar(DType::Bool);
                let mut any = self.b.op1(Op::Extract { lane: 0 }, &[far], scalar);
                for lane in 1..lanes {
                    let one = self.b.op1(Op::Extract { lane }, &[far], scalar);
                    any = self.bin(Binary::Or, any, one);
                }
                any
            }
            _ => far,
        };
        let (t, bits, narrow) = (self.t, self.bits, self.narrow);
        let slow = self.b.block(&[], |b, _| {
            let (r, q) = Math { narrow, ..Math::new(b, t) }.reduce_far(x);
            vec![r, q]
        });
        let fast = self.b.block(&[], |b, _| {
            let (r, q) = Math { narrow, ..Math::new(b, t) }.reduce_near(x);
            vec![r, q]
        });
        match *self.b.region_op(Op::If {}, &[any], &[t, bits], vec![slow, fast]) {
            [r, q] => (r, q),
            _ => (x, x),
        }
    }

    fn reduce_near(&mut self, x: Value) -> (Value, Value) {
        let (n, q) = self.nearest(x, std::f64::consts::FRAC_2_PI);
        let mut r = x;
        for part in self.k.pi_2 {
            r = self.fma_c(n, -part, r);
        }
        (r, q)
    }

    fn reduce_far(&mut self, x: Value) -> (Value, Value) {
        let LoopType::Vector(_, lanes) = self.t else { return self.reduce_exactly(x) };
        let (f32_type, i32_type) = (LoopType::Scalar(DType::F32), LoopType::Scalar(DType::I32));
        let (t, bits) = (self.t, self.bits);
        let (mut rs, mut qs) = (x, self.int(0));
        for lane in 0..lanes {
            let x = self.b.op1(Op::Extract { lane }, &[x], f32_type);
            let mut m = Math { narrow: self.narrow, ..Math::new(self.b, f32_type) };
            let (r, q) = m.reduce_exactly(x);
            debug_assert_eq!(*m.b.ty(q), i32_type);
            rs = self.b.op1(Op::Insert { lane }, &[rs, r], t);
            qs = self.b.op1(Op::Insert { lane }, &[qs, q], bits);
        }
        (rs, qs)
    }

    /// One f32: mantissa times the 128 bits of 2/pi that matter at its exponent, modulo 4, as a 64-bit fixed-point number.
    fn reduce_exactly(&mut self, x: Value) -> (Value, Value) {
        let a = self.abs(x);
        let (r, q) = if self.narrow { self.turns_32(a) } else { self.turns_64(a) };
        // Odd in x; infinities and NaN give NaN; small arguments are their own remainder.
        let sign = self.sign_bit(x);
        let r = self.flip_sign(r, sign);
        let zero_bits = self.int(0);
        let minus_q = self.sub(zero_bits, q);
        let (none, inf, quarter) = (self.c(0.0), self.c(f64::INFINITY), self.c(std::f64::consts::FRAC_PI_4));
        let negative = self.lt(x, none);
        let q = self.select(negative, minus_q, q);
        let small = self.lt(a, quarter);
        let r = self.select(small, x, r);
        let q = self.select(small, zero_bits, q);
        let nan = self.sub(x, x);
        let finite = self.lt(a, inf);
        (self.select(finite, r, nan), q)
    }

    fn turns_64(&mut self, a: Value) -> (Value, Value) {
        let word = LoopType::Scalar(DType::U64);
        let u = |m: &mut Self, v: u64| m.b.op1(Op::Const { value: Scalar::Int(v as i64) }, &[], word);
        let bits = self.b.op1(Op::Bitcast {}, &[a], LoopType::Scalar(DType::U32));
        let bits = self.b.op1(Op::Cast {}, &[bits], word);
        let c23 = u(self, 23);
        let exponent = self.bin(Binary::Shr, bits, c23);
        let fraction = u(self, 0x7f_ffff);
        let fraction = self.and(bits, fraction);
        let leading = u(self, 0x80_0000);
        let mantissa = self.bin(Binary::Or, fraction, leading);
        // x = mantissa 2^(exponent - 150); scaled by 2^62 the window starts exponent - 88 bits into [0, 2/pi]. Small arguments,
        // which only share a vector with large ones, shift out of the words below.
        let least = u(self, 88);
        let at = self.bin(Binary::Max, exponent, least);
        let at = self.sub(at, least);
        let (six, sixty_three, sixty_four) = (u(self, 6), u(self, 63), u(self, 64));
        let index = self.bin(Binary::Shr, at, six);
        let shift = self.and(at, sixty_three);
        let back = self.sub(sixty_four, shift);
        let [t0, t1, t2, t3] = TWO_OVER_PI.map(|w| u(self, w));
        let (zero, one) = (u(self, 0), u(self, 1));
        let first = self.bin(Binary::Eq, index, zero);
        let second = self.bin(Binary::Eq, index, one);
        let pick = |m: &mut Self, w0, w1, w2| {
            let rest = m.select(second, w1, w2);
            m.select(first, w0, rest)
        };
        let w0 = pick(self, zero, t0, t1);
        let w1 = pick(self, t0, t1, t2);
        let w2 = pick(self, t1, t2, t3);
        // A shift by 64 gives 0.
        let join = |m: &mut Self, high, low| {
            let h = m.bin(Binary::Shl, high, shift);
            let l = m.bin(Binary::Shr, low, back);
            m.bin(Binary::Or, h, l)
        };
        let high = join(self, w0, w1);
        let low = join(self, w1, w2);
        let c32 = u(self, 32);
        let low = self.bin(Binary::Shr, low, c32);
        let low = self.mul(mantissa, low);
        let low = self.bin(Binary::Shr, low, c32);
        let high = self.mul(mantissa, high);
        let turns = self.add(high, low);
        let (half, c62) = (u(self, 1 << 61), u(self, 62));
        let q = self.add(turns, half);
        let q = self.bin(Binary::Shr, q, c62);
        let whole = self.bin(Binary::Shl, q, c62);
        let rest = self.sub(turns, whole);
        let rest = self.b.op1(Op::Cast {}, &[rest], LoopType::Scalar(DType::I64));
        let rest = self.b.op1(Op::Cast {}, &[rest], LoopType::Scalar(DType::F64));
        let unit = std::f64::consts::FRAC_PI_2 / (1u64 << 62) as f64;
        let unit = self.b.op1(Op::Const { value: Scalar::Float(unit) }, &[], LoopType::Scalar(DType::F64));
        let r = self.mul(rest, unit);
        let r = self.b.op1(Op::Cast {}, &[r], self.t);
        (r, self.b.op1(Op::Cast {}, &[q], self.bits))
    }

    /// Sine and cosine of a reduced argument.
    fn sin_cos(&mut self, r: Value) -> (Value, Value) {
        let k = self.k;
        let z = self.mul(r, r);
        let s = self.poly(k.sin, z);
        let rz = self.mul(r, z);
        let s = self.fma(s, rz, r);
        let s = self.with_sign(s, r); // of -0, which the sum loses
        let (half, one) = (self.c(-0.5), self.c(1.0));
        let c = self.poly(k.cos, z);
        let c = self.fma(c, z, half);
        let c = self.fma(c, z, one);
        (s, c)
    }

    /// sin(r + q pi/2)
    fn quadrant(&mut self, r: Value, q: Value) -> Value {
        let (s, c) = self.sin_cos(r);
        let (one, two, zero) = (self.int(1), self.int(2), self.int(0));
        let odd = self.and(q, one);
        let odd = self.bin(Binary::Ne, odd, zero);
        let y = self.select(odd, c, s);
        let sign = self.and(q, two);
        let sign = self.shl(sign, if self.k.double { 62 } else { 30 });
        self.flip_sign(y, sign)
    }

    pub fn sin(&mut self, x: Value) -> Value {
        let (r, q) = self.reduce(x);
        self.quadrant(r, q)
    }

    pub fn cos(&mut self, x: Value) -> Value {
        let (r, q) = self.reduce(x);
        let one = self.int(1);
        let q = self.add(q, one);
        self.quadrant(r, q)
    }

    pub fn tan(&mut self, x: Value) -> Value {
        let (r, q) = self.reduce(x);
        let (s, c) = self.sin_cos(r);
        let (one, zero) = (self.int(1), self.int(0));
        let bit = self.and(q, one);
        let odd = self.bin(Binary::Ne, bit, zero);
        let top = self.select(odd, c, s);
        let bottom = self.select(odd, s, c);
        let y = self.div(top, bottom);
        let sign = self.shl(bit, if self.k.double { 63 } else { 31 });
        self.flip_sign(y, sign)
    }

    /// |x| above tan(3 pi/8) turns to -1/x, above tan(pi/8) to (x-1)/(x+1).
    pub fn atan(&mut self, x: Value) -> Value {
        let k = self.k;
        let (hi, lo) = k.pi_2_sum;
        let (a, zero, one, minus) = (self.abs(x), self.c(0.0), self.c(1.0), self.c(-1.0));
        let (far, middle) = (self.c(2.414213562373095), self.c(0.41421356237309503));
        let is_far = self.lt(far, a);
        let is_middle = self.lt(middle, a);
        let (below, above) = (self.sub(a, one), self.add(a, one));
        let top = self.select(is_middle, below, a);
        let top = self.select(is_far, minus, top);
        let bottom = self.select(is_middle, above, one);
        let bottom = self.select(is_far, a, bottom);
        let t = self.div(top, bottom);
        let z = self.mul(t, t);
        let p = self.poly(k.atan, z);
        let tz = self.mul(t, z);
        let base = |m: &mut Self, v: f64| {
            let (one, half) = (m.c(v), m.c(v / 2.0));
            let b = m.select(is_middle, half, zero);
            m.select(is_far, one, b)
        };
        let (base_hi, base_lo) = (base(self, hi), base(self, lo));
        let y = self.fma(p, tz, base_lo);
        let y = self.add(y, t);
        let y = self.add(y, base_hi);
        self.with_sign(y, x)
    }

    /// For asin and acos: whether |x| > 1/2, s, and p = asin(s) - s, where s is |x| or else sqrt((1 - |x|) / 2).
    fn asin_parts(&mut self, x: Value) -> (Value, Value, Value) {
        let k = self.k;
        let (a, one, half) = (self.abs(x), self.c(1.0), self.c(0.5));
        let big = self.lt(half, a);
        let d = self.sub(one, a);
        let far = self.mul(d, half);
        let near = self.mul(a, a);
        let z = self.select(big, far, near);
        let root = self.sqrt(far);
        let s = self.select(big, root, a);
        let p = self.poly(k.asin, z);
        let sz = self.mul(s, z);
        (big, s, self.mul(p, sz))
    }

    pub fn asin(&mut self, x: Value) -> Value {
        let (hi, lo) = self.k.pi_2_sum;
        let (big, s, p) = self.asin_parts(x);
        let (hi, lo, minus) = (self.c(hi), self.c(lo), self.c(-2.0));
        let near = self.add(s, p);
        let y = self.fma(p, minus, lo);
        let y = self.fma(s, minus, y);
        let far = self.add(hi, y);
        let y = self.select(big, far, near);
        self.with_sign(y, x)
    }

    pub fn acos(&mut self, x: Value) -> Value {
        let (hi, lo) = self.k.pi_2_sum;
        let (big, s, p) = self.asin_parts(x);
        let (pi, pi_lo, hi, lo, zero) = (self.c(2.0 * hi), self.c(2.0 * lo), self.c(hi), self.c(lo), self.c(0.0));
        let whole = self.add(s, p);
        let positive = self.add(whole, whole);
        let negative = self.sub(pi_lo, positive);
        let negative = self.add(pi, negative);
        let below = self.lt(x, zero);
        let far = self.select(below, negative, positive);
        // pi/2 - x - p, with the sign of x.
        let (p, x) = (self.with_sign(p, x), x);
        let y = self.sub(lo, p);
        let y = self.sub(y, x);
        let near = self.add(hi, y);
        self.select(big, far, near)
    }
}
