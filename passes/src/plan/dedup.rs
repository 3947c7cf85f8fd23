//! Equal kernels once: the layers of a transformer differ in names and locations only, so they compile and are stored as one.

use odc_ir::core::{Loc, print_func};
use odc_ir::loops::{Block, Func};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Kernels {
    pub funcs: Vec<Func>,
    by_text: BTreeMap<String, u32>,
    names: BTreeSet<String>,
}

impl Kernels {
    /// The position of `func` or of the equal one that came first. Names stay distinct.
    pub(super) fn add(&mut self, mut func: Func) -> u32 {
        let text = anonymous_text(&func);
        if let Some(k) = self.by_text.get(&text) {
            return *k;
        }
        let k = self.funcs.len() as u32;
        let base = func.name.clone();
        let mut n = 2;
        while !self.names.insert(func.name.clone()) {
            func.name = format!("{base}_{n}");
            n += 1;
        }
        self.by_text.insert(text, k);
        self.funcs.push(func);
        k
    }
}

/// The function as text without names and locations, values numbered in order.
fn anonymous_text(func: &Func) -> String {
    let mut f = func.clone();
    f.name.clear();
    f.param_names.clear();
    f.result_names.clear();
    forget_locations(&mut f.body);
    f.renumber();
    print_func(&f, 0)
}

fn forget_locations(b: &mut Block) {
    for op in &mut b.ops {
        op.loc = Loc::none();
        op.regions.iter_mut().for_each(forget_locations);
    }
}
