//! Is a program sound? Kernels and buffers exist and fit each other, nothing writes to inputs and constants, nothing reads what
//! was never written, and at sampled sizes every slot is aligned, inside the arena and apart from all others alive with it.

use super::live::around;
use super::{ALIGN, BufferRef, Check, Command, Program, lives, structure};
use crate::core::{Binding, Dim, Sym, Symbol, at_ends, broken_checks, counted, counts_of};
use crate::loops::LoopType;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct ProgramError {
    pub at: String,
    pub message: String,
}

/// A multiple of the symbol's unit inside its bounds, near `wanted`.
fn admissible(facts: &Symbol, wanted: i64) -> i64 {
    let unit = facts.multiple_of.max(1);
    let hi = facts.hi.unwrap_or(i64::MAX).max(facts.lo);
    let v = wanted.clamp(facts.lo, hi);
    let down = v - v.rem_euclid(unit);
    if down >= facts.lo { down } else { down.saturating_add(unit).min(hi) }
}

/// Sizes at which plans are judged: all symbols at 64 first (or as near as their bounds allow), then small, large and mixed ones;
/// only those that pass the checks.
pub fn sample_bindings(symbols: &BTreeMap<Sym, Symbol>, checks: &[Check]) -> Vec<Binding> {
    let all = |f: &dyn Fn(usize, &Symbol) -> i64| {
        Binding(symbols.iter().enumerate().map(|(k, (s, facts))| (s.clone(), admissible(facts, f(k, facts)))).collect())
    };
    let mut out = vec![];
    for mut b in [
        all(&|_, _| 64),
        all(&|_, facts| facts.lo),
        all(&|_, _| 512),
        all(&|k, _| 3 + 7 * k as i64),
        all(&|k, _| if k % 2 == 0 { 300 } else { 2 }),
        all(&|k, _| if k % 2 == 0 { 2 } else { 300 }),
        // The first one is often the batch.
        all(&|k, facts| if k == 0 { facts.lo } else { 128 }),
    ] {
        // Sizes that data decides at their greatest.
        for (s, facts) in symbols.iter().filter(|(_, f)| f.is_count()) {
            if let Some(Ok(v)) = facts.most.as_ref().map(|_| b.eval(&at_ends(symbols, &Dim::from(s), true))) {
                b.0.insert(s.clone(), v.max(facts.lo));
            }
        }
        let passes = checks.iter().all(|c| b.eval(&c.size).is_ok_and(|v| v >= 0));
        if passes && !out.contains(&b) {
            out.push(b);
        }
    }
    out
}

/// All broken rules, in order.
pub fn verify_program(p: &Program) -> Vec<ProgramError> {
    let mut v = Verifier { p, errors: vec![] };
    v.declarations();
    v.commands();
    if v.errors.is_empty() {
        p.samples().iter().for_each(|b| v.places(b));
    }
    v.errors
}

/// What commands have written so far, whichever way they went; and the locals of the loops around.
#[derive(Clone)]
struct Written {
    slots: Vec<bool>,
    outputs: Vec<bool>,
    locals: BTreeSet<u32>,
}

impl Written {
    /// What both ways have written.
    fn meet(&mut self, other: &Written) {
        self.slots.iter_mut().zip(&other.slots).for_each(|(a, b)| *a &= b);
        self.outputs.iter_mut().zip(&other.outputs).for_each(|(a, b)| *a &= b);
    }
}

struct Verifier<'a> {
    p: &'a Program,
    errors: Vec<ProgramError>,
}

