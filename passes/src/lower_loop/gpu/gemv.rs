//! The `gemv` template: a contraction with few rows. A workgroup computes some columns of one row, several invocations share a column's
//! depth, and their parts meet in shared memory. The weights are read once, neighbours by neighbours.

use super::super::Region;
use super::super::emit::Emit;
use super::{Product, below, define_axes, grid_sym, guarded, halve, local, name, shared, width, workgroups};
use crate::schedule::contraction::{extent, flat_groups};
use odc_ir::core::{Binary, DType, Dim, Range, Scalar, Sym};
use odc_ir::loops::{LoopKind, LoopType, Op};

const F32: LoopType = LoopType::Scalar(DType::F32);

pub(super) fn lower(e: &mut Emit, region: &Region<'_>) -> Option<Dim> {
    let p = Product::new(e, region)?;
    let w = width(region)?;
    // Columns of a workgroup, and invocations that share one.
    let [bn, split] = <[i64; 2]>::try_from(region.schedule.block.clone()).ok()?;
    if bn * split != w || split.count_ones() != 1 {
        return None;
    }
    let deep = p.c.rhs.runs_deep(&p.c.k, &p.c.n, &e.ranges);
    let (rows, columns, depth) = (extent(&p.c.m), extent(&p.c.n), extent(&p.c.k));
    let mut grid_axes = p.c.batch.clone();
    grid_axes.push((Sym::new("$mb"), rows.clone()));
    grid_axes.push((Sym::new("$nb"), columns.ceildiv(&Dim::from(bn))));
    let grid = extent(&grid_axes);
    let sums = shared(e, DType::F32, w)?;
    let axes = grid_axes.clone();
    workgroups(e, &grid, w, &mut |e| define_axes(e, &axes, &Dim::from(grid_sym())), &mut |e| {
        let (tx, ts) = if deep {
            (local().floordiv(&Dim::from(split)), local().modulo(&Dim::from(split)))
        } else {
            (local().modulo(&Dim::from(bn)), local().floordiv(&Dim::from(bn)))
        };
        let tx = name(e, "$tx", &tx, &Dim::from(bn));
        let ts = name(e, "$ts", &ts, &Dim::from(split));
        let at = Dim::sym("$nb") * bn + &tx;
        let inside = below(e, "$x_any", &at, &columns, bn);
        let column = name(e, "$x", &at, &columns);
        let row = Dim::sym("$mb");
        let zero = e.constant(Scalar::Float(0.0), F32);
        let (start, end) = (e.index(0), e.dim(&depth));
        let base = Sym::new("$kb");
        let range = Range { lo: Dim::ZERO, hi: Some(&depth - 1) };
        let acc = e.for_loop(LoopKind::Serial, &base, (start, end, split), range, &[zero], &mut |e, acc| {
            let at = Dim::from(&base) + &ts;
            let tests: Vec<_> = inside.clone().into_iter().chain(below(e, "$k_any", &at, &depth, split)).collect();
            let k = name(e, "$k", &at, &depth);
            let ranges = e.ranges.clone();
            let at = |d: &Dim| flat_groups(d, &[(&p.c.m, row.clone()), (&p.c.n, column.clone()), (&p.c.k, k.clone())], &ranges);
            let x = p.factor(e, &p.c.lhs, &at, &tests);
            let y = p.factor(e, &p.c.rhs, &at, &tests);
            vec![e.op(Op::Fma {}, &[x, y, acc[0]], F32)]
        })[0];
        let place = |part: &Dim| part * bn + &tx;
        let mine = e.dim(&place(&ts));
        e.store(sums, mine, acc);
        halve(e, sums, &ts, split, &place, Binary::Add);
        let last: Vec<_> = [(ts.clone(), Dim::ONE)].into_iter().chain(inside.clone()).collect();
        guarded(e, &last, &mut |e| {
            let total = e.load(sums, mine, F32);
            p.finish(e, &row, &column, total);
        });
    });
    Some(grid)
}
