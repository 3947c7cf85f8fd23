//! Buffers larger than a machine can bind: constants and places in the arena are cut into parts of equal size, and the kernels that
//! use them get a parameter for each part. Only sizes that are known now; the runtime checks the others.

use crate::gpu::{piece_bytes, split_bindings};
use odc_ir::core::Dim;
use odc_ir::loops::Func;
use odc_ir::program::{BufferRef, Command, Program, Slot};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error("{what} has {bytes} bytes, more than the {limit} bytes that the target binds at once, and cannot be split")]
    TooLarge { what: String, loc: String, bytes: u64, limit: u64 },
    #[error("a dispatch calls kernel {kernel}, which does not exist")]
    NoKernel { kernel: u32, loc: String },
}

/// Cuts what is larger than `limit` bytes, if anything is.
pub fn split_large(p: &mut Program, limit: u64) -> Result<(), SplitError> {
    let part = piece_bytes(limit);
    let large = |d: &Dim| d.as_const().and_then(|n| u64::try_from(n).ok()).filter(|n| *n > limit);
    let any = |c: &Command| matches!(c, Command::Dispatch { bytes, .. } if bytes.iter().any(|d| large(d).is_some()));
    if !p.commands.iter().any(any) {
        return Ok(());
    }
    // Sizes of the parts of `n` bytes.
    let parts = |n: u64| (0..n.div_ceil(part)).map(|k| part.min(n - k * part)).collect::<Vec<u64>>();

    let mut slots = vec![];
    let mut new_slots: Vec<Vec<u32>> = vec![];
    for s in &p.slots {
        let from = slots.len() as u32;
        match large(&s.bytes) {
            None => slots.push(s.clone()),
            Some(n) => {
                for (k, len) in parts(n).into_iter().enumerate() {
                    let offset = &s.offset + Dim::from((k as u64 * part) as i64);
                    slots.push(Slot { offset, bytes: Dim::from(len as i64), within: None, note: s.note.clone() });
                }
            }
        }
        new_slots.push((from..slots.len() as u32).collect());
    }
    let mut kernels = Kernels { old: std::mem::take(&mut p.kernels), notes: std::mem::take(&mut p.notes), ..Kernels::default() };
    for c in &mut p.commands {
        let Command::Dispatch { kernel, buffers, reads, bytes, loc, .. } = c else { continue };
        let (mut new_buffers, mut new_bytes, mut sizes, mut new_reads) = (vec![], vec![], vec![], 0);
        for (k, (b, size)) in buffers.iter().zip(bytes.iter()).enumerate() {
            match (large(size), *b) {
                (_, BufferRef::Arena(s)) => {
                    new_buffers.extend(new_slots.get(s as usize).into_iter().flatten().map(|s| BufferRef::Arena(*s)))
                }
                (Some(n), BufferRef::Const { id, offset }) => {
                    new_buffers.extend((0..parts(n).len() as u64).map(|k| BufferRef::Const { id, offset: offset + k * part }))
                }
                (None, b) => new_buffers.push(b),
                (Some(n), BufferRef::Input(_) | BufferRef::Output(_) | BufferRef::Local(_)) => {
                    let what = match b {
                        BufferRef::Input(k) => format!("input \"{}\"", p.inputs.get(*k as usize).map_or("", |i| i.name.as_str())),
                        _ => format!("an output of {loc}"),
                    };
                    return Err(SplitError::TooLarge { what, loc: loc.to_string(), bytes: n, limit });
                }
            }
            match large(size) {
                None => new_bytes.push(size.clone()),
                Some(n) => new_bytes.extend(parts(n).into_iter().map(|n| Dim::from(n as i64))),
            }
            sizes.push(large(size));
            if k < *reads as usize {
                new_reads = new_buffers.len();
            }
        }
        let missing = || SplitError::NoKernel { kernel: *kernel, loc: loc.to_string() };
        *kernel = kernels.split(*kernel, sizes, limit).ok_or_else(missing)?;
        (*buffers, *bytes, *reads) = (new_buffers, new_bytes, new_reads as u32);
    }
    (p.kernels, p.notes, p.slots) = (kernels.new, kernels.new_notes, slots);
    Ok(())
}

/// Kernels that are still used, each in the forms that its dispatches need.
#[derive(Default)]
struct Kernels {
    old: Vec<Func>,
    notes: Vec<String>,
    new: Vec<Func>,
    new_notes: Vec<String>,
    by_form: BTreeMap<(u32, Vec<Option<u64>>), u32>,
    names: BTreeSet<String>,
}

impl Kernels {
    /// Kernel `k` with a parameter for each part of those buffers that have a size here; `None` if there is no such kernel.
    fn split(&mut self, k: u32, large: Vec<Option<u64>>, limit: u64) -> Option<u32> {
        if let Some(known) = self.by_form.get(&(k, large.clone())) {
            return Some(*known);
        }
        let mut func = self.old.get(k as usize)?.clone();
        if large.iter().any(Option::is_some) {
            split_bindings(&mut func, &large, limit);
        }
        let name = func.name.clone();
        let mut n = 2;
        while !self.names.insert(func.name.clone()) {
            func.name = format!("{name}_{n}");
            n += 1;
        }
        self.new.push(func);
        self.new_notes.push(self.notes.get(k as usize).cloned().unwrap_or_default());
        let at = self.new.len() as u32 - 1;
        self.by_form.insert((k, large), at);
        Some(at)
    }
}
