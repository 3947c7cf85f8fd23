//! Canonicalisation of the graph: directed rewrites that terminate and are always better, whatever target follows. Identities go,
//! constants are folded, and what exporters spell out (norms, GELU, softmax, batch norm after conv) becomes one op again.
//!
//! One file a family. A rule is a function from an operation to the value that replaces its result; the driver runs all rules over
//! the functions until nothing changes, merging equal operations and dropping dead ones on the way.

mod activation;
mod constants;
mod fold;
mod group_norm;
mod identities;
mod layer_norm;
mod movement;
mod patterns;
mod rewriter;
mod rotary;
mod scale;
mod softmax;

pub use patterns::{Missed, Patterns, patterns};

use odc_ir::core::Value;
use odc_ir::graph::{self, Module, Op, Operation};
use rewriter::Cx;
use std::collections::BTreeMap;

/// How often each rewrite was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    pub found: BTreeMap<&'static str, usize>,
}

impl Report {
    fn count(&mut self, name: &'static str) {
        *self.found.entry(name).or_insert(0) += 1;
    }
}

/// The value that replaces the operation's result, if the rule applies. It must have the result's type.
type Rule = fn(&mut Cx, &Operation) -> Option<Value>;

const RULES: &[(&str, Rule)] = &[
    ("fold", fold::fold),
    ("identity", identities::identity),
    ("double", identities::double),
    ("cast", identities::cast),
    ("select", identities::select),
    ("pow", identities::pow),
    ("divide by power of two", identities::divide),
    ("subtract constant", identities::subtract),
    ("reciprocal", identities::reciprocal),
    ("no-op move", movement::nothing),
    ("transpose", movement::transpose),
    ("reshape of reshape", movement::reshape),
    ("slice of slice", movement::slice),
    ("slice of concat", movement::slice_of_concat),
    ("concat of concat", movement::concat),
    ("broadcast without expand", movement::expand),
    ("reduce of ones", movement::reduce),
    ("batch norm", scale::batch_norm),
    ("scale into weights", scale::into_weights),
    ("shift into bias", scale::into_bias),
    ("scale before bias", scale::before_bias),
    ("sigmoid", activation::sigmoid),
    ("silu", activation::silu),
    ("mish", activation::mish),
    ("hard swish", activation::hard_swish),
    ("gelu", activation::gelu),
    ("gelu tanh", activation::gelu_tanh),
    ("softmax", softmax::softmax),
    ("log softmax", softmax::log_softmax),
    ("layer norm", layer_norm::normalise),
    ("norm scale", layer_norm::scale),
    ("norm bias", layer_norm::bias),
    ("group norm", group_norm::group_norm),
    ("group norm scale", group_norm::scale),
    ("group norm bias", group_norm::bias),
    ("rotary embedding", rotary::rotary),
];

/// More rounds than any chain of rules needs; a rule that undoes another would otherwise go on for ever.
const MAX_ROUNDS: usize = 64;

pub fn canonicalise(m: &mut Module) -> Report {
    let mut report = Report::default();
    for f in 0..m.funcs.len() {
        for _ in 0..MAX_ROUNDS {
            if !round(m, f, &mut report) {
                break;
            }
        }
    }
    graph::drop_uncalled(m);
    // Weights that were folded into others must not reach the artifact.
    graph::drop_unused_constants(m);
    report
}

/// One pass over function `f`; was anything found?
fn round(m: &mut Module, f: usize, report: &mut Report) -> bool {
    let ranges = m.ranges();
    let Some(func) = m.funcs.get_mut(f) else { return false };
    let ops = std::mem::take(&mut func.body.ops);
    let mut cx = Cx::new(&mut m.consts, ranges, func);
    cx.count_uses(&ops);
    let mut changed = false;
    for mut op in ops {
        op.operands.iter_mut().for_each(|v| *v = cx.resolve(*v));
        match rewrite(&mut cx, &op) {
            Some((name, by)) => {
                report.count(name);
                changed = true;
                cx.replace(&op, by);
            }
            None => {
                let constant = matches!(op.op, Op::Constant { .. });
                if cx.keep(op) {
                    report.count(if constant { "equal constants" } else { "common subexpression" });
                    changed = true;
                }
            }
        }
    }
    cx.finish();
    changed
}

fn rewrite(cx: &mut Cx, op: &Operation) -> Option<(&'static str, Value)> {
    let result = op.result()?;
    for (name, rule) in RULES {
        cx.begin(op);
        if let Some(v) = rule(cx, op)
            && v != result
            && cx.ty(v) == cx.ty(result)
        {
            return Some((name, v));
        }
    }
    None
}

#[cfg(test)]
mod tests;
