//! Indices and lengths must point at something. Those of constants are looked at here, those of inputs before a run: the module says what
//! they must be. What is computed on the way is clamped when the model runs.

use super::build::Build;
use super::call::{Call, Got, operand};
use super::value::Val;
use odc_ir::core::{DType, Dim, InRange, Value};
use odc_ir::graph::Op;

impl Call<'_, '_> {
    /// The values of `v` lie in these ranges, both ends included: element k in range k modulo their number.
    pub fn in_range(&mut self, v: &Val, ranges: &[(Dim, Dim)], what: &str) -> Got<()> {
        if let Some(all) = v.const_elements() {
            let ends = ranges.iter().map(|(lo, hi)| Some((lo.as_const()?, hi.as_const()?))).collect::<Option<Vec<_>>>();
            let worst = all.iter().zip(ends.iter().flatten().cycle()).find(|(v, (lo, hi))| *v < lo || *v > hi);
            return match worst {
                Some((v, (lo, hi))) if lo > hi => Err(operand(format!("{what} is {v}, but there is nothing it could say"))),
                Some((v, (lo, hi))) => Err(operand(format!("{what} is {v}, must be {lo} to {hi}"))),
                None => Ok(()),
            };
        }
        let what = format!("{} {}", self.node.op_type(), self.build.loc);
        self.build.in_range(v, ranges, what);
        Ok(())
    }

    /// The values of `v` count along axes of these sizes, from either end: the k-th of each tuple along the k-th.
    pub fn indices_in(&mut self, v: &Val, axes: &[Dim]) -> Got<()> {
        let ranges: Vec<_> = axes.iter().map(|n| (-n, n - 1)).collect();
        self.in_range(v, &ranges, "an index")
    }
}

impl Build {
    /// Notes what the values must be, if they are those of an input and a run computes with them for sure.
    fn in_range(&mut self, v: &Val, ranges: &[(Dim, Dim)], what: String) {
        // A size that data decides is not known before the run.
        let known = |d: &Dim| {
            let mut known = !d.is_poison();
            d.visit_syms(&mut |s| known &= self.dims.symbols.get(s).is_some_and(|f| f.origin.is_some()));
            known
        };
        if ranges.is_empty() || !ranges.iter().all(|(lo, hi)| known(lo) && known(hi)) {
            return;
        }
        let Some((_, value)) = v.value() else { return };
        let Some(input) = self.input_of(value, ranges.len() > 1) else { return };
        let all = &mut self.module.in_range;
        if !all.iter().any(|c| c.input == input && c.ranges == ranges) {
            all.push(InRange { input, ranges: ranges.to_vec(), what });
        }
    }

    /// The input whose values these are: all of them, as they came, perhaps in another order.
    fn input_of(&self, mut v: Value, in_order: bool) -> Option<String> {
        let main = self.main()?;
        loop {
            if let Some(k) = main.body.args.iter().position(|a| *a == v) {
                return main.param_names.get(k).cloned();
            }
            let op = self.defining(v)?;
            let from = *op.operands.first()?;
            let same = match &op.op {
                Op::Reshape {} => true,
                Op::Transpose { .. } => !in_order,
                Op::Cast {} => widens(main.ty(from).dtype, main.ty(v).dtype),
                _ => false,
            };
            if !same {
                return None;
            }
            v = from;
        }
    }
}

/// Does every integer of the one type keep its value in the other?
fn widens(from: DType, to: DType) -> bool {
    let wide = to == DType::I64 && !matches!(from, DType::U64);
    from.is_int() && (wide || to == DType::I32 && from.size() < 4)
}
