//! Values and control flow. Inside a block loop all invocations run in lock step: a value has the lanes of each of them, and a mask
//! says who takes part.

use super::coop::Matrices;
use super::memory::{Array, Memory};
use super::race::Shadow;
use super::{InterpError, Run};
use crate::core::{OpSet, Scalar, Value};
use crate::loops::{Block, Func, LaneInfo, LoopKind, LoopType, Op, Operation};
use std::ops::Range;
use std::rc::Rc;

/// The most invocations of a workgroup.
const MAX_WIDTH: i64 = 1 << 16;

#[derive(Clone, Debug)]
pub(super) enum Held {
    Lanes(Lanes),
    Ptr(Memory),
    Coop(Matrices),
}

/// A scalar or vector, the same in all invocations or one after the other.
#[derive(Clone, Debug)]
pub(super) struct Lanes {
    pub data: Rc<Vec<Scalar>>,
    pub each: bool,
}

impl Lanes {
    pub fn uniform(data: Vec<Scalar>) -> Lanes {
        Lanes { data: Rc::new(data), each: false }
    }
    pub fn each(data: Vec<Scalar>) -> Lanes {
        Lanes { data: Rc::new(data), each: true }
    }
    /// Lane `k` of all invocations' lanes, of `n` an invocation.
    pub fn at(&self, k: usize, n: usize) -> Scalar {
        let k = if self.each { k } else { k % n };
        self.data.get(k).copied().unwrap_or(Scalar::Int(0))
    }
}

pub(super) struct Machine<'a, 'b> {
    pub f: &'a Func,
    pub memory: &'b mut [u8],
    pub places: &'b [Range<usize>],
    pub how: Run<'b>,
    pub values: Vec<Option<Held>>,
    pub scratch: Vec<u8>,
    pub written: Vec<bool>,
    pub arrays: Vec<Array>,
    /// How many invocations run at once, and which of them take part; `None`: all.
    pub width: usize,
    pub mask: Option<Rc<Vec<bool>>>,
    /// Who touched what, in kernels with a block loop.
    pub shadow: Option<Shadow>,
}

