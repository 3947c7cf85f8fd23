//! Literals. WGSL reads a decimal exactly and then rounds, wants no value outside the type, and has no infinities and no NaN: those are
//! made from the bits of a variable that no compiler may look into.

use odc_ir::core::{DType, Scalar};

/// A float that WGSL has no literal for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Special {
    Inf,
    NegativeInf,
    Nan,
}

impl Special {
    fn of(x: f64) -> Option<Special> {
        match x {
            x if x.is_nan() => Some(Special::Nan),
            f64::INFINITY => Some(Special::Inf),
            f64::NEG_INFINITY => Some(Special::NegativeInf),
            _ => None,
        }
    }
    pub const fn variable(self) -> &'static str {
        match self {
            Special::Inf => "inf_bits",
            Special::NegativeInf => "negative_inf_bits",
            Special::Nan => "nan_bits",
        }
    }
    pub const fn bits(self) -> &'static str {
        match self {
            Special::Inf => "0x7f800000u",
            Special::NegativeInf => "0xff800000u",
            Special::Nan => "0x7fc00000u",
        }
    }
}

/// The text of a value of type `d` (f32, f16, i32, u32 or bool), or what it must be made from.
pub fn literal(value: Scalar, d: DType) -> Result<String, Special> {
    match (value.wrap(d), d) {
        (Scalar::Float(x), _) if Special::of(x).is_some() => Err(Special::of(x).unwrap_or(Special::Nan)),
        (Scalar::Float(x), DType::F16) => Ok(format!("{:?}h", x as f32)),
        (Scalar::Float(x), _) => Ok(float(x as f32)),
        (Scalar::Int(x), DType::U32) => Ok(format!("{x}u")),
        (Scalar::Int(x), _) => Ok(x.to_string()),
        (Scalar::Bool(b), _) => Ok(b.to_string()),
    }
}

/// The shortest decimal that rounds to `x` also when it is rounded to double precision on the way.
fn float(x: f32) -> String {
    let short = format!("{x:?}");
    match short.parse::<f64>() {
        Ok(d) if (d as f32).to_bits() == x.to_bits() && d.abs() <= f64::from(f32::MAX) => short,
        _ => format!("{:?}", f64::from(x)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_come_back_exactly() {
        let mut bits = 1u32;
        for k in 0..2_000_000u32 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223 + k);
            let x = f32::from_bits(bits);
            if x.is_finite() {
                let text = float(x);
                let d: f64 = text.parse().unwrap();
                assert!(d.abs() <= f64::from(f32::MAX) && (d as f32).to_bits() == x.to_bits(), "{text}");
            }
        }
        assert_eq!(float(f32::MAX), "3.4028234663852886e38");
    }

    #[test]
    fn texts() {
        let t = |v, d| literal(v, d);
        assert_eq!(t(Scalar::Float(1.0), DType::F32), Ok("1.0".into()));
        assert_eq!(t(Scalar::Float(-0.0), DType::F32), Ok("-0.0".into()));
        assert_eq!(t(Scalar::Float(1e-7), DType::F32), Ok("1e-7".into()));
        assert_eq!(t(Scalar::Float(0.5), DType::F16), Ok("0.5h".into()));
        assert_eq!(t(Scalar::Float(1e300), DType::F32), Err(Special::Inf));
        assert_eq!(t(Scalar::Int(i64::from(i32::MIN)), DType::I32), Ok("-2147483648".into()));
        assert_eq!(t(Scalar::Int(-1), DType::U32), Ok("4294967295u".into()));
        assert_eq!(t(Scalar::Bool(true), DType::Bool), Ok("true".into()));
    }
}
