//! What a canonical graph is made of, as people name it: norms, activations, attention. And what looks like one of them but was not
//! recognised, so that a missing rule shows.

use odc_ir::core::Value;
use odc_ir::graph::{BinaryFn, Func, Module, Op, Operation, ReduceFn, UnaryFn};
use std::collections::BTreeMap;

/// Ops between a product and a softmax, or between a mean and its root, that are still the same pattern.
const MAX_STEPS: usize = 12;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Patterns {
    pub found: BTreeMap<String, usize>,
    pub missed: Vec<Missed>,
}

/// Something that looks like a pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missed {
    pub what: &'static str,
    /// ONNX nodes.
    pub at: String,
    pub why: String,
}

/// Looks through all functions of a canonical module.
pub fn patterns(m: &Module) -> Patterns {
    let mut p = Patterns::default();
    for f in &m.funcs {
        let mut def = BTreeMap::new();
        let mut users: BTreeMap<Value, Vec<&Operation>> = BTreeMap::new();
        for op in &f.body.ops {
            def.extend(op.results.iter().map(|r| (*r, op)));
            op.operands.iter().for_each(|v| users.entry(*v).or_default().push(op));
        }
        let s = Survey { f, def, users };
        f.body.ops.iter().for_each(|op| s.look(op, &mut p));
    }
    p
}

struct Survey<'a> {
    f: &'a Func,
    def: BTreeMap<Value, &'a Operation>,
    users: BTreeMap<Value, Vec<&'a Operation>>,
}

/// What stands between scores and softmax, or between values and what made them.
#[derive(Default)]
struct Seen {
    masked: bool,
    capped: bool,
    /// One head read by several.
    shared: bool,
    /// Appended to what an input brought.
    cached: bool,
}

impl<'a> Survey<'a> {
    fn look(&self, op: &Operation, p: &mut Patterns) {
        let mut count = |name: &str| *p.found.entry(name.into()).or_insert(0) += 1;
        match &op.op {
            Op::LayerNorm { .. } => count("layer norm"),
            Op::RmsNorm { .. } => count("RMS norm"),
            Op::GroupNorm { groups: 0, .. } => count("instance norm"),
            Op::GroupNorm { .. } => count("group norm"),
            Op::BatchNorm { .. } => count("batch norm left"),
            Op::Unary { f: UnaryFn::Gelu } => count("GELU"),
            Op::Unary { f: UnaryFn::GeluTanh } => count("GELU (tanh)"),
            Op::Unary { f: UnaryFn::Silu } => count("SiLU"),
            Op::Unary { f: UnaryFn::HardSwish } => count("hard swish"),
            Op::Unary { f: UnaryFn::Mish } => count("mish"),
            Op::Softmax { log: true, .. } => count("log softmax"),
            Op::Concat { .. } if self.rotates(op) => count("rotary embedding"),
            Op::Slice { steps, .. } if self.swaps(op, steps) => count("rotary embedding"),
            Op::Softmax { .. } => match self.attention(op) {
                Ok(Some(name)) => count(&name),
                Ok(None) => count("softmax"),
                Err(why) => p.missed.push(Missed { what: "attention", at: op.loc.to_string(), why }),
            },
            Op::Unary { f: UnaryFn::Sqrt } => {
                if let Some(why) = self.norm(op) {
                    p.missed.push(Missed { what: "norm", at: op.loc.to_string(), why });
                }
            }
            Op::Binary { f: BinaryFn::Div } if self.is_softmax(op) => {
                let why = "exponentials over their sum: a form that is not known".into();
                p.missed.push(Missed { what: "softmax", at: op.loc.to_string(), why });
            }
            _ => {}
        }
    }

