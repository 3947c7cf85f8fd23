//! The checks that let the runtime trust a manifest: every index, slot, offset, range and alignment. What depends
//! on input shapes (sizes against the arena) is checked by the runtime when it binds them.

use crate::{
    BufferRef, Code, Command, Device, FormatError, Instr, KERNEL_ALIGN, MAX_RANK, Manifest, Slot, TargetProgram, TensorInfo, WEIGHT_ALIGN,
    structure,
};
use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
};

type Checked = Result<(), FormatError>;

fn ensure(holds: bool, at: impl FnOnce() -> String, why: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(FormatError::Invalid { at: at(), why: why() }) }
}

/// Checks a manifest against the lengths of the code sections and of the weights section.
pub fn validate(m: &Manifest, code_lens: &[u64], weights_len: u64) -> Checked {
    shape_program(m)?;
    for (i, s) in m.symbols.iter().enumerate() {
        let at = || format!("symbol {i} \"{}\"", s.name);
        slot(m, s.slot, at)?;
        ensure(0 <= s.lo && s.lo <= s.hi, at, || format!("bounds {}..{} are not in order", s.lo, s.hi))?;
        ensure(s.multiple_of >= 1, at, || format!("multiple of {} is not positive", s.multiple_of))?;
    }
    unique(m.symbols.iter().map(|s| s.name.as_str()), "symbols")?;
    unique(m.inputs.iter().map(|t| t.name.as_str()), "inputs")?;
    unique(m.outputs.iter().map(|t| t.name.as_str()), "outputs")?;
    for (i, t) in m.inputs.iter().enumerate() {
        tensor(m, t, || format!("input {i} \"{}\"", t.name))?;
    }
    for (i, t) in m.outputs.iter().enumerate() {
        tensor(m, t, || format!("output {i} \"{}\"", t.name))?;
    }
    for (i, r) in m.in_range.iter().enumerate() {
        let at = || format!("range {i} of {}", r.what);
        ensure(m.inputs.get(r.input as usize).is_some_and(|t| t.dtype.is_int()), at, || format!("input {} holds no integers", r.input))?;
        ensure(!r.ranges.is_empty(), at, || "there is none".into())?;
        r.ranges.iter().try_for_each(|&(lo, hi)| slot(m, lo, at).and_then(|()| slot(m, hi, at)))?;
    }
    let mut end = 0u64;
    for (i, w) in m.weights.iter().enumerate() {
        let at = || format!("weight {i}");
        ensure(w.offset.is_multiple_of(WEIGHT_ALIGN), at, || format!("offset {} is not aligned", w.offset))?;
        ensure(w.offset >= end, at, || format!("offset {} overlaps the weight before", w.offset))?;
        let Some(stop) = w.offset.checked_add(w.len).filter(|&stop| stop <= weights_len) else {
            return ensure(false, at, || format!("{} bytes at {} of {weights_len}", w.len, w.offset));
        };
        end = stop;
    }
    let d = &m.digests;
    let wanted = if d.chunk_bytes == 0 { 0 } else { weights_len.div_ceil(d.chunk_bytes) };
    ensure(d.chunks.len() as u64 == wanted, || "digests".into(), || format!("{} for {wanted} chunks", d.chunks.len()))?;
    ensure(d.code.is_empty() || d.code.len() == code_lens.len(), || "digests".into(), || "not one a code section".into())?;
    ensure(!m.targets.is_empty(), || "targets".into(), || "there are none".into())?;
    m.targets.iter().enumerate().try_for_each(|(i, t)| target(m, i, t, code_lens))
}

fn unique<'a>(names: impl Iterator<Item = &'a str>, what: &str) -> Checked {
    let mut seen = BTreeSet::new();
    for name in names {
        ensure(!name.is_empty(), || what.to_string(), || "a name is empty".into())?;
        ensure(seen.insert(name), || what.to_string(), || format!("\"{name}\" is there twice"))?;
    }
    Ok(())
}

fn slot(m: &Manifest, s: Slot, at: impl FnOnce() -> String) -> Checked {
    let count = m.shape_program.instrs.len();
    ensure(s.index() < count, at, || format!("slot {} of a shape program with {count}", s.0))
}

