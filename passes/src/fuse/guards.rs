//! Where a load counts: in `select(inside(i < n), load 0[i], load 1[i - n])`, a concat, the second is chosen for `n <= i` only, and
//! there it is inside its tensor.

use odc_ir::core::{Dim, Ranges, Sym};
use odc_ir::tensor::{Axes, Expr, Index, Program};

/// Expressions that are looked at, each once for every way to it: concats of many parts have as many.
const MOST: usize = 2000;

/// Are the loads that `reads` says inside `shape` wherever they are chosen? What guards say of `axes` counts.
pub(super) fn used_inside(p: &Program, ranges: &Ranges, axes: &Axes, reads: &dyn Fn(u32) -> bool, shape: &[Dim]) -> bool {
    let Some(root) = p.root else { return true };
    let of_axes = |s: &Sym| axes.iter().any(|(axis, _)| axis == s);
    let mut open = vec![(root, ranges.clone())];
    for _ in 0..MOST {
        let Some((e, ranges)) = open.pop() else { return true };
        match p.get(e) {
            Expr::Load { operand, index, .. } => {
                let inside = |(i, n): (&Index, &Dim)| matches!(i, Index::Dim(d) if ranges.within(d, n));
                if reads(*operand) && !index.iter().zip(shape).all(inside) {
                    return false;
                }
                open.extend(index.iter().filter_map(|i| if let Index::Value(e) = i { Some((*e, ranges.clone())) } else { None }));
            }
            Expr::Select(c, a, b) => {
                let [yes, no] =
                    if let Expr::Inside(pairs) = p.get(*c) { known(pairs, &of_axes, &ranges) } else { [&ranges; 2].map(Ranges::clone) };
                open.extend([(*c, ranges), (*a, yes), (*b, no)]);
            }
            Expr::Unary(_, a) | Expr::Cast(_, a) | Expr::Bitcast(_, a) => open.push((*a, ranges)),
            Expr::Binary(_, a, b) => open.extend([(*a, ranges.clone()), (*b, ranges)]),
            Expr::Const(..) | Expr::Dim(_) | Expr::Acc(_) | Expr::Inside(_) => {}
        }
    }
    false
}

/// What is known of all symbols where the pairs hold (`0 <= d < extent` each), and where they do not.
pub(crate) fn known_of(pairs: &[(Dim, Dim)], ranges: &Ranges) -> [Ranges; 2] {
    known(pairs, &|_| true, ranges)
}

fn known(pairs: &[(Dim, Dim)], may: &dyn Fn(&Sym) -> bool, ranges: &Ranges) -> [Ranges; 2] {
    let (mut yes, mut no) = (ranges.clone(), ranges.clone());
    for (d, extent) in pairs {
        // `0 <= s + rest < extent`, for an axis that is as long as it can be.
        let mut symbols = vec![];
        d.visit_syms(&mut |s| symbols.push(s.clone()));
        let mut found = symbols.into_iter().filter(may).filter_map(|s| {
            let rest = d.linear_in(&s).filter(|(step, _)| step.is(1))?.1;
            Some((s, rest))
        });
        let Some((s, rest)) = found.next() else { continue };
        let Some(now) = ranges.get(&s) else { continue };
        yes.set(s.clone(), now.lo.clone(), Some(extent - &(&rest + &Dim::ONE)));
        if pairs.len() == 1 && ranges.nonneg(d) {
            no.set(s, extent - &rest, now.hi.clone());
        }
    }
    [yes, no]
}
