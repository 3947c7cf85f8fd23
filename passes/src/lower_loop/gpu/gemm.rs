//! The `gemm` template on a GPU: a workgroup computes a block of the result from tiles of both operands in shared memory, an invocation
//! a register tile of it. A tile is filled through the operand's index map: im2col, transposes and padding happen there. The schedule's
//! intrinsic multiplies: floats one by one, bytes by fours, or matrices that a subgroup holds together (`coop.rs`).
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
use super::super::expr::{join, lanes};
use super::super::lanes::GROUP;
use super::coop::Matrices;
use super::{F32X4, Product, below, define_axes, grid_sym, guarded, local, name, shared, width, workgroups};
use crate::schedule::contraction::{Side, extent, flat_groups};
use crate::schedule::gpu::matrix_line;
use odc_ir::core::{Binary, DType, Dim, Range, Scalar, Sym, Value};
use odc_ir::loops::{LoopKind, LoopType, Op, Space};
use odc_ir::tensor::{Axes, Intrinsic};

const U32: LoopType = LoopType::Scalar(DType::U32);

pub(super) struct Gemm<'a> {
    pub p: Product<'a>,
    pub rows: Dim,
    pub columns: Dim,
    pub depth: Dim,
    /// Rows and columns of the register tile.
    pub tile: [i64; 2],
    /// Rows, columns and depth of the shared tiles.
    pub block: [i64; 3],
    pub width: i64,
    intrinsic: Intrinsic,
    /// May neighbours be loaded in groups?
    groups: bool,
    /// Are the columns of a register tile neighbours, a vector of sums a row? Else they lie far apart, so that invocations store neighbours.
    wide: bool,
}

/// One operand's tile.
pub(super) struct Tile<'a> {
    side: &'a Side,
    pub array: Value,
    axes: &'a Axes,
    /// First row or column of the block, and how many there are in all.
    pub base: Dim,
    total: &'a Dim,
    block: i64,
    /// Do neighbouring invocations fill it along the depth?
    deep: bool,
    /// Neighbours that an invocation loads at once.
    group: i64,
    pub layout: Layout,
}

/// How a tile lies in shared memory.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    dtype: DType,
    /// Factors in one element, neighbours along the depth.
    pub per: i64,
    /// Elements from one line to the next.
    pub stride: i64,
    /// A line is one row or column with all depths, else one depth with all rows or columns.
    lines: bool,
}

impl Layout {
    fn new(intrinsic: Intrinsic, factors: DType, block: i64, depth: i64, deep: bool) -> Layout {
        match intrinsic {
            // Filled along the depth, neighbours would all write to one memory bank.
            Intrinsic::None => Layout { dtype: DType::F32, per: 1, stride: block + i64::from(deep), lines: false },
            Intrinsic::Dot4 => Layout { dtype: DType::U32, per: 4, stride: depth / 4 + 1, lines: true },
            Intrinsic::Coop(_) => {
                let (dtype, per) = if factors.size() == 1 { (DType::U32, 4) } else { (factors, 1) };
                Layout { dtype, per, stride: matrix_line(depth, per).0, lines: true }
            }
        }
    }
    fn place(&self, along: &Dim, inner: &Dim) -> Dim {
        if self.lines { along * self.stride + inner } else { inner * self.stride + along }
    }
}

impl Tile<'_> {
    /// The factors at rows or columns of the block and a depth.
    fn factors(&self, e: &mut Emit, along: &[Dim], kk: &Sym) -> Vec<Value> {
        let ty = LoopType::Scalar(self.layout.dtype);
        let place = |x: &Dim| self.layout.place(x, &Dim::from(kk));
        along.iter().map(|x| e.dim(&place(x))).collect::<Vec<_>>().into_iter().map(|o| e.load(self.array, o, ty)).collect()
    }
    /// The same at neighbours, as one vector.
    fn vector(&self, e: &mut Emit, along: &[Dim], kk: &Sym) -> Value {
        // Lines of a tile that is filled along the depth start anywhere.
        match along.first().filter(|_| !self.deep) {
            Some(first) => {
                let o = e.dim(&self.layout.place(first, &Dim::from(kk)));
                e.load(self.array, o, F32X4)
            }
            None => {
                let scalars = self.factors(e, along, kk);
                join(e, &scalars)
            }
        }
    }
}