impl Verifier<'_> {
    fn check(&mut self, holds: bool, at: impl FnOnce() -> String, message: impl FnOnce() -> String) {
        if !holds {
            self.errors.push(ProgramError { at: at(), message: message() });
        }
    }

    fn size(&mut self, d: &Dim, at: impl FnOnce() -> String) {
        let mut unknown = None;
        d.visit_syms(&mut |s| {
            if !self.p.symbols.contains_key(s) {
                unknown = Some(s.clone());
            }
        });
        let bad = unknown.map(|s| format!("`{s}` is no symbol of the program"));
        let bad = bad.or_else(|| d.is_poison().then(|| "a size overflows 64 bits or is too complex".into()));
        self.check(bad.is_none(), at, || bad.clone().unwrap_or_default());
    }

    fn declarations(&mut self) {
        let p = self.p;
        for c in &p.checks {
            self.size(&c.size, || format!("check of {}", c.what));
        }
        let inputs: Vec<_> = p.inputs.iter().map(|i| (i.name.as_str(), i.ty.dtype.is_int())).collect();
        for message in broken_checks(&p.in_range, &p.symbols, &inputs) {
            self.check(false, || "program".into(), || message.clone());
        }
        self.size(&p.arena_bytes, || "arena".into());
        for (k, s) in p.slots.iter().enumerate() {
            self.size(&s.offset, || format!("slot {k}"));
            self.size(&s.bytes, || format!("slot {k}"));
            let outermost = around(p, k as u32).last().map_or(Some(s), |w| p.slot(w));
            let nested = outermost.is_some_and(|w| w.within.is_none());
            self.check(nested, || format!("slot {k}"), || "lies within no slot, or within itself".into());
        }
        let mut names = BTreeSet::new();
        for k in &p.kernels {
            self.check(names.insert(&k.name), || format!("kernel @{}", k.name), || "another kernel has this name".into());
        }
    }

    fn commands(&mut self) {
        let p = self.p;
        if let Err(e) = structure(&p.commands) {
            return self.check(false, || "commands".into(), || e.clone());
        }
        let mut written = Written { slots: vec![false; p.slots.len()], outputs: vec![false; p.outputs.len()], locals: BTreeSet::new() };
        // Before each open body; an else keeps what the way before it wrote.
        let mut open: Vec<(Written, bool)> = vec![];
        let mut said: BTreeSet<Sym> = BTreeSet::new();
        for (k, c) in p.commands.iter().enumerate() {
            let at = || format!("command {k}: {c}");
            let (reads, writes) = c.accesses();
            for b in &reads {
                self.buffer(b, &written, at);
            }
            for b in &writes {
                match b {
                    BufferRef::Local(l) => self.check(written.locals.contains(l), at, || format!("no loop around it defines local {l}")),
                    BufferRef::Arena(s) => match written.slots.get_mut(*s as usize) {
                        Some(w) => *w = true,
                        None => self.check(false, at, || format!("slot {s} does not exist")),
                    },
                    BufferRef::Output(k) => match written.outputs.get_mut(*k as usize) {
                        Some(w) if p.outputs.get(*k as usize).is_some_and(|(_, place)| place == b) => *w = true,
                        _ => self.check(false, at, || format!("output {k} has no memory of its own")),
                    },
                    BufferRef::Input(_) | BufferRef::Const { .. } => {
                        self.check(false, at, || format!("writes to {b}, which must not change"))
                    }
                }
            }
            match c {
                Command::Dispatch { kernel, buffers, reads, dims, grid, grain, scratch, bytes, .. } => {
                    for d in dims.iter().chain(bytes).chain([grid, grain, scratch]) {
                        self.size(d, at);
                        let unsaid = counts_of(&p.symbols, d).into_iter().find(|s| !said.contains(s));
                        self.check(unsaid.is_none(), at, || format!("no command before it says the size {d}"));
                    }
                    self.check(*reads as usize <= buffers.len(), at, || "reads more buffers than it has".into());
                    let counted = bytes.is_empty() || bytes.len() == buffers.len();
                    self.check(counted, at, || format!("{} buffers have {} sizes", buffers.len(), bytes.len()));
                    let Some(func) = p.kernels.get(*kernel as usize) else {
                        self.check(false, at, || format!("kernel {kernel} does not exist"));
                        continue;
                    };
                    let params: Vec<LoopType> = func.body.args.iter().filter_map(|a| func.types.get(a.index()).copied()).collect();
                    let pointers = params.iter().filter(|t| matches!(t, LoopType::Ptr(..))).count();
                    let indices = params.iter().filter(|t| matches!(t, LoopType::Index)).count();
                    self.check(pointers == buffers.len(), at, || format!("@{} takes {pointers} buffers", func.name));
                    self.check(indices == dims.len(), at, || format!("@{} takes {indices} dims", func.name));
                    let other = pointers + indices != func.body.args.len();
                    self.check(!other, at, || format!("@{} has parameters that are neither buffers nor dims", func.name));
                }
                Command::Copy { bytes, .. } => self.size(bytes, at),
                Command::Size { size, .. } => {
                    self.size(size, at);
                    said.extend(counted(&p.symbols, size).cloned());
                }
                Command::If { .. } => open.push((written.clone(), false)),
                Command::Else => {
                    if let Some((before, _)) = open.pop() {
                        open.push((std::mem::replace(&mut written, before), true));
                    }
                }
                Command::Loop(l) => {
                    l.sizes().for_each(|d| self.size(d, at));
                    // It may run not once.
                    open.push((written.clone(), false));
                    written.locals.extend(l.locals());
                }
                Command::End => match open.pop() {
                    Some((then, true)) => written.meet(&then),
                    Some((before, false)) => written = before,
                    None => {}
                },
            }
        }
        for (k, (port, b)) in p.outputs.iter().enumerate() {
            self.buffer(b, &written, || format!("output \"{}\"", port.name));
            let other = matches!(b, BufferRef::Output(o) if *o as usize != k);
            self.check(!other, || format!("output \"{}\"", port.name), || format!("lies in {b}, the memory of another output"));
            port.ty.shape.iter().for_each(|d| self.size(d, || format!("output \"{}\"", port.name)));
        }
    }

    fn bytes_of(&self, b: &Binding, buffer: &BufferRef) -> Option<i64> {
        let p = self.p;
        match buffer {
            BufferRef::Arena(k) => p.slot(*k).and_then(|s| b.eval(&s.bytes).ok()),
            BufferRef::Input(k) => p.inputs.get(*k as usize).and_then(|i| b.eval(&i.ty.bytes()).ok()),
            BufferRef::Output(k) => p.outputs.get(*k as usize).and_then(|(port, _)| b.eval(&port.ty.bytes()).ok()),
            BufferRef::Const { id, offset } => {
                p.constant(*id).and_then(|c| i64::try_from((c.bytes.len() as u64).checked_sub(*offset)?).ok())
            }
            BufferRef::Local(_) => None,
        }
    }

    /// Is slot `k` written, by itself or part by part?
    fn whole(&self, k: u32, written: &Written, depth: usize) -> bool {
        if written.slots.get(k as usize).is_none_or(|w| *w) {
            return true;
        }
        let mut parts = self.parts(k).peekable();
        depth < self.p.slots.len() && parts.peek().is_some() && parts.all(|part| self.whole(part, written, depth + 1))
    }

    /// The slots that lie directly within slot `k`.
    fn parts(&self, k: u32) -> impl Iterator<Item = u32> {
        self.p.slots.iter().enumerate().filter(move |(_, s)| s.within == Some(k)).map(|(part, _)| part as u32)
    }

    /// A buffer that is read.
    fn buffer(&mut self, b: &BufferRef, written: &Written, at: impl Fn() -> String) {
        match b {
            BufferRef::Input(k) => self.check((*k as usize) < self.p.inputs.len(), at, || format!("input {k} does not exist")),
            BufferRef::Const { id, offset } => {
                let len = self.p.constant(*id).map(|c| c.bytes.len() as u64);
                self.check(len.is_some_and(|len| *offset <= len), at, || format!("there is no {b}"));
            }
            BufferRef::Arena(k) => {
                self.check(self.p.slot(*k).is_some(), &at, || format!("slot {k} does not exist"));
                self.check(self.whole(*k, written, 0), at, || format!("slot {k} is read before anything is written there"));
            }
            BufferRef::Local(k) => self.check(written.locals.contains(k), at, || format!("no loop around it defines local {k}")),
            BufferRef::Output(k) => match written.outputs.get(*k as usize) {
                None => self.check(false, at, || format!("output {k} does not exist")),
                Some(w) => self.check(*w, at, || format!("output {k} is read before anything is written there")),
            },
        }
    }

    fn eval(&mut self, b: &Binding, d: &Dim, at: impl FnOnce() -> String) -> Option<i64> {
        match b.eval(d) {
            Ok(v) if v >= 0 => Some(v),
            Ok(v) => {
                self.check(false, at, || format!("`{d}` is {v} {}", with(b)));
                None
            }
            // Sizes past 64 bits are refused at run time; they are no fault of the plan.
            Err(_) => None,
        }
    }

    fn places(&mut self, b: &Binding) {
        let p = self.p;
        let Some(arena) = self.eval(b, &p.arena_bytes, || "arena".into()) else { return };
        let mut at = vec![];
        for (k, s) in p.slots.iter().enumerate() {
            let Some(offset) = self.eval(b, &s.offset, || format!("slot {k}")) else { return };
            let Some(bytes) = self.eval(b, &s.bytes, || format!("slot {k}")) else { return };
            let aligned = s.within.is_some() || offset % ALIGN == 0;
            self.check(aligned, || format!("slot {k}"), || format!("offset {offset} is not aligned {}", with(b)));
            let inside = offset.checked_add(bytes).is_some_and(|end| end <= arena);
            self.check(inside, || format!("slot {k}"), || format!("{bytes} bytes at {offset} leave an arena of {arena} {}", with(b)));
            at.push((offset, bytes));
        }
        let lives = lives(p);
        let alive: Vec<_> = lives.iter().enumerate().filter_map(|(k, l)| Some((k, (*l)?, *at.get(k)?))).collect();
        for (n, (j, life, (offset, bytes))) in alive.iter().enumerate() {
            for (k, other, (o, s)) in alive.iter().take(n) {
                if !life.overlaps(other) || offset.saturating_add(*bytes) <= *o || o.saturating_add(*s) <= *offset {
                    continue;
                }
                let (a, b_) = (*j as u32, *k as u32);
                if around(p, a).any(|w| w == b_) || around(p, b_).any(|w| w == a) {
                    continue;
                }
                // In place: a command may write exactly where it reads for the last time.
                let hands_over = life.hands_over_to(other) || other.hands_over_to(life);
                let in_place = hands_over && offset == o;
                self.check(
                    in_place || *bytes == 0 || *s == 0,
                    || format!("slot {j}"),
                    || format!("{bytes} bytes at {offset} overlap slot {k}, {s} bytes at {o}, alive at the same time {}", with(b)),
                );
            }
        }
        self.parts_fit(b, &at);
        for (k, c) in p.commands.iter().enumerate() {
            let needs: Vec<(BufferRef, Dim)> = match c {
                Command::Dispatch { buffers, bytes, .. } => buffers.iter().copied().zip(bytes.iter().cloned()).collect(),
                Command::Loop(l) => {
                    let carried = l.carried.iter().flat_map(|c| [c.initial, c.result, c.spare].map(|b| (b, c.bytes.clone())));
                    carried.chain(l.moving.iter().map(|m| (m.base, &m.step * &l.trips))).collect()
                }
                Command::Copy { .. } | Command::Size { .. } | Command::If { .. } | Command::Else | Command::End => vec![],
            };
            for (buffer, need) in &needs {
                let at = || format!("command {k}: {c}");
                let Some(need) = self.eval(b, need, at) else { continue };
                let have = self.bytes_of(b, buffer);
                self.check(have.is_none_or(|have| need <= have), at, || format!("binds {need} bytes, more than {buffer} has {}", with(b)));
            }
        }
        for (port, buffer) in &p.outputs {
            let at = || format!("output \"{}\"", port.name);
            let Some(need) = self.eval(b, &port.ty.bytes(), at) else { continue };
            let have = self.bytes_of(b, buffer);
            self.check(have.is_some_and(|have| need <= have), at, || format!("has {need} bytes, more than {buffer} {}", with(b)));
        }
    }
}

