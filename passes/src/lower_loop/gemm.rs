//! The `gemm` template: register tiles of `tile` rows by columns, the whole depth in one sweep, the epilogue on the accumulators.
//!
//! ```text
//! for grid (batch, row block, column block)
//!   [stage the block's right-hand columns into panels]
//!   for row tile, for column tile
//!     acc = sum over k of splat(lhs[row, k]) * rhs[k, columns]
//!     result = epilogue(acc)
//! ```
//!
//! Of two products the first's tile goes to scratch, where the second's epilogue reads it.

use super::emit::Emit;
use super::expr::{ExprEmit, Val, store};
use super::flat::{FlatOp, Source, flatten, unflatten};
use super::lanes::Lanes;
use super::{Region, define_axes, grid_sym, stage};
use crate::schedule::contraction::{Contraction, contraction, depth_stride, drop_ones, extent, flat_groups};
use crate::schedule::tile;
use odc_ir::core::{Binary, DType, Dim, Range, Ranges, Scalar, Sym, Value};
use odc_ir::loops::{LoopKind, LoopType, Op};
use odc_ir::tensor::{Access, Axes, Expr, Index, Operation, Program};
use std::collections::BTreeMap;

/// Expressions of all epilogues of a tile that are written out; where there would be more, the tile is spilled and a loop passes over it.
const WRITTEN_OUT: usize = 192;

pub(super) struct Gemm {
    pub c: Contraction,
    op: FlatOp,
    /// Of the sources of `op`, and of its result.
    pointers: Vec<Value>,
    result: Value,
    /// Steps of depth written out.
    unroll: i64,
    pub mr: i64,
    pub nr: i64,
    /// Columns in a vector.
    pub lanes: i64,
    pub rows: Dim,
    pub columns: Dim,
    pub depth: Dim,
    /// A product of the same tiles whose tile is computed before this one's.
    first: Option<Box<Gemm>>,
    /// The value of which a tile lies in scratch: the first's result.
    in_tile: Option<Value>,
    row_tile: Sym,
    column_tile: Sym,
    k: Sym,
}

/// Where the right-hand side of a tile comes from.
#[derive(Clone, Copy)]
enum Rhs {
    Direct,
    /// A panel pointer, the first tile it holds is the block's.
    Panels(Value),
    /// A panel pointer that holds this tile alone.
    Alone(Value),
}

/// Memory of one worker.
pub(super) struct Memory {
    /// The right side of a block of columns.
    panels: Option<Value>,
    /// The last tile of a right side that may not be read in full.
    edge: Option<Value>,
    /// A tile at an edge of the result.
    spill: Value,
}

pub(super) fn lower(e: &mut Emit, region: &mut Region<'_>) -> Option<Dim> {
    let s = region.schedule;
    let ([mr, nr], [mc, nc]) = (<[i64; 2]>::try_from(s.tile.clone()).ok()?, <[i64; 2]>::try_from(s.block.clone()).ok()?);
    let (op, before) = region.block.ops.split_last()?;
    let in_tile = match before {
        [] => None,
        [first] => first.result(),
        _ => return None,
    };
    if let Some(v) = in_tile {
        let tile = e.scratch(DType::F32, &Dim::from(mr * nr));
        region.pointers.push((v, tile));
    }
    let region: &Region<'_> = region;
    let product = |e: &mut Emit, op: &Operation| {
        let c = contraction(op, &|v| region.types(v), &e.ranges)?;
        let flat = flatten(op, &|v| region.types(v), &e.ranges.clone(), &[], 0)?;
        Some(Gemm { in_tile, ..Gemm::new(e, region, op, (c, flat), [mr, nr])? })
    };
    let first = before.first().map(|op| product(e, op).map(Box::new));
    if first.as_ref().is_some_and(Option::is_none) {
        return None;
    }
    let g = Gemm { first: first.flatten(), ..product(e, op)? };
    let staged = s.access.get(1) == Some(&Access::Staged) || g.c.rhs.dtype != DType::F32;
    // Both read their right sides in place, in whole tiles.
    let plain = |g: &Gemm| !staged && g.c.rhs.dtype == DType::F32 && g.padded_columns(&e.ranges);
    if g.first.as_ref().is_some_and(|first| !plain(first) || !plain(&g)) {
        return None;
    }
    g.emit(e, mc / mr, nc / nr, staged)
}

