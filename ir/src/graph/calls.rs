//! Which functions and constants of a module are in use.

use super::{Module, Op};
use crate::core::{Callee, ConstId};
use std::collections::BTreeSet;

/// The functions that an op calls.
pub fn callees(op: &Op) -> Vec<&Callee> {
    match op {
        Op::If { then, otherwise } => vec![then, otherwise],
        Op::Loop { body, .. } => vec![body],
        _ => vec![],
    }
}

/// Removes functions that nothing calls any more.
pub fn drop_uncalled(m: &mut Module) {
    let mut used = BTreeSet::new();
    // Callers stand before what they call.
    for (k, f) in m.funcs.iter().enumerate() {
        if k == 0 || used.contains(&f.name) {
            used.insert(f.name.clone());
            used.extend(f.body.ops.iter().flat_map(|op| callees(&op.op)).map(|c| c.0.clone()));
        }
    }
    m.funcs.retain(|f| used.contains(&f.name));
}

/// Removes constants that no function uses.
pub fn drop_unused_constants(m: &mut Module) {
    let mut new: Vec<Option<ConstId>> = vec![None; m.consts.len()];
    let mut kept = vec![];
    for f in &mut m.funcs {
        for op in &mut f.body.ops {
            if let Op::Constant { value } = &mut op.op
                && let (Some(slot), Some(c)) = (new.get_mut(value.0 as usize), m.consts.get(value.0 as usize))
            {
                *value = *slot.get_or_insert_with(|| {
                    kept.push(c.clone());
                    ConstId(kept.len() as u32 - 1)
                });
            }
        }
    }
    m.consts = kept;
}
