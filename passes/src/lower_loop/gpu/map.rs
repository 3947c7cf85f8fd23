//! The `loops` template on a GPU: one invocation an element of the result, or a group of neighbours, as the schedule says; a reduction is a
//! loop of its own invocation.

use super::super::Region;
use super::super::emit::Emit;
use super::super::flat::flatten;
use super::super::lanes::Lanes;
use super::super::loops::Stage;
use super::{define_axes, grid_sym, guarded, local, name, width, workgroups};
use crate::schedule::contraction::extent;
use odc_ir::core::Dim;

pub(super) fn lower(e: &mut Emit, region: &Region<'_>) -> Option<Dim> {
    let [op] = region.block.ops.as_slice() else { return None };
    let mut op = flatten(op, &|v| region.types(v), &e.ranges.clone(), &[], 0)?;
    op.collapse(0);
    e.hide(|o| o.flat(&mut op));
    let (pointers, result) = (region.source_pointers(&op)?, region.pointer(op.result)?);
    let stage = Stage { op, pointers, result, across: 1, groups: false };
    let w = width(region)?;
    let each = i64::from(region.schedule.vector);
    let lanes = Lanes::along(&stage.op.axes).filter(|l| each > 1 && i64::from(l.count) == each);
    if each > 1 && lanes.is_none() {
        return None;
    }
    let total = extent(&stage.op.axes);
    let grid = total.ceildiv(&Dim::from(w * each));
    workgroups(e, &grid, w, &mut |_| {}, &mut |e| {
        let at = (Dim::from(grid_sym()) * w + local()) * each;
        let whole = total.as_const().is_some_and(|n| n % (w * each) == 0);
        let tests = [(at.clone(), total.clone())];
        guarded(e, if whole { &[] } else { &tests }, &mut |e| {
            let flat = name(e, "$flat", &at, &total);
            define_axes(e, &stage.op.axes, &flat);
            stage.element(e, lanes.as_ref());
        });
    });
    Some(grid)
}
