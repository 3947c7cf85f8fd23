//! The reference runner: executes a program's commands on one block of bytes. What is not alive is poisoned (all bits set: NaN in
//! every float), so that a wrong lifetime or a wrong place shows in the results.

use super::{BufferRef, Command, Life, Loop, Program, lives, structure};
use crate::core::{Binding, Dim, InterpError, TensorValue, bind_inputs, check_inputs, counted, counts_of};
use crate::loops::Func;
use crate::loops::interp::{Run, SUBGROUP, call};
use std::ops::Range;

const POISON: u8 = 0xFF;
/// Where buffers are bound by range, ranges are multiples of this many bytes.
const BINDING: usize = 16;
/// The most bytes that the runner allocates.
const MAX_BYTES: usize = 1 << 32;

/// Runs all grid items of a kernel: function, memory, the bytes of each pointer parameter (they may coincide), sizes.
pub type CallKernel<'a> = &'a mut dyn FnMut(&Func, &mut [u8], &[Range<usize>], Run<'_>) -> Result<(), InterpError>;

/// The outputs, in order, by the loop interpreter.
pub fn run(p: &Program, inputs: &[(String, TensorValue)]) -> Result<Vec<TensorValue>, InterpError> {
    run_with(p, inputs, &mut |f, memory, places, how| call(f, memory, places, how).map_err(|e| fail("kernel", e.to_string())))
}

/// The outputs, in order. `call` runs the kernels: the loop interpreter, or compiled code.
pub fn run_with(p: &Program, inputs: &[(String, TensorValue)], call: CallKernel<'_>) -> Result<Vec<TensorValue>, InterpError> {
    let params: Vec<_> = p.inputs.iter().map(|i| (i.name.as_str(), &i.ty)).collect();
    let (binding, bound) = bind_inputs(&p.symbols, &params, inputs)?;
    check_inputs(&p.in_range, inputs, &binding)?;
    for c in p.checks.iter().filter(|c| counts_of(&p.symbols, &c.size).is_empty()) {
        binding.size(&c.size)?;
    }
    let mut m = Memory::new(p, binding, &bound)?;
    let lives = lives(p);
    m.commands(&lives, call)?;
    let constant = m.bytes.get(..m.constant.len()) == Some(m.constant.as_slice());
    if !constant {
        return Err(fail("program", "a command wrote to an input or a constant"));
    }
    p.outputs.iter().map(|(port, b)| m.tensor(&port.ty, *b)).collect()
}

struct Memory<'p> {
    p: &'p Program,
    binding: Binding,
    /// Inputs, constants, then the arena.
    bytes: Vec<u8>,
    inputs: Vec<Range<usize>>,
    consts: Vec<Range<usize>>,
    /// Behind the arena.
    outputs: Vec<Range<usize>>,
    /// What lies before the arena, as it was.
    constant: Vec<u8>,
    /// What the loops around say now.
    locals: Vec<Range<usize>>,
}

/// A loop that runs.
struct Frame {
    at: usize,
    iteration: i64,
    trips: i64,
}

fn fail(op: &str, message: impl Into<String>) -> InterpError {
    InterpError::Op { op: op.into(), loc: "(program)".into(), message: message.into() }
}

impl<'p> Memory<'p> {
    fn new(p: &'p Program, binding: Binding, inputs: &[TensorValue]) -> Result<Self, InterpError> {
        let mut constant = vec![];
        let mut add = |data: &[u8]| {
            let start = constant.len();
            constant.extend_from_slice(data);
            constant.resize(constant.len().next_multiple_of(super::ALIGN as usize), POISON);
            start..start + data.len()
        };
        let inputs = inputs.iter().map(|t| add(&t.to_bytes())).collect();
        let consts = p.consts.iter().map(|c| add(&c.bytes)).collect();
        let arena = binding.size(&p.arena_bytes)?;
        let too_many = || fail("arena", format!("{arena} bytes and the outputs are more than the runner allocates"));
        let mut all = constant.len().checked_add(arena).filter(|n| *n <= MAX_BYTES).ok_or_else(too_many)?;
        let mut outputs = vec![];
        for (k, (port, b)) in p.outputs.iter().enumerate() {
            let own = *b == BufferRef::Output(k as u32);
            let start = all.next_multiple_of(super::ALIGN as usize);
            let end = start.checked_add(if own { binding.size(&port.ty.bytes())? } else { 0 });
            all = end.filter(|n| *n <= MAX_BYTES).ok_or_else(too_many)?;
            outputs.push(start..all);
        }
        all = all.next_multiple_of(super::ALIGN as usize);
        let mut bytes = constant.clone();
        bytes.resize(all, POISON);
        Ok(Memory { p, binding, bytes, inputs, consts, outputs, constant, locals: vec![] })
    }

