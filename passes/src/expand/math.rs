//! Arithmetic on values of one float type, in few words: what the functions in the neighbouring files are written in.

use super::coefficients::*;
use odc_ir::core::{Binary, Builder, DType, Scalar, Unary, Value};
use odc_ir::loops::{Loop, LoopType, Op};

/// The numbers of a float format.
pub struct Format {
    pub double: bool,
    pub mantissa: i64,
    /// Adding and subtracting it rounds to an integer, whose low bits then stand in the sum's mantissa.
    pub magic: f64,
    /// ln 2 in a part that integers of the exponent's size multiply exactly, and the rest.
    pub ln2: (f64, f64),
    /// Least and largest argument with a normal exponential, and the largest of sinh.
    pub exp_range: (f64, f64),
    pub sinh_max: f64,
    pub least_normal: f64,
    /// Bits of sqrt(1/2).
    pub sqrt_half: i64,
    /// Arguments beyond which `x + 1` and `sqrt(x^2 + 1)` are `x`, with room to square.
    pub big: f64,
    /// Multiples of pi/2, up to sums of this size, that are subtracted in exact parts.
    pub pi_2: [f64; 4],
    /// High and low parts of pi/2, as the format rounds them.
    pub pi_2_sum: (f64, f64),
    pub exp: &'static [f64],
    pub sin: &'static [f64],
    pub cos: &'static [f64],
    pub atan: &'static [f64],
    pub asin: &'static [f64],
    pub sinh: &'static [f64],
    pub erf: &'static [f64],
    pub erfc: &'static [f64],
    pub erf_max: f64,
    pub tanh_max: f64,
}

pub static SINGLE: Format = Format {
    double: false,
    mantissa: 23,
    magic: 12_582_912.0,
    ln2: (0.693359375, -0.00021219444005469057),
    exp_range: (-87.336_55, 88.722_83),
    sinh_max: 89.415_985,
    least_normal: 1.1754943508222875e-38,
    sqrt_half: 0x3f35_04f3,
    big: 1_073_741_824.0,
    pi_2: PI_2_F32,
    pi_2_sum: (1.5707963705062866, -4.371138828673793e-8),
    exp: EXP_F32,
    sin: SIN_F32,
    cos: COS_F32,
    atan: ATAN_F32,
    asin: ASIN_F32,
    sinh: SINH_F32,
    erf: ERF_F32,
    erfc: ERFC_F32,
    erf_max: 4.0,
    tanh_max: 10.0,
};

pub static DOUBLE: Format = Format {
    double: true,
    mantissa: 52,
    magic: 6_755_399_441_055_744.0,
    ln2: (0.6931471803691238, 1.9082149292705877e-10),
    exp_range: (-708.3964185322641, 709.782712893384),
    sinh_max: 710.4758600739439,
    least_normal: f64::MIN_POSITIVE,
    sqrt_half: 0x3fe6_a09e_667f_3bcd,
    big: 1_152_921_504_606_846_976.0,
    pi_2: PI_2_F64,
    pi_2_sum: (std::f64::consts::FRAC_PI_2, 6.123233995736766e-17),
    exp: EXP_F64,
    sin: SIN_F64,
    cos: COS_F64,
    atan: ATAN_F64,
    asin: ASIN_F64,
    sinh: SINH_F64,
    erf: ERF_F64,
    erfc: ERFC_F64,
    erf_max: 6.0,
    tanh_max: 22.0,
};

pub struct Math<'a, 'f> {
    pub b: &'a mut Builder<'f, Loop>,
    /// The float type, its integer twin and its comparisons.
    pub t: LoopType,
    pub bits: LoopType,
    pub bools: LoopType,
    pub k: &'static Format,
    /// No 64-bit types, and nothing that rests on how a sum rounds: GPU compilers may rearrange those.
    pub narrow: bool,
    /// The machine has `exp`.
    pub exp_kept: bool,
}

impl<'a, 'f> Math<'a, 'f> {
    pub fn new(b: &'a mut Builder<'f, Loop>, t: LoopType) -> Self {
        let double = t.dtype() == DType::F64;
        let bits = match t {
            LoopType::Vector(_, n) => LoopType::Vector(if double { DType::I64 } else { DType::I32 }, n),
            _ => LoopType::Scalar(if double { DType::I64 } else { DType::I32 }),
        };
        Math { b, t, bits, bools: t.with_dtype(DType::Bool), k: if double { &DOUBLE } else { &SINGLE }, narrow: false, exp_kept: false }
    }