fn shape_program(m: &Manifest) -> Checked {
    let program = &m.shape_program;
    ensure(u32::try_from(program.instrs.len()).is_ok(), || "shape program".into(), || "more instructions than slots can name".into())?;
    for (k, instr) in program.instrs.iter().enumerate() {
        let at = || format!("shape program instruction {k}");
        for s in instr.reads() {
            ensure(s.index() < k, at, || format!("reads slot {}, which is not earlier", s.0))?;
        }
        match *instr {
            Instr::InputDim { input, axis } => {
                let rank = m.inputs.get(input as usize).map(|t| t.shape.len());
                let known = rank.is_some_and(|rank| (axis as usize) < rank);
                ensure(known, at, || format!("input {input} has no axis {axis}"))?;
            }
            Instr::AlignUp(_, to) => ensure(to > 0, at, || "aligns to 0".into())?,
            _ => {}
        }
    }
    for (k, check) in program.checks.iter().enumerate() {
        let at = || format!("check {k} ({})", check.what);
        for s in check.condition.reads() {
            slot(m, s, at)?;
        }
        if let crate::Condition::MultipleOf(_, n) = check.condition {
            ensure(n > 0, at, || format!("multiple of {n}"))?;
        }
    }
    Ok(())
}

fn tensor(m: &Manifest, t: &TensorInfo, at: impl Fn() -> String) -> Checked {
    let rank = t.shape.len();
    ensure(rank <= MAX_RANK, &at, || format!("rank {rank} is more than {MAX_RANK}"))?;
    ensure(rank == t.shape_text.len(), &at, || format!("{} dim texts for rank {rank}", t.shape_text.len()))?;
    t.shape.iter().try_for_each(|&s| slot(m, s, &at))
}

fn buffer(m: &Manifest, b: BufferRef, gpu: bool, at: impl Fn() -> String) -> Checked {
    match b {
        BufferRef::Output(k) => ensure(gpu && (k as usize) < m.outputs.len(), at, || format!("output {k} has no memory of its own")),
        BufferRef::Input(i) => ensure((i as usize) < m.inputs.len(), at, || format!("input {i} does not exist")),
        BufferRef::Weight { index, offset } => {
            let len = m.weights.get(index as usize).map(|w| w.len);
            ensure(len.is_some_and(|len| offset <= len), at, || format!("weight {index} has no byte {offset}"))
        }
        BufferRef::Arena { offset } => slot(m, offset, at),
        // Where it may stand is checked with the structure.
        BufferRef::Local(k) => ensure(!gpu, at, || format!("local {k} in a program for GPUs")),
    }
}

fn writable(b: BufferRef) -> bool {
    matches!(b, BufferRef::Arena { .. } | BufferRef::Output(_) | BufferRef::Local(_))
}

/// Is every local used inside of the loop that defines it, and does every body end?
fn locals(t: &TargetProgram) -> Result<(), String> {
    let mut outside = None;
    structure(&t.commands, |at, scope| {
        let mut see = |b: BufferRef| {
            if let BufferRef::Local(k) = b
                && !scope.iter().any(|r| r.contains(&k))
            {
                outside = Some(format!("command {at}: no loop around it defines local {k}"));
            }
        };
        match t.commands.get(at) {
            Some(Command::Dispatch(d)) => d.buffers.iter().for_each(|b| see(*b)),
            Some(Command::Copy { src, dst, .. }) => [*src, *dst].into_iter().for_each(see),
            Some(Command::If { condition } | Command::Size { from: condition }) => see(*condition),
            Some(Command::Loop(l)) => l.buffers().for_each(|(b, _)| see(b)),
            Some(Command::Else | Command::End) | None => {}
        }
    })?;
    match outside {
        Some(why) => Err(why),
        None if t.outputs.iter().any(|b| matches!(b, BufferRef::Local(_))) => Err("an output lies in a loop".into()),
        None => Ok(()),
    }
}