    fn range(&self, b: BufferRef) -> Result<Range<usize>, InterpError> {
        let missing = || fail("buffer", format!("{b} does not exist or leaves its memory"));
        match b {
            BufferRef::Input(k) => self.inputs.get(k as usize).cloned().ok_or_else(missing),
            BufferRef::Const { id, offset } => {
                let r = self.consts.get(id.0 as usize).cloned().ok_or_else(missing)?;
                let start = usize::try_from(offset).ok().and_then(|o| r.start.checked_add(o));
                start.filter(|s| *s <= r.end).map(|s| s..r.end).ok_or_else(missing)
            }
            BufferRef::Arena(k) => {
                let slot = self.p.slot(k).ok_or_else(missing)?;
                let (at, len) = (self.binding.size(&slot.offset)?, self.binding.size(&slot.bytes)?);
                let start = self.constant.len().checked_add(at);
                let end = start.and_then(|s| s.checked_add(len)).filter(|e| *e <= self.bytes.len());
                Ok(start.ok_or_else(missing)?..end.ok_or_else(missing)?)
            }
            BufferRef::Output(k) => self.outputs.get(k as usize).cloned().ok_or_else(missing),
            BufferRef::Local(k) => self.locals.get(k as usize).cloned().ok_or_else(missing),
        }
    }

    fn poison(&mut self, lives: &[Option<Life>], which: impl Fn(&Life) -> bool) -> Result<(), InterpError> {
        for (k, _) in lives.iter().enumerate().filter(|(_, l)| l.as_ref().is_some_and(&which)) {
            let r = self.range(BufferRef::Arena(k as u32))?;
            if let Some(bytes) = self.bytes.get_mut(r) {
                bytes.fill(POISON);
            }
        }
        Ok(())
    }

    fn commands(&mut self, lives: &[Option<Life>], call: CallKernel<'_>) -> Result<(), InterpError> {
        let p = self.p;
        let structure = structure(&p.commands).map_err(|e| fail("program", e))?;
        let partner = |at: usize| structure.partner.get(at).copied().unwrap_or(at);
        let mut frames: Vec<Frame> = vec![];
        let mut at = 0;
        while let Some(c) = p.commands.get(at) {
            let mut next = at + 1;
            let start = at;
            self.poison(lives, |life| life.start == start)?;
            match c {
                Command::If { condition, .. } => {
                    if !self.bool(*condition)? {
                        next = partner(at) + 1;
                    }
                }
                Command::Else => next = partner(at) + 1,
                Command::Loop(l) => {
                    let frame = self.begin(l, at)?;
                    if self.iterate(l, &frame)? {
                        frames.push(frame);
                    } else {
                        at = partner(at);
                        next = at + 1;
                        self.finish(l)?;
                    }
                }
                Command::End => {
                    let of = partner(at);
                    if let (Some(Command::Loop(l)), Some(frame)) = (p.commands.get(of), frames.last_mut().filter(|f| f.at == of)) {
                        frame.iteration += 1;
                        for c in &l.carried {
                            self.turn(c)?;
                        }
                        if self.iterate(l, frame)? {
                            at = of + 1;
                            continue;
                        }
                        frames.pop();
                        self.finish(l)?;
                    }
                }
                Command::Dispatch { .. } | Command::Copy { .. } | Command::Size { .. } => self.command(c, call)?,
            }
            let end = at;
            self.poison(lives, |life| life.end == end)?;
            at = next;
        }
        Ok(())
    }

    fn bool(&self, b: BufferRef) -> Result<bool, InterpError> {
        let at = self.range(b)?.start;
        self.bytes.get(at).map(|x| *x != 0).ok_or_else(|| fail("condition", format!("{b} has no byte")))
    }

    fn local(&mut self, k: u32, r: Range<usize>) {
        let k = k as usize;
        if self.locals.len() <= k {
            self.locals.resize(k + 1, 0..0);
        }
        if let Some(slot) = self.locals.get_mut(k) {
            *slot = r;
        }
    }

    fn begin(&mut self, l: &Loop, at: usize) -> Result<Frame, InterpError> {
        let mut trips = self.binding.eval(&l.trips)?;
        if let Some(limit) = l.limit {
            let from = self.range(limit)?.start;
            let bytes = self.bytes.get(from..from + 8).and_then(|b| b.try_into().ok()).map(i64::from_le_bytes);
            trips = trips.min(bytes.ok_or_else(|| fail("loop", "its limit is no i64"))?);
        }
        if let Some(c) = &l.condition {
            let (from, to) = (self.range(c.initial)?.start, self.range(c.place)?.start);
            self.bytes.copy_within(from..from + 1, to);
        }
        for c in &l.carried {
            let first = if Loop::starts_at_result(trips) { c.result } else { c.spare };
            let (current, next) = (self.range(c.initial)?, self.range(first)?);
            self.local(c.current, current);
            self.local(c.next, next);
        }
        Ok(Frame { at, iteration: 0, trips })
    }

    /// What was written is read next, and what was read is written next: the result and the spare place in turn.
    fn turn(&mut self, c: &super::Carried) -> Result<(), InterpError> {
        let written = self.locals.get(c.next as usize).cloned().unwrap_or(0..0);
        let (result, spare) = (self.range(c.result)?, self.range(c.spare)?);
        let next = if written == result { spare } else { result };
        self.local(c.current, written);
        self.local(c.next, next);
        Ok(())
    }

