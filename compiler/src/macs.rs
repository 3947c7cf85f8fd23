//! Multiply-adds that a model asks for, whatever a compiler makes of them: matrix products, convolutions and einsums. A loop counts as often as
//! it runs at most, or once if only data ends it; of a branch the larger way counts.

use odc_ir::core::{Callee, Dim, Sym};
use odc_ir::graph::{Func, Module, Op, Operation};
use std::collections::BTreeMap;

/// At given input shapes; `None` if they do not decide it.
pub fn count(m: &Module, inputs: &[(String, Vec<usize>)]) -> Option<u64> {
    let sizes = sizes(m, inputs);
    let number = |d: Dim| d.eval(&|s| sizes.get(s).copied()).ok().map(Dim::from);
    u64::try_from(sum(m, &number)?.as_const()?).ok()
}

/// As a formula of the dims.
pub fn formula(m: &Module) -> Dim {
    sum(m, &Some).unwrap_or(Dim::ZERO)
}

/// Of the first function, with the bodies that it calls; each size as `value` has it.
fn sum(m: &Module, value: &dyn Fn(Dim) -> Option<Dim>) -> Option<Dim> {
    let mut bodies: BTreeMap<&str, Dim> = BTreeMap::new();
    // Callers stand before what they call.
    for f in m.funcs.iter().rev() {
        let body = |c: &Callee| bodies.get(c.0.as_str()).cloned().unwrap_or(Dim::ZERO);
        let mut all = Dim::ZERO;
        for op in &f.body.ops {
            all = all
                + match &op.op {
                    Op::If { then, otherwise } => body(then).max_with(&body(otherwise)),
                    Op::Loop { body: b, trips, .. } if trips.is(i64::MAX) => body(b),
                    Op::Loop { body: b, trips, .. } => body(b) * value(trips.clone())?,
                    _ => value(of(op, f))?,
                };
        }
        bodies.insert(&f.name, all);
    }
    bodies.remove(m.main()?.name.as_str())
}

/// The symbols that inputs of these shapes say.
pub fn sizes(m: &Module, inputs: &[(String, Vec<usize>)]) -> BTreeMap<Sym, i64> {
    let Some(f) = m.main() else { return BTreeMap::new() };
    let size = |s: &Sym| {
        let origin = m.symbols.get(s)?.origin.as_ref()?;
        let (_, shape) = inputs.iter().find(|(n, _)| *n == origin.input)?;
        let param = f.param_names.iter().position(|n| *n == origin.input)?;
        let dim = f.ty(*f.body.args.get(param)?).shape.get(origin.axis)?;
        // The axis may be `factor * symbol + plus`.
        let (factor, plus) = dim.linear_in(s)?;
        i64::try_from(*shape.get(origin.axis)?).ok()?.checked_sub(plus.as_const()?)?.checked_div(factor.as_const()?)
    };
    m.symbols.keys().filter_map(|s| Some((s.clone(), size(s)?))).collect()
}

fn of(op: &Operation, f: &Func) -> Dim {
    let shape = |k: usize| op.operands.get(k).map_or(&[][..], |v| &f.ty(*v).shape);
    let result = op.result().map_or(Dim::ZERO, |v| f.ty(v).elements());
    match &op.op {
        Op::MatMul {} => shape(0).last().map_or(Dim::ZERO, |k| result * k),
        // w[o, c/group, kernel…]
        Op::Conv { .. } => result * Dim::product(shape(1).iter().skip(1)),
        // x[n, c, spatial…] times w[c, o/group, kernel…]
        Op::ConvTranspose { .. } => Dim::product(shape(0)) * Dim::product(shape(1).iter().skip(1)),
        Op::Einsum { equation } if op.operands.len() > 1 => {
            let mut letters = BTreeMap::new();
            let terms = equation.split("->").next().unwrap_or_default();
            for (k, term) in terms.split(',').enumerate() {
                for (letter, d) in term.trim().chars().zip(shape(k)) {
                    letters.entry(letter).or_insert(d);
                }
            }
            Dim::product(letters.into_values())
        }
        _ => Dim::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odc_ir::core::{no_blobs, parse_module};

    #[test]
    fn products_and_convolutions() {
        let text = "graph module \"m\" {
          dim n in 1.. from \"x\" 0
          func @main(%0 \"x\": f32[2*n, 8], %1 \"w\": f32[8, 5], %2 \"y\": f32[1, 4, 6, 6], %3 \"k\": f32[16, 2, 3, 3]) {
            %4 = matmul %0, %1 : f32[2*n, 5]
            %5 = conv {strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1], group = 2} %2, %3 : f32[1, 16, 6, 6]
            yield %4 \"a\", %5 \"b\"
          }
        }";
        let m = parse_module(text, &no_blobs).unwrap();
        let macs = count(&m, &[("x".into(), vec![6, 8])]);
        assert_eq!(macs, Some(6 * 8 * 5 + 16 * 36 * 2 * 9));
        assert_eq!(count(&m, &[]), None);
    }

    #[test]
    fn bodies_count_as_often_as_they_run() {
        let text = "graph module \"m\" {
          dim n in 1.. from \"x\" 0
          func @main(%0 \"x\": f32[n, 4], %1 \"h\": f32[4, 4]) {
            %2 = loop {body = @step, trips = n, form = carry 1 scan 0} %1 : f32[4, 4]
            yield %2 \"y\"
          }
          func @step(%0 \"i\": i64[], %1 \"h\": f32[4, 4]) {
            %2 = matmul %1, %1 : f32[4, 4]
            yield %2 \"y0\"
          }
        }";
        let m = parse_module(text, &no_blobs).unwrap();
        assert_eq!(formula(&m), Dim::sym("n") * 64);
        assert_eq!(count(&m, &[("x".into(), vec![10, 4])]), Some(640));
    }
}
