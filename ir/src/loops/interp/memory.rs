//! Loads, stores and atomics of one invocation after the other, and what may go wrong there.

use super::InterpError;
use super::machine::{Held, Lanes, Machine};
use super::race::{Kind, MANY};
use crate::core::{Binary, DType, OpSet, Scalar, Value};
use crate::loops::{LoopType, Operation};
use std::ops::Range;

#[derive(Clone, Copy, Debug)]
pub(super) enum Memory {
    Buffer(usize),
    /// From this byte of scratch on.
    Scratch(i64),
    /// Workgroup memory.
    Array(usize),
}

/// Memory that a workgroup shares.
pub(super) struct Array {
    dtype: DType,
    bytes: Vec<u8>,
    written: Vec<bool>,
    pub cells: super::race::Cells,
}

impl Array {
    pub fn new(dtype: DType, len: usize) -> Array {
        let bytes = len.saturating_mul(dtype.size());
        Array { dtype, bytes: vec![0; bytes], written: vec![false; bytes], cells: super::race::Cells::new(len) }
    }
    /// The next workgroup finds it undefined.
    pub fn forget(&mut self) {
        self.written.fill(false);
        self.cells = super::race::Cells::new(self.bytes.len() / self.dtype.size());
    }
}

impl Machine<'_, '_> {
    fn name(&self, p: Value, memory: Memory) -> String {
        match memory {
            Memory::Buffer(k) => {
                let index = self.f.body.args.iter().position(|a| *a == p).unwrap_or(k);
                format!("\"{}\"", self.f.param_names.get(index).map_or("a buffer", String::as_str))
            }
            Memory::Scratch(base) => format!("scratch from byte {base}"),
            Memory::Array(k) => format!("workgroup array {k}"),
        }
    }

    fn pointer(&self, p: Value) -> Result<Memory, InterpError> {
        match *self.held(p)? {
            Held::Ptr(memory) => Ok(memory),
            Held::Lanes(_) | Held::Coop(_) => Err(self.malformed(format!("{p} is no pointer"))),
        }
    }

    /// The bytes of an access, in its memory.
    pub fn place(&self, op: &Operation, p: Value, offset: i64, t: LoopType) -> Result<(Memory, Range<usize>), InterpError> {
        let (memory, d, lanes) = (self.pointer(p)?, t.dtype(), t.lanes());
        let (base, total) = match memory {
            Memory::Buffer(k) => (0, self.places.get(k).map_or(0, Range::len)),
            Memory::Scratch(base) => (base, self.scratch.len()),
            Memory::Array(k) => (0, self.arrays.get(k).map_or(0, |a| a.bytes.len())),
        };
        if self.shadow.is_some() && lanes > 1 && offset % i64::from(lanes) != 0 && !matches!(memory, Memory::Scratch(_)) {
            let (func, op, loc) = (self.f.name.clone(), op.op.info().mnemonic, op.loc.to_string());
            return Err(InterpError::Misaligned { func, op, loc, memory: self.name(p, memory), offset, lanes });
        }
        let size = d.size() as i64;
        let start = offset.checked_mul(size).and_then(|o| o.checked_add(base));
        let end = start.and_then(|s| s.checked_add(size * i64::from(lanes)));
        match (start.and_then(|s| usize::try_from(s).ok()), end.and_then(|e| usize::try_from(e).ok())) {
            (Some(s), Some(e)) if e <= total && offset >= 0 => Ok((memory, s..e)),
            _ => Err(InterpError::OutOfBounds {
                func: self.f.name.clone(),
                op: op.op.info().mnemonic,
                loc: op.loc.to_string(),
                memory: self.name(p, memory),
                dtype: d,
                size: total.saturating_sub(usize::try_from(base).unwrap_or(total)) / d.size(),
                offset,
                lanes,
            }),
        }
    }

    /// Notes that invocation `who` touches the bytes; an error if another did since the last barrier.
    pub fn touch(
        &mut self,
        op: &Operation,
        p: Value,
        memory: Memory,
        range: &Range<usize>,
        who: usize,
        kind: Kind,
    ) -> Result<(), InterpError> {
        let Some(shadow) = &mut self.shadow else { return Ok(()) };
        let found = match memory {
            Memory::Scratch(_) => None,
            Memory::Buffer(k) => {
                let base = self.places.get(k).map_or(0, |b| b.start);
                shadow.touch(base + range.start..base + range.end, who, kind).map(|at| at - base)
            }
            Memory::Array(k) => self.arrays.get_mut(k).and_then(|a| {
                let size = a.dtype.size();
                let cells = range.start / size..range.end.div_ceil(size);
                shadow.touch_cells(&mut a.cells, cells, who, kind).map(|c| c * size)
            }),
        };
        let Some(byte) = found else { return Ok(()) };
        let size = match self.ty(p)? {
            LoopType::Ptr(d, _) => d.size(),
            _ => 1,
        };
        let (func, op, loc) = (self.f.name.clone(), op.op.info().mnemonic, op.loc.to_string());
        Err(InterpError::Race { func, op, loc, memory: self.name(p, memory), offset: (byte / size) as i64 })
    }

