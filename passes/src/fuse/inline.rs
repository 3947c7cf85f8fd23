//! Producers into consumers: a map that only moves elements, or computes a cheap function of them, is evaluated where it is read
//! and never stored, views in between included.

use super::absorb::{compact, divisions, drop_unused_operands, is_view, reshape_index};
use super::guards::used_inside;
use super::places::{Place, Places, cut, inverse};
use super::why::Why;
use super::{OUTPUT, Work};
use crate::join::concats;
use odc_ir::core::{Binary, DType, Dim, Ranges, Sym, TensorType, Unary, Value};
use odc_ir::tensor::{Axes, Expr, ExprId, Index, Op, Operation, Program, ReduceKind};
use std::collections::BTreeMap;

/// The most element operations that are worth repeating for every reader.
const CHEAP_OPS: usize = 3;

pub(super) fn inline(w: &mut Work) {
    for k in 0..w.ops.len() {
        if let Ok(plan) = inlined(w, k) {
            apply(w, k, plan);
        }
    }
}

/// Why op `k` is not computed where it is read.
pub(super) fn refusal(w: &Work, k: usize) -> Option<Why> {
    inlined(w, k).err()
}

/// Where op `k` would be computed instead.
fn inlined(w: &Work, k: usize) -> Result<Vec<Reader>, Why> {
    let Some(Op::Map { axes, store, body }) = w.ops[k].as_ref().map(|o| &o.op) else { return Err(Why::Sum) };
    let places = inverse(axes, store).ok_or(Why::Divides)?;
    let movement = is_movement(body);
    if !movement && !is_cheap(body) {
        return Err(Why::Costly);
    }
    readers(w, k, &places, movement, scaled(body))
}

/// Would what is read at `index` be divided only once a product?
fn divided_outside(from: &Places, op: &Op, index: &[Dim]) -> bool {
    let outer = batch(op);
    let divided = from.iter().filter_map(|(_, p)| p.as_ref()).filter(|p| p.divides());
    let (axes, raxes): (&[_], &[_]) = match op {
        Op::Map { axes, .. } => (axes, &[]),
        Op::Reduce { axes, raxes, .. } => (axes, raxes),
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => (&[], &[]),
    };
    let inner = |d: &Dim| axes.iter().chain(raxes).any(|(s, _)| d.uses(s) && !outer.contains(s));
    divided.filter_map(|p| index.get(p.at)).all(|d| !inner(d))
}

/// Only loads of one element, at indices that are dims.
fn is_movement(p: &Program) -> bool {
    p.root.is_some_and(|r| match p.get(r) {
        Expr::Load { index, .. } => index.iter().all(|i| matches!(i, Index::Dim(_))),
        Expr::Const(..) => true,
        _ => false,
    })
}

/// A load that is widened, of what the machine multiplies as it is and sums in the wide type.
fn widens(w: &Work, k: usize) -> bool {
    let (Some(gpu), Some(Op::Map { body, .. })) = (w.gpu, w.ops[k].as_ref().map(|o| &o.op)) else { return false };
    let Some(Expr::Cast(to, x)) = body.root.map(|r| body.get(r)) else { return false };
    matches!(body.get(*x), Expr::Load { .. })
        && match (to, body.dtype(*x)) {
            (DType::I32, DType::I8 | DType::U8) => gpu.dot || gpu.coop.is_some(),
            (DType::F32, DType::F16) => gpu.coop.is_some(),
            _ => false,
        }
}

fn is_cheap(p: &Program) -> bool {
    let mut ops = 0;
    for e in &p.exprs {
        match e {
            Expr::Const(..) | Expr::Dim(_) | Expr::Acc(_) => {}
            Expr::Load { index, .. } if index.iter().all(|i| matches!(i, Index::Dim(_))) => {}
            Expr::Load { .. } | Expr::Inside(_) => return false,
            Expr::Unary(f, _) if f.is_transcendental() || *f == Unary::Sqrt => return false,
            Expr::Binary(Binary::Div | Binary::Pow | Binary::Rem | Binary::Mod | Binary::FloorDiv, ..) => return false,
            Expr::Unary(..) | Expr::Binary(..) | Expr::Select(..) | Expr::Cast(..) | Expr::Bitcast(..) => ops += 1,
        }
    }
    ops <= CHEAP_OPS && p.loads().count() <= 2
}

/// A sum of products of two loads: what the gemm template wants to keep seeing.
pub(crate) fn is_contraction(op: &Op) -> bool {
    let Op::Reduce { kind: ReduceKind::Sum, body, .. } = op else { return false };
    body.root.is_some_and(|r| matches!(body.get(r), Expr::Binary(Binary::Mul, a, b) if a != b))
}

