//! Equal kernels once: the layers of a transformer differ in names and locations only, so they compile and are stored as one.

use odc_ir::core::{Loc, print_func};
use odc_ir::loops::{Block, Func};
use std::collections::{BTreeMap, BTreeSet};

const MAX_NAME: usize = 60;

#[derive(Default)]
pub(super) struct Kernels {
    pub funcs: Vec<Func>,
    pub notes: Vec<String>,
    by_text: BTreeMap<(String, Vec<bool>), u32>,
    names: BTreeSet<String>,
}

impl Kernels {
    /// The position of `func` or of the equal one with the same access that came first. It is named after the first node that it
    /// computes.
    pub(super) fn add(&mut self, mut func: Func, note: String, access: Vec<bool>, loc: &Loc) -> u32 {
        let key = (anonymous_text(&func), access);
        if let Some(k) = self.by_text.get(&key) {
            return *k;
        }
        let k = self.funcs.len() as u32;
        if let Some(node) = loc.0.first() {
            func.name = name_of(node);
        }
        let base = func.name.clone();
        let mut n = 2;
        while !self.names.insert(func.name.clone()) {
            func.name = format!("{base}_{n}");
            n += 1;
        }
        self.by_text.insert(key, k);
        self.notes.push(note);
        self.funcs.push(func);
        k
    }
}

/// `/encoder/layer.0/MatMul` as a name that any tool accepts: `encoder_layer_0_MatMul`.
fn name_of(node: &str) -> String {
    let words: Vec<&str> = node.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let name = words.join("_");
    // The end of a long path says more than its beginning.
    let short = name.get(name.len().saturating_sub(MAX_NAME)..).unwrap_or(&name).trim_start_matches('_');
    if short.starts_with(|c: char| c.is_ascii_alphabetic()) { short.into() } else { format!("kernel_{short}") }
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