impl Gemm {
    /// `op` is read as `c`, and written as `flat`.
    pub fn new(
        e: &mut Emit,
        region: &Region<'_>,
        op: &Operation,
        (mut c, mut flat): (Contraction, FlatOp),
        [mr, nr]: [i64; 2],
    ) -> Option<Gemm> {
        flat.epilogue = flat.epilogue.map_dims(&|d| drop_ones(d, &op.op));
        flat.store = drop_ones(&flat.store, &op.op);
        e.hide(|o| {
            o.flat(&mut flat);
            o.contraction(&mut c);
        });
        let (rows, columns, depth) = (extent(&c.m), extent(&c.n), extent(&c.k));
        Some(Gemm {
            c,
            pointers: region.source_pointers(&flat)?,
            result: region.pointer(flat.result)?,
            op: flat,
            unroll: i64::from(region.schedule.unroll.max(1)),
            mr,
            nr,
            lanes: tile::lanes(nr, i64::from(region.schedule.vector)),
            rows,
            columns,
            depth,
            first: None,
            in_tile: None,
            row_tile: Sym::new("$mt"),
            column_tile: Sym::new("$nt"),
            k: Sym::new("$k"),
        })
    }

    pub fn row_tiles(&self) -> Dim {
        self.rows.ceildiv(&Dim::from(self.mr))
    }
    pub fn column_tiles(&self) -> Dim {
        self.columns.ceildiv(&Dim::from(self.nr))
    }

    /// Memory for so many column tiles at a time.
    pub fn memory(&self, e: &mut Emit, column_tiles: &Dim, staged: bool) -> Memory {
        let panels = staged.then(|| e.scratch(DType::F32, &(&self.depth * &(column_tiles * self.nr))));
        let readable = staged || self.padded_columns(&e.ranges);
        let edge = (!readable).then(|| e.scratch(DType::F32, &(&self.depth * self.nr)));
        Memory { panels, edge, spill: e.scratch(DType::F32, &Dim::from(self.mr * self.nr)) }
    }

    fn emit(&self, e: &mut Emit, row_tiles_a_block: i64, column_tiles_a_block: i64, staged: bool) -> Option<Dim> {
        let (row_tiles, column_tiles) = (self.row_tiles(), self.column_tiles());
        let (mb, nb) = (
            (Sym::new("$mb"), row_tiles.ceildiv(&row_tiles_a_block.into())),
            (Sym::new("$nb"), column_tiles.ceildiv(&column_tiles_a_block.into())),
        );
        let mut grid_axes: Axes = self.c.batch.clone();
        grid_axes.extend([nb.clone(), mb.clone()]);
        let grid = extent(&grid_axes);
        let memory = self.memory(e, &column_tiles_a_block.into(), staged);
        let (zero, end) = (e.index(0), e.dim(&grid));
        let counter = grid_sym();
        let range = Range { lo: Dim::ZERO, hi: Some(&grid - 1) };
        e.for_loop(LoopKind::Grid, &counter, (zero, end, 1), range, &[], &mut |e, _| {
            define_axes(e, &grid_axes, &Dim::from(&counter));
            let rows = self.tiles(e, &mb.0, row_tiles_a_block, &row_tiles);
            let columns = self.tiles(e, &nb.0, column_tiles_a_block, &column_tiles);
            let base = Dim::from(&nb.0) * column_tiles_a_block;
            self.stage(e, &memory, columns, &base);
            self.block(e, &memory, rows, columns, &base);
            vec![]
        });
        Some(grid)
    }

    /// Copies the right side of these column tiles into panels, if there are some; `base` is the first tile that they hold.
    pub fn stage(&self, e: &mut Emit, memory: &Memory, columns: (Value, Value), base: &Dim) {
        if let Some(p) = memory.panels {
            stage::fill(e, self, p, columns, base, self.pointer(self.c.rhs.operand));
        }
    }

