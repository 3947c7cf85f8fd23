//! Copying by runs: columns that lie in one row of an image (or of a matrix) are neighbours, and what is outside of the image are a
//! few of them at a run's ends. So a guard is asked once a run and not for every element.
//!
//! ```text
//! for channel
//!   for row of columns in the tile
//!     for place in the window
//!       [begin, from) zeros             left of the image
//!       [from, to) copied               vectors, the last of which may overlap the one before
//!       [to, end) zeros                 right of it; all of them where the row is above or below
//! ```

use super::super::define_axes;
use super::super::emit::Emit;
use super::super::flat::flat_index;
use super::super::gemm::{Gemm, load_f32};
use super::{F32, condition, depth_loops};
use odc_ir::core::{Binary, DType, Dim, Range, Scalar, Sym, Value};
use odc_ir::loops::{LoopKind, LoopType, Op};
use odc_ir::tensor::Axes;

/// Lanes of the narrowest vectors.
const NARROW: i64 = 4;

/// How the right side is read along its columns.
pub(super) struct Runs {
    /// All axes of the columns but the last, and that.
    outer: Axes,
    axis: (Sym, Dim),
    /// Elements from one column of a run to the next.
    step: i64,
    /// Where a run begins, its axis at 0.
    offset: Dim,
    /// `step * column + start` must be in `0..extent`.
    along: Vec<(i64, Dim, Dim)>,
    /// The same for all columns of a run.
    whole: Vec<(Dim, Dim)>,
    lanes: i64,
}

impl Runs {
    /// `None` where columns do not move by one step along their last axis.
    pub fn new(g: &Gemm) -> Option<Runs> {
        let (axis, outer) = g.c.n.split_last()?;
        let split = |d: &Dim| {
            let (step, start) = d.linear_in(&axis.0)?;
            Some((step.as_const().filter(|s| *s >= 0)?, start))
        };
        let (step, offset) = split(&g.c.rhs.offset)?;
        let (mut along, mut whole) = (vec![], vec![]);
        for (d, n) in &g.c.rhs.inside {
            match split(d)? {
                (0, _) if !n.uses(&axis.0) => whole.push((d.clone(), n.clone())),
                (step, start) if step > 0 && !n.uses(&axis.0) => along.push((step, start, n.clone())),
                _ => return None,
            }
        }
        (step > 0).then(|| Runs { outer: outer.to_vec(), axis: axis.clone(), step, offset, along, whole, lanes: g.lanes })
    }

    /// Fills the panel's tile number `tile`, whose first element is at `to` (at depth 0).
    pub fn fill(&self, e: &mut Emit, g: &Gemm, tile: &Sym, to: &Dim, panel: Value, source: Value) {
        let n = &self.axis.1;
        let begin = Dim::from(tile) * g.nr;
        let (first, past) = (Sym::new("$c0"), Sym::new("$c1"));
        let v = e.dim(&begin);
        e.define(first.clone(), v, Range { lo: Dim::ZERO, hi: Some(&g.columns - 1) });
        let v = e.dim(&(begin + g.nr).min_with(&g.columns));
        e.define(past.clone(), v, Range { lo: Dim::ONE, hi: Some(g.columns.clone()) });
        let (first, past) = (Dim::from(&first), Dim::from(&past));
        let rows = (e.dim(&first.floordiv(n)), e.dim(&((&past - 1).floordiv(n) + 1)));
        let all_rows = Dim::product(self.outer.iter().map(|(_, n)| n));
        let exact = g.columns.as_const().is_some_and(|n| n % g.nr == 0);
        let to = to + flat_index(&g.c.k) * g.nr;
        // What is the same for all places in a window is computed once a row.
        let (channels, window) = g.c.k.split_at(g.c.k.len().min(1));
        depth_loops(e, channels, &mut |e| {
            let row = Sym::new("$run");
            let range = Range { lo: Dim::ZERO, hi: Some(&all_rows - 1) };
            e.for_loop(LoopKind::Serial, &row, (rows.0, rows.1, 1), range, &[], &mut |e, _| {
                define_axes(e, &self.outer, &Dim::from(&row));
                // Of this row's columns those in the tile.
                let skipped = Dim::from(&row) * n;
                let (zero, whole) = (e.index(0), e.dim(n));
                let (from, end) = (e.dim(&(&first - &skipped)), e.dim(&(&past - &skipped)));
                let (from, end) = (e.binary(Binary::Max, from, zero), e.binary(Binary::Min, end, whole));
                depth_loops(e, window, &mut |e| {
                    let target = e.dim(&(&to + &skipped - &first));
                    self.run(e, (from, end), (panel, target), source);
                });
                vec![]
            });
        });
        if exact {
            return;
        }
        // What lies past the last column is never stored, but computed with.
        let (from, end) = (e.dim(&(&past - &first)), e.index(g.nr));
        depth_loops(e, &g.c.k, &mut |e| {
            let target = e.dim(&to);
            zeros(e, (from, end), (panel, target));
        });
    }

