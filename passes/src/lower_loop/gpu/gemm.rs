//! The `gemm` template on a GPU: a workgroup computes a block of the result from tiles of both operands in shared memory, an invocation
//! a register tile of it. A tile is filled through the operand's index map: im2col, transposes and padding happen there.
//!
//! ```text
//! for grid (batch, row block, column block)
//!   for block (invocations)
//!     for k in steps of the block's depth
//!       shared lhs[k, rows], rhs[k, columns] = operands, zero outside
//!       acc[i, j] += lhs[k, row i] * rhs[k, column j]
//!     result = epilogue(acc)
//! ```

use super::super::Region;
use super::super::emit::Emit;
use super::{Product, below, define_axes, grid_sym, guarded, local, name, shared, width, workgroups};
use crate::schedule::contraction::{Side, extent, flat_groups};
use odc_ir::core::{DType, Dim, Range, Scalar, Sym, Value};
use odc_ir::loops::{LoopKind, LoopType, Op};
use odc_ir::tensor::Axes;

const F32: LoopType = LoopType::Scalar(DType::F32);

struct Gemm<'a> {
    p: Product<'a>,
    rows: Dim,
    columns: Dim,
    depth: Dim,
    /// Rows and columns of the register tile.
    tile: [i64; 2],
    /// Rows, columns and depth of the shared tiles.
    block: [i64; 3],
    width: i64,
}

/// One operand's tile.
struct Tile<'a> {
    side: &'a Side,
    array: Value,
    axes: &'a Axes,
    /// First row or column of the block, and how many there are in all.
    base: Dim,
    total: &'a Dim,
    block: i64,
    /// Do neighbouring invocations fill it along the depth?
    deep: bool,
}

impl Tile<'_> {
    /// Elements from one depth to the next. Filled along the depth, neighbours would all write to one memory bank.
    fn stride(&self) -> i64 {
        self.block + i64::from(self.deep)
    }
}

pub(super) fn lower(e: &mut Emit, region: &Region<'_>) -> Option<Dim> {
    let p = Product::new(e, region)?;
    let s = region.schedule;
    let (tile, block) = (<[i64; 2]>::try_from(s.tile.clone()).ok()?, <[i64; 3]>::try_from(s.block.clone()).ok()?);
    let (rows, columns, depth) = (extent(&p.c.m), extent(&p.c.n), extent(&p.c.k));
    let g = Gemm { p, rows, columns, depth, tile, block, width: width(region)? };
    let fits = (block[0] / tile[0]) * (block[1] / tile[1]) == g.width;
    let even = (block[0] * block[2]) % g.width == 0 && (block[1] * block[2]) % g.width == 0;
    if fits && even { g.emit(e) } else { None }
}

