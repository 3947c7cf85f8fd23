//! Ops that move elements without changing them.

use super::{Gen, least};
use odc_ir::core::{DType, Dim, TensorType};
use odc_ir::graph::{Op, PadMode};

pub(super) fn transpose(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.rank() >= 2)?;
    let mut perm = g.c.permutation(x.rank());
    if perm.is_sorted() {
        perm.reverse();
    }
    let shape = perm.iter().map(|&k| x.ty.shape[k].clone()).collect();
    g.move_elements(Op::Transpose { perm }, &x, shape)
}

pub(super) fn reshape(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.rank() >= 1)?;
    let mut shape = x.ty.shape.clone();
    let axis = g.c.below(shape.len());
    match g.c.below(4) {
        0 if axis + 1 < shape.len() => {
            let next = shape.remove(axis + 1);
            shape[axis] = &shape[axis] * &next;
        }
        1 if shape[axis].as_const().is_some_and(|k| k % 2 == 0 && k > 0) => {
            let half = shape[axis].floordiv(&Dim::from(2));
            shape.splice(axis..=axis, [Dim::from(2), half]);
        }
        2 => shape = vec![x.ty.elements()],
        _ if shape.len() < 5 => shape.insert(axis, Dim::ONE),
        _ => shape = vec![x.ty.elements()],
    }
    g.move_elements(Op::Reshape {}, &x, shape)
}

pub(super) fn expand(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.rank() <= 3)?;
    let mut shape = x.ty.shape.clone();
    match shape.iter().position(|d| d.is(1)) {
        Some(k) if g.c.chance(70) => shape[k] = g.known_size(),
        _ => {
            let d = g.known_size();
            shape.insert(0, d);
        }
    }
    g.move_elements(Op::Expand {}, &x, shape)
}

pub(super) fn slice(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.rank() >= 1)?;
    let (mut starts, mut steps, mut shape) = (vec![Dim::ZERO; x.rank()], vec![1i64; x.rank()], x.ty.shape.clone());
    let axis = g.c.below(x.rank());
    let d = shape[axis].clone();
    match g.c.below(4) {
        // All but the first, where something is left.
        0 if least(&d) >= 2 => {
            starts[axis] = Dim::ONE;
            shape[axis] = &d - 1;
        }
        1 => {
            steps[axis] = 2;
            shape[axis] = d.ceildiv(&Dim::from(2));
        }
        // Backwards.
        2 => {
            starts[axis] = &d - 1;
            steps[axis] = -1;
        }
        // The last one.
        _ => {
            starts[axis] = &d - 1;
            shape[axis] = Dim::ONE;
        }
    }
    g.move_elements(Op::Slice { starts, steps }, &x, shape)
}

pub(super) fn concat(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.rank() >= 1)?;
    let axis = g.c.below(x.rank());
    let fits = |i: &super::Item| {
        i.ty.dtype == x.ty.dtype && i.rank() == x.rank() && (0..x.rank()).all(|k| k == axis || i.ty.shape[k] == x.ty.shape[k])
    };
    let y = g.item(fits)?;
    let mut shape = x.ty.shape.clone();
    shape[axis] = &x.ty.shape[axis] + &y.ty.shape[axis];
    g.emit(Op::Concat { axis }, &[&x, &y], x.with_shape(shape), x.exact && y.exact, x.limit.max(y.limit)).map(drop)
}

pub(super) fn pad(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.is_float() && i.rank() >= 1)?;
    let mut mode = *g.c.pick(&[PadMode::Constant, PadMode::Edge, PadMode::Reflect, PadMode::Wrap]);
    let axis = g.c.below(x.rank());
    if mode == PadMode::Reflect && least(&x.ty.shape[axis]) < 3 || mode == PadMode::Wrap && least(&x.ty.shape[axis]) < 2 {
        mode = PadMode::Edge;
    }
    let (mut before, mut shape) = (vec![Dim::ZERO; x.rank()], x.ty.shape.clone());
    // A negative count crops.
    let (front, back) = (g.c.between(0, 2), g.c.between(0, 2));
    let front = if mode == PadMode::Constant && least(&shape[axis]) > 1 && g.c.chance(15) { -1 } else { front };
    before[axis] = Dim::from(front);
    shape[axis] = &shape[axis] + (front + back);
    let ty = x.with_shape(shape);
    if mode == PadMode::Constant && g.c.chance(50) {
        let value = g.splat(0.5);
        return g.emit(Op::Pad { mode, before }, &[&x, &value], ty, x.exact, x.limit).map(drop);
    }
    g.emit(Op::Pad { mode, before }, &[&x], ty, x.exact, x.limit).map(drop)
}

pub(super) fn tile(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.rank() >= 1)?;
    let mut shape = x.ty.shape.clone();
    let axis = g.c.below(x.rank());
    shape[axis] = &shape[axis] * g.c.between(2, 3);
    g.move_elements(Op::Tile {}, &x, shape)
}

pub(super) fn trilu(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.rank() >= 2)?;
    let (upper, k) = (g.c.chance(50), g.c.between(-1, 1));
    g.move_elements(Op::Trilu { upper, k }, &x, x.ty.shape.clone())
}

pub(super) fn dims(g: &mut Gen<'_, '_>) -> Option<()> {
    let x = g.item(|i| i.rank() >= 1)?;
    let values: Vec<Dim> = x.ty.shape.iter().map(|d| d * 2 + 1).collect();
    let n = values.len() as i64;
    if g.c.chance(30) {
        let dtype = *g.c.pick(&[DType::F32, DType::I32]);
        return g.emit(Op::Dims { values: vec![x.ty.elements()] }, &[], TensorType::of(dtype, &[1]), true, 4096.0).map(drop);
    }
    g.emit(Op::Dims { values }, &[], TensorType::of(DType::I64, &[n]), true, 4096.0).map(drop)
}

impl Gen<'_, '_> {
    /// A size that the inputs bind, or a number.
    pub(super) fn known_size(&mut self) -> Dim {
        if self.known.is_empty() || self.c.chance(50) {
            return Dim::from(*self.c.pick(&[2, 3, 5]));
        }
        let k = self.c.below(self.known.len());
        self.known[k].clone()
    }
}
