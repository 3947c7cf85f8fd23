//! Runs a kernel on buffers, element by element: the oracle of loop IR. What compiled code would do silently is an error here: an
//! access outside a buffer, or a use of scratch memory that nothing wrote.

use super::{Block, Func, LoopKind, LoopType, Op, Operation};
use crate::core::{Binary, DType, OpSet, Scalar, Value};
use std::ops::Range;

/// A parameter's memory: little-endian elements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Buffer {
    pub dtype: DType,
    pub bytes: Vec<u8>,
}

impl Buffer {
    pub fn from_scalars(dtype: DType, data: impl IntoIterator<Item = Scalar>) -> Buffer {
        let mut bytes = vec![];
        data.into_iter().for_each(|s| s.write(dtype, &mut bytes));
        Buffer { dtype, bytes }
    }
    pub fn zeros(dtype: DType, n: usize) -> Buffer {
        Buffer { dtype, bytes: vec![0; n * dtype.size()] }
    }
    pub fn scalars(&self) -> Vec<Scalar> {
        self.bytes.chunks_exact(self.dtype.size()).filter_map(|b| Scalar::read(self.dtype, b)).collect()
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InterpError {
    #[error("@{func}: {op} ({loc}): {memory} has {size} elements of {dtype}, accessed at {offset}..{offset}+{lanes}")]
    OutOfBounds { func: String, op: &'static str, loc: String, memory: String, dtype: DType, size: usize, offset: i64, lanes: u32 },
    #[error("@{func}: {op} ({loc}): reads scratch byte {offset}, which nothing wrote in this iteration")]
    Uninitialised { func: String, op: &'static str, loc: String, offset: i64 },
    #[error("@{func}: {message}")]
    Malformed { func: String, message: String },
}

/// How a kernel is run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    pub dims: &'a [i64],
    /// Bytes of scratch memory.
    pub scratch: usize,
    /// The iterations of the grid that run; `None`: all that the kernel asks for.
    pub grid: Option<(i64, i64)>,
    /// Round `fma` once, as machines with the instruction do.
    pub fused: bool,
}

/// Runs `f` on its buffers, in place.
pub fn run(f: &Func, buffers: &mut [Buffer], how: Run<'_>) -> Result<(), InterpError> {
    let wanted = f.body.args.iter().filter_map(|v| match f.types.get(v.index()) {
        Some(LoopType::Ptr(d, _)) => Some(*d),
        _ => None,
    });
    for (k, (b, d)) in buffers.iter().zip(wanted).enumerate() {
        if b.dtype != d {
            let message = format!("buffer {k} holds {}, the kernel wants {d}", b.dtype);
            return Err(InterpError::Malformed { func: f.name.clone(), message });
        }
    }
    let (mut memory, mut places) = (vec![], vec![]);
    for b in buffers.iter() {
        let start = memory.len();
        memory.extend_from_slice(&b.bytes);
        places.push(start..memory.len());
    }
    let done = call(f, &mut memory, &places, how);
    for (b, place) in buffers.iter_mut().zip(places) {
        if let Some(bytes) = memory.get(place) {
            b.bytes.copy_from_slice(bytes);
        }
    }
    done
}

/// Runs `f` on places in one memory, one for each pointer parameter; they may coincide, as in a call that works in place.
pub fn call(f: &Func, memory: &mut [u8], places: &[Range<usize>], how: Run<'_>) -> Result<(), InterpError> {
    let (values, scratch, written) = (vec![None; f.types.len()], vec![0; how.scratch], vec![false; how.scratch]);
    let mut m = Machine { f, memory, places, how, values, scratch, written };
    let (mut pointers, mut sizes) = (0, 0);
    for v in &f.body.args {
        let x = match m.ty(*v)? {
            LoopType::Ptr(..) => {
                let place = m.places.get(pointers).ok_or_else(|| m.malformed(format!("buffer {pointers} is missing")))?;
                if place.start > place.end || place.end > m.memory.len() {
                    return Err(m.malformed(format!("buffer {pointers} leaves the memory")));
                }
                pointers += 1;
                Held::Ptr(Memory::Buffer(pointers - 1))
            }
            LoopType::Index => {
                let x = how.dims.get(sizes).ok_or_else(|| m.malformed(format!("size {sizes} is missing")))?;
                sizes += 1;
                Held::Lanes(vec![Scalar::Int(*x)])
            }
            t => return Err(m.malformed(format!("parameter {v} is {t}"))),
        };
        m.set(*v, x);
    }
    m.ops(&f.body)
}

#[derive(Clone, Copy, Debug)]
enum Memory {
    Buffer(usize),
    /// From this byte of scratch on.
    Scratch(i64),
}

#[derive(Clone, Debug)]
enum Held {
    Lanes(Vec<Scalar>),
    Ptr(Memory),
}

struct Machine<'a, 'b> {
    f: &'a Func,
    memory: &'b mut [u8],
    places: &'b [Range<usize>],
    how: Run<'b>,
    values: Vec<Option<Held>>,
    scratch: Vec<u8>,
    written: Vec<bool>,
}

impl Machine<'_, '_> {
    fn malformed(&self, message: String) -> InterpError {
        InterpError::Malformed { func: self.f.name.clone(), message }
    }
    fn ty(&self, v: Value) -> Result<LoopType, InterpError> {
        self.f.types.get(v.index()).copied().ok_or_else(|| self.malformed(format!("{v} has no type")))
    }
    fn set(&mut self, v: Value, x: Held) {
        if let Some(slot) = self.values.get_mut(v.index()) {
            *slot = Some(x);
        }
    }
    fn held(&self, v: Value) -> Result<&Held, InterpError> {
        self.values.get(v.index()).and_then(Option::as_ref).ok_or_else(|| self.malformed(format!("{v} is used before it is set")))
    }
    fn lanes(&self, v: Value) -> Result<&[Scalar], InterpError> {
        match self.held(v)? {
            Held::Lanes(x) => Ok(x),
            Held::Ptr(_) => Err(self.malformed(format!("{v} is a pointer"))),
        }
    }
    fn scalar(&self, v: Value) -> Result<Scalar, InterpError> {
        self.lanes(v)?.first().copied().ok_or_else(|| self.malformed(format!("{v} is empty")))
    }
    fn int(&self, v: Value) -> Result<i64, InterpError> {
        Ok(self.scalar(v)?.as_i64())
    }

    fn ops(&mut self, block: &Block) -> Result<(), InterpError> {
        block.ops.iter().try_for_each(|op| self.op(op))
    }

    fn op(&mut self, op: &Operation) -> Result<(), InterpError> {
        let y = match (&op.op, op.operands.as_slice(), op.results.first()) {
            (Op::For { kind }, &[lo, hi, step, ref init @ ..], _) => return self.for_loop(op, *kind, [lo, hi, step], init),
            (Op::If {}, &[c], _) => {
                let c = self.scalar(c)?.as_bool();
                let taken = op.regions.get(usize::from(!c)).ok_or_else(|| self.malformed("if lacks a region".into()))?;
                self.ops(taken)?;
                for (r, y) in op.results.iter().zip(&taken.yields) {
                    let x = self.held(*y)?.clone();
                    self.set(*r, x);
                }
                return Ok(());
            }
            (Op::Store {}, &[p, at, v], _) => return self.store(op, p, at, v),
            (Op::Load {}, &[p, at], Some(r)) => Held::Lanes(self.load(op, p, at, self.ty(*r)?)?),
            (Op::Scratch {}, &[x], _) => Held::Ptr(Memory::Scratch(self.int(x)?)),
            (Op::Bitcast {}, &[x], Some(_)) if matches!(self.held(x)?, Held::Ptr(_)) => self.held(x)?.clone(),
            (Op::Select {}, &[c, a, b], _) if self.lanes(c)?.len() == 1 => {
                let taken = if self.scalar(c)?.as_bool() { a } else { b };
                self.held(taken)?.clone()
            }
            (_, _, Some(r)) => Held::Lanes(self.pure(op, *r)?),
            _ => return Err(self.malformed(format!("{} has the wrong operands", op.op.info().mnemonic))),
        };
        if let Some(r) = op.results.first() {
            self.set(*r, y);
        }
        Ok(())
    }

    /// Ops on lanes.
    fn pure(&self, op: &Operation, r: Value) -> Result<Vec<Scalar>, InterpError> {
        let t = self.ty(r)?;
        let (d, n) = (t.dtype(), t.lanes() as usize);
        let xs = op.operands.iter().map(|v| self.lanes(*v)).collect::<Result<Vec<_>, _>>()?;
        let from = op.operands.first().map_or(Ok(t), |v| self.ty(*v))?.dtype();
        Ok(match (&op.op, xs.as_slice()) {
            (Op::Const { value }, _) => vec![value.wrap(d); n],
            (Op::Unary { f }, &[x]) => x.iter().map(|x| f.eval(from, *x)).collect(),
            (Op::Binary { f }, &[x, y]) => x.iter().zip(y).map(|(x, y)| f.eval(from, *x, *y)).collect(),
            (Op::Fma {}, &[x, y, z]) => x.iter().zip(y).zip(z).map(|((x, y), z)| self.fma(d, *x, *y, *z)).collect(),
            (Op::Select {}, &[c, x, y]) => c.iter().zip(x.iter().zip(y)).map(|(c, (x, y))| if c.as_bool() { *x } else { *y }).collect(),
            (Op::Cast {}, &[x]) => x.iter().map(|x| cast(from, d, *x)).collect(),
            (Op::Bitcast {}, &[x]) => {
                let mut bytes = vec![];
                x.iter().for_each(|x| x.write(from, &mut bytes));
                bytes.chunks_exact(d.size()).filter_map(|b| Scalar::read(d, b)).collect()
            }
            (Op::Splat {}, &[x]) => x.repeat(n),
            (Op::Extract { lane }, &[x]) => x.get(*lane as usize).copied().into_iter().collect(),
            (Op::Insert { lane }, &[x, s]) => {
                let mut x = x.to_vec();
                if let (Some(slot), Some(s)) = (x.get_mut(*lane as usize), s.first()) {
                    *slot = *s;
                }
                x
            }
            _ => return Err(self.malformed(format!("{} has the wrong operands", op.op.info().mnemonic))),
        })
    }

    fn fma(&self, d: DType, x: Scalar, y: Scalar, z: Scalar) -> Scalar {
        if !d.is_float() || !self.how.fused {
            return Binary::Add.eval(d, Binary::Mul.eval(d, x, y), z);
        }
        let (x, y, z) = (x.as_f64(), y.as_f64(), z.as_f64());
        match d {
            DType::F64 => Scalar::Float(x.mul_add(y, z)),
            // Half floats compute in f32, as the backends do.
            _ => Scalar::Float(f64::from((x as f32).mul_add(y as f32, z as f32))).wrap(d),
        }
    }

    fn for_loop(&mut self, op: &Operation, kind: LoopKind, bounds: [Value; 3], init: &[Value]) -> Result<(), InterpError> {
        let [lo, hi, step] = bounds;
        let (mut lo, mut hi, step) = (self.int(lo)?, self.int(hi)?, self.int(step)?);
        if let (LoopKind::Grid, Some(grid)) = (kind, self.how.grid) {
            (lo, hi) = grid;
        }
        let body = op.regions.first().ok_or_else(|| self.malformed("for lacks a region".into()))?;
        let Some((counter, args)) = body.args.split_first() else { return Err(self.malformed("for lacks a counter".into())) };
        if step < 1 {
            return Err(self.malformed(format!("a loop steps by {step}")));
        }
        let mut carried = init.iter().map(|v| self.held(*v).cloned()).collect::<Result<Vec<_>, _>>()?;
        let mut at = lo;
        while at < hi {
            if kind == LoopKind::Grid {
                self.written.fill(false);
            }
            self.set(*counter, Held::Lanes(vec![Scalar::Int(at)]));
            for (v, x) in args.iter().zip(carried) {
                self.set(*v, x);
            }
            self.ops(body)?;
            carried = body.yields.iter().map(|v| self.held(*v).cloned()).collect::<Result<Vec<_>, _>>()?;
            at = at.saturating_add(step);
        }
        for (v, x) in op.results.iter().zip(carried) {
            self.set(*v, x);
        }
        Ok(())
    }

    /// The memory behind a pointer and the bytes of an access there.
    fn place(&self, op: &Operation, p: Value, at: Value, d: DType, lanes: u32) -> Result<(Memory, Range<usize>), InterpError> {
        let Held::Ptr(memory) = *self.held(p)? else { return Err(self.malformed(format!("{p} is no pointer"))) };
        let offset = self.int(at)?;
        let (name, base, total) = match memory {
            Memory::Buffer(k) => {
                let index = self.f.body.args.iter().position(|a| *a == p).unwrap_or(k);
                let name = self.f.param_names.get(index).map_or("a buffer", String::as_str);
                (format!("\"{name}\""), 0, self.places.get(k).map_or(0, Range::len))
            }
            Memory::Scratch(base) => (format!("scratch from byte {base}"), base, self.scratch.len()),
        };
        let size = d.size() as i64;
        let start = offset.checked_mul(size).and_then(|o| o.checked_add(base));
        let end = start.and_then(|s| s.checked_add(size * i64::from(lanes)));
        match (start.and_then(|s| usize::try_from(s).ok()), end.and_then(|e| usize::try_from(e).ok())) {
            (Some(s), Some(e)) if e <= total && offset >= 0 => Ok((memory, s..e)),
            _ => Err(InterpError::OutOfBounds {
                func: self.f.name.clone(),
                op: op.op.info().mnemonic,
                loc: op.loc.to_string(),
                memory: name,
                dtype: d,
                size: total.saturating_sub(usize::try_from(base).unwrap_or(total)) / d.size(),
                offset,
                lanes,
            }),
        }
    }

    fn load(&self, op: &Operation, p: Value, at: Value, t: LoopType) -> Result<Vec<Scalar>, InterpError> {
        let d = t.dtype();
        let (memory, range) = self.place(op, p, at, d, t.lanes())?;
        let bytes = match memory {
            Memory::Buffer(k) => self.places.get(k).and_then(|b| self.memory.get(b.start..b.end)?.get(range)),
            Memory::Scratch(_) => {
                let fresh = range.clone().find(|k| !self.written.get(*k).copied().unwrap_or(false));
                if let Some(k) = fresh {
                    let (func, op, loc) = (self.f.name.clone(), op.op.info().mnemonic, op.loc.to_string());
                    return Err(InterpError::Uninitialised { func, op, loc, offset: k as i64 });
                }
                self.scratch.get(range)
            }
        };
        Ok(bytes.unwrap_or(&[]).chunks_exact(d.size()).filter_map(|b| Scalar::read(d, b)).collect())
    }

    fn store(&mut self, op: &Operation, p: Value, at: Value, v: Value) -> Result<(), InterpError> {
        let t = self.ty(v)?;
        let (memory, range) = self.place(op, p, at, t.dtype(), t.lanes())?;
        let mut bytes = vec![];
        self.lanes(v)?.iter().for_each(|s| s.write(t.dtype(), &mut bytes));
        let to = match memory {
            Memory::Buffer(k) => self.places.get(k).and_then(|b| self.memory.get_mut(b.start..b.end)?.get_mut(range)),
            Memory::Scratch(_) => {
                if let Some(w) = self.written.get_mut(range.clone()) {
                    w.fill(true);
                }
                self.scratch.get_mut(range)
            }
        };
        if let Some(to) = to
            && to.len() == bytes.len()
        {
            to.copy_from_slice(&bytes);
        }
        Ok(())
    }
}

/// Conversion of value: 64-bit integers become floats by one rounding, and u64 is not negative.
fn cast(from: DType, to: DType, x: Scalar) -> Scalar {
    match (x, to) {
        (Scalar::Int(k), DType::F64) if from == DType::U64 => Scalar::Float(k as u64 as f64),
        (Scalar::Int(k), DType::F32 | DType::F16 | DType::BF16) => {
            let f = if from == DType::U64 { k as u64 as f32 } else { k as f32 };
            Scalar::Float(f64::from(f)).wrap(to)
        }
        (Scalar::Float(f), DType::F16 | DType::BF16) => Scalar::Float(f64::from(f as f32)).wrap(to),
        _ => x.wrap(to),
    }
}

#[cfg(test)]
mod tests;
