//! One binding for each buffer of a dispatch: operands that lie in the same place (a value and a view of it) become one parameter of
//! the kernel. GPUs forbid that a buffer which may be written is bound twice in one dispatch.

use odc_ir::core::{Dim, Value};
use odc_ir::loops::{Block, Func};
use odc_ir::program::BufferRef;
use std::collections::BTreeMap;

/// Merges equal ones among the first `reads` of `buffers`; how many are gone.
pub(super) fn bind_once(func: &mut Func, buffers: &mut Vec<BufferRef>, bytes: &mut Vec<Dim>, reads: usize) -> usize {
    let mut first: BTreeMap<BufferRef, Value> = BTreeMap::new();
    let mut same: BTreeMap<Value, Value> = BTreeMap::new();
    let mut gone = vec![];
    for (k, (b, v)) in buffers.iter().zip(func.body.args.clone()).take(reads).enumerate() {
        match first.get(b) {
            // Only legalised kernels may see one buffer under two types.
            Some(of) if func.types.get(of.index()) == func.types.get(v.index()) => {
                same.insert(v, *of);
                gone.push(k);
            }
            Some(_) => {}
            None => drop(first.insert(*b, v)),
        }
    }
    if !gone.is_empty() {
        drop_at(buffers, &gone);
        drop_at(bytes, &gone);
        drop_at(&mut func.body.args, &gone);
        drop_at(&mut func.param_names, &gone);
        rename(&mut func.body, &same);
        func.renumber();
    }
    gone.len()
}

fn drop_at<T>(list: &mut Vec<T>, gone: &[usize]) {
    let mut at = 0..;
    list.retain(|_| at.next().is_some_and(|k| !gone.contains(&k)));
}

fn rename(b: &mut Block, to: &BTreeMap<Value, Value>) {
    for op in &mut b.ops {
        op.operands.iter_mut().for_each(|v| *v = to.get(v).copied().unwrap_or(*v));
        op.regions.iter_mut().for_each(|r| rename(r, to));
    }
    b.yields.iter_mut().for_each(|v| *v = to.get(v).copied().unwrap_or(*v));
}