    /// Computes a block of tiles, whose columns are staged.
    pub fn block(&self, e: &mut Emit, memory: &Memory, rows: (Value, Value), columns: (Value, Value), base: &Dim) {
        let row_range = Range { lo: Dim::ZERO, hi: Some(self.row_tiles() - 1) };
        let column_range = Range { lo: Dim::ZERO, hi: Some(self.column_tiles() - 1) };
        // Panels stay in cache while a row tile passes over them; in place, a column panel stays while rows pass.
        if let Some(panels) = memory.panels {
            e.for_loop(LoopKind::Serial, &self.row_tile, (rows.0, rows.1, 1), row_range, &[], &mut |e, _| {
                e.for_loop(LoopKind::Serial, &self.column_tile, (columns.0, columns.1, 1), column_range.clone(), &[], &mut |e, _| {
                    self.tile(e, Rhs::Panels(panels), base, memory.spill);
                    vec![]
                });
                vec![]
            });
        } else {
            e.for_loop(LoopKind::Serial, &self.column_tile, (columns.0, columns.1, 1), column_range, &[], &mut |e, _| {
                self.column(e, rows, &row_range, base, memory.edge, memory.spill);
                vec![]
            });
        }
    }

    pub fn pointer(&self, operand: u32) -> Value {
        self.pointers.get(operand as usize).copied().unwrap_or(self.result)
    }

    /// Tiles `[block * size, min(.., tiles))`.
    pub fn tiles(&self, e: &mut Emit, block: &Sym, size: i64, tiles: &Dim) -> (Value, Value) {
        let lo = e.dim(&(Dim::from(block) * size));
        let size = e.index(size);
        let hi = e.binary(Binary::Add, lo, size);
        let all = e.dim(tiles);
        (lo, e.binary(Binary::Min, hi, all))
    }

    /// All rows of the block against one column tile; the last tile goes through a panel if it may not be read in full.
    fn column(&self, e: &mut Emit, rows: (Value, Value), range: &Range, base: &Dim, edge: Option<Value>, spill: Value) {
        let sweep = |e: &mut Emit, rhs: Rhs| {
            e.for_loop(LoopKind::Serial, &self.row_tile, (rows.0, rows.1, 1), range.clone(), &[], &mut |e, _| {
                self.tile(e, rhs, base, spill);
                vec![]
            });
            vec![]
        };
        let Some(panel) = edge else {
            sweep(e, Rhs::Direct);
            return;
        };
        let end = e.dim(&((Dim::from(&self.column_tile) + 1) * self.nr));
        let n = e.dim(&self.columns);
        let whole = e.binary(Binary::Le, end, n);
        e.if_else(whole, &[], &mut |e| sweep(e, Rhs::Direct), &mut |e| {
            let lo = e.dim(&Dim::from(&self.column_tile));
            let hi = e.dim(&(Dim::from(&self.column_tile) + 1));
            stage::fill(e, self, panel, (lo, hi), &Dim::from(&self.column_tile), self.pointer(self.c.rhs.operand));
            sweep(e, Rhs::Alone(panel))
        });
    }

    /// May whole tiles of the right side be read in place, the last one included?
    fn padded_columns(&self, ranges: &Ranges) -> bool {
        if self.columns.as_const().is_some_and(|n| n % self.nr == 0) {
            return true;
        }
        padded(
            &self.c.rhs.offset,
            &self.c.n,
            &self.columns,
            self.nr,
            &self.all(ranges),
            self.op.sources.get(self.c.rhs.operand as usize).map(|s| Dim::product(&s.shape)),
        )
    }
    fn padded_rows(&self, ranges: &Ranges) -> bool {
        if self.rows.as_const().is_some_and(|n| n % self.mr == 0) {
            return true;
        }
        padded(
            &self.c.lhs.offset,
            &self.c.m,
            &self.rows,
            self.mr,
            &self.all(ranges),
            self.op.sources.get(self.c.lhs.operand as usize).map(|s| Dim::product(&s.shape)),
        )
    }

    fn all(&self, ranges: &Ranges) -> Ranges {
        let c = &self.c;
        ranges.with_axes(c.batch.iter().chain(&c.m).chain(&c.n).chain(&c.k).map(|(s, n)| (s, n)))
    }

