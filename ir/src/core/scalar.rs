//! Functions of single elements, shared by scalar programs and loop IR, with the meaning every interpreter and backend must have.
//!
//! Integers wrap; integer division truncates and division by zero gives 0; floats follow IEEE with `min`/`max` spreading NaN;
//! comparisons give `bool`. `floordiv` and `mod` round toward minus infinity (`mod` has the divisor's sign).

use super::dim::checked_floordiv;
use super::dtype::{DType, Scalar};

crate::attr_enum! {
    /// A function of one element. Those up to `Not` are machine operations; the rest are expanded into polynomials at loop level.
    Unary {
        Neg "neg", Abs "abs", Sign "sign", Sqrt "sqrt", Floor "floor", Ceil "ceil", Trunc "trunc",
        /// To nearest, ties to even.
        Round "round",
        IsNan "is_nan", IsInf "is_inf",
        /// Logical for `bool`, bitwise for integers.
        Not "not",
        Exp "exp", Log "log", Sin "sin", Cos "cos", Tan "tan", Asin "asin", Acos "acos", Atan "atan",
        Sinh "sinh", Cosh "cosh", Tanh "tanh", Asinh "asinh", Acosh "acosh", Atanh "atanh", Erf "erf", Sigmoid "sigmoid",
    }
}

crate::attr_enum! {
    /// A function of two elements of one type.
    Binary {
        Add "add", Sub "sub", Mul "mul", Div "div",
        /// Remainder with the dividend's sign (C's `%`, `fmod`).
        Rem "rem",
        FloorDiv "floordiv", Mod "mod", Pow "pow", Min "min", Max "max",
        And "and", Or "or", Xor "xor", Shl "shl",
        /// Arithmetic for signed, logical for unsigned types.
        Shr "shr",
        Eq "eq", Ne "ne", Lt "lt", Le "le", Gt "gt", Ge "ge",
    }
}

impl Binary {
    pub const fn is_compare(self) -> bool {
        matches!(self, Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge)
    }
    /// The result's type for operands of type `dt`.
    pub const fn result_dtype(self, dt: DType) -> DType {
        if self.is_compare() { DType::Bool } else { dt }
    }
}

impl Unary {
    pub const fn result_dtype(self, dt: DType) -> DType {
        match self {
            Unary::IsNan | Unary::IsInf => DType::Bool,
            _ => dt,
        }
    }
    /// Needs a polynomial on machines: no instruction computes it.
    pub const fn is_transcendental(self) -> bool {
        self as u8 > Unary::Not as u8
    }

    /// The value on one element of type `dt`.
    pub fn eval(self, dt: DType, x: Scalar) -> Scalar {
        let f = |g: fn(f64) -> f64| Scalar::Float(g(x.as_f64())).wrap(dt);
        match self {
            Unary::IsNan => return Scalar::Bool(dt.is_float() && x.as_f64().is_nan()),
            Unary::IsInf => return Scalar::Bool(dt.is_float() && x.as_f64().is_infinite()),
            Unary::Not if dt == DType::Bool => return Scalar::Bool(!x.as_bool()),
            Unary::Not => return Scalar::Int(!x.as_i64()).wrap(dt),
            _ => {}
        }
        if !dt.is_float() {
            let v = x.as_i64();
            return match self {
                Unary::Neg => Scalar::Int(v.wrapping_neg()),
                Unary::Abs if dt.is_signed_int() => Scalar::Int(v.wrapping_abs()),
                Unary::Sign if dt.is_signed_int() => Scalar::Int(v.signum()),
                Unary::Sign => Scalar::Int(i64::from(v != 0)),
                Unary::Abs | Unary::Floor | Unary::Ceil | Unary::Trunc | Unary::Round => Scalar::Int(v),
                _ => return f(self.float()),
            }
            .wrap(dt);
        }
        f(self.float())
    }

    fn float(self) -> fn(f64) -> f64 {
        match self {
            Unary::Neg => |x| -x,
            Unary::Abs => f64::abs,
            Unary::Sign => |x| {
                if x == 0.0 || x.is_nan() { x } else { x.signum() }
            },
            Unary::Sqrt => f64::sqrt,
            Unary::Floor => f64::floor,
            Unary::Ceil => f64::ceil,
            Unary::Trunc => f64::trunc,
            Unary::Round => f64::round_ties_even,
            Unary::IsNan | Unary::IsInf | Unary::Not => |x| x,
            Unary::Exp => f64::exp,
            Unary::Log => f64::ln,
            Unary::Sin => f64::sin,
            Unary::Cos => f64::cos,
            Unary::Tan => f64::tan,
            Unary::Asin => f64::asin,
            Unary::Acos => f64::acos,
            Unary::Atan => f64::atan,
            Unary::Sinh => f64::sinh,
            Unary::Cosh => f64::cosh,
            Unary::Tanh => f64::tanh,
            Unary::Asinh => f64::asinh,
            Unary::Acosh => f64::acosh,
            Unary::Atanh => f64::atanh,
            Unary::Erf => erf,
            Unary::Sigmoid => |x| 1.0 / (1.0 + (-x).exp()),
        }
    }
}

