//! Barriers from dependences: where an invocation may touch what another wrote, or write what another touched, since the last
//! barrier. Each stands before the first op that depends, in control flow that is the same for all invocations.

use super::facts::{Facts, block_loop, defined_in};
use super::footprint::{Footprint, footprint};
use odc_ir::core::{Loc, OpSet, Value};
use odc_ir::loops::{Block, Func, LoopKind, LoopType, Op, Operation, Space};
use std::collections::BTreeSet;
use std::rc::Rc;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BarrierError {
    #[error(
        "@{func}: {op} ({loc}) depends on {other} ({other_loc}) of another invocation, both in control flow that differs between invocations, where no barrier may stand; move one of them out"
    )]
    Divergent { func: String, op: &'static str, loc: String, other: &'static str, other_loc: String },
}

/// Inserts the barriers that the kernel's block loop needs; a kernel without one needs none.
pub fn barriers(func: &mut Func) -> Result<(), BarrierError> {
    let old = func.clone();
    let facts = Facts::new(&old);
    let Some(block) = block_loop(&old).filter(|_| facts.width > 1).and_then(|op| op.regions.first()) else { return Ok(()) };
    let mut pass = Pass { facts, shared: BTreeSet::new() };
    pass.find_shared(&old.body);
    let mut before = vec![];
    old.body.ops.iter().chain(old.body.ops.last().and_then(|g| g.regions.first()).into_iter().flat_map(|g| &g.ops)).for_each(|op| {
        if !matches!(op.op, Op::For { kind: LoopKind::Grid | LoopKind::Block }) {
            pass.accesses(op, &mut vec![], &mut before);
        }
    });
    let (ops, _) = pass.block(block, before, &mut vec![])?;
    let body = func.body.ops.last_mut().and_then(|g| g.regions.first_mut()).and_then(|g| g.ops.last_mut());
    if let Some(b) = body.and_then(|b| b.regions.first_mut()) {
        b.ops = ops;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Atomic,
}

/// One op that touches memory of interest.
#[derive(Clone)]
struct Access<'a> {
    op: &'a Operation,
    kind: Kind,
    /// `None`: any memory.
    memory: Option<Value>,
    /// `None`: anything there.
    footprint: Option<Rc<Footprint>>,
}

impl Access<'_> {
    fn conflicts(&self, other: &Access<'_>) -> bool {
        let apart = matches!((self.memory, other.memory), (Some(a), Some(b)) if a != b);
        let harmless = matches!((self.kind, other.kind), (Kind::Read, Kind::Read) | (Kind::Atomic, Kind::Atomic));
        !apart
            && !harmless
            && match (&self.footprint, &other.footprint) {
                (Some(a), Some(b)) => a.meets(b),
                _ => true,
            }
    }
}

/// How a stretch of code looks from outside: what it touches before its first barrier, what after its last, and whether there is a
/// way through without one.
struct Summary<'a> {
    exposed: Vec<Access<'a>>,
    pending: Vec<Access<'a>>,
    through: bool,
}

type Guards = Vec<(Value, bool)>;

struct Pass<'a> {
    facts: Facts<'a>,
    /// Memory that invocations exchange values through: workgroup arrays, and buffers both read and written.
    shared: BTreeSet<Value>,
}

impl<'a> Pass<'a> {
    fn find_shared(&mut self, body: &'a Block) {
        let (mut read, mut written) = (BTreeSet::new(), BTreeSet::new());
        body.visit_ops(&mut |op| {
            let root = op.operands.first().and_then(|p| self.root(*p));
            match op.op {
                Op::Load {} | Op::CoopLoad {} => read.extend(root),
                Op::Store {} | Op::CoopStore {} => written.extend(root),
                Op::Atomic { .. } => {
                    read.extend(root);
                    written.extend(root);
                }
                _ => {}
            }
        });
        let array = |v: &Value| matches!(self.facts.func().types.get(v.index()), Some(LoopType::Ptr(_, Space::Workgroup)));
        self.shared = written.into_iter().filter(|v| read.contains(v) || array(v)).collect();
    }

