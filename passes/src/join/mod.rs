//! Concats as views into one buffer: where the operands of a concat lie one behind the other in memory, their producers may write
//! straight into the whole, and nothing is copied. A whole is alive from its first part on, so whether to join is a choice.

mod find;
mod joiner;

pub(crate) use find::concats;

use crate::plan;
use joiner::Joiner;
use odc_ir::tensor::Module;
use std::collections::BTreeSet;

/// What was found and done.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Report {
    /// Concats whose operands lie one behind the other, each with a number in order of the module.
    pub candidates: usize,
    pub joined: usize,
    /// Operands that could not be written in place and are copied there.
    pub copied: usize,
}

/// More choices than this are not tried one by one.
const MAX_TRIED: usize = 200;

/// Joins those concats that do not make the arena larger: all of them, or else one after the other as long as it holds.
pub fn best(module: &mut Module) -> Report {
    let Ok(least) = plan::peak(module) else { return Report::default() };
    let attempt = |module: &Module, which: &dyn Fn(usize) -> bool| {
        let mut m = module.clone();
        let report = join(&mut m, which);
        let fits = report.joined == 0 || plan::peak(&m).is_ok_and(|p| p <= least);
        (m, report, fits)
    };
    let (all, report, fits) = attempt(module, &|_| true);
    if fits {
        *module = all;
        return report;
    }
    let mut chosen = BTreeSet::new();
    for k in 0..report.candidates.min(MAX_TRIED) {
        chosen.insert(k);
        if !attempt(module, &|c| chosen.contains(&c)).2 {
            chosen.remove(&k);
        }
    }
    join(module, &|c| chosen.contains(&c))
}

/// Joins the candidates that `which` says, as far as their operands may lie in one buffer.
pub fn join(module: &mut Module, which: &dyn Fn(usize) -> bool) -> Report {
    let (ranges, symbols) = (module.ranges(), module.symbols.clone());
    let mut report = Report::default();
    for (k, func) in module.funcs.iter_mut().enumerate() {
        let ops = std::mem::take(&mut func.body.ops);
        // What a body gives is written where its caller wants it: it can lie in no buffer of the body's own.
        let given = if k == 0 { vec![] } else { func.body.yields.clone() };
        let mut j = Joiner::new(func, &ranges, &symbols, given);
        for op in ops {
            j.op(op, which, &mut report);
        }
        func.body.ops = j.finish();
    }
    report
}

#[cfg(test)]
mod tests;
