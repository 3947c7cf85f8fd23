//! Arithmetic that a dispatch asks for, as its tensor IR says it: what a reader of a kernel compares its time with. Comparisons,
//! selections and index arithmetic do not count.

use odc_ir::core::{DType, Dim};
use odc_ir::tensor::{Axes, Expr, Op, Operation, Program};

/// Of all ops in a dispatch.
pub fn of(dispatch: &Operation) -> Dim {
    dispatch.regions.iter().flat_map(|r| &r.ops).fold(Dim::ZERO, |sum, op| sum + one(op))
}

fn one(op: &Operation) -> Dim {
    match &op.op {
        Op::Map { axes, body, .. } => points(axes) * steps(body),
        Op::Reduce { axes, raxes, body, epilogue, .. } => points(axes) * (points(raxes) * (steps(body) + 1) + steps(epilogue)),
        Op::Scatter { axes, update, .. } => points(axes) * steps(update),
        Op::Constant { .. } | Op::View {} | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => Dim::ZERO,
    }
}

fn points(axes: &Axes) -> Dim {
    Dim::product(axes.iter().map(|(_, n)| n))
}

fn steps(p: &Program) -> i64 {
    let counts = |(e, d): &(&Expr, &DType)| d.is_float() && matches!(e, Expr::Unary(..) | Expr::Binary(..));
    p.exprs.iter().zip(&p.dtypes).filter(counts).count() as i64
}

/// "12.3 Mflop", or a formula.
pub fn text(flops: &Dim) -> String {
    let Some(n) = flops.as_const() else { return format!("{flops} flop") };
    let n = n as f64;
    match n {
        n if n >= 1e9 => format!("{:.1} Gflop", n / 1e9),
        n if n >= 1e6 => format!("{:.1} Mflop", n / 1e6),
        n if n >= 1e3 => format!("{:.1} kflop", n / 1e3),
        _ => format!("{n} flop"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(text(&Dim::from(999)), "999 flop");
        assert_eq!(text(&Dim::from(2_500_000)), "2.5 Mflop");
        assert_eq!(text(&(Dim::sym("n") * 2)), "2*n flop");
    }
}