/// `load * constant` with the constant the same for all elements: what may move behind a sum of products.
fn scaled_movement(p: &Program) -> Option<(ExprId, ExprId)> {
    let Expr::Binary(Binary::Mul, a, b) = p.get(p.root?) else { return None };
    let moves = |e: &ExprId| matches!(p.get(*e), Expr::Load { index, .. } if index.iter().any(|i| !matches!(i, Index::Dim(d) if d.is(0))) && index.iter().all(|i| matches!(i, Index::Dim(_))));
    let uniform = |e: &ExprId| match p.get(*e) {
        Expr::Const(..) => true,
        Expr::Load { index, .. } => index.iter().all(|i| matches!(i, Index::Dim(d) if d.is(0))),
        _ => false,
    };
    [(*a, *b), (*b, *a)].into_iter().find(|(x, c)| moves(x) && uniform(c))
}

/// Is the program an element times a constant?
pub(crate) fn scaled(p: &Program) -> bool {
    scaled_movement(p).is_some()
}

/// One place where a value is read, and how: the consumer, and the views between.
struct Reader {
    consumer: usize,
    value: Value,
    shapes: Vec<Vec<Dim>>,
}

/// All structured ops that read op `k`'s result, directly or through views; or why one of them must have it in memory.
fn readers(w: &Work, k: usize, places: &Places, movement: bool, scaled: bool) -> Result<Vec<Reader>, Why> {
    let value = w.ops[k].as_ref().and_then(Operation::result).ok_or(Why::NotStructured)?;
    let widens = widens(w, k);
    let mut found = vec![];
    let mut open = vec![(value, vec![w.shape(value).to_vec()])];
    while let Some((v, shapes)) = open.pop() {
        for &u in &w.users[v.index()] {
            if u == OUTPUT {
                return Err(Why::IsOutput);
            }
            let op = w.ops[u].as_ref().ok_or(Why::NotStructured)?;
            match &op.op {
                Op::View {} if is_view(op) => {
                    let to = op.result().ok_or(Why::NotStructured)?;
                    let mut s = shapes.clone();
                    s.push(w.shape(to).to_vec());
                    open.push((to, s));
                }
                Op::Map { .. } | Op::Reduce { .. } => {
                    if !(movement || widens || !is_contraction(&op.op) || (scaled && read_once(op, v))) {
                        return Err(Why::Contraction);
                    }
                    if !substitutable(&w.ranges, op, v, &shapes, &|v| Some(w.func.ty(v).clone())) {
                        return Err(Why::Index);
                    }
                    if !read_undivided(&w.ranges, op, v, &shapes, places) {
                        return Err(Why::Divides);
                    }
                    let from = w.ops[k].iter().flat_map(|o| &o.operands);
                    if !w.bindable(op.operands.iter().filter(|o| **o != v).chain(from)) {
                        return Err(Why::Bindings);
                    }
                    found.push(Reader { consumer: u, value: v, shapes: shapes.clone() });
                }
                Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => {
                    return Err(Why::NotStructured);
                }
            }
        }
    }
    // A value that several ops read is worth its memory unless evaluating it is no more than reading.
    if movement || found.len() == 1 { Ok(found) } else { Err(Why::ManyReaders) }
}

/// Is `v` one of a contraction's two factors and nothing else? Only then is its own factor the sum's.
pub(crate) fn read_once(op: &Operation, v: Value) -> bool {
    let Op::Reduce { body, epilogue, .. } = &op.op else { return false };
    let loads = |p: &Program| p.loads().filter(|(o, _)| op.operands.get(*o as usize) == Some(&v)).count();
    loads(body) == 1 && loads(epilogue) == 0
}

fn op_ranges(ranges: &Ranges, op: &Op) -> Ranges {
    let none = vec![];
    let (axes, raxes) = match op {
        Op::Map { axes, .. } => (axes, &none),
        Op::Reduce { axes, raxes, .. } => (axes, raxes),
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => (&none, &none),
    };
    ranges.with_axes(axes.iter().chain(raxes).map(|(s, e)| (s, e)))
}

fn programs(op: &Op) -> Vec<&Program> {
    match op {
        Op::Map { body, .. } => vec![body],
        Op::Reduce { body, epilogue, .. } => vec![body, epilogue],
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => vec![],
    }
}

pub(crate) type Types<'a> = &'a dyn Fn(Value) -> Option<TensorType>;

