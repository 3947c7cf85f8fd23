//! Dispatches side by side: maps that do not depend on each other become one dispatch, in which each has a range of the grid to
//! itself. Nothing is computed otherwise; what is saved is a launch each, and that threads wait for each other between them.
//!
//! Their results are then alive together, and none may lie where another's operand does: whether to join is asked of the planner.

use crate::plan;
use odc_ir::core::{Loc, Value};
use odc_ir::tensor::{Block, Func, Module, Op, Operation, Schedule};
use std::collections::{BTreeMap, BTreeSet};

/// The most maps of one dispatch.
const MOST_PARTS: usize = 8;

/// Joins maps of all functions unless that makes the arena larger; gives how many dispatches fewer there are.
pub fn best(module: &mut Module) -> usize {
    let Ok(least) = plan::peak(module) else { return 0 };
    let mut sets: Vec<Set> = vec![];
    for (f, func) in module.funcs.iter().enumerate() {
        sets.extend(found(func).into_iter().map(|members| (f, members)));
    }
    let fits = |chosen: &[&Set]| {
        let mut m = module.clone();
        join(&mut m, chosen);
        plan::peak(&m).is_ok_and(|p| p <= least)
    };
    let mut chosen = vec![];
    choose(&sets, &fits, &mut chosen);
    join(module, &chosen);
    chosen.iter().map(|(_, members)| members.len().saturating_sub(1)).sum()
}

/// A function's number, and positions of dispatches in it, which become one at the place of the last.
type Set = (usize, Vec<usize>);

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

/// Sets of dispatches that may be one. Each waits until the last of its members: nothing that reads them stands before that.
fn found(func: &Func) -> Vec<Vec<usize>> {
    // What has a size that data decides runs after the number that says it, which no operand shows.
    if func.sizes().next().is_some() {
        return vec![];
    }
    let mut open: Vec<Vec<usize>> = vec![];
    let mut done: Vec<Vec<usize>> = vec![];
    for (k, op) in func.body.ops.iter().enumerate() {
        let reads: BTreeSet<&Value> = op.operands.iter().chain(op.regions.iter().flat_map(|r| &r.args)).collect();
        let is_read = |members: &Vec<usize>| members.iter().flat_map(|m| &func.body.ops[*m].results).any(|v| reads.contains(v));
        let (over, waiting): (Vec<_>, Vec<_>) = open.into_iter().partition(|members| is_read(members) || members.len() >= MOST_PARTS);
        (open, done) = (waiting, [done, over].concat());
        if is_map(op) {
            match open.last_mut() {
                Some(members) => members.push(k),
                None => open.push(vec![k]),
            }
        }
    }
    done.extend(open);
    done.retain(|members| members.len() > 1);
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
        let of: BTreeMap<usize, &Vec<usize>> =
            sets.iter().filter(|(g, _)| *g == f).filter_map(|(_, members)| Some((*members.last()?, members))).collect();
        let mut ops: Vec<Option<Operation>> = std::mem::take(&mut func.body.ops).into_iter().map(Some).collect();
        for (last, members) in of {
            let parts: Vec<Operation> = members.iter().filter_map(|m| ops.get_mut(*m)?.take()).collect();
            if let Some(place) = ops.get_mut(last) {
                *place = Some(together(parts));
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
