//! Dispatch formation: views and maps are absorbed into what produces them, movement and cheap arithmetic into what reads them,
//! reductions by rows join their maps, and every group becomes one `dispatch` region: one kernel, one write of its results.
//!
//! Greedy and always-better: nothing is computed twice but index arithmetic and a few cheap element operations.

mod absorb;
mod gpu;
mod group;
mod inline;

use crate::{Gpu, Machine};
pub(crate) use group::by_row;
use odc_ir::core::{Block, Dim, Loc, Ranges, Sym, Symbol, Value, counted};
use odc_ir::tensor::{self, Func, Module, Op, Operation, Schedule};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// A function's ops while they merge: `None` once absorbed. Positions keep the order of execution.
struct Work {
    ops: Vec<Option<Operation>>,
    /// Positions of the ops that read each value; `OUTPUT` for the function's results.
    users: Vec<Vec<usize>>,
    func: Func,
    ranges: Ranges,
    symbols: BTreeMap<Sym, Symbol>,
    /// Values that say sizes which data decides, and these.
    counts: Vec<(Value, Sym)>,
    /// Limits, where kernels are for a GPU.
    gpu: Option<Gpu>,
}

const OUTPUT: usize = usize::MAX;

impl Work {
    fn new(mut func: Func, ranges: Ranges, symbols: BTreeMap<Sym, Symbol>, gpu: Option<Gpu>) -> Self {
        let ops: Vec<_> = std::mem::take(&mut func.body.ops).into_iter().map(Some).collect();
        let said = |(v, size): (Value, Dim)| Some((v, counted(&symbols, &size)?.clone()));
        let counts = func.sizes().filter_map(said).collect();
        let mut w = Work { ops, users: vec![], func, ranges, symbols, counts, gpu };
        w.count_users();
        w
    }

    fn count_users(&mut self) {
        self.users = vec![vec![]; self.func.types.len()];
        for (k, op) in self.ops.iter().enumerate() {
            for v in op.iter().flat_map(|o| &o.operands) {
                let u = &mut self.users[v.index()];
                if u.last() != Some(&k) {
                    u.push(k);
                }
            }
        }
        // What has a size that data decides comes after the number that says it, as if it read it.
        if !self.counts.is_empty() {
            for (k, op) in self.ops.iter().enumerate() {
                let Some(mentioned) = op.as_ref().map(|op| symbols_of(&self.func, op)) else { continue };
                for (v, _) in self.counts.iter().filter(|(_, s)| mentioned.contains(s)) {
                    let users = &mut self.users[v.index()];
                    if let Err(at) = users.binary_search(&k) {
                        users.insert(at, k);
                    }
                }
            }
        }
        for v in &self.func.body.yields {
            self.users[v.index()].push(OUTPUT);
        }
    }

    /// Does op `k` have a size whose value one of `members` says?
    fn sized_by(&self, members: &[usize], k: usize) -> bool {
        let said = |v: &Value| members.iter().filter_map(|m| self.ops[*m].as_ref()).any(|o| o.results.contains(v));
        let mut own = self.counts.iter().filter(|(v, _)| said(v)).peekable();
        let mentioned = || self.ops[k].as_ref().map(|op| symbols_of(&self.func, op)).unwrap_or_default();
        own.peek().is_some() && {
            let mentioned = mentioned();
            own.any(|(_, s)| mentioned.contains(s))
        }
    }

    fn shape(&self, v: Value) -> &[odc_ir::core::Dim] {
        &self.func.ty(v).shape
    }

    /// Position of the op that defines `v`; parameters have none.
    fn definitions(&self) -> Vec<Option<usize>> {
        let mut def = vec![None; self.func.types.len()];
        for (k, op) in self.ops.iter().enumerate() {
            for r in op.iter().flat_map(|o| &o.results) {
                def[r.index()] = Some(k);
            }
        }
        def
    }
}

/// Groups the ops of every function into dispatches, as the machine wants them.
pub fn fuse_for(module: &mut Module, machine: &Machine) {
    match machine {
        Machine::Cpu => fuse_with(module, None),
        Machine::Gpu(gpu) => fuse_with(module, Some(*gpu)),
    }
}

/// Groups the ops of every function into dispatches.
pub fn fuse(module: &mut Module) {
    fuse_with(module, None);
}

fn fuse_with(module: &mut Module, gpu: Option<Gpu>) {
    let (ranges, symbols) = (module.ranges(), module.symbols.clone());
    for func in &mut module.funcs {
        let name = func.name.clone();
        let mut w = Work::new(std::mem::replace(func, Func::new(&name)), ranges.clone(), symbols.clone(), gpu);
        loop {
            let before = w.ops.iter().flatten().count();
            absorb::absorb(&mut w);
            inline::inline(&mut w);
            remove_dead(&mut w);
            if w.ops.iter().flatten().count() == before {
                break;
            }
        }
        gpu::limit_operands(&mut w);
        if !w.counts.is_empty() {
            w.count_users();
        }
        let groups = group::group(&w);
        *func = wrap(w, &groups);
    }
}