impl Verifier<'_> {
    /// Parts lie inside of what they are parts of, where their elements may lie; and what is written by its parts alone is all theirs.
    fn parts_fit(&mut self, b: &Binding, places: &[(i64, i64)]) {
        let p = self.p;
        let mut direct = vec![false; p.slots.len()];
        for (k, c) in p.commands.iter().enumerate() {
            for buffer in c.accesses().1 {
                if let BufferRef::Arena(s) = buffer
                    && let Some(d) = direct.get_mut(s as usize)
                {
                    *d = true;
                }
            }
            let Command::Dispatch { kernel, buffers, .. } = c else { continue };
            let types = p.kernels.get(*kernel as usize).into_iter().flat_map(|f| f.body.args.iter().map(|a| f.types.get(a.index())));
            for (buffer, ty) in buffers.iter().zip(types) {
                let (BufferRef::Arena(s), Some(LoopType::Ptr(dtype, _))) = (buffer, ty) else { continue };
                let aligned = places.get(*s as usize).is_none_or(|(offset, _)| offset % (dtype.size().max(1) as i64) == 0);
                self.check(aligned, || format!("command {k}: {c}"), || format!("{buffer} is not aligned to {dtype} {}", with(b)));
            }
        }
        let mut filled: Vec<Option<i64>> = vec![None; p.slots.len()];
        for (k, s) in p.slots.iter().enumerate() {
            let (Some(w), Some((offset, bytes))) = (s.within, places.get(k)) else { continue };
            let Some((o, n)) = places.get(w as usize) else { continue };
            let inside = o <= offset && offset.saturating_add(*bytes) <= o.saturating_add(*n);
            self.check(inside, || format!("slot {k}"), || format!("{bytes} bytes at {offset} leave slot {w} {}", with(b)));
            if let Some(f) = filled.get_mut(w as usize) {
                *f = Some(f.unwrap_or(0).saturating_add(*bytes));
            }
        }
        for (k, ((filled, (_, bytes)), direct)) in filled.iter().zip(places).zip(direct).enumerate() {
            let Some(filled) = filled.filter(|_| !direct) else { continue };
            self.check(filled == *bytes, || format!("slot {k}"), || format!("its parts have {filled} of {bytes} bytes {}", with(b)));
        }
    }
}

/// "with n = 3, h = 4"
fn with(b: &Binding) -> String {
    let values: Vec<_> = b.0.iter().map(|(s, v)| format!("{s} = {v}")).collect();
    if values.is_empty() { String::new() } else { format!("with {}", values.join(", ")) }
}
