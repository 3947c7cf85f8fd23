//! The `attention` template: two contractions with stages by rows between them, a block of rows at a time.
//!
//! ```text
//! for grid (batch, rows of an item)
//!   stage the keys and the values into panels, unless their rows lie close together
//!   for block of rows
//!     scratch = products of the rows with all keys      register tiles, epilogue
//!     for row: the stages between                       on scratch
//!     result = products of scratch with all values      register tiles, epilogue
//! ```

use super::emit::Emit;
use super::flat::FlatOp;
use super::gemm::Gemm;
use super::{Region, define_axes, grid_sym};
use crate::schedule::attention::{Attention, attention, first_row};
use crate::schedule::contraction::extent;
use odc_ir::core::{Binary, Dim, Range, Ranges, Sym, Value};
use odc_ir::loops::LoopKind;
use odc_ir::tensor::{Access, Axes, Expr, Op, Schedule};

pub(super) fn lower(e: &mut Emit, region: &mut Region<'_>) -> Option<Dim> {
    let schedule: &Schedule = region.schedule;
    let (ops, yields, func) = (&region.block.ops, &region.block.yields, region.func);
    let types = |v: Value| func.ty(v).clone();
    let model = e.ranges.clone();
    let a = attention(ops, &|v| yields.contains(&v), &types, &model)?;
    let ([mr, nr, mr2, nr2], [block, item]) =
        (<[i64; 4]>::try_from(schedule.tile.clone()).ok()?, <[i64; 2]>::try_from(schedule.block.clone()).ok()?);
    let (first, last) = (ops.first()?, ops.last()?);

    let mut flats = vec![];
    for op in ops {
        let mut flat = a.flat(op, &types, &model)?;
        flat.collapse(a.depth);
        flats.push(flat);
    }
    scratch_rows(e, region, &a, &flats, block)?;
    let mut values = a.values.clone();
    values.lhs.offset = a.lhs(last, &types)?;
    let scores = Gemm::new(e, region, first, (a.scores.clone(), a.flat(first, &types, &model)?), [mr, nr])?;
    let values = Gemm::new(e, region, last, (values, a.flat(last, &types, &model)?), [mr2, nr2])?;
    let mut stages = vec![];
    for mut op in flats.into_iter().skip(1).take(ops.len() - 2) {
        e.hide(|o| o.flat(&mut op));
        stages.push(region.stage(op)?);
    }

    let Op::Reduce { axes, .. } = &first.op else { return None };
    let mut grid_axes: Axes = axes.iter().take(a.depth).filter(|(s, _)| *s != a.row.0).cloned().collect();
    let rows = scores.rows.clone();
    e.hide(|o| grid_axes.iter_mut().for_each(|(_, n)| *n = o.hide(n)));
    let chunk = (Sym::new("$mb"), rows.ceildiv(&Dim::from(item)));
    grid_axes.push(chunk.clone());
    let grid = extent(&grid_axes);
    let staged = [1, 3].map(|k| schedule.access.get(k) != Some(&Access::Direct));
    let panels = [(&scores, staged[0]), (&values, staged[1])].map(|(g, staged)| (g, g.memory(e, &g.column_tiles(), staged)));
    let (zero, end) = (e.index(0), e.dim(&grid));
    let counter = grid_sym();
    let range = Range { lo: Dim::ZERO, hi: Some(&grid - 1) };
    e.for_loop(LoopKind::Grid, &counter, (zero, end, 1), range, &[], &mut |e, _| {
        define_axes(e, &grid_axes, &Dim::from(&counter));
        for (g, memory) in &panels {
            let all = (e.index(0), e.dim(&g.column_tiles()));
            g.stage(e, memory, all, &Dim::ZERO);
        }
        let (lo, hi) = part(e, &(Dim::from(&chunk.0) * item), item, &rows);
        let from = first_row();
        let range = Range { lo: Dim::ZERO, hi: Some(&rows - 1) };
        e.for_loop(LoopKind::Serial, &from, (lo, hi, block), range.clone(), &[], &mut |e, _| {
            let (lo, hi) = part(e, &Dim::from(&from), block, &rows);
            let tiles = |e: &mut Emit, g: &Gemm| {
                let size = e.index(g.mr);
                let first = e.binary(Binary::Div, lo, size);
                let rest = e.index(g.mr - 1);
                let last = e.binary(Binary::Add, hi, rest);
                let last = e.binary(Binary::Div, last, size);
                let columns = (e.index(0), e.dim(&g.column_tiles()));
                ((first, last), columns)
            };
            let [(g, memory), (g2, memory2)] = &panels;
            let (rows, columns) = tiles(e, g);
            g.block(e, memory, rows, columns, &Dim::ZERO);
            e.for_loop(LoopKind::Serial, &a.row.0, (lo, hi, 1), range.clone(), &[], &mut |e, _| {
                stages.iter().for_each(|s| s.emit(e, a.depth, None, schedule.vector));
                vec![]
            });
            let (rows, columns) = tiles(e, g2);
            g2.block(e, memory2, rows, columns, &Dim::ZERO);
            vec![]
        });
        vec![]
    });
    Some(grid)
}

/// `[at, min(at + size, n))`.
fn part(e: &mut Emit, at: &Dim, size: i64, n: &Dim) -> (Value, Value) {
    let lo = e.dim(at);
    let size = e.index(size);
    let hi = e.binary(Binary::Add, lo, size);
    let n = e.dim(n);
    (lo, e.binary(Binary::Min, hi, n))
}

/// A block of rows in scratch for each value that travels inside; what a map reads for the last time, element by element as it
/// writes, it overwrites.
fn scratch_rows(e: &mut Emit, region: &mut Region<'_>, a: &Attention, flats: &[FlatOp], block: i64) -> Option<()> {
    for (k, flat) in flats.iter().enumerate().filter(|(_, f)| a.inner.contains(&f.result)) {
        let used_later = |v: Value| flats.iter().skip(k + 1).any(|f| f.sources.iter().any(|s| s.value == v));
        let taken = flat.sources.iter().find(|s| {
            let same = region.types(s.value) == region.types(flat.result);
            same && a.inner.contains(&s.value) && !used_later(s.value) && read_as_stored(flat, s.value, &e.ranges)
        });
        let pointer = match taken {
            Some(s) => region.pointer(s.value)?,
            None => {
                let mut rows = a.row_length(flat.result, &|v| region.types(v)) * a.row.1.min_with(&Dim::from(block));
                e.hide(|o| rows = o.hide(&rows));
                e.scratch(region.types(flat.result).dtype, &rows)
            }
        };
        region.pointers.push((flat.result, pointer));
    }
    Some(())
}

/// Does a map read each element of `v` only where it writes one?
fn read_as_stored(flat: &FlatOp, v: Value, ranges: &Ranges) -> bool {
    let store = ranges.simplify(&flat.store);
    let mut loads = flat.body.exprs.iter().filter_map(|x| match x {
        Expr::Load { operand, index, .. } if flat.sources.get(*operand as usize).is_some_and(|s| s.value == v) => Some(index),
        _ => None,
    });
    flat.kind.is_none() && loads.all(|i| super::flat::dims_of(i).is_some_and(|d| d.first().is_some_and(|d| ranges.simplify(d) == store)))
}

#[cfg(test)]
mod tests;
