//! Short forms for handlers that compose: arithmetic with literals of the operand's type, grids of positions, picks and reductions.
//! What is known when importing stays known.

use super::call::{Call, Got};
use super::known;
use super::value::{Elem, Val};
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{BinaryFn, Op, ReduceFn, UnaryFn};

impl Call<'_, '_> {
    /// A function of two operands of one type, folded where both are known.
    pub fn apply(&mut self, f: BinaryFn, a: &Val, b: &Val) -> Got<Val> {
        self.same_dtype(a, b)?;
        match known::binary(f, a, b, &self.build.dims) {
            Some(v) => Ok(v),
            None => self.binary(f, a, b),
        }
    }
    pub fn add(&mut self, a: &Val, b: &Val) -> Got<Val> {
        self.apply(BinaryFn::Add, a, b)
    }
    pub fn sub(&mut self, a: &Val, b: &Val) -> Got<Val> {
        self.apply(BinaryFn::Sub, a, b)
    }
    pub fn mul(&mut self, a: &Val, b: &Val) -> Got<Val> {
        self.apply(BinaryFn::Mul, a, b)
    }
    pub fn div(&mut self, a: &Val, b: &Val) -> Got<Val> {
        self.apply(BinaryFn::Div, a, b)
    }
    /// A function of `x` and a literal of its type.
    pub fn with(&mut self, f: BinaryFn, x: &Val, literal: f64) -> Got<Val> {
        self.apply(f, x, &Val::scalar(x.dtype(), literal))
    }
    pub fn plus(&mut self, x: &Val, literal: f64) -> Got<Val> {
        self.with(BinaryFn::Add, x, literal)
    }
    pub fn times(&mut self, x: &Val, literal: f64) -> Got<Val> {
        self.with(BinaryFn::Mul, x, literal)
    }
    pub fn function(&mut self, f: UnaryFn, x: &Val) -> Got<Val> {
        match known::unary(f, x) {
            Some(v) => Ok(v),
            None => self.unary(f, x),
        }
    }
    pub fn floor(&mut self, x: &Val) -> Got<Val> {
        self.function(UnaryFn::Floor, x)
    }
    pub fn clamp(&mut self, x: &Val, lo: &Val, hi: &Val) -> Got<Val> {
        let v = self.apply(BinaryFn::Max, x, lo)?;
        self.apply(BinaryFn::Min, &v, hi)
    }
    /// `condition ? a : b`.
    pub fn choose(&mut self, condition: &Val, a: &Val, b: &Val) -> Got<Val> {
        let dtype = self.same_dtype(a, b)?;
        let shape = self.broadcast(&[condition.shape(), a.shape(), b.shape()])?;
        self.emit(Op::Select {}, &[condition, a, b], dtype, shape)
    }
    pub fn all(&mut self, a: &Val, b: &Val) -> Got<Val> {
        self.apply(BinaryFn::And, a, b)
    }
    /// To another element type, folded where known.
    pub fn convert(&mut self, x: &Val, to: DType) -> Got<Val> {
        if x.dtype() == to {
            return Ok(x.clone());
        }
        match known::cast(x, to, &self.build.dims) {
            Some(v) => Ok(v),
            None => self.cast(x, to),
        }
    }
    /// A size as a scalar of a number type.
    pub fn size(&mut self, d: &Dim, dtype: DType) -> Got<Val> {
        let v = Val::known(TensorType::scalar(DType::I64), vec![Elem::Int(d.clone())]);
        self.convert(&v, dtype)
    }
    /// `0, 1, …, n - 1`.
    pub fn iota(&mut self, n: &Dim, dtype: DType) -> Got<Val> {
        let (zero, one) = (Val::scalar(dtype, 0.0), Val::scalar(dtype, 1.0));
        self.emit(Op::Range {}, &[&zero, &one], dtype, vec![n.clone()])
    }
    /// The positions along one axis of a tensor of `rank` axes, to broadcast against it.
    pub fn positions(&mut self, n: &Dim, dtype: DType, axis: usize, rank: usize) -> Got<Val> {
        let v = self.iota(n, dtype)?;
        self.along(&v, axis, rank)
    }
    /// A list laid along one axis of a tensor of `rank` axes.
    pub fn along(&mut self, list: &Val, axis: usize, rank: usize) -> Got<Val> {
        let n = list.shape().first().cloned().unwrap_or(Dim::ONE);
        let shape = (0..rank).map(|k| if k == axis { n.clone() } else { Dim::ONE }).collect();
        self.reshape(list, shape)
    }
    pub fn unsqueeze(&mut self, x: &Val, axis: usize) -> Got<Val> {
        let mut shape = x.shape().to_vec();
        shape.insert(axis.min(shape.len()), Dim::ONE);
        self.reshape(x, shape)
    }
    pub fn reduce(&mut self, f: ReduceFn, x: &Val, axes: &[usize], keep: bool) -> Got<Val> {
        let kept = x.shape().iter().enumerate().filter(|(k, _)| keep || !axes.contains(k));
        let shape = kept.map(|(k, d)| if axes.contains(&k) { Dim::ONE } else { d.clone() }).collect();
        self.emit(Op::Reduce { f, axes: axes.to_vec(), keep }, &[x], x.dtype(), shape)
    }
    pub fn concat(&mut self, parts: &[&Val], axis: usize) -> Got<Val> {
        let Some(first) = parts.first() else { return Err(super::call::operand("nothing to concatenate")) };
        let total = parts.iter().filter_map(|p| p.shape().get(axis)).fold(Dim::ZERO, |a, b| a + b);
        let mut shape = first.shape().to_vec();
        if let Some(slot) = shape.get_mut(axis) {
            *slot = total;
        }
        if parts.len() == 1 { Ok((*first).clone()) } else { self.emit(Op::Concat { axis }, parts, first.dtype(), shape) }
    }
    /// Parts as a new last axis.
    pub fn stack_last(&mut self, parts: &[&Val]) -> Got<Val> {
        let columns = parts.iter().map(|p| self.unsqueeze(p, p.rank())).collect::<Got<Vec<_>>>()?;
        let columns: Vec<&Val> = columns.iter().collect();
        self.concat(&columns, parts.first().map_or(0, |p| p.rank()))
    }
    /// One place of the last axis, which goes.
    pub fn last(&mut self, x: &Val, at: i64) -> Got<Val> {
        let axis = x.rank().saturating_sub(1);
        let v = self.part(x, axis, Dim::from(at), Dim::ONE)?;
        let shape = v.shape().get(..axis).unwrap_or(&[]).to_vec();
        self.reshape(&v, shape)
    }
    pub fn matmul(&mut self, a: &Val, b: &Val) -> Got<Val> {
        let split = |v: &Val| v.shape().split_at_checked(v.rank().saturating_sub(2)).map(|(h, t)| (h.to_vec(), t.to_vec()));
        let (Some((ha, ta)), Some((hb, tb))) = (split(a), split(b)) else { return Err(super::call::operand("no matrices")) };
        let mut shape = self.broadcast(&[&ha, &hb])?;
        shape.extend(ta.first().cloned());
        shape.extend(tb.last().cloned());
        self.emit(Op::MatMul {}, &[a, b], a.dtype(), shape)
    }
}

/// A table of numbers made when importing.
pub fn table(dtype: DType, shape: &[i64], values: impl IntoIterator<Item = f64>) -> Val {
    let elem =
        |v: f64| if dtype.is_float() { Elem::Float(odc_ir::core::Scalar::Float(v).wrap(dtype).as_f64()) } else { Elem::int(v as i64) };
    Val::known(TensorType::of(dtype, shape), values.into_iter().map(elem).collect())
}

/// The type in which a float operand is computed: 16-bit floats in f32.
pub fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}