    /// The parameter or array that a pointer leads to.
    fn root(&self, p: Value) -> Option<Value> {
        match self.facts.def(p) {
            super::facts::Def::Op(op) if matches!(op.op, Op::Bitcast {}) => op.operands.first().and_then(|x| self.root(*x)),
            super::facts::Def::Op(op) if !matches!(op.op, Op::Shared { .. }) => None,
            _ => Some(p),
        }
    }

    fn access(&self, op: &'a Operation, guards: &Guards) -> Option<Access<'a>> {
        let kind = match op.op {
            Op::Load {} | Op::CoopLoad {} => Kind::Read,
            Op::Store {} | Op::CoopStore {} => Kind::Write,
            Op::Atomic { .. } => Kind::Atomic,
            _ => return None,
        };
        let types = &self.facts.func().types;
        let ty = |v: Value| types.get(v.index()).copied();
        let (p, at) = (*op.operands.first()?, *op.operands.get(1)?);
        let Some(LoopType::Ptr(d, Space::Global | Space::Workgroup)) = ty(p) else { return None };
        let memory = self.root(p);
        if memory.is_some_and(|m| !self.shared.contains(&m)) {
            return None;
        }
        let value = op.operands.get(2).or(op.results.first()).and_then(|v| ty(*v));
        // Which invocation of its subgroup touches which element of a matrix, nobody knows.
        let together = matches!(op.op, Op::CoopLoad {} | Op::CoopStore {});
        let plain = !together && memory.and_then(ty).is_some_and(|t| t.dtype() == d);
        let print = || footprint(&self.facts, at, value.map_or(1, LoopType::lanes), guards).map(Rc::new);
        Some(Access { op, kind, memory, footprint: if plain { print() } else { None } })
    }

    /// All accesses of an op and its regions.
    fn accesses(&self, op: &'a Operation, guards: &mut Guards, out: &mut Vec<Access<'a>>) {
        out.extend(self.access(op, guards));
        for (k, r) in op.regions.iter().enumerate() {
            self.guarded(op, k, guards, &mut |s, guards| r.ops.iter().for_each(|o| s.accesses(o, guards, out)));
        }
    }

    /// Runs `f` with what holds in region `k` of `op`.
    fn guarded<R>(&self, op: &Operation, k: usize, guards: &mut Guards, f: &mut dyn FnMut(&Self, &mut Guards) -> R) -> R {
        let condition = op.operands.first().filter(|_| matches!(op.op, Op::If {}));
        guards.extend(condition.map(|c| (*c, k == 0)));
        let r = f(self, guards);
        if condition.is_some() {
            guards.pop();
        }
        r
    }

    /// The block with its barriers, where `entry` may have been touched on the way in since the last one.
    fn block(&self, block: &'a Block, entry: Vec<Access<'a>>, guards: &mut Guards) -> Result<(Vec<Operation>, Summary<'a>), BarrierError> {
        let mut sum = Summary { exposed: vec![], pending: entry, through: true };
        let mut ops = vec![];
        for op in &block.ops {
            let (op, inner) = self.op(op, guards)?;
            if inner.exposed.iter().any(|x| sum.pending.iter().any(|p| p.conflicts(x))) {
                ops.push(barrier(&op.loc));
                (sum.pending, sum.through) = (vec![], false);
            }
            if sum.through {
                sum.exposed.extend(inner.exposed);
            }
            if !inner.through {
                (sum.pending, sum.through) = (vec![], false);
            }
            sum.pending.extend(inner.pending);
            ops.push(op);
        }
        Ok((ops, sum))
    }

    fn op(&self, op: &'a Operation, guards: &mut Guards) -> Result<(Operation, Summary<'a>), BarrierError> {
        if matches!(op.op, Op::Barrier {}) {
            return Ok((op.clone(), Summary { exposed: vec![], pending: vec![], through: false }));
        }
        let mut all = vec![];
        if op.regions.is_empty() || !self.facts.uniform_control(op) {
            self.accesses(op, guards, &mut all);
            if !op.regions.is_empty() {
                self.refuse_divergent(op, &all)?;
            }
            return Ok((op.clone(), Summary { exposed: all.clone(), pending: all, through: true }));
        }
        let mut new = Operation { regions: vec![], ..op.clone() };
        let mut sum = Summary { exposed: vec![], pending: vec![], through: false };
        for (k, r) in op.regions.iter().enumerate() {
            let is_loop = matches!(op.op, Op::For { .. });
            let (ops, inner) = self.guarded(op, k, guards, &mut |s, guards| {
                if is_loop { s.loop_body(r, guards) } else { s.block(r, vec![], guards) }
            })?;
            new.regions.push(Block { args: r.args.clone(), ops, yields: r.yields.clone() });
            sum.exposed.extend(inner.exposed);
            sum.pending.extend(inner.pending);
            sum.through |= inner.through;
        }
        if matches!(op.op, Op::For { .. }) {
            // A loop that may run no iteration is a way through.
            sum.through |= self.facts.range(op).is_none_or(|(lo, hi, _)| lo >= hi);
        }
        Ok((new, sum))
    }

    /// A loop's body, whose end leads to its start.
    fn loop_body(&self, body: &'a Block, guards: &mut Guards) -> Result<(Vec<Operation>, Summary<'a>), BarrierError> {
        let mut entry: Vec<Access<'a>> = vec![];
        // Ends: no access enters twice.
        loop {
            let (ops, sum) = self.block(body, entry.clone(), guards)?;
            let known = entry.len();
            for a in self.next_iteration(body, &sum.pending) {
                if !entry.iter().any(|e| std::ptr::eq(e.op, a.op)) {
                    entry.push(a);
                }
            }
            if entry.len() == known {
                return Ok((ops, sum));
            }
        }
    }

    /// The accesses as a later iteration sees them: the values of this one are not the values of that.
    fn next_iteration(&self, body: &Block, accesses: &[Access<'a>]) -> Vec<Access<'a>> {
        let mut inside = BTreeSet::new();
        defined_in(body, &mut |v| {
            inside.insert(v);
        });
        let moved = |p: &Rc<Footprint>| p.base.iter().any(|(v, _)| inside.contains(v));
        accesses.iter().map(|a| Access { footprint: a.footprint.clone().filter(|p| !moved(p)), ..a.clone() }).collect()
    }

    /// Accesses that only a barrier inside `op`, which may hold none, would order.
    fn refuse_divergent(&self, op: &'a Operation, all: &[Access<'a>]) -> Result<(), BarrierError> {
        let fail = |a: &Access<'_>, b: &Access<'_>| BarrierError::Divergent {
            func: self.facts.func().name.clone(),
            op: b.op.op.info().mnemonic,
            loc: b.op.loc.to_string(),
            other: a.op.op.info().mnemonic,
            other_loc: a.op.loc.to_string(),
        };
        for (k, a) in all.iter().enumerate() {
            if let Some(b) = all.iter().skip(k + 1).find(|b| a.conflicts(b)) {
                return Err(fail(a, b));
            }
        }
        let mut stack = vec![op];
        while let Some(op) = stack.pop() {
            stack.extend(op.regions.iter().flat_map(|r| &r.ops));
            if let (Op::For { .. }, Some(body)) = (&op.op, op.regions.first()) {
                let mut inside = BTreeSet::new();
                body.visit_ops(&mut |o| {
                    inside.insert(std::ptr::from_ref(o));
                });
                let here: Vec<_> = all.iter().filter(|a| inside.contains(&std::ptr::from_ref(a.op))).cloned().collect();
                for a in self.next_iteration(body, &here) {
                    if let Some(b) = here.iter().find(|b| a.conflicts(b)) {
                        return Err(fail(&a, b));
                    }
                }
            }
        }
        Ok(())
    }
}

fn barrier(loc: &Loc) -> Operation {
    Operation { op: Op::Barrier {}, operands: vec![], results: vec![], regions: vec![], loc: loc.clone() }
}

#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
