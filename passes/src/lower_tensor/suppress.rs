//! Non-maximum suppression: ranks by counting, boxes in order of rank, then one pass over all pairs in that order, in which a box that
//! is left takes away those behind it.

use super::LowerError;
use super::cx::{Args, Cx, Reduction, Src, axes, i, is, r, raxes};
use odc_ir::core::{Binary, DType, Dim, TensorType, Value};
use odc_ir::tensor::{Expr, ExprId, Index, Program, ReduceKind};

type Result = std::result::Result<Value, LowerError>;

pub(super) fn suppress(cx: &mut Cx, a: &Args) -> Result {
    let (boxes, scores, overlap, least) = (a.x(0)?.value, a.x(1)?.value, a.x(2)?.value, a.x(3)?.value);
    let [batches, classes, n] = a.out.shape.as_slice() else { return Err(LowerError::new("the scores must have three axes")) };
    let shape = vec![batches.clone(), classes.clone(), n.clone()];
    let order = order(cx, scores, &shape)?;

    // What is good enough stays until something better takes it away.
    let (operands, xs) = cx.sources(&[scores, order, least]);
    let [s, o, l] = sources(&xs)?;
    let mut p = Program::new();
    let k = o.load(&mut p, is(3));
    let score = s.at(&mut p, [Index::Dim(i(0)), Index::Dim(i(1)), Index::Value(k)]);
    let limit = l.load(&mut p, (0..l.ty.rank()).map(|_| Dim::ZERO));
    let good = p.binary(Binary::Gt, score, limit);
    let flags = TensorType::new(DType::Bool, shape.clone());
    let good = cx.map(&operands, flags.clone(), p, good);
    let left = pairs(cx, (good, order, boxes, overlap), &shape, flags)?;

    let (operands, xs) = cx.sources(&[left, order]);
    let [l, o] = sources(&xs)?;
    let mut p = Program::new();
    let (kept, k) = (l.load(&mut p, is(3)), o.load(&mut p, is(3)));
    let none = p.constant(DType::I64, -1.0);
    let v = p.select(kept, k, none);
    Ok(cx.map(&operands, a.out.clone(), p, v))
}

fn sources<const N: usize>(xs: &[Src]) -> std::result::Result<[&Src; N], LowerError> {
    let refs: Vec<&Src> = xs.iter().collect();
    refs.try_into().map_err(|_| LowerError::new("operands are missing"))
}

/// The boxes of each class, the best first.
fn order(cx: &mut Cx, scores: Value, shape: &[Dim]) -> Result {
    let n = shape.last().cloned().unwrap_or(Dim::ONE);
    let (operands, xs) = cx.sources(&[scores]);
    let [s] = sources(&xs)?;
    let mut p = Program::new();
    let (own, other) = (s.load(&mut p, is(3)), s.load(&mut p, [i(0), i(1), r(0)]));
    let better = p.binary(Binary::Gt, other, own);
    let same = p.binary(Binary::Eq, other, own);
    let (here, there) = (p.dim(i(2)), p.dim(r(0)));
    let earlier = p.binary(Binary::Lt, there, here);
    let tie = p.binary(Binary::And, same, earlier);
    let before = p.binary(Binary::Or, better, tie);
    let one = p.cast(DType::I64, before);
    let ranks = TensorType::new(DType::I64, shape.to_vec());
    let red = Reduction {
        kind: ReduceKind::Sum,
        axes: axes(shape),
        raxes: raxes(&[n]),
        store: is(3),
        body: p.returning(one),
        epilogue: Program::identity(DType::I64),
    };
    let rank = cx.reduce(&operands, ranks.clone(), red);

    let mut p = Program::new();
    let zero = p.constant(DType::I64, 0.0);
    let data = cx.map(&[], ranks.clone(), p, zero);
    let (operands, xs) = cx.sources(&[data, rank]);
    let [_, rank] = sources(&xs)?;
    let mut index = vec![];
    for k in 0..3 {
        let mut p = Program::new();
        let v = if k == 2 { rank.load(&mut p, is(3)) } else { p.dim(i(k)) };
        index.push(p.returning(v));
    }
    let mut p = Program::new();
    let which = p.dim(i(2));
    Ok(cx.scatter(&operands, ranks, axes(shape), index, p.returning(which)))
}

/// What is left after every pair (first, second) in order of rank.
fn pairs(cx: &mut Cx, (good, order, boxes, overlap): (Value, Value, Value, Value), shape: &[Dim], flags: TensorType) -> Result {
    let (operands, xs) = cx.sources(&[good, order, boxes, overlap]);
    let [state, order, boxes, overlap] = sources(&xs)?;
    let mut extents = shape.to_vec();
    extents.extend(shape.last().cloned());
    let mut index = vec![];
    for axis in [0, 1, 3] {
        let mut p = Program::new();
        let v = p.dim(i(axis));
        index.push(p.returning(v));
    }
    let mut p = Program::new();
    let present = p.push(Expr::Acc(DType::Bool));
    let first = state.load(&mut p, [i(0), i(1), i(2)]);
    let (at, other) = (p.dim(i(3)), p.dim(i(2)));
    let behind = p.binary(Binary::Lt, other, at);
    let corners = |p: &mut Program, place: Dim| -> [ExprId; 4] {
        let k = order.load(p, [i(0), i(1), place]);
        [0, 1, 2, 3].map(|c| boxes.at(p, [Index::Dim(i(0)), Index::Value(k), Index::Dim(Dim::from(c))]))
    };
    let (a, b) = (corners(&mut p, i(2)), corners(&mut p, i(3)));
    let covered = covers(&mut p, a, b, overlap);
    let takes = p.binary(Binary::And, behind, first);
    let takes = p.binary(Binary::And, takes, covered);
    let gone = p.constant(DType::Bool, 0.0);
    let v = p.select(takes, gone, present);
    Ok(cx.scatter(&operands, flags, axes(&extents), index, p.returning(v)))
}

/// Is the intersection more than the limit's part of the union?
fn covers(p: &mut Program, [ay, ax, ay2, ax2]: [ExprId; 4], [by, bx, by2, bx2]: [ExprId; 4], limit: &Src) -> ExprId {
    let dt = p.dtype(ay);
    let zero = p.constant(dt, 0.0);
    let extent = |p: &mut Program, lo: (ExprId, ExprId), hi: (ExprId, ExprId)| {
        let (lo, hi) = (p.binary(Binary::Max, lo.0, lo.1), p.binary(Binary::Min, hi.0, hi.1));
        let d = p.binary(Binary::Sub, hi, lo);
        p.binary(Binary::Max, d, zero)
    };
    let (h, w) = (extent(p, (ay, by), (ay2, by2)), extent(p, (ax, bx), (ax2, bx2)));
    let inter = p.binary(Binary::Mul, h, w);
    let area = |p: &mut Program, y: ExprId, x: ExprId, y2: ExprId, x2: ExprId| {
        let (h, w) = (p.binary(Binary::Sub, y2, y), p.binary(Binary::Sub, x2, x));
        p.binary(Binary::Mul, h, w)
    };
    let (s, t) = (area(p, ay, ax, ay2, ax2), area(p, by, bx, by2, bx2));
    let both = p.binary(Binary::Add, s, t);
    let union = p.binary(Binary::Sub, both, inter);
    let part = p.binary(Binary::Div, inter, union);
    let limit = limit.load(p, (0..limit.ty.rank()).map(|_| Dim::ZERO));
    let much = p.binary(Binary::Gt, part, limit);
    let some = p.binary(Binary::Gt, inter, zero);
    p.binary(Binary::And, some, much)
}
