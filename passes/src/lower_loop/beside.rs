//! The `beside` template: maps that share nothing but the grid, of which each has a range of its own.
//!
//! ```text
//! for grid g
//!   for i in g clipped to the first map's items: one item of it
//!   for i in g clipped to the second map's items: one item of it
//! ```

use super::emit::Emit;
use super::nest::Nest;
use super::{Region, flat, grid_sym};
use odc_ir::core::{Binary, Dim, Range, Sym};
use odc_ir::loops::LoopKind;

pub(super) fn lower(e: &mut Emit, region: &Region<'_>) -> Option<Dim> {
    let cuts = region.schedule.block.chunks_exact(2);
    if cuts.len() != region.block.ops.len() {
        return None;
    }
    let mut nests = vec![];
    for (op, cut) in region.block.ops.iter().zip(cuts) {
        let [depth, block] = <[i64; 2]>::try_from(cut).ok()?;
        let mut f = flat::flatten(op, &|v| region.types(v), &e.ranges.clone(), &[], 0)?;
        f.collapse(0);
        e.hide(|o| o.flat(&mut f));
        nests.push(Nest::new(vec![region.stage(f)?], usize::try_from(depth).ok()?, block)?);
    }
    let grid = nests.iter().fold(Dim::ZERO, |sum, n| sum + n.items());
    let (zero, end) = (e.index(0), e.dim(&grid));
    let g = grid_sym();
    let range = Range { lo: Dim::ZERO, hi: Some(&grid - 1) };
    let vector = region.schedule.vector;
    e.for_loop(LoopKind::Grid, &g, (zero, end, 1), range, &[], &mut |e, _| {
        let mut first = Dim::ZERO;
        for nest in &nests {
            let items = nest.items();
            let (at, zero, one, n) = (e.dim(&(Dim::from(&g) - &first)), e.index(0), e.index(1), e.dim(&items));
            let next = e.binary(Binary::Add, at, one);
            let (lo, hi) = (e.binary(Binary::Max, at, zero), e.binary(Binary::Min, next, n));
            let range = Range { lo: Dim::ZERO, hi: Some(&items - 1) };
            let i = Sym::new("$item");
            e.for_loop(LoopKind::Serial, &i, (lo, hi, 1), range, &[], &mut |e, _| {
                nest.item(e, &Dim::from(&i), vector);
                vec![]
            });
            first = first + items;
        }
        vec![]
    });
    Some(grid)
}