impl<'a, 'b> Machine<'a, 'b> {
    pub fn new(f: &'a Func, memory: &'b mut [u8], places: &'b [Range<usize>], how: Run<'b>) -> Result<Self, InterpError> {
        let shadow = Shadow::of(f, places);
        let (values, scratch, written) = (vec![None; f.types.len()], vec![0; how.scratch], vec![false; how.scratch]);
        let mut m = Machine { f, memory, places, how, values, scratch, written, arrays: vec![], width: 1, mask: None, shadow };
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
                    Held::Lanes(Lanes::uniform(vec![Scalar::Int(*x)]))
                }
                t => return Err(m.malformed(format!("parameter {v} is {t}"))),
            };
            m.set(*v, x);
        }
        Ok(m)
    }
    pub fn run(mut self) -> Result<(), InterpError> {
        self.ops(&self.f.body)
    }

    pub fn malformed(&self, message: String) -> InterpError {
        InterpError::Malformed { func: self.f.name.clone(), message }
    }
    pub fn ty(&self, v: Value) -> Result<LoopType, InterpError> {
        self.f.types.get(v.index()).copied().ok_or_else(|| self.malformed(format!("{v} has no type")))
    }
    fn set(&mut self, v: Value, x: Held) {
        if let Some(slot) = self.values.get_mut(v.index()) {
            *slot = Some(x);
        }
    }
    pub fn held(&self, v: Value) -> Result<&Held, InterpError> {
        self.values.get(v.index()).and_then(Option::as_ref).ok_or_else(|| self.malformed(format!("{v} is used before it is set")))
    }
    pub fn lanes(&self, v: Value) -> Result<&Lanes, InterpError> {
        match self.held(v)? {
            Held::Lanes(x) => Ok(x),
            Held::Ptr(_) => Err(self.malformed(format!("{v} is a pointer"))),
            Held::Coop(_) => Err(self.malformed(format!("{v} is a matrix"))),
        }
    }
    /// A number that all invocations agree on.
    fn int(&self, v: Value) -> Result<i64, InterpError> {
        let x = self.lanes(v)?;
        if x.each && self.width > 1 {
            return Err(self.malformed(format!("{v} differs between invocations")));
        }
        Ok(x.at(0, 1).as_i64())
    }
    pub fn takes_part(&self, invocation: usize) -> bool {
        self.mask.as_ref().is_none_or(|m| m.get(invocation).copied().unwrap_or(false))
    }
    /// All invocations must be here.
    fn together(&self, op: &Operation) -> Result<(), InterpError> {
        if self.mask.as_ref().is_none_or(|m| m.iter().all(|b| *b)) {
            return Ok(());
        }
        Err(self.divergence(op))
    }
    pub fn divergence(&self, op: &Operation) -> InterpError {
        InterpError::Divergence { func: self.f.name.clone(), op: op.op.info().mnemonic, loc: op.loc.to_string() }
    }

    fn ops(&mut self, block: &Block) -> Result<(), InterpError> {
        block.ops.iter().try_for_each(|op| self.op(op))
    }

    fn op(&mut self, op: &Operation) -> Result<(), InterpError> {
        let y = match (&op.op, op.operands.as_slice(), op.results.first()) {
            (Op::For { kind }, &[lo, hi, step, ref init @ ..], _) => return self.for_loop(op, *kind, [lo, hi, step], init),
            (Op::If {}, &[c], _) => return self.branch(op, c),
            (Op::Store {}, &[p, at, v], _) => return self.store(op, p, at, v),
            (Op::Atomic { f }, &[p, at, v], _) => return self.atomic(op, *f, p, at, v),
            (Op::Barrier {}, _, _) => {
                self.together(op)?;
                if let Some(s) = &mut self.shadow {
                    s.barrier();
                }
                return Ok(());
            }
            (Op::Load {}, &[p, at], Some(r)) => Held::Lanes(self.load(op, p, at, self.ty(*r)?)?),
            (Op::Scratch {}, &[x], _) => {
                if self.width > 1 {
                    return Err(self.malformed("several invocations share one scratch memory".into()));
                }
                Held::Ptr(Memory::Scratch(self.int(x)?))
            }
            (Op::Shared { dtype, len }, _, _) => {
                self.arrays.push(Array::new(*dtype, *len as usize));
                Held::Ptr(Memory::Array(self.arrays.len() - 1))
            }
            (Op::Bitcast {}, &[x], Some(_)) if matches!(self.held(x)?, Held::Ptr(_)) => self.held(x)?.clone(),
            (Op::Select {}, &[c, a, b], _) if matches!(self.held(a)?, Held::Ptr(_)) => {
                let taken = if self.int(c)? != 0 { a } else { b };
                self.held(taken)?.clone()
            }
            (Op::Subgroup { f }, &[x], Some(r)) => {
                self.together(op)?;
                let (d, x) = (self.ty(*r)?.dtype(), self.lanes(x)?);
                let size = self.subgroup();
                let sum = |first: usize| {
                    let end = (first + size).min(self.width);
                    (first + 1..end).fold(x.at(first, 1), |sum, k| f.eval(d, sum, x.at(k, 1)))
                };
                let sums: Vec<Scalar> = (0..self.width).step_by(size).map(sum).collect();
                Held::Lanes(Lanes::each((0..self.width).filter_map(|k| sums.get(k / size).copied()).collect()))
            }
            (Op::Lane { info }, _, Some(_)) => {
                let size = self.subgroup();
                let number = |k: usize| match info {
                    LaneInfo::Lane => k % size,
                    LaneInfo::Size => size,
                    LaneInfo::Subgroup => k / size,
                    LaneInfo::Count => self.width.div_ceil(size),
                };
                Held::Lanes(Lanes::each((0..self.width).map(|k| Scalar::Int(number(k) as i64)).collect()))
            }
            (Op::Splat {}, &[x], Some(r)) if matches!(self.ty(*r)?, LoopType::Coop(_)) => self.coop_fill(x, self.coop_type(*r)?)?,
            (Op::CoopLoad {}, &[p, at, stride], Some(r)) => self.coop_load(op, [p, at, stride], self.coop_type(*r)?)?,
            (Op::CoopMma {}, &[a, b, c], _) => self.coop_mma(op, [a, b, c])?,
            (Op::CoopStore {}, &[p, at, stride, v], _) => return self.coop_store(op, [p, at, stride], v),
            (_, _, Some(r)) => Held::Lanes(self.compute(op, *r)?),
            _ => return Err(self.malformed(format!("{} has the wrong operands", op.op.info().mnemonic))),
        };
        if let Some(r) = op.results.first() {
            self.set(*r, y);
        }
        Ok(())
    }
    pub fn subgroup(&self) -> usize {
        self.how.subgroup.max(1) as usize
    }

    fn branch(&mut self, op: &Operation, c: Value) -> Result<(), InterpError> {
        let [then, other] = op.regions.as_slice() else { return Err(self.malformed("if lacks a region".into())) };
        let c = self.lanes(c)?.clone();
        if !c.each {
            let taken = if c.at(0, 1).as_bool() { then } else { other };
            self.ops(taken)?;
            for (r, y) in op.results.iter().zip(&taken.yields) {
                let x = self.held(*y)?.clone();
                self.set(*r, x);
            }
            return Ok(());
        }
        let outer = self.mask.clone();
        let mut results: Vec<Option<Held>> = vec![None; op.results.len()];
        for (region, side) in [(then, true), (other, false)] {
            let mask: Vec<bool> = (0..self.width).map(|k| c.at(k, 1).as_bool() == side).collect();
            let mask: Vec<bool> = match &outer {
                Some(m) => mask.iter().zip(m.iter()).map(|(a, b)| *a && *b).collect(),
                None => mask,
            };
            if !mask.contains(&true) {
                continue;
            }
            let mask = Rc::new(mask);
            self.mask = Some(mask.clone());
            self.ops(region)?;
            for (slot, y) in results.iter_mut().zip(&region.yields) {
                *slot = Some(self.merged(slot.take(), *y, &mask)?);
            }
        }
        self.mask = outer;
        for (r, x) in op.results.iter().zip(results) {
            if let Some(x) = x {
                self.set(*r, x);
            }
        }
        Ok(())
    }

    /// `new` where the mask says so, else `old`.
    fn merged(&self, old: Option<Held>, new: Value, mask: &[bool]) -> Result<Held, InterpError> {
        let n = self.ty(new)?.lanes() as usize;
        match (old, self.held(new)?) {
            (Some(Held::Lanes(old)), Held::Lanes(new)) => {
                let pick = |k: usize| if mask.get(k / n).copied().unwrap_or(false) { new.at(k, n) } else { old.at(k, n) };
                Ok(Held::Lanes(Lanes::each((0..n * self.width).map(pick).collect())))
            }
            (Some(Held::Coop(old)), Held::Coop(new)) => {
                let here = |k: usize| mask.get(k * self.subgroup()).copied().unwrap_or(false);
                let pick = |(k, (old, new)): (usize, _)| if here(k) { Rc::clone(new) } else { old };
                Ok(Held::Coop(self.spread(&old).into_iter().zip(&self.spread(new)).enumerate().map(pick).collect()))
            }
            (_, new) => Ok(new.clone()),
        }
    }

    fn for_loop(&mut self, op: &Operation, kind: LoopKind, bounds: [Value; 3], init: &[Value]) -> Result<(), InterpError> {
        let body = op.regions.first().ok_or_else(|| self.malformed("for lacks a region".into()))?;
        let Some((counter, args)) = body.args.split_first() else { return Err(self.malformed("for lacks a counter".into())) };
        let mut differs = false;
        for v in bounds {
            differs |= self.lanes(v)?.each;
        }
        let carried = init.iter().map(|v| self.held(*v).cloned()).collect::<Result<Vec<_>, _>>()?;
        if differs {
            return self.masked_loop(op, body, bounds, carried);
        }
        let [lo, hi, step] = bounds;
        let (mut lo, mut hi, step) = (self.int(lo)?, self.int(hi)?, self.int(step)?);
        if step < 1 {
            return Err(self.malformed(format!("a loop steps by {step}")));
        }
        if kind == LoopKind::Block {
            return self.block_loop(body, *counter, hi);
        }
        if let (LoopKind::Grid, Some(grid)) = (kind, self.how.grid) {
            (lo, hi) = grid;
        }
        let mut carried = carried;
        let mut at = lo;
        while at < hi {
            if kind == LoopKind::Grid {
                self.written.fill(false);
                self.arrays.iter_mut().for_each(Array::forget);
                if let Some(s) = &mut self.shadow {
                    s.workgroup();
                }
            }
            self.set(*counter, Held::Lanes(Lanes::uniform(vec![Scalar::Int(at)])));
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

    /// All invocations of the workgroup.
    fn block_loop(&mut self, body: &Block, counter: Value, width: i64) -> Result<(), InterpError> {
        if !(1..=MAX_WIDTH).contains(&width) || self.width > 1 {
            return Err(self.malformed(format!("a workgroup of {width} invocations")));
        }
        self.width = width as usize;
        let ids: Vec<Scalar> = (0..width).map(Scalar::Int).collect();
        self.set(counter, Held::Lanes(if width > 1 { Lanes::each(ids) } else { Lanes::uniform(ids) }));
        self.ops(body)?;
        self.width = 1;
        Ok(())
    }

    /// A loop that invocations run differently often: until all are done.
    fn masked_loop(&mut self, op: &Operation, body: &Block, bounds: [Value; 3], mut carried: Vec<Held>) -> Result<(), InterpError> {
        let [mut at, mut hi, mut step]: [Vec<i64>; 3] = [vec![], vec![], vec![]];
        for (to, v) in [&mut at, &mut hi, &mut step].into_iter().zip(bounds) {
            let x = self.lanes(v)?;
            *to = (0..self.width).map(|k| x.at(k, 1).as_i64()).collect();
        }
        let Some((counter, args)) = body.args.split_first() else { return Ok(()) };
        let outer = self.mask.clone();
        loop {
            let runs = |(k, (a, h)): (usize, (&i64, &i64))| a < h && outer.as_ref().is_none_or(|m| m.get(k) == Some(&true));
            let mask: Vec<bool> = at.iter().zip(&hi).enumerate().map(runs).collect();
            if !mask.contains(&true) {
                break;
            }
            let mask = Rc::new(mask);
            self.mask = Some(mask.clone());
            self.set(*counter, Held::Lanes(Lanes::each(at.iter().map(|a| Scalar::Int(*a)).collect())));
            for (v, x) in args.iter().zip(&carried) {
                self.set(*v, x.clone());
            }
            self.ops(body)?;
            for (slot, y) in carried.iter_mut().zip(&body.yields) {
                *slot = self.merged(Some(slot.clone()), *y, &mask)?;
            }
            for (a, s) in at.iter_mut().zip(&step) {
                if *s < 1 {
                    return Err(self.malformed(format!("a loop steps by {s}")));
                }
                *a = a.saturating_add(*s);
            }
        }
        self.mask = outer;
        for (v, x) in op.results.iter().zip(carried) {
            self.set(*v, x);
        }
        Ok(())
    }
}
