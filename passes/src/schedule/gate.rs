//! Two products of which the second's epilogue reads the first's result element for element (`silu(x g) * (x u)`), as one kernel: a
//! register tile of the first goes to scratch, the same tile of the second reads it from there. What lies between never has a place
//! in memory as a whole.

use super::contraction::{Contraction, contraction, drop_ones, extent};
use super::gemm;
use crate::cost::Place;
use crate::lower_loop::flat::{dims_of, offset};
use odc_ir::core::{DType, Ranges, TensorType, Value};
use odc_ir::tensor::{Access, Op, Operation, Schedule};

/// Reads `ops` as such a pair. The first's result may not leave them: `leaves` says what does.
pub(crate) fn gate(
    ops: &[Operation],
    leaves: &dyn Fn(Value) -> bool,
    types: &dyn Fn(Value) -> TensorType,
    ranges: &Ranges,
) -> Option<[Contraction; 2]> {
    let [first, second] = ops else { return None };
    let between = first.result()?;
    let (a, b) = (contraction(first, types, ranges)?, contraction(second, types, ranges)?);
    let Op::Reduce { axes, raxes, body, epilogue, .. } = &second.op else { return None };
    let is_between = |o: u32| second.operands.get(o as usize) == Some(&between);
    let ty = types(between);
    let all = ranges.with_axes(axes.iter().chain(raxes).map(|(s, e)| (s, e)));
    // The same element of the same tile.
    let own = |index: &_| dims_of(index).is_some_and(|dims| all.simplify(&drop_ones(&offset(&dims, &ty.shape), &second.op)) == a.store);
    let fits = (&a.batch, &a.m, &a.n) == (&b.batch, &b.m, &b.n)
        && ty.dtype == DType::F32
        && !leaves(between)
        && !body.loads().any(|(o, _)| is_between(o))
        && epilogue.loads().any(|(o, _)| is_between(o))
        && epilogue.loads().filter(|(o, _)| is_between(*o)).all(|(_, index)| own(index));
    fits.then_some([a, b])
}

/// The schedule of what [`gate`] found, given which operands of each are constants: that of either product alone, if it is the same,
/// the weights are packed, and no tile has columns beyond the last.
pub(crate) fn schedule(products: &[Contraction; 2], constant: &dyn Fn(usize, u32) -> bool, place: &Place<'_>) -> Option<Schedule> {
    let [a, b] = products;
    let first = gemm(a, &|operand| constant(0, operand), place)?;
    let second = gemm(b, &|operand| constant(1, operand), place)?;
    let whole = extent(&b.n).as_const().zip(second.tile.last()).is_some_and(|(n, nr)| n % nr == 0);
    let fits = whole && first == second && first.access == [Access::Direct, Access::Packed];
    fits.then(|| Schedule { access: [first.access.clone(), second.access].concat(), ..first })
}