    pub fn bytes(&self, op: &Operation, memory: Memory, range: Range<usize>) -> Result<&[u8], InterpError> {
        let (bytes, written) = match memory {
            Memory::Buffer(k) => {
                let found = self.places.get(k).and_then(|b| self.memory.get(b.start..b.end)?.get(range));
                return Ok(found.unwrap_or(&[]));
            }
            Memory::Scratch(_) => (&self.scratch, &self.written),
            Memory::Array(k) => match self.arrays.get(k) {
                Some(a) => (&a.bytes, &a.written),
                None => return Ok(&[]),
            },
        };
        if let Some(k) = range.clone().find(|k| !written.get(*k).copied().unwrap_or(false)) {
            let (func, op, loc) = (self.f.name.clone(), op.op.info().mnemonic, op.loc.to_string());
            return Err(InterpError::Uninitialised { func, op, loc, offset: k as i64 });
        }
        Ok(bytes.get(range).unwrap_or(&[]))
    }

    pub fn write(&mut self, memory: Memory, range: Range<usize>, bytes: &[u8]) {
        let (to, written) = match memory {
            Memory::Buffer(k) => (self.places.get(k).and_then(|b| self.memory.get_mut(b.start..b.end)?.get_mut(range)), None),
            Memory::Scratch(_) => (self.scratch.get_mut(range.clone()), self.written.get_mut(range)),
            Memory::Array(k) => match self.arrays.get_mut(k) {
                Some(a) => (a.bytes.get_mut(range.clone()), a.written.get_mut(range)),
                None => (None, None),
            },
        };
        if let Some(w) = written {
            w.fill(true);
        }
        if let Some(to) = to
            && to.len() == bytes.len()
        {
            to.copy_from_slice(bytes);
        }
    }

    /// Who makes an access that is the same for all.
    fn all(&self) -> usize {
        let n = (0..self.width).filter(|k| self.takes_part(*k)).count();
        // Before the block loop, every invocation makes it.
        if n > 1 || self.width == 1 && self.shadow.as_ref().is_some_and(|s| s.width > 1) {
            return MANY;
        }
        (0..self.width).find(|k| self.takes_part(*k)).unwrap_or(0)
    }

    pub fn load(&mut self, op: &Operation, p: Value, at: Value, t: LoopType) -> Result<Lanes, InterpError> {
        let (d, n) = (t.dtype(), t.lanes() as usize);
        let offsets = self.lanes(at)?.clone();
        let read = |m: &mut Self, offset: i64, who: usize, out: &mut Vec<Scalar>| -> Result<(), InterpError> {
            let (memory, range) = m.place(op, p, offset, t)?;
            m.touch(op, p, memory, &range, who, Kind::Read)?;
            out.extend(m.bytes(op, memory, range)?.chunks_exact(d.size()).filter_map(|b| Scalar::read(d, b)));
            Ok(())
        };
        let mut out = vec![];
        if !offsets.each {
            read(self, offsets.at(0, 1).as_i64(), self.all(), &mut out)?;
            return Ok(Lanes::uniform(out));
        }
        for k in 0..self.width {
            if self.takes_part(k) {
                read(self, offsets.at(k, 1).as_i64(), k, &mut out)?;
            }
            out.resize((k + 1) * n, Scalar::Int(0));
        }
        Ok(Lanes::each(out))
    }

    pub fn store(&mut self, op: &Operation, p: Value, at: Value, v: Value) -> Result<(), InterpError> {
        let t = self.ty(v)?;
        let (offsets, x, n) = (self.lanes(at)?.clone(), self.lanes(v)?.clone(), t.lanes() as usize);
        for k in (0..self.width).filter(|k| self.takes_part(*k)).collect::<Vec<_>>() {
            let (memory, range) = self.place(op, p, offsets.at(k, 1).as_i64(), t)?;
            self.touch(op, p, memory, &range, k, Kind::Write)?;
            let mut bytes = Vec::with_capacity(range.len());
            (k * n..(k + 1) * n).for_each(|j| x.at(j, n).write(t.dtype(), &mut bytes));
            self.write(memory, range, &bytes);
        }
        Ok(())
    }

    pub fn atomic(&mut self, op: &Operation, f: Binary, p: Value, at: Value, v: Value) -> Result<(), InterpError> {
        let t = self.ty(v)?;
        let (offsets, x, d) = (self.lanes(at)?.clone(), self.lanes(v)?.clone(), t.dtype());
        for k in (0..self.width).filter(|k| self.takes_part(*k)).collect::<Vec<_>>() {
            let (memory, range) = self.place(op, p, offsets.at(k, 1).as_i64(), t)?;
            self.touch(op, p, memory, &range, k, Kind::Atomic)?;
            let old = Scalar::read(d, self.bytes(op, memory, range.clone())?).unwrap_or(Scalar::Int(0));
            let mut bytes = vec![];
            f.eval(d, old, x.at(k, 1)).write(d, &mut bytes);
            self.write(memory, range, &bytes);
        }
        Ok(())
    }
}
