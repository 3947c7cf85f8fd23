//! Ops in the company that models give them: attention, a classifier's end, squeeze and excite, and maps that read many tensors.
//! On GPUs each of them is one kernel or a few, in ways that single ops never meet.

use super::{Gen, Item, permuted};
use crate::generate::dims::greatest;
use odc_ir::core::{DType, Dim, Scalar, TensorType};
use odc_ir::graph::{BinaryFn, Op, ReduceFn, UnaryFn};

impl Gen<'_, '_> {
    /// A weight of any size from one choice.
    fn pattern(&mut self, shape: &[i64]) -> Item {
        let n = shape.iter().product::<i64>();
        let seed = self.c.between(1, 40);
        let data = (0..n).map(|k| Scalar::Float(((k * (2 * seed + 1) + k / 7 + seed) % 17 - 8) as f64 / 16.0)).collect();
        self.constant(DType::F32, shape, data)
    }

    fn product(&mut self, x: &Item, columns: i64) -> Option<Item> {
        let depth = x.ty.shape.last()?.as_const()?;
        let w = self.pattern(&[depth, columns]);
        let mut shape = x.ty.shape.clone();
        shape.pop();
        shape.push(Dim::from(columns));
        self.emit(Op::MatMul {}, &[x, &w], x.with_shape(shape), false, depth as f64 * x.limit * 0.5)
    }

    fn times(&mut self, x: &Item, k: f64) -> Option<Item> {
        let factor = self.splat(k);
        self.emit(Op::Binary { f: BinaryFn::Mul }, &[x, &factor], x.ty.clone(), false, x.limit * k)
    }

    fn softmax(&mut self, x: &Item) -> Option<Item> {
        let x = if x.limit > 20.0 { self.times(x, 20.0 / x.limit)? } else { x.clone() };
        self.emit(Op::Softmax { axis: x.rank() - 1, log: false }, &[&x], x.ty.clone(), false, 1.0)
    }
}

/// `softmax(q * transposed k) * v`, projected or not, with a residual or not.
pub(super) fn attention(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.rank() >= 2 && i.limit <= 100.0)?;
    let last = x.rank() - 1;
    let (mut k, mut v) = (x.clone(), x.clone());
    if let (Some(d), true) = (x.ty.shape[last].as_const(), g.c.chance(50)) {
        (k, v) = (g.product(&x, d)?, g.product(&x, d)?);
    }
    let mut perm: Vec<usize> = (0..x.rank()).collect();
    perm.swap(last, last - 1);
    let t = g.emit(Op::Transpose { perm: perm.clone() }, &[&k], permuted(&k, &perm), false, k.limit)?;
    let mut shape = x.ty.shape.clone();
    shape[last] = x.ty.shape[last - 1].clone();
    let terms = greatest(&x.ty.shape[last]) as f64;
    let scores = g.emit(Op::MatMul {}, &[&x, &t], x.with_shape(shape), false, terms * x.limit * k.limit)?;
    let weights = g.softmax(&scores)?;
    let out = g.emit(Op::MatMul {}, &[&weights, &v], x.ty.clone(), false, v.limit)?;
    if g.c.chance(40) {
        g.emit(Op::Binary { f: BinaryFn::Add }, &[&out, &x], x.ty.clone(), false, x.limit + out.limit)?;
    }
    Some(())
}

/// A product and its softmax.
pub(super) fn classifier(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.rank() >= 1 && i.limit <= 100.0 && i.ty.shape[i.rank() - 1].as_const().is_some())?;
    let columns = *g.c.pick(&[5, 2, 16, 33]);
    let logits = g.product(&x, columns)?;
    g.softmax(&logits).map(drop)
}

/// A wide layer: more rows and columns than one tile, or few rows and a deep sum.
pub(super) fn layer(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.rank() >= 1 && i.limit <= 100.0 && i.ty.shape[i.rank() - 1].as_const().is_some())?;
    let columns = *g.c.pick(&[32, 20, 48, 65]);
    let y = g.product(&x, columns)?;
    let b = g.pattern(&[columns]);
    let y = g.emit(Op::Binary { f: BinaryFn::Add }, &[&y, &b], y.ty.clone(), false, y.limit + 1.0)?;
    let y = g.emit(Op::Unary { f: UnaryFn::Relu }, &[&y], y.ty.clone(), false, y.limit)?;
    if g.c.chance(50) {
        g.product(&y, x.ty.shape[x.rank() - 1].as_const()?)?;
    }
    Some(())
}

