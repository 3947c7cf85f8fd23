//! Attention on a CPU, as one kernel: products of a block of rows with all keys, what is done to each row of them (a softmax), and
//! the products of those rows with all values. The rows lie in scratch and never in memory as a whole.

use super::contraction::{Contraction, contraction, depth_stride, extent};
use super::tile::{Tile, tile};
use super::{GRAIN, ITEMS, gemm, hint, rows_depth, unit_columns};
use crate::cost::Place;
use crate::fuse::is_contraction;
use crate::lower_loop::flat::{FlatOp, dims_of, flatten, offset};
use odc_ir::core::{DType, Dim, Ranges, Sym, TensorType, Value};
use odc_ir::tensor::{Access, Expr, Index, Op, Operation, Program, Schedule, Template};

/// Bytes of rows in scratch: a part of a second-level cache.
const SCORES_BYTES: i64 = 256 << 10;
/// Rows of a block, whatever their length.
const ROWS: (i64, i64) = (16, 128);
/// Rows of a block whose length is a symbol.
const ROWS_OF_ANY_LENGTH: i64 = 32;
/// Rows of a grid item where their number is a symbol: enough that staging once more is little beside the products.
const ITEM_ROWS: i64 = 512;

/// Elements from one step of depth to the next up to which a right side is read where it lies: further apart, panels pay.
const NEAR: i64 = 256;

/// A region that can be lowered so.
pub(crate) struct Attention {
    /// `scores(batch, row, n)` and `values(batch, row, n)`; the left side of the second is what the stages between give.
    pub scores: Contraction,
    pub values: Contraction,
    /// Axes that all ops share.
    pub depth: usize,
    /// The one of them that is cut into blocks.
    pub row: (Sym, Dim),
    /// What travels inside, a row at a time.
    pub inner: Vec<Value>,
}

/// Reads `ops` as attention. Nothing but the last op's result may leave them: `leaves` says what does.
pub(crate) fn attention(
    ops: &[Operation],
    leaves: &dyn Fn(Value) -> bool,
    types: &dyn Fn(Value) -> TensorType,
    ranges: &Ranges,
) -> Option<Attention> {
    let [first, between @ .., last] = ops else { return None };
    if between.is_empty() || between.iter().any(|o| is_contraction(&o.op) || !matches!(o.op, Op::Map { .. } | Op::Reduce { .. })) {
        return None;
    }
    let (scores, values) = (contraction(first, types, ranges)?, contraction(last, types, ranges)?);
    let depth = rows_depth(ops);
    let Op::Reduce { axes, .. } = &first.op else { return None };
    let shared = axes.get(..depth)?;
    let [row] = scores.m.as_slice() else { return None };
    let row = row.clone();
    let inner: Vec<Value> = ops[..ops.len() - 1].iter().flat_map(|o| o.results.iter().copied()).collect();
    let given = |operand: u32| last.operands.get(operand as usize).is_some_and(|v| inner.contains(v));
    let fits = values.m == scores.m
        && shared.contains(&row)
        && scores.batch.iter().chain(&values.batch).all(|a| shared.contains(a))
        && scores.n.iter().chain(&values.n).all(|a| !shared.contains(a))
        && given(values.lhs.operand)
        && !given(values.rhs.operand)
        && !inner.iter().any(|v| leaves(*v));
    let found = Attention { scores, values, depth, row, inner };
    // Every op can be written on rows of scratch.
    (fits && found.lhs(last, types).is_some() && ops.iter().all(|o| found.flat(o, types, ranges).is_some())).then_some(found)
}

impl Attention {
    /// The elements of `v` in one row.
    pub fn row_length(&self, v: Value, types: &dyn Fn(Value) -> TensorType) -> Dim {
        Dim::product(types(v).shape.get(self.depth..).unwrap_or(&[]))
    }

    /// Where the present row of `v` begins in scratch, which holds those from `first` on.
    fn begin(&self, v: Value, types: &dyn Fn(Value) -> TensorType) -> Dim {
        (Dim::from(&self.row.0) - Dim::from(first_row())) * self.row_length(v, types)
    }

    /// `op` on rows of scratch.
    pub fn flat(&self, op: &Operation, types: &dyn Fn(Value) -> TensorType, ranges: &Ranges) -> Option<FlatOp> {
        let mut flat = flatten(op, types, ranges, &self.inner, self.depth)?;
        flat.body = self.moved(&flat, &flat.body, types)?;
        flat.epilogue = self.moved(&flat, &flat.epilogue, types)?;
        if self.inner.contains(&flat.result) {
            flat.store = &flat.store + &self.begin(flat.result, types);
        }
        Some(flat)
    }