    pub fn c(&mut self, value: f64) -> Value {
        let value = Scalar::Float(value).wrap(self.t.dtype());
        self.b.op1(Op::Const { value }, &[], self.t)
    }
    pub fn int(&mut self, value: i64) -> Value {
        let value = Scalar::Int(value).wrap(self.bits.dtype());
        self.b.op1(Op::Const { value }, &[], self.bits)
    }
    /// A binary function of two values of one type.
    pub fn bin(&mut self, f: Binary, x: Value, y: Value) -> Value {
        let t = *self.b.ty(x);
        let t = if f.is_compare() { t.with_dtype(DType::Bool) } else { t };
        self.b.op1(Op::Binary { f }, &[x, y], t)
    }
    pub fn add(&mut self, x: Value, y: Value) -> Value {
        self.bin(Binary::Add, x, y)
    }
    pub fn sub(&mut self, x: Value, y: Value) -> Value {
        self.bin(Binary::Sub, x, y)
    }
    pub fn mul(&mut self, x: Value, y: Value) -> Value {
        self.bin(Binary::Mul, x, y)
    }
    pub fn div(&mut self, x: Value, y: Value) -> Value {
        self.bin(Binary::Div, x, y)
    }
    pub fn lt(&mut self, x: Value, y: Value) -> Value {
        self.bin(Binary::Lt, x, y)
    }
    pub fn le(&mut self, x: Value, y: Value) -> Value {
        self.bin(Binary::Le, x, y)
    }
    pub fn and(&mut self, x: Value, y: Value) -> Value {
        self.bin(Binary::And, x, y)
    }
    pub fn shl(&mut self, x: Value, by: i64) -> Value {
        let by = self.int(by);
        self.bin(Binary::Shl, x, by)
    }
    /// `x * c` to the nearest integer, and that in the low bits of an integer.
    pub fn nearest(&mut self, x: Value, c: f64) -> (Value, Value) {
        if self.narrow {
            let c = self.c(c);
            let y = self.mul(x, c);
            let y = self.un(Unary::Round, y);
            let (t, bits) = (self.t, self.bits);
            let n = self.b.op1(Op::Cast {}, &[y], bits);
            // Back again: the integer has no -0, whose products would change the sign of an argument of 0.
            return (self.b.op1(Op::Cast {}, &[n], t), n);
        }
        let magic = self.c(self.k.magic);
        let t = self.fma_c(x, c, magic);
        let n = self.sub(t, magic);
        (n, self.bits_of(t))
    }
    /// `x * y + z`.
    pub fn fma(&mut self, x: Value, y: Value, z: Value) -> Value {
        self.b.op1(Op::Fma {}, &[x, y, z], self.t)
    }
    /// `x * c + z` with a literal.
    pub fn fma_c(&mut self, x: Value, c: f64, z: Value) -> Value {
        let c = self.c(c);
        self.fma(x, c, z)
    }
    pub fn un(&mut self, f: Unary, x: Value) -> Value {
        self.b.op1(Op::Unary { f }, &[x], self.t)
    }
    pub fn abs(&mut self, x: Value) -> Value {
        self.un(Unary::Abs, x)
    }
    pub fn neg(&mut self, x: Value) -> Value {
        self.un(Unary::Neg, x)
    }
    pub fn sqrt(&mut self, x: Value) -> Value {
        self.un(Unary::Sqrt, x)
    }
    pub fn select(&mut self, c: Value, x: Value, y: Value) -> Value {
        let t = *self.b.ty(x);
        self.b.op1(Op::Select {}, &[c, x, y], t)
    }
    pub fn bits_of(&mut self, x: Value) -> Value {
        self.b.op1(Op::Bitcast {}, &[x], self.bits)
    }
    pub fn float_of(&mut self, x: Value) -> Value {
        self.b.op1(Op::Bitcast {}, &[x], self.t)
    }

    /// The polynomial with coefficients `c`, lowest first, at `x` (Horner).
    pub fn poly(&mut self, c: &[f64], x: Value) -> Value {
        let mut rest = c.iter().rev();
        let mut sum = self.c(rest.next().copied().unwrap_or(0.0));
        for c in rest {
            let c = self.c(*c);
            sum = self.fma(sum, x, c);
        }
        sum
    }

    /// `size`, which is not negative or has that sign already, with the sign of `x`.
    pub fn with_sign(&mut self, size: Value, x: Value) -> Value {
        let sign = self.sign_bit(x);
        let bits = self.bits_of(size);
        let bits = self.bin(Binary::Or, bits, sign);
        self.float_of(bits)
    }
    /// The sign bit alone.
    pub fn sign_bit(&mut self, x: Value) -> Value {
        let mask = self.int(if self.k.double { i64::MIN } else { i64::from(i32::MIN) });
        let bits = self.bits_of(x);
        self.and(bits, mask)
    }
    /// `x` negated where the bit is set.
    pub fn flip_sign(&mut self, x: Value, sign: Value) -> Value {
        let bits = self.bits_of(x);
        let bits = self.bin(Binary::Xor, bits, sign);
        self.float_of(bits)
    }
}