impl Binary {
    /// The value on two elements of type `dt`.
    pub fn eval(self, dt: DType, a: Scalar, b: Scalar) -> Scalar {
        if self.is_compare() {
            return Scalar::Bool(self.compare(dt, a, b));
        }
        if dt.is_float() {
            let (x, y) = (a.as_f64(), b.as_f64());
            let r = match self {
                Binary::Add => x + y,
                Binary::Sub => x - y,
                Binary::Mul => x * y,
                Binary::Div => x / y,
                Binary::Rem => x % y,
                Binary::FloorDiv => (x / y).floor(),
                Binary::Mod => x - (x / y).floor() * y,
                Binary::Pow => x.powf(y),
                Binary::Min => {
                    if x.is_nan() || y.is_nan() {
                        f64::NAN
                    } else {
                        x.min(y)
                    }
                }
                Binary::Max => {
                    if x.is_nan() || y.is_nan() {
                        f64::NAN
                    } else {
                        x.max(y)
                    }
                }
                _ => f64::NAN,
            };
            return Scalar::Float(r).wrap(dt);
        }
        let (x, y) = (a.as_i64(), b.as_i64());
        let unsigned = dt == DType::U64;
        let bits = i64::from(dt.bits());
        let r = match self {
            Binary::Add => x.wrapping_add(y),
            Binary::Sub => x.wrapping_sub(y),
            Binary::Mul => x.wrapping_mul(y),
            Binary::Div | Binary::Rem | Binary::FloorDiv | Binary::Mod if y == 0 => 0,
            Binary::Div if unsigned => (x as u64 / y as u64) as i64,
            Binary::Div => x.wrapping_div(y),
            Binary::Rem | Binary::Mod if unsigned => (x as u64 % y as u64) as i64,
            Binary::Rem => x.wrapping_rem(y),
            Binary::FloorDiv if unsigned => (x as u64 / y as u64) as i64,
            Binary::FloorDiv => checked_floordiv(x, y).unwrap_or(x),
            Binary::Mod => x.wrapping_sub(checked_floordiv(x, y).unwrap_or(x).wrapping_mul(y)),
            Binary::Pow => int_pow(x, y),
            Binary::Min if unsigned => (x as u64).min(y as u64) as i64,
            Binary::Max if unsigned => (x as u64).max(y as u64) as i64,
            Binary::Min => x.min(y),
            Binary::Max => x.max(y),
            Binary::And => x & y,
            Binary::Or => x | y,
            Binary::Xor => x ^ y,
            Binary::Shl if !(0..bits).contains(&y) => 0,
            Binary::Shl => x << y,
            Binary::Shr if !(0..bits).contains(&y) => 0,
            Binary::Shr if dt.is_unsigned_int() => ((x as u64) >> y) as i64,
            Binary::Shr => x >> y,
            Binary::Eq | Binary::Ne | Binary::Lt | Binary::Le | Binary::Gt | Binary::Ge => 0,
        };
        Scalar::Int(r).wrap(dt)
    }

    fn compare(self, dt: DType, a: Scalar, b: Scalar) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let ord = if dt.is_float() {
            a.as_f64().partial_cmp(&b.as_f64())
        } else if dt == DType::U64 {
            Some((a.as_i64() as u64).cmp(&(b.as_i64() as u64)))
        } else {
            Some(a.as_i64().cmp(&b.as_i64()))
        };
        match self {
            Binary::Eq => ord == Some(Equal),
            Binary::Ne => ord != Some(Equal),
            Binary::Lt => ord == Some(Less),
            Binary::Le => matches!(ord, Some(Less | Equal)),
            Binary::Gt => ord == Some(Greater),
            Binary::Ge => matches!(ord, Some(Greater | Equal)),
            _ => false,
        }
    }
}

fn int_pow(x: i64, y: i64) -> i64 {
    match u32::try_from(y) {
        Ok(e) => x.wrapping_pow(e),
        Err(_) if x == 1 => 1,
        Err(_) if x == -1 => {
            if y % 2 == 0 {
                1
            } else {
                -1
            }
        }
        Err(_) => 0,
    }
}

/// Error function to double precision: series near zero, continued fraction (Lentz) far out.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if x.is_nan() {
        return x;
    }
    if a > 6.0 {
        return x.signum();
    }
    if a < 2.5 {
        // erf x = 2/sqrt(pi) * exp(-x^2) * sum 2^n x^(2n+1) / (1*3*…*(2n+1)): all terms positive, no cancellation.
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term > sum * 1e-17 && n < 200.0 {
            n += 1.0;
            term *= 2.0 * a * a / (2.0 * n + 1.0);
            sum += term;
        }
        return x.signum() * std::f64::consts::FRAC_2_SQRT_PI * (-a * a).exp() * sum;
    }
    let mut f = a;
    for k in (1..60).rev() {
        f = a + f64::from(k) / 2.0 / f;
    }
    x.signum() * (1.0 - (-a * a).exp() / f / std::f64::consts::PI.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_matches_known_values() {
        for (x, y) in [
            (0.5, 0.5204998778130465),
            (1.0, 0.8427007929497149),
            (2.0, 0.9953222650189527),
            (3.0, 0.9999779095030014),
            (-1.5, -0.9661051464753108),
        ] {
            assert!((erf(x) - y).abs() < 1e-15, "erf({x}) = {} not {y}", erf(x));
        }
    }

    #[test]
    fn integer_edges() {
        let e = |f: Binary, a, b| f.eval(DType::I32, Scalar::Int(a), Scalar::Int(b)).as_i64();
        assert_eq!(e(Binary::Mod, -7, 3), 2);
        assert_eq!(e(Binary::Rem, -7, 3), -1);
        assert_eq!(e(Binary::FloorDiv, -7, 2), -4);
        assert_eq!(e(Binary::Div, 1, 0), 0);
        assert_eq!(e(Binary::Add, i64::from(i32::MAX), 1), i64::from(i32::MIN));
    }
}