    fn moved(&self, flat: &FlatOp, p: &Program, types: &dyn Fn(Value) -> TensorType) -> Option<Program> {
        let Some(root) = p.root else { return Some(Program::new()) };
        let mut sound = true;
        let mut q = Program::new();
        let root = q.import(p, root, &Dim::clone, &mut |q, e| {
            let Expr::Load { operand, dtype, index } = e else { return None };
            let source = flat.sources.get(*operand as usize).filter(|s| self.inner.contains(&s.value))?;
            let ([Index::Dim(at)], true) = (index.as_slice(), source.flat) else {
                sound = false;
                return None;
            };
            let at = at + &self.begin(source.value, types);
            Some(q.push(Expr::Load { operand: *operand, dtype: *dtype, index: vec![Index::Dim(at)] }))
        });
        sound.then(|| q.returning(root))
    }

    /// Where the last op's left side lies in scratch.
    pub fn lhs(&self, last: &Operation, types: &dyn Fn(Value) -> TensorType) -> Option<Dim> {
        let Op::Reduce { body, .. } = &last.op else { return None };
        let operand = self.values.lhs.operand;
        let (_, index) = body.loads().find(|(o, _)| *o == operand)?;
        let v = *last.operands.get(operand as usize)?;
        let (dims, shape) = (dims_of(index)?, types(v).shape);
        let at = offset(dims.get(self.depth..)?, shape.get(self.depth..)?);
        Some(at + self.begin(v, types))
    }
}

/// The first row of the block in scratch.
pub(crate) fn first_row() -> Sym {
    Sym::new("$first")
}

/// The schedule of what [`attention`] found.
pub(crate) fn schedule(a: &Attention, place: &Place<'_>) -> Option<Schedule> {
    let (ranges, symbols) = (place.ranges, place.symbols);
    gemm(&a.scores, &|_| false, place)?;
    gemm(&a.values, &|_| false, place)?;
    let size = |c: &Contraction| (extent(&c.m).as_const(), extent(&c.n).as_const());
    let ((m, keys_n), (_, values_n)) = (size(&a.scores), size(&a.values));
    // Blocks are whole tiles of both products.
    let first = tile(m, keys_n, None, place.cpu);
    let second = tile(m, values_n, Some(first.rows), place.cpu);
    let keys = extent(&a.scores.n);
    let rows = hint(&a.row.1, symbols);
    let most = match keys.as_const() {
        Some(n) => (SCORES_BYTES / (4 * n.max(1))).clamp(ROWS.0, ROWS.1),
        None => ROWS_OF_ANY_LENGTH,
    };
    let whole = if 8 % first.rows == 0 { 8 } else { first.rows };
    let block = (most.min(rows) + whole - 1) / whole * whole;
    let access = |c: &Contraction, tile: &Tile| {
        let stride = depth_stride(&c.rhs.offset, &c.k, ranges).and_then(|s| s.as_const()).filter(|s| *s <= NEAR);
        let near = stride.is_some() && c.rhs.direct(&c.k, ranges) && c.rhs.dtype == DType::F32;
        if near && unit_columns(c, tile.columns, tile.lanes, ranges) { Access::Direct } else { Access::Staged }
    };
    let access = vec![Access::Direct, access(&a.scores, &first), Access::Direct, access(&a.values, &second)];
    // What is staged is so once a grid item, and items share no block.
    let blocks = |rows: i64| (rows + block - 1) / block;
    let batch = hint(&extent(&a.scores.batch), symbols);
    let blocks = match a.row.1.as_const() {
        Some(_) => {
            let cuts = (ITEMS / batch).clamp(1, blocks(rows));
            (blocks(rows) + cuts - 1) / cuts
        }
        None => blocks(ITEM_ROWS),
    };
    let item = blocks * block;
    let work = item.min(rows).saturating_mul(hint(&keys, symbols)).saturating_mul(hint(&extent(&a.scores.k), symbols)).max(1);
    Some(Schedule {
        template: Template::Attention,
        unroll: super::DEPTH_STEPS,
        tile: vec![first.rows, first.columns, second.rows, second.columns],
        block: vec![block, item],
        access,
        grain: Dim::from((GRAIN / work).max(1)),
        ..Schedule::loops(a.depth, place.cpu.lanes)
    })
}
