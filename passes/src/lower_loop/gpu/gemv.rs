//! The `gemv` template: a contraction with few rows. A workgroup computes some columns of one row, several invocations share a column's
//! depth, and their parts meet in shared memory. The weights are read once, neighbours by neighbours.

use super::super::Region;
use super::super::emit::Emit;
use super::{Product, define_axes, grid_sym, guarded, local, name, shared, width, workgroups};
use crate::schedule::contraction::{extent, flat_groups};
use odc_ir::core::{Binary, DType, Dim, Range, Scalar, Sym};
use odc_ir::loops::{LoopKind, LoopType, Op};

const F32: LoopType = LoopType::Scalar(DType::F32);

pub(super) fn lower(e: &mut Emit, region: &Region<'_>) -> Option<Dim> {
    let p = Product::new(e, region)?;
    let w = width(region)?;
    // block: columns of a workgroup, invocations that share one; access says which of the two neighbours are along.
    let [bn, split] = <[i64; 2]>::try_from(region.schedule.block.clone()).ok()?;
    if bn * split != w || split.count_ones() != 1 {
        return None;
    }
    let deep = region.schedule.vector > 1;
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
        let mut tests = vec![];
        if columns.as_const().is_none_or(|n| n % bn != 0) {
            tests.push((name(e, "$x_any", &at, &Dim::from(i64::from(i32::MAX))), columns.clone()));
        }
        let column = name(e, "$x", &at, &columns);
        let row = Dim::sym("$mb");
        let zero = e.constant(Scalar::Float(0.0), F32);
        let (start, end) = (e.index(0), e.dim(&depth));
        let base = Sym::new("$kb");
        let range = Range { lo: Dim::ZERO, hi: Some(&depth - 1) };
        let acc = e.for_loop(LoopKind::Serial, &base, (start, end, split), range, &[zero], &mut |e, acc| {
            let at = Dim::from(&base) + &ts;
            let mut below = tests.clone();
            if depth.as_const().is_none_or(|n| n % split != 0) {
                below.push((name(e, "$k_any", &at, &Dim::from(i64::from(i32::MAX))), depth.clone()));
            }
            let k = name(e, "$k", &at, &depth);
            let ranges = e.ranges.clone();
            let place = |d: &Dim| flat_groups(d, &[(&p.c.m, row.clone()), (&p.c.n, column.clone()), (&p.c.k, k.clone())], &ranges);
            let x = p.factor(e, &p.c.lhs, &place, &below);
            let y = p.factor(e, &p.c.rhs, &place, &below);
            vec![e.op(Op::Fma {}, &[x, y, acc[0]], F32)]
        })[0];
        // Part s of column x at s * bn + x.
        let mine = e.dim(&(&ts * bn + &tx));
        e.store(sums, mine, acc);
        let mut half = split / 2;
        while half > 0 {
            guarded(e, &[(ts.clone(), Dim::from(half))], &mut |e| {
                let other = e.dim(&((&ts + half) * bn + &tx));
                let (a, b) = (e.load(sums, mine, F32), e.load(sums, other, F32));
                let v = e.binary(Binary::Add, a, b);
                e.store(sums, mine, v);
            });
            half /= 2;
        }
        let mut last = vec![(ts.clone(), Dim::ONE)];
        last.extend(tests.clone());
        guarded(e, &last, &mut |e| {
            let total = e.load(sums, mine, F32);
            p.finish(e, &row, &column, total);
        });
    });
    Some(grid)
}
