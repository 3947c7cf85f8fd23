//! Dispatches side by side: maps that do not depend on each other become one dispatch, in which each has a range of the grid to
//! itself. Nothing is computed otherwise; what is saved is a launch each, and that threads wait for each other between them.
//!
//! Their results are then alive together, and none may lie where another's operand does: whether to join is asked of the planner.

use crate::plan;
use odc_ir::core::{Loc, Value};
use odc_ir::tensor::{Block, Func, Module, Op, Operation, Schedule};
use std::collections::BTreeMap;

/// The most maps of one dispatch.
const MOST_PARTS: usize = 8;

/// Joins maps of all functions unless that makes the arena larger; gives how many dispatches fewer there are.
pub fn best(module: &mut Module) -> usize {
    let Ok(least) = plan::peak(module) else { return 0 };
    let sets: Vec<Set> = module.funcs.iter().enumerate().flat_map(|(k, func)| found(k, func)).collect();
    let fits = |chosen: &[&Set]| {
        let mut m = module.clone();
        join(&mut m, chosen);
        plan::peak(&m).is_ok_and(|p| p <= least)
    };
    let mut chosen = vec![];
    choose(&sets, &fits, &mut chosen);
    join(module, &chosen);
    chosen.iter().map(|set| set.members.len().saturating_sub(1)).sum()
}

/// Positions of dispatches in one function, which become one at the place of the last.
#[derive(Default)]
struct Set {
    /// The function's number.
    func: usize,
    members: Vec<usize>,
    /// Views of what they make, which go behind it.
    views: Vec<usize>,
}

/// Adds those of `sets` that fit beside what is chosen: all at once, or else half by half.
fn choose<'s>(sets: &'s [Set], fits: &dyn Fn(&[&Set]) -> bool, chosen: &mut Vec<&'s Set>) {
    let before = chosen.len();
    chosen.extend(sets);
    if sets.is_empty() || fits(chosen) {
        return;
    }
    chosen.truncate(before);
    if sets.len() > 1 {
        let (first, second) = sets.split_at(sets.len() / 2);
        choose(first, fits, chosen);
        choose(second, fits, chosen);
    }
}

/// Sets of dispatches that may be one. Each waits until the last of its members: none that reads them stands before that.
fn found(number: usize, func: &Func) -> Vec<Set> {
    // What has a size that data decides runs after the number that says it, which no operand shows.
    if func.sizes().next().is_some() {
        return vec![];
    }
    let empty = || Set { func: number, ..Set::default() };
    let (mut open, mut done) = (empty(), vec![]);
    for (k, op) in func.body.ops.iter().enumerate() {
        let read = open.members.iter().chain(&open.views).any(|m| func.body.ops[*m].results.iter().any(|v| op.operands.contains(v)));
        match op.op {
            // A view of several binds their places together: they are made by then.
            Op::View {} if read && op.operands.len() == 1 => open.views.push(k),
            _ if read || open.members.len() >= MOST_PARTS => done.push(std::mem::replace(&mut open, empty())),
            _ => {}
        }
        if is_map(op) {
            open.members.push(k);
        }
    }
    done.push(open);
    done.retain(|set| set.members.len() > 1);
    done
}

/// A dispatch of one map.
fn is_map(op: &Operation) -> bool {
    let one = |r: &Block| matches!(r.ops.as_slice(), [Operation { op: Op::Map { .. }, .. }]);
    matches!((&op.op, op.regions.as_slice()), (Op::Dispatch { .. }, [region]) if one(region))
}

/// Makes each set one dispatch.
fn join(module: &mut Module, sets: &[&Set]) {
    for (f, func) in module.funcs.iter_mut().enumerate() {
        let mut ops: Vec<Vec<Operation>> = std::mem::take(&mut func.body.ops).into_iter().map(|op| vec![op]).collect();
        for set in sets.iter().filter(|set| set.func == f) {
            let Some(last) = set.members.last() else { continue };
            let mut take = |at: &usize| ops.get_mut(*at).map(std::mem::take).unwrap_or_default();
            let parts = set.members.iter().flat_map(&mut take).collect();
            // Views behind the last member stay where they are.
            let views: Vec<Operation> = set.views.iter().filter(|v| *v < last).flat_map(&mut take).collect();
            if let Some(place) = ops.get_mut(*last) {
                place.push(together(parts));
                place.extend(views);
            }
        }
        func.body.ops = ops.into_iter().flatten().collect();
    }
}

/// One dispatch of all that these do.
fn together(parts: Vec<Operation>) -> Operation {
    let (mut operands, mut results, mut loc): (Vec<Value>, Vec<Value>, Loc) = (vec![], vec![], Loc::none());
    let mut block = Block { args: vec![], ops: vec![], yields: vec![] };
    for part in parts {
        loc = loc.fuse(&part.loc);
        results.extend(&part.results);
        for region in part.regions {
            // What several of them read is bound once.
            let mut names: BTreeMap<Value, Value> = BTreeMap::new();
            for (outer, arg) in part.operands.iter().zip(region.args) {
                match operands.iter().position(|v| v == outer).and_then(|k| block.args.get(k)) {
                    Some(first) => _ = names.insert(arg, *first),
                    None => {
                        operands.push(*outer);
                        block.args.push(arg);
                    }
                }
            }
            for mut op in region.ops {
                op.operands.iter_mut().for_each(|v| *v = names.get(v).copied().unwrap_or(*v));
                block.ops.push(op);
            }
            block.yields.extend(region.yields);
        }
    }
    Operation { op: Op::Dispatch { schedule: Schedule::loops(0, 1) }, operands, results, regions: vec![block], loc }
}

#[cfg(test)]
mod tests;