pub(super) fn lower(e: &mut Emit, region: &Region<'_>) -> Option<Dim> {
    let p = Product::new(e, region)?;
    let s = region.schedule;
    let (tile, block) = (<[i64; 2]>::try_from(s.tile.clone()).ok()?, <[i64; 3]>::try_from(s.block.clone()).ok()?);
    let (rows, columns, depth) = (extent(&p.c.m), extent(&p.c.n), extent(&p.c.k));
    let groups = i64::from(s.vector) == GROUP && s.intrinsic == Intrinsic::None;
    let wide = groups && tile[1] == GROUP && p.c.stored_in_groups(&e.ranges);
    let g = Gemm { p, rows, columns, depth, tile, block, width: width(region)?, intrinsic: s.intrinsic, groups, wide };
    let tiles = (block[0] / tile[0]) * (block[1] / tile[1]);
    let (holders, per) = match g.intrinsic {
        Intrinsic::None => (tiles, 1),
        Intrinsic::Dot4 => (tiles, 4),
        Intrinsic::Coop([.., subgroup]) => (tiles * subgroup, if g.p.c.factors()?.size() == 1 { 4 } else { 1 }),
    };
    let even = block[2] % per == 0 && [0, 1].iter().all(|k| (block[*k] * block[2] / per) % g.width == 0);
    if holders == g.width && even { g.emit(e) } else { None }
}