    fn row(&self, i: i64) -> Dim {
        Dim::from(&self.row_tile) * self.mr + i
    }
    fn column_at(&self, j: i64) -> Dim {
        Dim::from(&self.column_tile) * self.nr + j
    }

    /// One register tile.
    fn tile(&self, e: &mut Emit, rhs: Rhs, base: &Dim, spill: Value) {
        if let Some(first) = &self.first {
            first.tile(e, rhs, base, spill);
        }
        let groups = self.nr / self.lanes;
        let vty = LoopType::Vector(DType::F32, self.lanes as u32);
        let zero = e.constant(Scalar::Float(0.0), vty);
        let inits = vec![zero; (self.mr * groups) as usize];
        let (start, end) = (e.index(0), e.dim(&self.depth));
        // Steps of depth written out, as the schedule says.
        let steps = self.unroll;
        let unrolled = self.depth.as_const().is_none_or(|k| k >= steps);
        let range = Range { lo: Dim::ZERO, hi: Some(&self.depth - 1) };
        let lhs_rows: Vec<Dim> = {
            let clamp = !self.padded_rows(&e.ranges);
            (0..self.mr)
                .map(|i| {
                    let row = if clamp { self.row(i).min_with(&(&self.rows - 1)) } else { self.row(i) };
                    self.lhs_at(e, &row)
                })
                .collect()
        };
        let rhs_columns: Vec<Dim> = (0..groups).map(|q| self.rhs_at(e, rhs, base, q * self.lanes)).collect();
        let rhs_pointer = match rhs {
            Rhs::Direct => self.pointer(self.c.rhs.operand),
            Rhs::Panels(p) | Rhs::Alone(p) => p,
        };
        let lhs_pointer = self.pointer(self.c.lhs.operand);
        let step = |e: &mut Emit, accs: &mut Vec<Value>, u: i64| {
            let at_k = |d: &Dim| d.subst(&|s| (*s == self.k).then(|| Dim::from(s) + u));
            let b: Vec<Value> = rhs_columns
                .iter()
                .map(|d| {
                    let o = e.dim(&at_k(d));
                    e.load(rhs_pointer, o, vty)
                })
                .collect();
            for (i, d) in lhs_rows.iter().enumerate() {
                let o = e.dim(&at_k(d));
                let a = load_f32(e, lhs_pointer, o, LoopType::Scalar(DType::F32));
                let a = e.op(Op::Splat {}, &[a], vty);
                for (q, b) in b.iter().enumerate() {
                    let at = i * groups as usize + q;
                    accs[at] = e.op(Op::Fma {}, &[a, *b, accs[at]], vty);
                }
            }
        };
        let mut accs = inits;
        let mut from = start;
        if unrolled {
            let u = e.index(steps);
            let whole = e.binary(Binary::Div, end, u);
            from = e.binary(Binary::Mul, whole, u);
            accs = e.for_loop(LoopKind::Serial, &self.k, (start, from, steps), range.clone(), &accs, &mut |e, carried| {
                let mut a = carried.to_vec();
                (0..steps).for_each(|u| step(e, &mut a, u));
                a
            });
        }
        if !(unrolled && self.depth.as_const().is_some_and(|k| k % steps == 0)) {
            accs = e.for_loop(LoopKind::Serial, &self.k, (from, end, 1), range, &accs, &mut |e, carried| {
                let mut a = carried.to_vec();
                step(e, &mut a, 0);
                a
            });
        }
        self.finish_tile(e, &accs, spill);
    }

    fn lhs_at(&self, e: &Emit, row: &Dim) -> Dim {
        let all = self.all(&e.ranges);
        let stride = depth_stride(&self.c.lhs.offset, &self.c.k, &all).unwrap_or(Dim::ZERO);
        let start = self.c.lhs.offset.subst(&|s| self.c.k.iter().any(|(x, _)| x == s).then_some(Dim::ZERO));
        flat_groups(&start, &[(&self.c.m, row.clone())], &e.ranges) + stride * Dim::from(&self.k)
    }