impl Gemm<'_> {
    fn emit(&self, e: &mut Emit) -> Option<Dim> {
        let [bm, bn, bk] = self.block;
        let mut grid_axes = self.p.c.batch.clone();
        grid_axes.push((Sym::new("$mb"), self.rows.ceildiv(&Dim::from(bm))));
        grid_axes.push((Sym::new("$nb"), self.columns.ceildiv(&Dim::from(bn))));
        let grid = extent(&grid_axes);
        let c = &self.p.c;
        let (a_deep, b_deep) = (c.lhs.runs_deep(&c.k, &c.m, &e.ranges), c.rhs.runs_deep(&c.k, &c.n, &e.ranges));
        let array = |e: &mut Emit, block: i64, deep: bool| shared(e, DType::F32, bk * (block + i64::from(deep)));
        let (a, b) = (array(e, bm, a_deep)?, array(e, bn, b_deep)?);
        let row_base = Dim::sym("$mb") * bm;
        let lhs = Tile { side: &c.lhs, array: a, axes: &c.m, base: row_base, total: &self.rows, block: bm, deep: a_deep };
        let column_base = Dim::sym("$nb") * bn;
        let rhs = Tile { side: &c.rhs, array: b, axes: &c.n, base: column_base, total: &self.columns, block: bn, deep: b_deep };
        let axes = grid_axes.clone();
        workgroups(e, &grid, self.width, &mut |e| define_axes(e, &axes, &Dim::from(grid_sym())), &mut |e| self.block(e, &lhs, &rhs));
        Some(grid)
    }

    /// What one invocation does: columns lie `threads` apart, so that neighbours store neighbours.
    fn block(&self, e: &mut Emit, lhs: &Tile<'_>, rhs: &Tile<'_>) {
        let ([bm, bn, bk], [tm, tn]) = (self.block, self.tile);
        let threads = bn / tn;
        let column = name(e, "$tx", &local().modulo(&Dim::from(threads)), &Dim::from(threads));
        let row = name(e, "$ty", &local().floordiv(&Dim::from(threads)), &Dim::from(bm / tm));
        let zero = e.constant(Scalar::Float(0.0), F32);
        let inits = vec![zero; (tm * tn) as usize];
        let (start, end) = (e.index(0), e.dim(&self.depth));
        let range = |d: &Dim| Range { lo: Dim::ZERO, hi: Some(d - 1) };
        let kb = Sym::new("$kb");
        let accs = e.for_loop(LoopKind::Serial, &kb, (start, end, bk), range(&self.depth), &inits, &mut |e, accs| {
            self.fill(e, lhs);
            self.fill(e, rhs);
            let (start, end) = (e.index(0), e.index(bk));
            let kk = Sym::new("$kk");
            e.for_loop(LoopKind::Serial, &kk, (start, end, 1), range(&Dim::from(bk)), accs, &mut |e, accs| {
                let at = |e: &mut Emit, array: Value, d: &Dim| {
                    let o = e.dim(d);
                    e.load(array, o, F32)
                };
                let x: Vec<Value> = (0..tm).map(|i| at(e, lhs.array, &(Dim::from(&kk) * lhs.stride() + &row * tm + i))).collect();
                let y: Vec<Value> = (0..tn).map(|j| at(e, rhs.array, &(Dim::from(&kk) * rhs.stride() + &column + j * threads))).collect();
                (0..(tm * tn) as usize).map(|k| e.op(Op::Fma {}, &[x[k / tn as usize], y[k % tn as usize], accs[k]], F32)).collect()
            })
        });
        for (k, acc) in accs.iter().enumerate() {
            let (i, j) = (k as i64 / tn, k as i64 % tn);
            let at = (&lhs.base + &row * tm + i, &rhs.base + &column + j * threads);
            let row_test = below(e, "$row_any", &at.0, &self.rows, bm);
            let tests: Vec<_> = row_test.into_iter().chain(below(e, "$column_any", &at.1, &self.columns, bn)).collect();
            guarded(e, &tests, &mut |e| {
                let row = name(e, "$row", &at.0, &self.rows);
                let column = name(e, "$column", &at.1, &self.columns);
                self.p.finish(e, &row, &column, *acc);
            });
        }
    }

    /// One operand's tile for this step of the depth. Neighbouring invocations read along the operand's contiguous direction.
    fn fill(&self, e: &mut Emit, t: &Tile<'_>) {
        let bk = self.block[2];
        let steps = t.block * bk / self.width;
        let (start, end) = (e.index(0), e.index(steps));
        let range = Range { lo: Dim::ZERO, hi: Some(Dim::from(steps - 1)) };
        e.for_loop(LoopKind::Serial, &Sym::new("$step"), (start, end, 1), range, &[], &mut |e, _| {
            self.fill_one(e, t, &(local() + Dim::sym("$step") * self.width));
            vec![]
        });
    }

    /// Element `at` of a tile.
    fn fill_one(&self, e: &mut Emit, t: &Tile<'_>, at: &Dim) {
        let bk = self.block[2];
        let (along, depth) = if t.deep {
            (at.floordiv(&Dim::from(bk)), at.modulo(&Dim::from(bk)))
        } else {
            (at.modulo(&Dim::from(t.block)), at.floordiv(&Dim::from(t.block)))
        };
        let along = name(e, "$along", &along, &Dim::from(t.block));
        let inner = name(e, "$inner", &depth, &Dim::from(bk));
        let (x, k) = (&t.base + &along, Dim::sym("$kb") + &inner);
        let x_test = below(e, "$x_any", &x, t.total, t.block);
        let tests: Vec<_> = x_test.into_iter().chain(below(e, "$k_any", &k, &self.depth, bk)).collect();
        let (x, k) = (name(e, "$x", &x, t.total), name(e, "$k", &k, &self.depth));
        let ranges = e.ranges.clone();
        let place = |d: &Dim| flat_groups(d, &[(t.axes, x.clone()), (&self.p.c.k, k.clone())], &ranges);
        let v = self.p.factor(e, t.side, &place, &tests);
        let to = e.dim(&(&inner * t.stride() + &along));
        e.store(t.array, to, v);
    }
}