    /// Makes the next iteration ready; is there one?
    fn iterate(&mut self, l: &Loop, frame: &Frame) -> Result<bool, InterpError> {
        let holds = l.condition.as_ref().map_or(Ok(true), |c| self.bool(c.place))?;
        if frame.iteration >= frame.trips || !holds {
            return Ok(false);
        }
        if let Some(b) = l.iteration {
            let to = self.range(b)?.start;
            if let Some(bytes) = self.bytes.get_mut(to..to + 8) {
                bytes.copy_from_slice(&frame.iteration.to_le_bytes());
            }
        }
        for m in &l.moving {
            let (base, step) = (self.range(m.base)?, self.binding.size(&m.step)?);
            let begin = usize::try_from(frame.iteration).ok().and_then(|i| i.checked_mul(step)).and_then(|o| o.checked_add(base.start));
            let place = begin.and_then(|b| Some(b..b.checked_add(step)?)).filter(|r| r.end <= base.end);
            self.local(m.local, place.ok_or_else(|| fail("loop", format!("iteration {} leaves {}", frame.iteration, m.base)))?);
        }
        Ok(true)
    }

    /// Carried values to where they are read from.
    fn finish(&mut self, l: &Loop) -> Result<(), InterpError> {
        for c in &l.carried {
            let (from, to, n) = (self.range(BufferRef::Local(c.current))?, self.range(c.result)?, self.binding.size(&c.bytes)?);
            if from != to {
                self.bytes.copy_within(from.start..from.start + n, to.start);
            }
        }
        Ok(())
    }

    fn command(&mut self, c: &Command, call: CallKernel<'_>) -> Result<(), InterpError> {
        match c {
            Command::If { .. } | Command::Else | Command::Loop(_) | Command::End => Ok(()),
            Command::Dispatch { kernel, buffers, dims, grid, scratch, bytes, loc, .. } => {
                let func = self.p.kernels.get(*kernel as usize);
                let func = func.ok_or_else(|| fail("dispatch", format!("kernel {kernel} does not exist")))?;
                let mut places = buffers.iter().map(|b| self.range(*b)).collect::<Result<Vec<_>, _>>()?;
                for (place, bytes) in places.iter_mut().zip(bytes) {
                    // A binding covers whole words; behind every buffer there are some bytes that are nobody's.
                    let end = place.start.checked_add(self.binding.size(bytes)?.next_multiple_of(BINDING));
                    place.end = end.filter(|e| *e <= self.bytes.len()).ok_or_else(|| fail("dispatch", "a binding leaves its memory"))?;
                }
                let dims = dims.iter().map(|d| self.binding.eval(d)).collect::<Result<Vec<_>, _>>()?;
                let items = self.binding.eval(grid)?;
                let scratch = self.binding.size(scratch)?;
                if scratch > MAX_BYTES {
                    return Err(fail("dispatch", format!("{scratch} bytes of scratch are more than the runner allocates")));
                }
                let how = Run { dims: &dims, scratch, grid: Some((0, items)), fused: true, subgroup: SUBGROUP };
                call(func, &mut self.bytes, &places, how).map_err(|e| match e {
                    InterpError::Op { op, message, .. } => InterpError::Op { op, loc: format!("@{} of {loc}", func.name), message },
                    other => other,
                })
            }
            Command::Copy { src, dst, bytes } => {
                let (from, to, n) = (self.range(*src)?, self.range(*dst)?, self.binding.size(bytes)?);
                if n > from.len() || n > to.len() {
                    return Err(fail("copy", format!("{n} bytes from {src} to {dst} leave their buffers")));
                }
                self.bytes.copy_within(from.start..from.start + n, to.start);
                Ok(())
            }
            Command::Size { size, from } => self.size(size, *from),
        }
    }

    fn size(&mut self, size: &Dim, from: BufferRef) -> Result<(), InterpError> {
        let at = self.range(from)?.start;
        let bytes = at.checked_add(8).and_then(|end| self.bytes.get(at..end)).and_then(|b| b.try_into().ok());
        let value = i64::from_le_bytes(bytes.ok_or_else(|| fail("size", format!("{from} holds no i64")))?);
        let symbols = &self.p.symbols;
        self.binding.learn(symbols, size, value)?;
        let Some(new) = counted(symbols, size) else { return Ok(()) };
        // Checks that speak of it wait for the last of their sizes.
        for c in self.p.checks.iter().filter(|c| c.size.uses(new)) {
            if counts_of(symbols, &c.size).iter().all(|s| self.binding.get(s).is_some()) {
                self.binding.size(&c.size)?;
            }
        }
        Ok(())
    }

    fn tensor(&self, ty: &crate::core::TensorType, b: BufferRef) -> Result<TensorValue, InterpError> {
        let shape = self.binding.shape(&ty.shape)?;
        let len = crate::core::checked_elements(&shape)? * ty.dtype.size();
        let start = self.range(b)?.start;
        let bytes = self.bytes.get(start..start + len);
        TensorValue::from_bytes(ty.dtype, &shape, bytes.ok_or_else(|| fail("output", format!("{b} is too small")))?)
    }
}