/// Channels weighed by what two small products make of their means.
pub(super) fn squeeze_excite(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.rank() == 4 && i.limit <= 100.0 && i.ty.shape[1].as_const().is_some())?;
    let channels = x.ty.shape[1].as_const()?;
    let flat = vec![x.ty.shape[0].clone(), Dim::from(channels)];
    let mean = Op::Reduce { f: ReduceFn::Mean, axes: vec![2, 3], keep: false };
    let s = g.emit(mean, &[&x], x.with_shape(flat.clone()), false, x.limit)?;
    let s = g.product(&s, (channels / 2).max(1))?;
    let s = g.emit(Op::Unary { f: UnaryFn::Relu }, &[&s], s.ty.clone(), false, s.limit)?;
    let s = g.product(&s, channels)?;
    let s = g.emit(Op::Unary { f: UnaryFn::Sigmoid }, &[&s], s.ty.clone(), false, 1.0)?;
    let s = g.emit(Op::Reshape {}, &[&s], x.with_shape([flat, vec![Dim::ONE; 2]].concat()), false, 1.0)?;
    g.emit(Op::Binary { f: BinaryFn::Mul }, &[&x, &s], x.ty.clone(), false, x.limit).map(drop)
}

/// A map over more tensors than a kernel of a weak device may read: ten joined, or nine combined.
pub(super) fn many(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.rank() >= 1 && i.limit <= 100.0 && i.ty.shape[i.rank() - 1].as_const().is_some())?;
    let last = x.ty.shape[x.rank() - 1].as_const()?;
    let count = if g.c.chance(50) { 10 } else { 9 };
    let mut parts = vec![];
    let mut sum = x.clone();
    for k in 0..count {
        let w = g.pattern(&[last]);
        let f = if k % 3 == 2 { BinaryFn::Max } else { BinaryFn::Add };
        let from = if count == 10 { &x } else { &sum };
        sum = g.emit(Op::Binary { f }, &[from, &w], x.ty.clone(), false, from.limit + 1.0)?;
        parts.push(sum.clone());
    }
    if count == 9 {
        return Some(());
    }
    let axis = g.c.below(x.rank());
    let mut shape = x.ty.shape.clone();
    shape[axis] = &shape[axis] * count;
    g.emit(Op::Concat { axis }, &parts.iter().collect::<Vec<_>>(), x.with_shape(shape), false, x.limit + 1.0).map(drop)
}

/// Arithmetic of 16-bit floats, which some devices have and others imitate.
pub(super) fn half(g: &mut Gen<'_, '_>) -> Option<()> {
    let to = *g.c.pick(&[DType::F16, DType::BF16]);
    let x = match g.item(|i| i.ty.dtype == to && i.limit <= 100.0) {
        Some(i) if g.c.chance(50) => i,
        _ => {
            let x = g.item(|i| i.is_float() && i.limit <= 100.0)?;
            g.emit(Op::Cast {}, &[&x], TensorType::new(to, x.ty.shape.clone()), false, x.limit)?
        }
    };
    let f = *g.c.pick(&[BinaryFn::Add, BinaryFn::Mul, BinaryFn::Max, BinaryFn::Sub]);
    let k = g.constant(to, &[], vec![Scalar::Float(0.75)]);
    let y = g.emit(Op::Binary { f }, &[&x, &k], x.ty.clone(), false, x.limit + 1.0)?;
    match g.c.below(3) {
        0 if y.rank() >= 1 => {
            let (f, axes) = (*g.c.pick(&[ReduceFn::Max, ReduceFn::Mean]), vec![y.rank() - 1]);
            let shape = y.ty.shape[..y.rank() - 1].to_vec();
            g.emit(Op::Reduce { f, axes, keep: false }, &[&y], y.with_shape(shape), false, y.limit).map(drop)
        }
        1 => g.emit(Op::Cast {}, &[&y], TensorType::new(DType::F32, y.ty.shape.clone()), false, y.limit).map(drop),
        _ => Some(()),
    }
}

/// Small integers, several to a word.
pub(super) fn bytes(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.exact && i.limit <= 100.0)?;
    let y = g.above(&x, 0.0)?;
    let to = *g.c.pick(&[DType::U8, DType::I8, DType::U16, DType::I16]);
    g.emit(Op::Cast {}, &[&y], TensorType::new(to, y.ty.shape.clone()), true, y.limit).map(drop)
}

/// Nothing at all: joined to something, summed, multiplied, and as a result.
pub(super) fn empty(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.rank() >= 1)?;
    let axis = g.c.below(x.rank());
    let mut shape = x.ty.shape.clone();
    shape[axis] = Dim::ZERO;
    let op = Op::Slice { starts: vec![Dim::ZERO; x.rank()], steps: vec![1; x.rank()] };
    let nothing = Item { value: g.b.op1(op, &[x.value], x.with_shape(shape.clone())), ty: x.with_shape(shape.clone()), ..x.clone() };
    let nothing = Item { value: g.b.op1(Op::Unary { f: UnaryFn::Neg }, &[nothing.value], nothing.ty.clone()), ..nothing };
    match g.c.below(3) {
        0 => g.emit(Op::Concat { axis }, &[&x, &nothing], x.ty.clone(), x.exact, x.limit).map(drop),
        1 => {
            shape[axis] = Dim::ONE;
            g.emit(Op::Reduce { f: ReduceFn::Sum, axes: vec![axis], keep: true }, &[&nothing], x.with_shape(shape), true, 0.0).map(drop)
        }
        _ => {
            g.ends.push(nothing.value);
            Some(())
        }
    }
}
