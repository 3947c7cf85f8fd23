//! Lifetimes in the chosen order, of wholes with all their parts, and results that take over the memory of an operand that dies: a
//! dispatch may overwrite what it reads if its last map reads each element only where it writes: softmax in place. (Lowering loads
//! and stores each element of a map once, and ends a stage of a row before it begins the next.)

use super::values::{Graph, Place};
use crate::fuse::by_row;
use odc_ir::core::{Dim, Ranges, Value};
use odc_ir::tensor::{Func, Index, Op, Operation};

/// Memory for one value, or for several that take it over from each other.
pub(super) struct Storage {
    pub bytes: Dim,
    /// Positions in the order: from the first write to the last use.
    pub start: usize,
    pub end: usize,
    /// Positions in [`Graph::made`].
    pub values: Vec<usize>,
    pub notes: Vec<String>,
}

/// Memory for those of the results that `inside` wants it for; shared only where the machine allows it.
pub(super) fn storages(graph: &Graph, order: &[usize], ranges: &Ranges, inside: &dyn Fn(usize) -> bool, may_share: bool) -> Vec<Storage> {
    // The last call that touches each value, or something in it.
    let mut last: Vec<usize> = vec![0; graph.made.len()];
    for (at, call) in order.iter().enumerate().filter_map(|(at, c)| Some((at, graph.calls.get(*c)?))) {
        for v in graph.touches(call) {
            if let Some(l) = last.get_mut(v) {
                *l = at;
            }
        }
    }
    let kept = graph.kept();
    let mut out: Vec<Storage> = vec![];
    let mut of: Vec<Option<usize>> = vec![None; graph.made.len()];
    for (at, call) in order.iter().enumerate().filter_map(|(at, c)| Some((at, graph.calls.get(*c)?))) {
        let mut taken = vec![];
        for v in call.writes.iter().filter(|v| inside(**v)) {
            let root = graph.root(*v).0;
            let Some(made) = graph.made.get(root) else { continue };
            let end = if kept.get(root) == Some(&true) { order.len() } else { last.get(root).map_or(at, |l| at.max(*l)) };
            if root != *v {
                // A part: the first one that is written begins the whole.
                if of.get(root) == Some(&None) {
                    out.push(Storage { bytes: made.bytes.clone(), start: at, end, values: vec![root], notes: vec![made.note.clone()] });
                    if let Some(o) = of.get_mut(root) {
                        *o = Some(out.len() - 1);
                    }
                }
                continue;
            }
            let storage = |p: &Place| if let Place::Made(m) = p { of.get(graph.root(*m).0).copied().flatten() } else { None };
            let over = call.reads.iter().enumerate().find_map(|(k, p)| {
                let s = storage(p).filter(|_| matches!(p, Place::Made(m) if graph.root(*m).0 == *m))?;
                let dies = out.get(s).is_some_and(|o| o.end == at && o.bytes == made.bytes);
                let alone = call.reads.iter().filter(|q| storage(q) == Some(s)).count() == 1 && !taken.contains(&s);
                (may_share && dies && alone && may_overwrite(graph.func, call.op, k, ranges)).then_some(s)
            });
            let s = match over {
                Some(s) => {
                    taken.push(s);
                    s
                }
                None => {
                    out.push(Storage { bytes: made.bytes.clone(), start: at, end, values: vec![], notes: vec![] });
                    out.len() - 1
                }
            };
            if let Some(o) = out.get_mut(s) {
                o.end = end;
                o.values.push(*v);
                o.notes.push(made.note.clone());
            }
            if let Some(o) = of.get_mut(*v) {
                *o = Some(s);
            }
        }
    }
    out
}

/// May the result of `dispatch` lie where its operand `k` does? Its last stage is a map that reads the operand nowhere but at the element
/// it is about to write, and the stages before it, which are through with a row by then, read it in their own row.
pub(super) fn may_overwrite(func: &Func, dispatch: &Operation, k: usize, ranges: &Ranges) -> bool {
    let (Op::Dispatch { schedule }, [region]) = (&dispatch.op, dispatch.regions.as_slice()) else { return false };
    let Some((map, stages)) = region.ops.split_last() else { return false };
    let (Op::Map { axes, store, body }, [result], [yielded]) = (&map.op, map.results.as_slice(), region.yields.as_slice()) else {
        return false;
    };
    let ty = |v: &Value| func.types.get(v.index());
    let Some(arg) = region.args.get(k) else { return false };
    let (Some(from), Some(to)) = (ty(arg), ty(result)) else { return false };
    if yielded != result || from.dtype.size() != to.dtype.size() {
        return false;
    }
    let in_row = |o: &&Operation| by_row(map, o, *arg, schedule.grid);
    let reads = |o: &&Operation| o.operands.contains(arg);
    if !stages.is_empty() && (from.shape != to.shape || !stages.iter().filter(reads).all(|o| in_row(&o))) {
        return false;
    }
    let ranges = ranges.with_axes(axes.iter().map(|(s, e)| (s, e)));
    let flat = |index: &[Dim], strides: Vec<Dim>| {
        let sum = index.iter().zip(strides).fold(Dim::ZERO, |sum, (i, s)| sum + i * &s);
        ranges.simplify(&sum)
    };
    let written = flat(store, to.strides());
    body.loads().filter(|(o, _)| map.operands.get(*o as usize) == Some(arg)).all(|(_, index)| {
        let index: Option<Vec<Dim>> = index.iter().map(|i| if let Index::Dim(d) = i { Some(d.clone()) } else { None }).collect();
        let Some(index) = index else { return false };
        if from.shape == to.shape && index == *store {
            return true;
        }
        // Through a view the coordinates differ; the same element needs that no coordinate is clamped.
        index.len() == from.rank()
            && index.iter().zip(&from.shape).all(|(i, extent)| ranges.within(i, extent))
            && !written.is_poison()
            && flat(&index, from.strides()) == written
    })
}