/// Are all of `op`'s loads of `v` at dims, provably inside wherever their elements count, and still simple behind the views? A
/// concat whose parts may be written in place keeps them; types are those of its operands.
pub(crate) fn substitutable(ranges: &Ranges, op: &Operation, v: Value, shapes: &[Vec<Dim>], types: Types<'_>) -> bool {
    let ranges = op_ranges(ranges, &op.op);
    let outer = batch(&op.op);
    let divisions = |d: &Dim| divisions(&d.subst(&|s| outer.contains(s).then_some(Dim::ZERO)));
    let Some(shape) = shapes.last() else { return false };
    let reads = |o: u32| op.operands.get(o as usize) == Some(&v);
    // A product stages what it reads: what is chosen element by element in front of it stays a tensor.
    let guards = || if let Op::Map { axes, body, .. } = &op.op { (!concats(body, op, types, &ranges)).then_some(axes) } else { None };
    programs(&op.op).iter().all(|p| {
        let simple = p.loads().filter(|(o, _)| reads(*o)).all(|(_, index)| {
            index_dims(index).is_some_and(|dims| {
                let before: usize = dims.iter().map(divisions).sum();
                through(&ranges, &dims, shapes).iter().map(divisions).sum::<usize>() <= before
            })
        });
        let inside = |axes: &Axes| used_inside(p, &ranges, axes, &reads, shape);
        simple && (inside(&vec![]) || guards().is_some_and(inside))
    })
}

/// The axes that both factors of a contraction have: what divides these (a head of queries by the heads that share its keys) is
/// computed once a product, not for its elements.
fn batch(op: &Op) -> Vec<Sym> {
    let Op::Reduce { axes, body, .. } = op else { return vec![] };
    if !is_contraction(op) {
        return vec![];
    }
    let read = |s: &Sym| body.loads().filter(|(_, index)| index.iter().any(|i| matches!(i, Index::Dim(d) if d.uses(s)))).count();
    axes.iter().map(|(s, _)| s).filter(|s| read(s) > 1).cloned().collect()
}

/// Are all of `op`'s loads of `v` such that [`divided_outside`] holds?
fn read_undivided(ranges: &Ranges, op: &Operation, v: Value, shapes: &[Vec<Dim>], places: &Places) -> bool {
    let ranges = op_ranges(ranges, &op.op);
    let of_v = |(o, _): &(u32, &[Index])| op.operands.get(*o as usize) == Some(&v);
    programs(&op.op)
        .iter()
        .flat_map(|p| p.loads())
        .filter(of_v)
        .all(|(_, index)| index_dims(index).is_some_and(|d| divided_outside(places, &op.op, &through(&ranges, &d, shapes))))
}

pub(super) fn index_dims(index: &[Index]) -> Option<Vec<Dim>> {
    index
        .iter()
        .map(|i| match i {
            Index::Dim(d) => Some(d.clone()),
            Index::Value(_) => None,
        })
        .collect()
}

/// Coordinates of the first shape for an index into the last.
fn through(ranges: &Ranges, index: &[Dim], shapes: &[Vec<Dim>]) -> Vec<Dim> {
    let mut index = index.to_vec();
    for pair in shapes.windows(2).rev() {
        index = reshape_index(ranges, &index, &pair[1], &pair[0]);
    }
    index
}

fn apply(w: &mut Work, k: usize, plan: Vec<Reader>) -> Option<()> {
    let producer = w.ops[k].clone()?;
    for reader in plan {
        let op = w.ops[reader.consumer].as_mut()?;
        *op = evaluated_at(&producer, op, reader.value, &reader.shapes, &w.ranges)?;
        // Keep the use lists true for the ops that follow.
        let now = op.operands.clone();
        let values: Vec<Value> = producer.operands.iter().copied().chain([reader.value]).collect();
        for v in values {
            let u = &mut w.users[v.index()];
            u.retain(|x| *x != reader.consumer);
            if now.contains(&v) {
                u.push(reader.consumer);
                u.sort_unstable();
            }
        }
    }
    Some(())
}