    fn rhs_at(&self, e: &Emit, rhs: Rhs, base: &Dim, j: i64) -> Dim {
        let panel = &self.depth * self.nr;
        let inside = Dim::from(&self.k) * self.nr + j;
        match rhs {
            Rhs::Panels(_) => (Dim::from(&self.column_tile) - base) * panel + inside,
            Rhs::Alone(_) => inside,
            Rhs::Direct => {
                let all = self.all(&e.ranges);
                let stride = depth_stride(&self.c.rhs.offset, &self.c.k, &all).unwrap_or(Dim::ZERO);
                let start = self.c.rhs.offset.subst(&|s| self.c.k.iter().any(|(x, _)| x == s).then_some(Dim::ZERO));
                flat_groups(&start, &[(&self.c.n, self.column_at(j))], &e.ranges) + stride * Dim::from(&self.k)
            }
        }
    }

    /// Epilogue and store: of a whole tile from registers, at the edges (and where an epilogue is long) from a spilled tile.
    fn finish_tile(&self, e: &mut Emit, accs: &[Value], spill: Value) {
        let multiple = |n: &Dim, of: i64| n.as_const().is_some_and(|c| c % of == 0);
        let (full_rows, full_columns) = (multiple(&self.rows, self.mr), multiple(&self.columns, self.nr));
        if accs.len() * self.op.epilogue.exprs.len() > WRITTEN_OUT {
            self.spilled(e, accs, spill, full_columns);
            return;
        }
        let mut fits = None;
        for (full, end, n) in [(full_rows, self.row(self.mr), &self.rows), (full_columns, self.column_at(self.nr), &self.columns)] {
            if !full {
                let (end, n) = (e.dim(&end), e.dim(n));
                let t = e.binary(Binary::Le, end, n);
                fits = Some(match fits {
                    None => t,
                    Some(f) => e.binary(Binary::And, f, t),
                });
            }
        }
        let Some(fits) = fits else { return self.whole(e, accs) };
        e.if_else(
            fits,
            &[],
            &mut |e| {
                self.whole(e, accs);
                vec![]
            },
            &mut |e| {
                self.spilled(e, accs, spill, full_columns);
                vec![]
            },
        );
    }

    fn whole(&self, e: &mut Emit, accs: &[Value]) {
        let groups = (self.nr / self.lanes) as usize;
        for (k, acc) in accs.iter().enumerate() {
            let (i, q) = ((k / groups) as i64, (k % groups) as i64);
            let v = e.dim(&self.column_at(q * self.lanes));
            self.vector(e, &self.row(i), v, *acc);
        }
    }

    /// The epilogue of a vector that begins at column `first`.
    fn vector(&self, e: &mut Emit, row: &Dim, first: Value, acc: Value) {
        let axis = Sym::new("$nv");
        e.define(axis.clone(), first, Range { lo: Dim::ZERO, hi: Some(&self.columns - 1) });
        let lanes = Lanes { axis: axis.clone(), count: self.lanes as u32, aligned: true };
        self.epilogue(e, row, &Dim::from(&axis), Some(&lanes), Val::Vector(acc));
    }