impl Gemm<'_> {
    fn emit(&self, e: &mut Emit) -> Option<Dim> {
        let [bm, bn, bk] = self.block;
        let mut grid_axes = self.p.c.batch.clone();
        grid_axes.push((Sym::new("$mb"), self.rows.ceildiv(&Dim::from(bm))));
        grid_axes.push((Sym::new("$nb"), self.columns.ceildiv(&Dim::from(bn))));
        let grid = extent(&grid_axes);
        let c = &self.p.c;
        let tile = |e: &mut Emit, (side, axes, total): (_, _, _), sym: &str, block: i64| -> Option<Tile<'_>> {
            let side: &Side = side;
            let deep = side.runs_deep(&c.k, axes, &e.ranges);
            let layout = Layout::new(self.intrinsic, side.dtype, block, bk, deep);
            let whole = (block * bk / GROUP) % self.width == 0 && (block % GROUP, bk % GROUP) == (0, 0);
            let group = if self.groups && whole && side.grouped(&c.k, axes, &e.ranges) { GROUP } else { 1 };
            let array = shared(e, layout.dtype, layout.stride * if layout.lines { block } else { bk })?;
            Some(Tile { side, array, axes, base: Dim::sym(sym) * block, total, block, deep, group, layout })
        };
        let lhs = tile(e, (&c.lhs, &c.m, &self.rows), "$mb", bm)?;
        let rhs = tile(e, (&c.rhs, &c.n, &self.columns), "$nb", bn)?;
        let matrices = match self.intrinsic {
            Intrinsic::Coop(shape) => Some(Matrices::new(e, self, shape)?),
            Intrinsic::None | Intrinsic::Dot4 => None,
        };
        let axes = grid_axes.clone();
        workgroups(e, &grid, self.width, &mut |e| define_axes(e, &axes, &Dim::from(grid_sym())), &mut |e| match &matrices {
            Some(m) => m.block(e, self, &lhs, &rhs),
            None => self.block(e, &lhs, &rhs),
        });
        Some(grid)
    }

    /// What one invocation does.
    fn block(&self, e: &mut Emit, lhs: &Tile<'_>, rhs: &Tile<'_>) {
        let ([bm, bn, bk], [tm, tn]) = (self.block, self.tile);
        let threads = bn / tn;
        let column = name(e, "$tx", &local().modulo(&Dim::from(threads)), &Dim::from(threads));
        let row = name(e, "$ty", &local().floordiv(&Dim::from(threads)), &Dim::from(bm / tm));
        let (multiply, zero, acc) = match self.intrinsic {
            Intrinsic::Dot4 => (Op::Dot4 { signed: lhs.side.dtype == DType::I8 }, Scalar::Int(0), LoopType::Scalar(DType::I32)),
            Intrinsic::None | Intrinsic::Coop(_) if self.wide => (Op::Fma {}, Scalar::Float(0.0), F32X4),
            Intrinsic::None | Intrinsic::Coop(_) => (Op::Fma {}, Scalar::Float(0.0), LoopType::Scalar(DType::F32)),
        };
        // Sums of a row of the tile: one of each column, or a vector.
        let (sums, columns): (i64, Vec<Dim>) = match self.wide {
            true => (1, (0..tn).map(|j| &column * tn + j).collect()),
            false => (tn, (0..tn).map(|j| &column + j * threads).collect()),
        };
        let zero = e.constant(zero, acc);
        let inits = vec![zero; (tm * sums) as usize];
        let range = |n: i64| Range { lo: Dim::ZERO, hi: Some(Dim::from(n - 1)) };
        let accs = self.depths(e, lhs, rhs, &inits, &mut |e, accs| {
            let steps = bk / lhs.layout.per;
            let (start, end) = (e.index(0), e.index(steps));
            let kk = Sym::new("$kk");
            e.for_loop(LoopKind::Serial, &kk, (start, end, 1), range(steps), accs, &mut |e, accs| {
                let rows: Vec<Dim> = (0..tm).map(|i| &row * tm + i).collect();
                let mut x = if tm == GROUP && lhs.group > 1 && !lhs.deep {
                    let v = lhs.vector(e, &rows, &kk);
                    lanes(e, v)
                } else {
                    lhs.factors(e, &rows, &kk)
                };
                let y = if self.wide { vec![rhs.vector(e, &columns, &kk)] } else { rhs.factors(e, &columns, &kk) };
                if self.wide {
                    x = x.into_iter().map(|x| e.op(Op::Splat {}, &[x], acc)).collect();
                }
                (0..(tm * sums) as usize)
                    .map(|k| e.op(multiply.clone(), &[x[k / sums as usize], y[k % sums as usize], accs[k]], acc))
                    .collect()
            })
        });
        for (k, acc) in accs.iter().enumerate() {
            let (i, j) = (k as i64 / sums, k % sums as usize);
            self.store(e, &(&lhs.base + &row * tm + i), &(&rhs.base + &columns[j]), &mut |_| *acc);
        }
    }

    /// The loop over the depth: both tiles are filled, then `multiply` carries the sums on.
    pub fn depths(
        &self,
        e: &mut Emit,
        lhs: &Tile<'_>,
        rhs: &Tile<'_>,
        inits: &[Value],
        multiply: &mut dyn FnMut(&mut Emit, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let (start, end) = (e.index(0), e.dim(&self.depth));
        let range = Range { lo: Dim::ZERO, hi: Some(&self.depth - 1) };
        e.for_loop(LoopKind::Serial, &Sym::new("$kb"), (start, end, self.block[2]), range, inits, &mut |e, accs| {
            self.fill(e, lhs);
            self.fill(e, rhs);
            multiply(e, accs)
        })
    }

    /// The epilogue of one element, if it is inside the result.
    pub fn store(&self, e: &mut Emit, row: &Dim, column: &Dim, acc: &mut dyn FnMut(&mut Emit) -> Value) {
        // What is known of the sums may decide it.
        let tests = [(row, &self.rows, self.block[0]), (column, &self.columns, self.block[1])];
        let uneven = |n: &Dim, step: i64| n.as_const().is_none_or(|n| n % step != 0);
        let tests: Vec<_> = tests.iter().filter(|(_, n, step)| uneven(n, *step)).map(|(d, n, _)| ((*d).clone(), (*n).clone())).collect();
        guarded(e, &tests, &mut |e| {
            let acc = acc(e);
            let row = name(e, "$row", row, &self.rows);
            let column = name(e, "$column", column, &self.columns);
            self.p.finish(e, &row, &column, acc);
        });
    }

    /// One operand's tile for this step of the depth. Neighbouring invocations read along the operand's contiguous direction.
    fn fill(&self, e: &mut Emit, t: &Tile<'_>) {
        let steps = t.block * self.block[2] / t.layout.per / t.group / self.width;
        let (start, end) = (e.index(0), e.index(steps));
        let range = Range { lo: Dim::ZERO, hi: Some(Dim::from(steps - 1)) };
        e.for_loop(LoopKind::Serial, &Sym::new("$step"), (start, end, 1), range, &[], &mut |e, _| {
            self.fill_one(e, t, &((local() + Dim::sym("$step") * self.width) * t.group));
            vec![]
        });
    }

    /// Element `at` of a tile, or the group from there on.
    fn fill_one(&self, e: &mut Emit, t: &Tile<'_>, at: &Dim) {
        let deep = Dim::from(self.block[2] / t.layout.per);
        let (along, inner) = if t.deep {
            (at.floordiv(&deep), at.modulo(&deep))
        } else {
            (at.modulo(&Dim::from(t.block)), at.floordiv(&Dim::from(t.block)))
        };
        let along = name(e, "$along", &along, &Dim::from(t.block));
        let inner = name(e, "$inner", &inner, &deep);
        let v = match t.layout.per {
            1 => self.factor(e, t, &along, &inner, t.layout.dtype),
            _ => self.word(e, t, &along, &inner),
        };
        if !(t.deep && t.group > 1) {
            let to = e.dim(&t.layout.place(&along, &inner));
            return e.store(t.array, to, v);
        }
        // Neighbours along the depth lie in lines of their own.
        for (lane, x) in (0i64..).zip(lanes(e, v)) {
            let to = e.dim(&t.layout.place(&along, &(&inner + lane)));
            e.store(t.array, to, x);
        }
    }

    /// The tests that row or column `along` of the block and depth `k` exist, and the row or column.
    fn inside(&self, e: &mut Emit, t: &Tile<'_>, along: &Dim, k: &Dim) -> (Vec<(Dim, Dim)>, Dim) {
        let x = &t.base + along;
        let x_test = below(e, "$x_any", &x, t.total, t.block);
        let tests = x_test.into_iter().chain(below(e, "$k_any", k, &self.depth, self.block[2])).collect();
        (tests, name(e, "$x", &x, t.total))
    }

    /// The factor at a row or column and a depth of the block, or the group from there on.
    fn factor(&self, e: &mut Emit, t: &Tile<'_>, along: &Dim, inner: &Dim, wanted: DType) -> Value {
        let k = Dim::sym("$kb") + inner;
        let (tests, x) = self.inside(e, t, along, &k);
        let k = name(e, "$k", &k, &self.depth);
        let ranges = e.ranges.clone();
        let place = |d: &Dim| flat_groups(d, &[(t.axes, x.clone()), (&self.p.c.k, k.clone())], &ranges);
        if t.group > 1 { self.p.group(e, t.side, &place, &tests) } else { self.p.factor_as(e, t.side, &place, &tests, wanted) }
    }

    /// Four bytes from four times this depth on: one load where they lie in one word, else put together.
    fn word(&self, e: &mut Emit, t: &Tile<'_>, along: &Dim, inner: &Dim) -> Value {
        if self.in_words(e, t) {
            let (tests, x) = self.inside(e, t, along, &(Dim::sym("$kb") + inner * 4));
            // Blocks start at multiples of four as well.
            let quarter = Dim::sym("$kb").floordiv(&Dim::from(4)) + inner;
            let word = name(e, "$word", &quarter, &self.depth.floordiv(&Dim::from(4)));
            let ranges = e.ranges.clone();
            let at = flat_groups(&t.side.offset, &[(t.axes, x.clone()), (&self.p.c.k, word * 4)], &ranges).floordiv(&Dim::from(4));
            let words = LoopType::Ptr(DType::U32, Space::Global);
            let pointer = e.op(Op::Bitcast {}, &[self.p.pointer(t.side)], words);
            let load = |e: &mut Emit| {
                let at = e.dim(&at);
                e.load(pointer, at, U32)
            };
            let Some(c) = super::condition(e, &tests, &[]) else { return load(e) };
            let zero = e.constant(Scalar::Int(0), U32);
            return e.if_else(c, &[U32], &mut |e| vec![load(e)], &mut |_| vec![zero])[0];
        }
        let mask = e.constant(Scalar::Int(255), U32);
        let mut word: Option<Value> = None;
        for j in 0..4 {
            let byte = self.factor(e, t, along, &(inner * 4 + j), DType::U32);
            let byte = e.binary(Binary::And, byte, mask);
            let by = e.constant(Scalar::Int(8 * j), U32);
            let part = e.binary(Binary::Shl, byte, by);
            word = Some(match word {
                Some(w) => e.binary(Binary::Or, w, part),
                None => part,
            });
        }
        word.unwrap_or(mask)
    }

    /// Do four neighbours along the depth, from a multiple of four on, fill a word of memory?
    fn in_words(&self, e: &Emit, t: &Tile<'_>) -> bool {
        let k = &self.p.c.k;
        let fours = k.last().is_some_and(|(_, n)| n.as_const().is_some_and(|n| n % 4 == 0)) && self.depth.as_const().is_some();
        let (x, w) = (Dim::sym("$x"), Dim::sym("$word"));
        let mut ranges = e.ranges.clone();
        ranges.set_axis(Sym::new("$word"), &self.depth.floordiv(&Dim::from(4)));
        let at = flat_groups(&t.side.offset, &[(t.axes, x), (k, w * 4)], &ranges);
        fours && t.deep && t.side.inside.is_empty() && at.terms().iter().all(|(_, c)| c % 4 == 0)
    }
}
