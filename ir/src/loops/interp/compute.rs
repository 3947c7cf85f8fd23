//! Ops that compute, on the lanes of all invocations at once.

use super::InterpError;
use super::machine::{Lanes, Machine};
use crate::core::{Binary, DType, OpSet, Scalar, Value};
use crate::loops::{Op, Operation};

impl Machine<'_, '_> {
    pub fn compute(&self, op: &Operation, r: Value) -> Result<Lanes, InterpError> {
        let t = self.ty(r)?;
        let (d, n) = (t.dtype(), t.lanes() as usize);
        let xs = op.operands.iter().map(|v| self.lanes(*v)).collect::<Result<Vec<_>, _>>()?;
        let first = op.operands.first().map_or(Ok(t), |v| self.ty(*v))?;
        let (from, m) = (first.dtype(), first.lanes() as usize);
        let each = xs.iter().any(|x| x.each);
        let count = if each { n * self.width } else { n };
        let all = |f: &dyn Fn(usize) -> Scalar| (0..count).map(f).collect::<Vec<_>>();
        let data = match (&op.op, xs.as_slice()) {
            (Op::Const { value }, _) => vec![value.wrap(d); n],
            (Op::Unary { f }, &[x]) => all(&|k| f.eval(from, x.at(k, n))),
            (Op::Binary { f }, &[x, y]) => all(&|k| f.eval(from, x.at(k, n), y.at(k, n))),
            (Op::Fma {}, &[x, y, z]) => all(&|k| self.fma(d, x.at(k, n), y.at(k, n), z.at(k, n))),
            (Op::Select {}, &[c, x, y]) => all(&|k| {
                let c = if m == n { c.at(k, n) } else { c.at(k / n, 1) };
                if c.as_bool() { x.at(k, n) } else { y.at(k, n) }
            }),
            (Op::Cast {}, &[x]) => all(&|k| cast(from, d, x.at(k, n))),
            (Op::Bitcast {}, &[x]) => all(&|k| x.at(k, n).bitcast(from, d)),
            (Op::HalfBits {}, &[x]) => all(&|k| x.at(k, n).wrap(DType::F16).bitcast(DType::F16, DType::U16)),
            (Op::FromHalfBits {}, &[x]) => all(&|k| x.at(k, n).wrap(DType::U16).bitcast(DType::U16, DType::F16)),
            (Op::Dot4 { signed }, &[x, y, z]) => all(&|k| dot4(*signed, x.at(k, n), y.at(k, n), z.at(k, n))),
            (Op::Splat {}, &[x]) => all(&|k| x.at(k / n, 1)),
            (Op::Extract { lane }, &[x]) => all(&|k| x.at(k * m + *lane as usize, m)),
            (Op::Insert { lane }, &[x, s]) => all(&|k| if k % n == *lane as usize { s.at(k / n, 1) } else { x.at(k, n) }),
            _ => return Err(self.malformed(format!("{} has the wrong operands", op.op.info().mnemonic))),
        };
        Ok(if each { Lanes::each(data) } else { Lanes::uniform(data) })
    }

    fn fma(&self, d: DType, x: Scalar, y: Scalar, z: Scalar) -> Scalar {
        if !d.is_float() || !self.how.fused {
            return Binary::Add.eval(d, Binary::Mul.eval(d, x, y), z);
        }
        let (x, y, z) = (x.as_f64(), y.as_f64(), z.as_f64());
        match d {
            DType::F64 => Scalar::Float(x.mul_add(y, z)),
            // Half floats compute in f32, as the backends do.
            _ => Scalar::Float(f64::from((x as f32).mul_add(y as f32, z as f32))).wrap(d),
        }
    }
}

/// `z` and the products of the bytes of `x` and `y`.
fn dot4(signed: bool, x: Scalar, y: Scalar, z: Scalar) -> Scalar {
    let d = if signed { DType::I8 } else { DType::U8 };
    let byte = |x: Scalar, k: u32| Scalar::Int(x.as_i64() >> (8 * k)).wrap(d).as_i64();
    Scalar::Int((0..4).fold(z.as_i64(), |sum, k| sum + byte(x, k) * byte(y, k))).wrap(DType::I32)
}

/// Conversion of value: 64-bit integers become floats by one rounding, and u64 is not negative.
fn cast(from: DType, to: DType, x: Scalar) -> Scalar {
    match (x, to) {
        _ if to.is_storage() => x.cast(from, to),
        (Scalar::Int(k), DType::F64) if from == DType::U64 => Scalar::Float(k as u64 as f64),
        (Scalar::Int(k), DType::F32 | DType::F16 | DType::BF16) => {
            let f = if from == DType::U64 { k as u64 as f32 } else { k as f32 };
            Scalar::Float(f64::from(f)).wrap(to)
        }
        (Scalar::Float(f), DType::F16 | DType::BF16) if from != DType::F64 => Scalar::Float(f64::from(f as f32)).wrap(to),
        _ => x.wrap(to),
    }
}
