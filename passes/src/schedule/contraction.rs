//! Sums of products, seen as matrix multiplications: which axes are batch, rows, columns and depth, and which operand can be read
//! as what. A convolution is one too: its columns are the output's pixels, its depth is channels times window.

use crate::lower_loop::flat::{dims_of, offset, unflatten};
use crate::lower_loop::lanes::{GROUP, Lanes, Stride};
use odc_ir::core::{Binary, DType, Dim, Ranges, Scalar, Sym, TensorType, Value};
use odc_ir::tensor::{Axes, Expr, ExprId, Op, Operation, Program, ReduceKind};
use std::collections::BTreeMap;

/// One factor of the product.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    /// Number of the operand in the op.
    pub operand: u32,
    /// Its element type; half floats are widened as they are read.
    pub dtype: DType,
    /// Row-major offset of what is read, over all axes.
    pub offset: Dim,
    /// Where this does not hold for some pair (`0 <= d < extent`), the factor is zero.
    pub inside: Vec<(Dim, Dim)>,
}

/// `sum over k of lhs(batch, m, k) * rhs(batch, k, n)`; the vector runs along n.
#[derive(Clone, Debug)]
pub(crate) struct Contraction {
    pub lhs: Side,
    pub rhs: Side,
    pub batch: Axes,
    pub m: Axes,
    pub n: Axes,
    pub k: Axes,
    /// Row-major offset of the result.
    pub store: Dim,
}

/// Axes of one iteration stand at 0.
pub(crate) fn drop_ones(d: &Dim, op: &Op) -> Dim {
    let Op::Reduce { axes, raxes, .. } = op else { return d.clone() };
    d.subst(&|s| axes.iter().chain(raxes).any(|(x, n)| x == s && n.is(1)).then_some(Dim::ZERO))
}

/// Reads `op` as a contraction of f32 operands, oriented so that the left side needs no staging and, where there is a choice,
/// columns are contiguous in the result.
pub(crate) fn contraction(op: &Operation, types: &dyn Fn(Value) -> TensorType, ranges: &Ranges) -> Option<Contraction> {
    read(op, types, ranges, false)
}

/// The same where both operands are staged: neither needs to be readable in place, and half floats and products of bytes in i32 are
/// welcome.
pub(crate) fn contraction_any(op: &Operation, types: &dyn Fn(Value) -> TensorType, ranges: &Ranges) -> Option<Contraction> {
    read(op, types, ranges, true)
}

fn read(op: &Operation, types: &dyn Fn(Value) -> TensorType, ranges: &Ranges, staged: bool) -> Option<Contraction> {
    let Op::Reduce { axes, raxes, kind: ReduceKind::Sum, store, body, .. } = &op.op else { return None };
    let root = body.root?;
    let Expr::Binary(Binary::Mul, a, b) = body.get(root) else { return None };
    let accepted = |d: DType| d == DType::F32 || (staged && matches!(d, DType::F16 | DType::I32));
    if !accepted(body.dtype(root)) {
        return None;
    }
    let all = ranges.with_axes(axes.iter().chain(raxes).map(|(s, e)| (s, e)));
    let a = side(op, body, *a, types, &all)?;
    let b = side(op, body, *b, types, &all)?;
    let uses = |s: &Side, x: &Sym| s.offset.uses(x) || s.inside.iter().any(|(d, _)| d.uses(x));
    let (mut batch, mut only_a, mut only_b) = (vec![], vec![], vec![]);
    for (s, e) in axes {
        if e.is(1) {
            continue;
        }
        let group = match (uses(&a, s), uses(&b, s)) {
            (true, true) => &mut batch,
            (true, false) => &mut only_a,
            (false, true) => &mut only_b,
            // An axis nobody reads along: the same sum again and again.
            (false, false) => &mut batch,
        };
        group.push((s.clone(), e.clone()));
    }
    let k: Axes = raxes.iter().filter(|(_, e)| !e.is(1)).cloned().collect();
    if k.iter().any(|(s, _)| !uses(&a, s) || !uses(&b, s)) {
        return None;
    }
    let shape = types(op.result()?).shape;
    let to = all.simplify(&offset(store, &shape));
    let inner = |group: &Axes| group.last().is_some_and(|(s, _)| to.linear_in(s).is_some_and(|(c, _)| c.is(1)));
    let (direct_a, direct_b) = (a.direct(&k, &all), b.direct(&k, &all));
    // Left is what can be read in place; right is where the result is contiguous.
    let swap = match if staged { (true, true) } else { (direct_a, direct_b) } {
        (true, false) => false,
        (false, true) => true,
        (false, false) => return None,
        (true, true) => !inner(&only_b) && (inner(&only_a) || only_b.is_empty()),
    };
    let (lhs, rhs, m, mut n) = if swap { (b, a, only_b, only_a) } else { (a, b, only_a, only_b) };
    if n.is_empty() {
        return None;
    }
    if !staged {
        apart(&mut batch, &mut n, &to, &all);
    }
    let store = drop_ones(&to, &op.op);
    Some(Contraction { lhs, rhs, batch, m, n, k, store })
}

/// Vectors of columns should lie together in the result. Outer axes across which they do not, such as the images of a batch, are products
/// of their own, unless whole vectors fit between two steps of them.
fn apart(batch: &mut Axes, n: &mut Axes, store: &Dim, ranges: &Ranges) {
    const WIDEST: i64 = 16;
    while n.len() > 1 && depth_stride(store, n, ranges).is_none() {
        let inner = Dim::product(n.iter().skip(1).map(|(_, n)| n));
        if inner.as_const().is_some_and(|c| c < WIDEST || c % WIDEST == 0) {
            return;
        }
        batch.push(n.remove(0));
    }
}