    fn run(&self, e: &mut Emit, (begin, end): (Value, Value), (panel, target): (Value, Value), source: Value) {
        let zero = e.index(0);
        let (mut from, mut to) = (begin, end);
        for (step, start, extent) in &self.along {
            let part = |e: &mut Emit, d: &Dim| {
                let d = e.dim(d);
                let d = e.binary(Binary::Max, d, zero);
                if *step == 1 {
                    return d;
                }
                let (rest, by) = (e.index(step - 1), e.index(*step));
                let d = e.binary(Binary::Add, d, rest);
                e.binary(Binary::Div, d, by)
            };
            let (lo, hi) = (part(e, &(Dim::ZERO - start)), part(e, &(extent - start)));
            from = e.binary(Binary::Max, from, lo);
            to = e.binary(Binary::Min, to, hi);
        }
        if !self.along.is_empty() {
            from = e.binary(Binary::Min, from, end);
        }
        if let Some(inside) = condition(e, &self.whole) {
            to = e.op(Op::Select {}, &[inside, to, from], LoopType::Index);
        }
        let guarded = !self.along.is_empty() || !self.whole.is_empty();
        if guarded {
            to = e.binary(Binary::Max, to, from);
            zeros(e, (begin, from), (panel, target));
        }
        let at = e.dim(&self.offset);
        self.copy(e, (from, to), (panel, target), (source, at));
        if guarded {
            zeros(e, (to, end), (panel, target));
        }
    }

    /// Columns `[from, to)`, in vectors where they are neighbours.
    fn copy(&self, e: &mut Emit, (from, to): (Value, Value), (panel, target): (Value, Value), (source, at): (Value, Value)) {
        let lanes = if self.step == 1 { self.lanes } else { 1 };
        let one = |e: &mut Emit, column: Value, ty: LoopType| {
            let step = e.index(self.step);
            let moved = if self.step == 1 { column } else { e.binary(Binary::Mul, column, step) };
            let (at, to) = (e.binary(Binary::Add, at, moved), e.binary(Binary::Add, target, column));
            let x = load_f32(e, source, at, ty);
            e.store(panel, to, x);
        };
        let column = Sym::new("$copied");
        let each = |e: &mut Emit, from: Value, to: Value, n: i64| {
            let ty = if n == 1 { F32 } else { LoopType::Vector(DType::F32, n as u32) };
            let range = Range { lo: Dim::ZERO, hi: Some(&self.axis.1 - 1) };
            e.for_loop(LoopKind::Serial, &column, (from, to, n), range, &[], &mut |e, _| {
                let v = e.dim(&Dim::from(&column));
                one(e, v, ty);
                vec![]
            });
        };
        self.widths(e, (from, to), lanes, &each, &one);
    }

    /// The widest vectors of which one fits, the last one up to the end; else narrower ones; else one by one.
    fn widths(
        &self,
        e: &mut Emit,
        (from, to): (Value, Value),
        lanes: i64,
        each: &dyn Fn(&mut Emit, Value, Value, i64),
        one: &dyn Fn(&mut Emit, Value, LoopType),
    ) {
        if lanes < NARROW {
            return each(e, from, to, 1);
        }
        let n = e.index(lanes);
        let last = e.binary(Binary::Sub, to, n);
        let fits = e.binary(Binary::Ge, last, from);
        e.if_else(
            fits,
            &[],
            &mut |e| {
                each(e, from, last, lanes);
                one(e, last, LoopType::Vector(DType::F32, lanes as u32));
                vec![]
            },
            &mut |e| {
                self.widths(e, (from, to), if lanes > NARROW { NARROW } else { 1 }, each, one);
                vec![]
            },
        );
    }
}

fn zeros(e: &mut Emit, (from, to): (Value, Value), (panel, target): (Value, Value)) {
    let column = Sym::new("$zero");
    e.for_loop(LoopKind::Serial, &column, (from, to, 1), Range { lo: Dim::ZERO, hi: None }, &[], &mut |e, _| {
        let v = e.dim(&Dim::from(&column));
        let at = e.binary(Binary::Add, target, v);
        let none = e.constant(Scalar::Float(0.0), F32);
        e.store(panel, at, none);
        vec![]
    });
}