/// The symbols of the op's sizes and of what it computes with; its axes among them.
fn symbols_of(func: &Func, op: &Operation) -> BTreeSet<Sym> {
    let found = RefCell::new(BTreeSet::new());
    let look = |d: &Dim| {
        d.visit_syms(&mut |s| {
            found.borrow_mut().insert(s.clone());
        });
        d.clone()
    };
    op.results.iter().chain(&op.operands).flat_map(|v| &func.ty(*v).shape).for_each(|d| drop(look(d)));
    let (axes, raxes, programs): (&[_], &[_], Vec<&tensor::Program>) = match &op.op {
        Op::Map { axes, body, .. } => (axes, &[], vec![body]),
        Op::Reduce { axes, raxes, body, epilogue, .. } => (axes, raxes, vec![body, epilogue]),
        Op::Scatter { axes, index, update } => (axes, &[], index.iter().chain([update]).collect()),
        Op::Loop { trips, .. } => {
            look(trips);
            (&[], &[], vec![])
        }
        Op::Constant { .. } | Op::View {} | Op::Dispatch { .. } | Op::If { .. } => (&[], &[], vec![]),
    };
    axes.iter().chain(raxes).for_each(|(_, d)| drop(look(d)));
    programs.iter().for_each(|p| drop(p.map_dims(&look)));
    found.into_inner()
}

fn remove_dead(w: &mut Work) {
    for k in (0..w.ops.len()).rev() {
        let dead = w.ops[k].as_ref().is_some_and(|o| o.results.iter().all(|r| w.users[r.index()].is_empty()));
        if dead && let Some(op) = w.ops[k].take() {
            for v in op.operands {
                w.users[v.index()].retain(|u| *u != k);
            }
        }
    }
}

/// Puts every group into a dispatch region at the place of its last op; constants and views stay outside.
fn wrap(mut w: Work, groups: &[Vec<usize>]) -> Func {
    let mut group_at = vec![None; w.ops.len()];
    for (g, members) in groups.iter().enumerate() {
        if let Some(last) = members.last() {
            group_at[*last] = Some(g);
        }
    }
    let mut out = vec![];
    let users = w.users.clone();
    for (k, g) in group_at.iter().enumerate() {
        if let Some(g) = *g {
            let members: Vec<Operation> = groups[g].iter().filter_map(|m| w.ops[*m].take()).collect();
            out.push(dispatch(&mut w.func, members, &groups[g], &users));
        } else if let Some(op) =
            w.ops[k].take_if(|o| matches!(o.op, Op::Constant { .. } | Op::View {} | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. }))
        {
            out.push(op);
        }
    }
    w.func.body.ops = out;
    w.func
}

/// One region of `members`; its results are what others read.
fn dispatch(func: &mut Func, members: Vec<Operation>, positions: &[usize], users: &[Vec<usize>]) -> Operation {
    let inner: Vec<Value> = members.iter().flat_map(|o| o.results.clone()).collect();
    let mut operands: Vec<Value> = vec![];
    for v in members.iter().flat_map(|o| &o.operands) {
        if !inner.contains(v) && !operands.contains(v) {
            operands.push(*v);
        }
    }
    let leaves = |v: &Value| users[v.index()].iter().any(|u| !positions.contains(u));
    let outer_results: Vec<Value> = inner.iter().copied().filter(leaves).collect();
    let mut rename = |v: Value| func.value(func.types[v.index()].clone());
    let args: Vec<Value> = operands.iter().map(|v| rename(*v)).collect();
    let inner_new: Vec<Value> = inner.iter().map(|v| rename(*v)).collect();
    let new = |v: &Value| {
        let outer = operands.iter().position(|o| o == v).map(|k| args[k]);
        outer.or_else(|| inner.iter().position(|o| o == v).map(|k| inner_new[k])).unwrap_or(*v)
    };
    let mut loc = Loc::none();
    let mut block = tensor::Block { args: args.clone(), ops: vec![], yields: outer_results.iter().map(new).collect() };
    for mut op in members {
        loc = loc.fuse(&op.loc);
        op.operands = op.operands.iter().map(new).collect();
        op.results = op.results.iter().map(new).collect();
        block.ops.push(op);
    }
    Operation { op: Op::Dispatch { schedule: Schedule::loops(0, 1) }, operands, results: outer_results, regions: vec![block], loc }
}

/// Does this block's op set hold a structured op at all? Used by tests and reports to count kernels.
pub fn dispatch_count(func: &Func) -> usize {
    count(&func.body)
}

fn count(b: &Block<tensor::Tensor>) -> usize {
    b.ops.iter().filter(|o| matches!(o.op, Op::Dispatch { .. })).count()
}

/// Drops operands that no load of a structured op reads.
pub(crate) fn tidy_operands(op: &mut Operation) {
    absorb::drop_unused_operands(op);
}
