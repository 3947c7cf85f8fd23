//! What is known of a GPU kernel's values: where each is defined, which are the same in all invocations of a workgroup, and how many
//! invocations there are.

use odc_ir::core::{Scalar, Value};
use odc_ir::loops::{Block, Func, LoopKind, Op, Operation};

/// What defines a value.
#[derive(Clone, Copy)]
pub enum Def<'a> {
    /// A parameter, or a value that a loop carries.
    Opaque,
    Op(&'a Operation),
    /// The counter of this loop.
    Counter(&'a Operation),
}

pub struct Facts<'a> {
    func: &'a Func,
    defs: Vec<Def<'a>>,
    uniform: Vec<bool>,
    /// Invocations of a workgroup, and the counter that tells them apart.
    pub width: i64,
    pub invocation: Option<Value>,
}

impl<'a> Facts<'a> {
    pub fn new(func: &'a Func) -> Self {
        let n = func.types.len();
        let mut facts = Facts { func, defs: vec![Def::Opaque; n], uniform: vec![true; n], width: 1, invocation: None };
        func.body.visit_ops(&mut |op| {
            for r in &op.results {
                // What a loop or a branch gives is not computed by an op that could be looked into.
                if op.regions.is_empty()
                    && let Some(d) = facts.defs.get_mut(r.index())
                {
                    *d = Def::Op(op);
                }
            }
            if let (Op::For { .. }, Some(counter)) = (&op.op, op.regions.first().and_then(|r| r.args.first()))
                && let Some(d) = facts.defs.get_mut(counter.index())
            {
                *d = Def::Counter(op);
            }
        });
        if let Some(op) = block_loop(func) {
            facts.invocation = op.regions.first().and_then(|r| r.args.first()).copied();
            facts.width = facts.range(op).map_or(1, |(_, hi, _)| hi);
        }
        while facts.spread(&func.body) {}
        facts
    }

    pub fn def(&self, v: Value) -> Def<'a> {
        self.defs.get(v.index()).copied().unwrap_or(Def::Opaque)
    }
    /// The same in all invocations of a workgroup.
    pub fn uniform(&self, v: Value) -> bool {
        self.uniform.get(v.index()).copied().unwrap_or(false)
    }
    pub fn func(&self) -> &'a Func {
        self.func
    }
    pub fn constant(&self, v: Value) -> Option<i64> {
        match self.def(v) {
            Def::Op(Operation { op: Op::Const { value: Scalar::Int(x) }, .. }) => Some(*x),
            _ => None,
        }
    }
    /// Bounds and step of a loop, if they are literals.
    pub fn range(&self, op: &Operation) -> Option<(i64, i64, i64)> {
        let at = |k: usize| op.operands.get(k).and_then(|v| self.constant(*v));
        Some((at(0)?, at(1)?, at(2).filter(|s| *s > 0)?))
    }
    /// All invocations run the op's regions, or none does, equally often.
    pub fn uniform_control(&self, op: &Operation) -> bool {
        let steering = if matches!(op.op, Op::For { .. }) { 3 } else { 1 };
        op.operands.iter().take(steering).all(|v| self.uniform(*v))
    }

    /// Marks what differs between invocations because something it is made of does; `true` if that was news.
    fn spread(&mut self, block: &Block) -> bool {
        let mut news = false;
        for op in &block.ops {
            let differs = |f: &Self, vs: &[Value]| vs.iter().any(|v| !f.uniform(*v));
            match &op.op {
                Op::For { kind } => {
                    let Some(body) = op.regions.first() else { continue };
                    let steered = !self.uniform_control(op);
                    if let Some((counter, carried)) = body.args.split_first() {
                        news |= (steered || *kind == LoopKind::Block) && self.mark(*counter);
                        for (k, arg) in carried.iter().enumerate() {
                            let sources = [op.operands.get(k + 3), body.yields.get(k)];
                            if steered || sources.into_iter().flatten().any(|v| !self.uniform(*v)) {
                                news |= self.mark(*arg);
                                news |= op.results.get(k).is_some_and(|r| self.mark(*r));
                            }
                        }
                    }
                    news |= self.spread(body);
                }
                Op::If {} => {
                    let steered = !self.uniform_control(op);
                    for (k, r) in op.results.iter().enumerate() {
                        if steered || op.regions.iter().filter_map(|b| b.yields.get(k)).any(|v| !self.uniform(*v)) {
                            news |= self.mark(*r);
                        }
                    }
                    for b in &op.regions {
                        news |= self.spread(b);
                    }
                }
                other => {
                    let reads = matches!(other, Op::Load {} | Op::Subgroup { .. } | Op::Lane { .. } | Op::CoopLoad {} | Op::CoopMma {});
                    if reads || differs(self, &op.operands) {
                        for r in &op.results {
                            news |= self.mark(*r);
                        }
                    }
                }
            }
        }
        news
    }
    fn mark(&mut self, v: Value) -> bool {
        self.uniform.get_mut(v.index()).is_some_and(|u| std::mem::replace(u, false))
    }
}

/// The loop over a workgroup's invocations.
pub fn block_loop(func: &Func) -> Option<&Operation> {
    let grid = func.body.ops.last().filter(|op| matches!(op.op, Op::For { kind: LoopKind::Grid }))?;
    grid.regions.first()?.ops.last().filter(|op| matches!(op.op, Op::For { kind: LoopKind::Block }))
}

/// Everything defined in a block, nested blocks included.
pub fn defined_in(block: &Block, f: &mut dyn FnMut(Value)) {
    block.args.iter().for_each(|v| f(*v));
    for op in &block.ops {
        op.results.iter().for_each(|v| f(*v));
        op.regions.iter().for_each(|r| defined_in(r, f));
    }
}