fn target(m: &Manifest, index: usize, t: &TargetProgram, code_lens: &[u64]) -> Checked {
    let here = || format!("target {index} \"{}\"", t.target);
    let gpu = matches!(t.device, Device::Gpu { .. });
    let code_len = match t.code {
        Code::Linked => None,
        Code::Section(s) => {
            let len = code_lens.get(s as usize).copied();
            ensure(len.is_some(), here, || format!("code section {s} does not exist"))?;
            len
        }
    };
    slot(m, t.arena_bytes, || format!("{} arena", here()))?;
    for b in &t.buffers {
        let at = || format!("{} buffer \"{}\"", here(), b.name);
        slot(m, b.offset, at)?;
        slot(m, b.bytes, at)?;
        ensure(b.start <= b.end && b.end as usize <= t.commands.len(), at, || format!("it lives from {} to {}", b.start, b.end))?;
    }
    for (k, kernel) in t.kernels.iter().enumerate() {
        let at = || format!("{} kernel {k} \"{}\"", here(), kernel.name);
        slot(m, kernel.scratch_bytes, at)?;
        ensure(kernel.gpu.is_some() == gpu, at, || "how it is bound does not fit the device".into())?;
        if let Some(g) = &kernel.gpu {
            ensure(g.workgroup.iter().all(|&n| n > 0), at, || "a workgroup has no invocations".into())?;
        }
        if let Some(code_len) = code_len {
            let inside = kernel.offset.checked_add(kernel.len).is_some_and(|end| end <= code_len);
            ensure(inside && kernel.len > 0, at, || format!("{} bytes at {} of {code_len}", kernel.len, kernel.offset))?;
            ensure(kernel.offset.is_multiple_of(KERNEL_ALIGN), at, || format!("offset {} is not aligned", kernel.offset))?;
        }
    }
    locals(t).map_err(|why| FormatError::Invalid { at: here(), why })?;
    for (c, command) in t.commands.iter().enumerate() {
        let at = || format!("{} command {c}", here());
        match command {
            Command::Dispatch(d) => {
                ensure((d.kernel as usize) < t.kernels.len(), at, || format!("kernel {} does not exist", d.kernel))?;
                for (k, &b) in d.buffers.iter().enumerate() {
                    buffer(m, b, gpu, || format!("{} buffer {k}", at()))?;
                }
                if let Some(g) = t.kernels.get(d.kernel as usize).and_then(|k| k.gpu.as_ref()) {
                    let n = d.buffers.len();
                    ensure(d.bytes.len() == n && g.access.len() == n, at, || format!("{n} buffers, other numbers of sizes or bindings"))?;
                    for (b, access) in d.buffers.iter().zip(&g.access) {
                        let fixed = matches!(b, BufferRef::Input(_) | BufferRef::Weight { .. });
                        ensure(!fixed || *access == crate::Access::Read, at, || "writes to an input or a weight".into())?;
                    }
                }
                for &s in d.dims.iter().chain(&d.bytes).chain([&d.grid, &d.grain]) {
                    slot(m, s, at)?;
                }
            }
            Command::Size { from } => {
                ensure(!gpu, at, || "sizes that data decides are for CPU programs".into())?;
                buffer(m, *from, gpu, || format!("{} size", at()))?;
            }
            Command::Copy { src, dst, bytes } => {
                buffer(m, *src, gpu, || format!("{} source", at()))?;
                buffer(m, *dst, gpu, || format!("{} destination", at()))?;
                slot(m, *bytes, at)?;
                ensure(writable(*dst), at, || "copies into an input or a weight".into())?;
            }
            Command::If { condition } => {
                ensure(!gpu, at, || "control flow in a program for GPUs".into())?;
                buffer(m, *condition, gpu, at)?;
            }
            Command::Loop(l) => {
                ensure(!gpu, at, || "control flow in a program for GPUs".into())?;
                for (b, written) in l.buffers() {
                    buffer(m, b, gpu, at)?;
                    ensure(!written || writable(b), at, || "writes to an input or a weight".into())?;
                }
                for s in [l.trips].into_iter().chain(l.carried.iter().map(|c| c.bytes)).chain(l.moving.iter().map(|m| m.step)) {
                    slot(m, s, at)?;
                }
            }
            Command::Else | Command::End => {}
        }
    }
    let (have, want) = (t.outputs.len(), m.outputs.len());
    ensure(have == want, here, || format!("{have} output places for {want} outputs"))?;
    t.outputs.iter().enumerate().try_for_each(|(k, &b)| buffer(m, b, gpu, || format!("{} output {k}", here())))
}