/// `reader` with the map `producer` evaluated where it reads `value`: the producer's result behind views of `shapes`, its own first.
/// Right only where the reader is [`substitutable`].
pub(crate) fn evaluated_at(
    producer: &Operation,
    reader: &Operation,
    value: Value,
    shapes: &[Vec<Dim>],
    ranges: &Ranges,
) -> Option<Operation> {
    let Op::Map { axes, store, body } = &producer.op else { return None };
    let (from, root) = (inverse(axes, store)?, body.root?);
    let cut = if let [_] = shapes { cut(reader, value, &from) } else { None };
    let reader = cut.as_ref().unwrap_or(reader);
    if cut.is_none() && !read_undivided(ranges, reader, value, shapes, &from) {
        return None;
    }
    let ranges = op_ranges(ranges, &reader.op);
    let mut op = reader.clone();
    let slot = op.operands.iter().position(|v| *v == value)? as u32;
    let first_new = op.operands.len() as u32;
    op.operands.extend(&producer.operands);
    // A contraction keeps its bare product: a constant factor moves behind the sum.
    let factor = scaled_movement(body).filter(|_| is_contraction(&op.op));
    let root = factor.map_or(root, |(x, _)| x);
    let mut divided = false;
    let mut substitute = |p: &Program| -> Option<Program> {
        let mut out = Program::new();
        let r = out.import(p, p.root?, &Dim::clone, &mut |out, e| {
            let Expr::Load { operand, index, .. } = e else { return None };
            if *operand != slot {
                return None;
            }
            let at = through(&ranges, &index_dims(index)?, shapes);
            let of = |p: &Option<Place>| p.as_ref().and_then(|p| p.of(&at, &ranges)).unwrap_or(Dim::ZERO);
            let map: BTreeMap<Sym, Dim> = from.iter().map(|(s, p)| (s.clone(), of(p))).collect();
            // A cut is for nothing where it leaves a division.
            divided |= cut.is_some() && map.values().any(|d| divisions(d) > 0);
            let dims = |d: &Dim| ranges.simplify(&d.subst(&|s| map.get(s).cloned()));
            Some(out.import(body, root, &dims, &mut |out, e| match e {
                Expr::Load { operand, dtype, index } => {
                    Some(out.push(Expr::Load { operand: operand + first_new, dtype: *dtype, index: index.clone() }))
                }
                _ => None,
            }))
        });
        Some(compact(out.returning(r)))
    };
    match &mut op.op {
        Op::Map { body, .. } => *body = substitute(body)?,
        Op::Reduce { body: sum, epilogue, .. } => {
            (*sum, *epilogue) = (substitute(sum)?, substitute(epilogue)?);
            if let Some((_, c)) = factor {
                *epilogue = scale_acc(epilogue, body, c, first_new)?;
            }
        }
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => return None,
    }
    op.loc = producer.loc.fuse(&op.loc);
    drop_unused_operands(&mut op);
    (!divided).then_some(op)
}

/// `reader` with what it reads as `view` read from what that is a view of, `value`; shapes: that of `value`, then that of the view.
/// Right only where the reader is [`substitutable`].
pub(crate) fn through_view(reader: &Operation, view: Value, value: Value, shapes: &[Vec<Dim>], ranges: &Ranges) -> Option<Operation> {
    let ranges = op_ranges(ranges, &reader.op);
    let mut op = reader.clone();
    let slot = op.operands.iter().position(|v| *v == view)? as u32;
    let new = op.operands.len() as u32;
    op.operands.push(value);
    let substitute = |p: &Program| -> Option<Program> {
        let mut out = Program::new();
        let r = out.import(p, p.root?, &Dim::clone, &mut |out, e| match e {
            Expr::Load { operand, dtype, index } if *operand == slot => {
                let at = through(&ranges, &index_dims(index)?, shapes);
                Some(out.push(Expr::Load { operand: new, dtype: *dtype, index: at.into_iter().map(Index::Dim).collect() }))
            }
            _ => None,
        });
        Some(out.returning(r))
    };
    match &mut op.op {
        Op::Map { body, .. } => *body = substitute(body)?,
        Op::Reduce { body, epilogue, .. } => (*body, *epilogue) = (substitute(body)?, substitute(epilogue)?),
        Op::Constant { .. } | Op::View {} | Op::Scatter { .. } | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => return None,
    }
    drop_unused_operands(&mut op);
    Some(op)
}

/// `epilogue` with the accumulated value multiplied by expression `c` of `from`, whose operands are numbered from `first`.
fn scale_acc(epilogue: &Program, from: &Program, c: ExprId, first: u32) -> Option<Program> {
    let mut out = Program::new();
    let factor = out.import(from, c, &Dim::clone, &mut |out, e| match e {
        Expr::Load { operand, dtype, index } => {
            Some(out.push(Expr::Load { operand: operand + first, dtype: *dtype, index: index.clone() }))
        }
        _ => None,
    });
    let root = out.import(epilogue, epilogue.root?, &Dim::clone, &mut |out, e| match e {
        Expr::Acc(dt) => {
            let acc = out.push(Expr::Acc(*dt));
            Some(out.binary(Binary::Mul, acc, factor))
        }
        _ => None,
    });
    Some(out.returning(root))
}
