//! The `gemv` template: a contraction with few rows. A workgroup computes some columns of one row, several invocations share a column's
//! depth, and their parts meet in shared memory. The weights are read once, neighbours by neighbours: four at once where the schedule says
//! so, along the depth or along the columns, as they lie.

use super::super::Region;
use super::super::emit::Emit;
use super::super::expr::combined;
use super::super::lanes::GROUP;
use super::{F32X4, Product, below, define_axes, grid_sym, guarded, halve, local, name, shared, width, workgroups};
use crate::schedule::contraction::{extent, flat_groups};
use odc_ir::core::{Binary, DType, Dim, Range, Scalar, Sym};
use odc_ir::loops::{LoopKind, LoopType, Op};

const F32: LoopType = LoopType::Scalar(DType::F32);

pub(super) fn lower(e: &mut Emit, region: &Region<'_>) -> Option<Dim> {
    let p = Product::new(e, region)?;
    let w = width(region)?;
    // Columns of a workgroup, and invocations that share one.
    let [bn, split] = <[i64; 2]>::try_from(region.schedule.block.clone()).ok()?;
    let deep = p.c.rhs.runs_deep(&p.c.k, &p.c.n, &e.ranges);
    // What an invocation takes at once: neighbours along the depth, or columns.
    let group = i64::from(region.schedule.vector);
    let (terms, across) = if deep { (group, 1) } else { (1, group) };
    let threads = bn / across;
    if threads * split != w || split.count_ones() != 1 || bn % across != 0 || !fits(e, &p, deep, group) {
        return None;
    }
    let (rows, columns, depth) = (extent(&p.c.m), extent(&p.c.n), extent(&p.c.k));
    let mut grid_axes = p.c.batch.clone();
    grid_axes.push((Sym::new("$mb"), rows.clone()));
    grid_axes.push((Sym::new("$nb"), columns.ceildiv(&Dim::from(bn))));
    let grid = extent(&grid_axes);
    let sums = shared(e, DType::F32, w * across)?;
    let axes = grid_axes.clone();
    workgroups(e, &grid, w, &mut |e| define_axes(e, &axes, &Dim::from(grid_sym())), &mut |e| {
        let (tx, ts) = if deep {
            (local().floordiv(&Dim::from(split)), local().modulo(&Dim::from(split)))
        } else {
            (local().modulo(&Dim::from(threads)), local().floordiv(&Dim::from(threads)))
        };
        let tx = name(e, "$tx", &tx, &Dim::from(threads));
        let ts = name(e, "$ts", &ts, &Dim::from(split));
        let at = Dim::sym("$nb") * bn + &tx * across;
        let inside = below(e, "$x_any", &at, &columns, bn);
        let column = name(e, "$x", &at, &columns);
        let row = Dim::sym("$mb");
        let sum = if group > 1 { F32X4 } else { F32 };
        let zero = e.constant(Scalar::Float(0.0), sum);
        let (start, end) = (e.index(0), e.dim(&depth));
        let base = Sym::new("$kb");
        let range = Range { lo: Dim::ZERO, hi: Some(&depth - 1) };
        let step = split * terms;
        let acc = e.for_loop(LoopKind::Serial, &base, (start, end, step), range, &[zero], &mut |e, acc| {
            let at = Dim::from(&base) + &ts * terms;
            let tests: Vec<_> = inside.clone().into_iter().chain(below(e, "$k_any", &at, &depth, step)).collect();
            let k = name(e, "$k", &at, &depth);
            let ranges = e.ranges.clone();
            let at = |d: &Dim| flat_groups(d, &[(&p.c.m, row.clone()), (&p.c.n, column.clone()), (&p.c.k, k.clone())], &ranges);
            let x = if terms > 1 { p.group(e, &p.c.lhs, &at, &tests) } else { p.factor(e, &p.c.lhs, &at, &tests) };
            let x = if across > 1 { e.op(Op::Splat {}, &[x], sum) } else { x };
            let y = if group > 1 { p.group(e, &p.c.rhs, &at, &tests) } else { p.factor(e, &p.c.rhs, &at, &tests) };
            vec![e.op(Op::Fma {}, &[x, y, acc[0]], sum)]
        })[0];
        let acc = if terms > 1 { combined(e, acc, Binary::Add) } else { acc };
        let place = |part: &Dim| (part * threads + &tx) * across;
        let mine = e.dim(&place(&ts));
        e.store(sums, mine, acc);
        let ty = e.ty(acc);
        halve(e, sums, ty, &ts, split, &place, Binary::Add);
        let last: Vec<_> = [(ts.clone(), Dim::ONE)].into_iter().chain(inside.clone()).collect();
        guarded(e, &last, &mut |e| {
            let total = e.load(sums, mine, ty);
            p.finish(e, &row, &column, total);
        });
    });
    Some(grid)
}

/// Can the operands be read in groups, if the schedule says so?
fn fits(e: &Emit, p: &Product<'_>, deep: bool, group: i64) -> bool {
    let (c, ranges) = (&p.c, &e.ranges);
    let both = || c.rhs.grouped(&c.k, &c.n, ranges) && (!deep || c.lhs.runs_deep(&c.k, &c.m, ranges) && c.lhs.grouped(&c.k, &c.m, ranges));
    group == 1 || group == GROUP && both()
}
