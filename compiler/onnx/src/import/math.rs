//! What attention and its kin are spelled out with: matrix products, heads, softmax, sizes that must be constant.

use super::call::{Call, Got, operand};
use super::value::{Elem, Val};
use crate::attrs::bad;
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{BinaryFn, Op, ReduceFn};

/// Larger sizes and counts are refused, so that arithmetic on them is safe.
const MOST: i64 = 1 << 40;

impl Call<'_, '_> {
    /// `x * by`; nothing for 1.
    pub fn scaled(&mut self, x: &Val, by: f64) -> Got<Val> {
        if by == 1.0 { Ok(x.clone()) } else { self.times(x, by) }
    }
    /// Both, or the one that is there.
    pub fn both(&mut self, a: Option<Val>, b: Option<Val>) -> Got<Option<Val>> {
        match (a, b) {
            (Some(a), Some(b)) => self.apply(BinaryFn::And, &a, &b).map(Some),
            (a, b) => Ok(a.or(b)),
        }
    }

    /// Everything to a scalar.
    pub fn total(&mut self, f: ReduceFn, x: &Val) -> Got<Val> {
        if x.rank() == 0 {
            return Ok(x.clone());
        }
        self.emit(Op::Reduce { f, axes: (0..x.rank()).collect(), keep: false }, &[x], x.dtype(), vec![])
    }
    pub fn soft_max(&mut self, x: &Val, axis: usize, log: bool) -> Got<Val> {
        self.emit(Op::Softmax { axis, log }, &[x], x.dtype(), x.shape().to_vec())
    }
    /// numpy's matmul.
    pub fn product(&mut self, a: &Val, b: &Val) -> Got<Val> {
        let dtype = self.same_dtype(a, b)?;
        let scalar = || operand(format!("does not take a scalar: {} and {}", a.ty, b.ty));
        let (ka, lead_a) = a.shape().split_last().ok_or_else(scalar)?;
        let (batch_a, rows) = match lead_a.split_last() {
            Some((m, batch)) => (batch, Some(m.clone())),
            None => (lead_a, None),
        };
        let (last_b, lead_b) = b.shape().split_last().ok_or_else(scalar)?;
        let (batch_b, kb, columns) = match lead_b.split_last() {
            Some((k, batch)) => (batch, k, Some(last_b.clone())),
            None => (lead_b, last_b, None),
        };
        self.equal(ka, kb, "the inner sizes of a matrix product")?;
        let mut shape = self.broadcast(&[batch_a, batch_b])?;
        shape.extend(rows);
        shape.extend(columns);
        self.emit(Op::MatMul {}, &[a, b], dtype, shape)
    }

    /// A count in an attribute that has to be there.
    pub fn count(&self, name: &str) -> Got<i64> {
        match self.attrs.required_int(name)? {
            v if (1..=MOST).contains(&v) => Ok(v),
            v => Err(bad(name, format!("must be positive and not too large, is {v}"))),
        }
    }
    /// Under another shape, which must have as many elements.
    pub fn reshape_checked(&mut self, x: &Val, shape: Vec<Dim>, what: &str) -> Got<Val> {
        self.equal(&x.ty.elements(), &Dim::product(&shape), &format!("elements of {what}"))?;
        self.reshape(x, shape)
    }
    /// Indices are i32 or i64.
    pub fn want_indices(&self, x: &Val, what: &str) -> Got<()> {
        match x.dtype() {
            DType::I32 | DType::I64 => Ok(()),
            _ => Err(operand(format!("{what} are {}, must be i32 or i64", x.ty))),
        }
    }
    /// A size as a scalar.
    pub fn size_of(&self, d: &Dim) -> Val {
        Val::known(TensorType::scalar(DType::I64), vec![Elem::Int(d.clone())])
    }
    /// Size of axis `k`, which has to be constant.
    pub fn fixed(&self, v: &Val, k: usize, what: &str) -> Got<i64> {
        let d = v.shape().get(k).cloned().unwrap_or(Dim::ONE);
        match d.as_const() {
            Some(v) if v > MOST => Err(operand(format!("{what} is {v}, which is too large"))),
            Some(v) => Ok(v),
            None => Err(super::call::unsupported_use(format!("{what} must be constant, is {d}")).help("fix it with --dim")),
        }
    }
    pub fn last_size(&self, v: &Val) -> Dim {
        v.shape().last().cloned().unwrap_or(Dim::ONE)
    }
    /// One operand behind the other along `axis`.
    pub fn join(&mut self, parts: &[&Val], axis: usize) -> Got<Val> {
        let first = parts.first().ok_or_else(|| operand("nothing to join"))?;
        let mut shape = first.shape().to_vec();
        for p in parts.iter().skip(1) {
            self.same_dtype(first, p)?;
            if p.rank() != first.rank() {
                return Err(operand(format!("{} and {} have different ranks", first.ty, p.ty)));
            }
            for (k, (s, d)) in shape.iter_mut().zip(p.shape()).enumerate() {
                *s = if k == axis { &*s + d } else { self.build.dims.unify(s, d, &format!("sizes of axis {k}"))? };
            }
        }
        match parts {
            [only] => Ok((*only).clone()),
            _ => self.emit(Op::Concat { axis }, parts, first.dtype(), shape),
        }
    }
    /// A rank 3 value with all heads in its last axis as `[batch, heads, length, size]`.
    pub fn split_heads(&mut self, x: &Val, heads: i64, what: &str) -> Got<Val> {
        let [batch, length, hidden] = x.shape() else {
            return Err(operand(format!("{what} is {}, must have three axes", x.ty)));
        };
        let width = hidden.as_const().ok_or_else(|| operand(format!("the last axis of {what} ({}) must be constant", x.ty)))?;
        if heads < 1 || width % heads != 0 {
            return Err(operand(format!("{what} is {}, which does not split into {heads} heads", x.ty)));
        }
        let shape = vec![batch.clone(), length.clone(), Dim::from(heads), Dim::from(width / heads)];
        let v = self.reshape(x, shape)?;
        self.transpose(&v, vec![0, 2, 1, 3])
    }
    /// The way back.
    pub fn merge_heads(&mut self, x: &Val) -> Got<Val> {
        let v = self.transpose(x, vec![0, 2, 1, 3])?;
        let [batch, length, heads, size] = v.shape() else {
            return Err(operand(format!("{} has no heads", x.ty)));
        };
        let shape = vec![batch.clone(), length.clone(), heads * size];
        self.reshape(&v, shape)
    }
}