    /// What of a tile is inside the result: row by row, in vectors and then in single elements.
    fn spilled(&self, e: &mut Emit, accs: &[Value], spill: Value, full_columns: bool) {
        for (k, acc) in accs.iter().enumerate() {
            let o = e.index(k as i64 * self.lanes);
            e.store(spill, o, *acc);
        }
        let left = |e: &mut Emit, n: &Dim, first: Dim, most: i64| {
            let left = e.dim(&(n - &first));
            let most = e.index(most);
            e.binary(Binary::Min, left, most)
        };
        let rows = left(e, &self.rows, self.row(0), self.mr);
        let columns = left(e, &self.columns, self.column_at(0), self.nr);
        let (zero, lanes) = (e.index(0), e.index(self.lanes));
        let whole = e.binary(Binary::Div, columns, lanes);
        let whole = e.binary(Binary::Mul, whole, lanes);
        let (i, j) = (Sym::new("$ti"), Sym::new("$tj"));
        let range = |n: i64| Range { lo: Dim::ZERO, hi: Some(Dim::from(n - 1)) };
        let vty = LoopType::Vector(DType::F32, self.lanes as u32);
        let at = Dim::from(&i) * self.nr + Dim::from(&j);
        // As a symbol of its own: known to be inside the result.
        let inside = |e: &mut Emit, name: &str, at: Dim, n: &Dim| {
            let v = e.dim(&at);
            e.define(Sym::new(name), v, Range { lo: Dim::ZERO, hi: Some(n - 1) });
        };
        e.for_loop(LoopKind::Serial, &i, (zero, rows, 1), range(self.mr), &[], &mut |e, _| {
            inside(e, "$me", self.row(0) + Dim::from(&i), &self.rows);
            e.for_loop(LoopKind::Serial, &j, (zero, whole, self.lanes), range(self.nr), &[], &mut |e, _| {
                let (o, first) = (e.dim(&at), e.dim(&(self.column_at(0) + Dim::from(&j))));
                let acc = e.load(spill, o, vty);
                self.vector(e, &Dim::sym("$me"), first, acc);
                vec![]
            });
            if full_columns {
                return vec![];
            }
            e.for_loop(LoopKind::Serial, &j, (whole, columns, 1), range(self.nr), &[], &mut |e, _| {
                let o = e.dim(&at);
                let acc = e.load(spill, o, LoopType::Scalar(DType::F32));
                inside(e, "$ne", self.column_at(0) + Dim::from(&j), &self.columns);
                self.epilogue(e, &Dim::sym("$me"), &Dim::sym("$ne"), None, Val::Uniform(acc));
                vec![]
            });
            vec![]
        });
    }

    fn epilogue(&self, e: &mut Emit, row: &Dim, column: &Dim, lanes: Option<&Lanes>, acc: Val) {
        let mut map: BTreeMap<Sym, Dim> = unflatten(&self.c.m, row).0;
        map.extend(unflatten(&self.c.n, column).0);
        let ranges = e.ranges.clone();
        let dims = |d: &Dim| ranges.simplify(&d.subst(&|s| map.get(s).cloned()));
        let (program, to) = match self.in_tile {
            None => (self.op.epilogue.map_dims(&dims), dims(&self.op.store)),
            Some(v) => {
                let at = (row - self.row(0)) * self.nr + (column - self.column_at(0));
                let to = if self.op.result == v { at.clone() } else { dims(&self.op.store) };
                (self.reading_tile(v, &at, &dims), to)
            }
        };
        let mut x = ExprEmit::new(&program, &self.op.sources, &self.pointers, lanes, Some(acc));
        if let Some(v) = x.root(e) {
            store(e, self.result, &to, &v, &x);
        }
    }

    /// The epilogue with its loads of `v` at `at` of the tile in scratch.
    fn reading_tile(&self, v: Value, at: &Dim, dims: &dyn Fn(&Dim) -> Dim) -> Program {
        let Some(root) = self.op.epilogue.root else { return Program::new() };
        // The second half of the sources are those with flat offsets.
        let flat = |s: &Source| s.flat && s.value == v;
        let tile = self.op.sources.iter().position(flat).and_then(|k| u32::try_from(k).ok());
        let mut q = Program::new();
        let root = q.import(&self.op.epilogue, root, dims, &mut |q, e| match (e, tile) {
            (Expr::Load { operand, dtype, .. }, Some(tile)) if self.op.sources.get(*operand as usize).is_some_and(|s| s.value == v) => {
                Some(q.push(Expr::Load { operand: tile, dtype: *dtype, index: vec![Index::Dim(at.clone())] }))
            }
            _ => None,
        });
        q.returning(root)
    }
}

/// A load of f32 or of what is widened to it.
pub(super) fn load_f32(e: &mut Emit, from: Value, at: Value, ty: LoopType) -> Value {
    let stored = ty.with_dtype(e.ty(from).dtype());
    let v = e.load(from, at, stored);
    if stored == ty { v } else { e.op(Op::Cast {}, &[v], ty) }
}

/// Is the tensor large enough to be read up to the next multiple of `tile` along the one axis of `axes`?
fn padded(at: &Dim, axes: &Axes, n: &Dim, tile: i64, all: &Ranges, size: Option<Dim>) -> bool {
    let ([(s, _)], Some(size)) = (axes.as_slice(), size) else { return false };
    let mut wide = all.clone();
    wide.set_axis(s.clone(), &n.align_up(tile));
    wide.within(at, &size)
}