/// A load (of half floats and bytes too, if they are widened), or one that is zero outside.
fn side(op: &Operation, body: &Program, e: ExprId, types: &dyn Fn(Value) -> TensorType, all: &Ranges) -> Option<Side> {
    let (load, inside) = match body.get(e) {
        Expr::Select(c, x, zero) => {
            let (Expr::Inside(pairs), Expr::Const(_, z)) = (body.get(*c), body.get(*zero)) else { return None };
            if !matches!(z, Scalar::Int(0)) && *z != Scalar::Float(0.0) {
                return None;
            }
            (*x, pairs.iter().filter(|(d, n)| !all.within(d, n)).cloned().collect())
        }
        _ => (e, vec![]),
    };
    let load = match body.get(load) {
        Expr::Cast(DType::F32, half) if body.dtype(*half) == DType::F16 => *half,
        Expr::Cast(DType::I32, byte) if matches!(body.dtype(*byte), DType::I8 | DType::U8) => *byte,
        _ => load,
    };
    let Expr::Load { operand, dtype: dtype @ (DType::F32 | DType::F16 | DType::I8 | DType::U8), index } = body.get(load) else {
        return None;
    };
    let value = *op.operands.get(*operand as usize)?;
    let shape = types(value).shape;
    let dims = dims_of(index)?;
    // Every coordinate is inside its tensor, or guarded by a pair.
    let safe = |d: &Dim, n: &Dim| all.within(d, n) || inside.iter().any(|(x, m): &(Dim, Dim)| x == d && m == n);
    if !dims.iter().zip(&shape).all(|(d, n)| safe(d, n)) {
        return None;
    }
    let inside = inside.iter().map(|(d, n)| (drop_ones(d, &op.op), n.clone())).collect();
    Some(Side { operand: *operand, dtype: *dtype, offset: drop_ones(&all.simplify(&offset(&dims, &shape)), &op.op), inside })
}

impl Contraction {
    /// The element type of both factors, if they have the same.
    pub fn factors(&self) -> Option<DType> {
        (self.lhs.dtype == self.rhs.dtype).then_some(self.lhs.dtype)
    }
    /// Do four neighbouring columns, from a multiple of four on, always lie in one aligned group of the result?
    pub fn stored_in_groups(&self, ranges: &Ranges) -> bool {
        in_groups(&self.store, DType::F32, &self.n, ranges)
    }
}

impl Side {
    /// Do neighbours lie along the depth `k`, and not along the operand's own rows or columns?
    pub fn runs_deep(&self, k: &Axes, own: &Axes, ranges: &Ranges) -> bool {
        let at = ranges.simplify(&self.offset);
        let unit = |axes: &Axes| axes.last().is_some_and(|(s, _)| at.linear_in(s).is_some_and(|(step, _)| step.is(1)));
        unit(k) && !unit(own)
    }
    /// Do four neighbours, along the depth if it runs that way and else along its own rows or columns, always lie in one aligned group?
    pub fn grouped(&self, k: &Axes, own: &Axes, ranges: &Ranges) -> bool {
        let along = if self.runs_deep(k, own, ranges) { k } else { own };
        self.inside.is_empty() && self.dtype == DType::F32 && in_groups(&self.offset, self.dtype, along, ranges)
    }
    /// Offsets move by one stride along the flat depth, and nothing is padded.
    pub fn direct(&self, k: &Axes, ranges: &Ranges) -> bool {
        self.inside.is_empty() && depth_stride(&self.offset, k, ranges).is_some()
    }
}

/// Along the flat counter of `axes`, is `at` made of aligned groups of four?
fn in_groups(at: &Dim, dtype: DType, axes: &Axes, ranges: &Ranges) -> bool {
    let (flat, total) = (Sym::new("$flat"), extent(axes));
    if total.as_const().is_none_or(|n| n == 0 || n % GROUP != 0) {
        return false;
    }
    let mut ranges = ranges.with_axes(axes.iter().map(|(s, n)| (s, n)));
    ranges.set_axis(flat.clone(), &total);
    let at = flat_groups(at, &[(axes, Dim::from(&flat))], &ranges);
    Lanes::group(&flat).grouped(&at, dtype, &ranges) == Some(Stride::Unit)
}

/// The distance between neighbours along the flat depth, if it is one.
pub(crate) fn depth_stride(at: &Dim, k: &Axes, _ranges: &Ranges) -> Option<Dim> {
    let Some((last, _)) = k.last() else { return Some(Dim::ZERO) };
    let (stride, _) = at.linear_in(last)?;
    let mut expect = stride.clone();
    for (s, n) in k.iter().rev() {
        let (c, _) = at.linear_in(s)?;
        if c != expect {
            return None;
        }
        expect = &expect * n;
    }
    k.iter().all(|(s, _)| !stride.uses(s)).then_some(stride)
}

/// `d` with the axes of `groups` written as functions of their flat counters.
pub(crate) fn flat_groups(d: &Dim, groups: &[(&Axes, Dim)], ranges: &Ranges) -> Dim {
    let mut map: BTreeMap<Sym, Dim> = BTreeMap::new();
    for (axes, flat) in groups {
        map.extend(unflatten(axes, flat).0);
    }
    ranges.simplify(&d.subst(&|s| map.get(s).cloned()))
}

pub(crate) fn extent(axes: &Axes) -> Dim {
    Dim::product(axes.iter().map(|(_, n)| n))
}