    fn def(&self, v: &Value) -> Option<&'a Operation> {
        self.def.get(v).copied()
    }

    /// Is it a product of two values that are computed?
    fn is_product(&self, op: &Operation) -> bool {
        let computed = |v: &Value| !matches!(self.def(v).map(|o| &o.op), Some(Op::Constant { .. }));
        matches!(op.op, Op::MatMul {} | Op::Einsum { .. }) && op.operands.len() == 2 && op.operands.iter().all(computed)
    }

    /// The product whose scores the softmax `op` takes and the one that takes its probabilities; `None` if neither is there.
    fn attention(&self, op: &Operation) -> Result<Option<String>, String> {
        let mut seen = Seen::default();
        let scores = op.operands.first().and_then(|v| self.scores(v, &mut seen));
        let values = op.result().and_then(|v| self.values(v));
        match (scores, values) {
            (Some(q), Some(_)) => {
                let of_keys = q.operands.get(1).or(q.operands.first());
                of_keys.into_iter().for_each(|k| self.keys(k, &mut seen));
                let mut with = vec![];
                for (is, word) in [(seen.masked, "mask"), (seen.capped, "soft cap"), (seen.shared, "shared heads"), (seen.cached, "cache")]
                {
                    with.extend(is.then_some(word));
                }
                Ok(Some(if with.is_empty() { "attention".into() } else { format!("attention with {}", with.join(", ")) }))
            }
            (Some(q), None) => Err(format!("its scores are those of {}, but no product takes its probabilities", q.loc)),
            (None, Some(o)) => Err(format!("{} takes its probabilities, but its scores are no product", o.loc)),
            (None, None) => Ok(None),
        }
    }

    /// Back from a softmax to a product, over what scales, masks and moves scores.
    fn scores(&self, v: &Value, seen: &mut Seen) -> Option<&'a Operation> {
        let mut v = *v;
        for _ in 0..MAX_STEPS {
            let op = self.def(&v)?;
            if self.is_product(op) {
                return Some(op);
            }
            let elements = |v: &Value| self.f.ty(*v).elements();
            let of = elements(&v);
            // The operand that has as many elements is the scores, the other one a scale or a mask.
            let main = |skip: usize| op.operands.iter().skip(skip).find(|o| elements(o) == of && self.leads_to_product(o));
            v = *match &op.op {
                Op::Binary { f: BinaryFn::Mul | BinaryFn::Div | BinaryFn::Min | BinaryFn::Max } => main(0)?,
                Op::Binary { f: BinaryFn::Add | BinaryFn::Sub } => {
                    seen.masked = true;
                    main(0)?
                }
                Op::Select {} => {
                    seen.masked = true;
                    main(1)?
                }
                Op::Unary { f: UnaryFn::Tanh } => {
                    seen.capped = true;
                    op.operands.first()?
                }
                Op::Cast {} | Op::Reshape {} | Op::Transpose { .. } | Op::Trilu { .. } => op.operands.first()?,
                _ => return None,
            };
        }
        None
    }

    fn leads_to_product(&self, v: &Value) -> bool {
        let mut open = vec![(*v, 0)];
        while let Some((v, steps)) = open.pop() {
            let Some(op) = self.def(&v) else { continue };
            if self.is_product(op) {
                return true;
            }
            let passes =
                matches!(op.op, Op::Binary { .. } | Op::Select {} | Op::Unary { .. } | Op::Cast {} | Op::Reshape {} | Op::Transpose { .. });
            if steps < MAX_STEPS / 2 && passes {
                open.extend(op.operands.iter().map(|o| (*o, steps + 1)));
            }
        }
        false
    }

    /// Forward from a softmax to the product that takes its probabilities.
    fn values(&self, v: Value) -> Option<&'a Operation> {
        let mut v = v;
        for _ in 0..MAX_STEPS {
            let users = self.users.get(&v)?;
            if let Some(op) = users.iter().find(|o| self.is_product(o)) {
                return Some(op);
            }
            // Masked rows become zeros; dropout and types change nothing.
            let passes = |o: &&&Operation| {
                matches!(o.op, Op::Cast {} | Op::Reshape {} | Op::Transpose { .. } | Op::Select {} | Op::Binary { f: BinaryFn::Mul })
            };
            v = users.iter().find(passes)?.result()?;
        }
        None
    }

    /// Back from the keys of a product: are they repeated for several heads, or appended to a cache?
    fn keys(&self, v: &Value, seen: &mut Seen) {
        let mut v = *v;
        for _ in 0..MAX_STEPS {
            let Some(op) = self.def(&v) else { return };
            match &op.op {
                Op::Expand {} | Op::Tile {} => seen.shared = true,
                Op::Concat { .. } => {
                    seen.cached |= op.operands.iter().any(|o| self.f.body.args.contains(o));
                    if seen.cached {
                        return;
                    }
                }
                Op::Reshape {} | Op::Transpose { .. } | Op::Cast {} | Op::Binary { f: BinaryFn::Mul } => {}
                _ => return,
            }
            let Some(first) = op.operands.first() else { return };
            v = *first;
        }
    }

    /// `concat(-x[half..], x[..half])`, or the two halves of a complex rotation.
    fn rotates(&self, op: &Operation) -> bool {
        let [a, b] = op.operands.as_slice() else { return false };
        let slice = |v: &Value| self.def(v).filter(|o| matches!(o.op, Op::Slice { .. })).and_then(|o| o.operands.first().copied());
        let negated = |v: &Value| {
            let neg = self.def(v).filter(|o| matches!(o.op, Op::Unary { f: UnaryFn::Neg }))?;
            slice(neg.operands.first()?)
        };
        let halves = negated(a).is_some() && negated(a) == slice(b);
        let turned = |v: &Value, f: BinaryFn| {
            let product = |v: &Value| matches!(self.def(v).map(|o| &o.op), Some(Op::Binary { f: BinaryFn::Mul }));
            self.def(v).is_some_and(|o| matches!(&o.op, Op::Binary { f: g } if *g == f) && o.operands.iter().all(product))
        };
        halves || (turned(a, BinaryFn::Sub) && turned(b, BinaryFn::Add))
    }

    /// Are two halves swapped, and multiplied with something, as [`rotary`](super::rotary) writes it?
    fn swaps(&self, op: &Operation, steps: &[i64]) -> bool {
        let product = |o: &&Operation| matches!(o.op, Op::Binary { f: BinaryFn::Mul });
        let users = op.result().and_then(|v| self.users.get(&v)).into_iter().flatten();
        steps.iter().rev().nth(1) == Some(&-1) && users.filter(|o| product(o)).count() == 1
    }

    /// The root of a mean of squares that something is divided by.
    fn norm(&self, op: &Operation) -> Option<String> {
        let mut v = *op.operands.first()?;
        for _ in 0..MAX_STEPS / 3 {
            let inner = self.def(&v)?;
            match &inner.op {
                Op::Binary { f: BinaryFn::Add | BinaryFn::Max | BinaryFn::Mul | BinaryFn::Div } | Op::Reshape {} | Op::Cast {} => {
                    let reduced = |o: &&Value| !matches!(self.def(o).map(|o| &o.op), Some(Op::Constant { .. } | Op::Dims { .. }) | None);
                    v = *inner.operands.iter().find(reduced)?;
                }
                Op::Reduce { f, axes, .. } => {
                    let x = self.def(inner.operands.first()?)?;
                    let square = matches!((&x.op, x.operands.as_slice()), (Op::Binary { f: BinaryFn::Mul }, [a, b]) if a == b);
                    return match f {
                        ReduceFn::Mean if square => Some(format!("the root of a mean of squares over the axes {axes:?}")),
                        ReduceFn::Sum if square => Some(format!("the root of a sum of squares over the axes {axes:?}")),
                        ReduceFn::SumSquare => Some(format!("the root of a sum of squares over the axes {axes:?}")),
                        _ => None,
                    };
                }
                _ => return None,
            }
        }
        None
    }

    /// `exp(…) / sum(exp(…))` in a form that became no softmax.
    fn is_softmax(&self, op: &Operation) -> bool {
        let [e, sum] = op.operands.as_slice() else { return false };
        let is = |v: &Value, wanted: fn(&Op) -> bool| self.def(v).is_some_and(|o| wanted(&o.op));
        let through = |v: &Value| match self.def(v).map(|o| (&o.op, o.operands.first())) {
            Some((Op::Reshape {} | Op::Expand {} | Op::Binary { f: BinaryFn::Add | BinaryFn::Max }, Some(x))) => *x,
            _ => *v,
        };
        let sum = through(sum);
        is(e, |o| matches!(o, Op::Unary { f: UnaryFn::Exp }))
            && is(&sum, |o| matches!(o, Op::Reduce { f: ReduceFn::Sum, .. }))
            && self.def(&sum).and_then(|o| o.operands.first()) == Some(e)
    }
}
