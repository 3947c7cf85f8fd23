//! Dispatch formation: views and maps are absorbed into what produces them, movement and cheap arithmetic into what reads them,
//! reductions by rows join their maps, and every group becomes one `dispatch` region: one kernel, one write of its results.
//!
//! Greedy merging is always better: nothing is computed twice but index arithmetic and a few cheap element operations. For CPUs it is
//! where [`egraph`](crate::egraph) begins, which weighs all ways to merge.

mod absorb;
mod attention;
mod gate;
mod gpu;
mod group;
mod guards;
mod inline;
mod places;
mod why;

use crate::cost::{Place, Rates, func_time};
use crate::egraph::{self, Group, Report};
use crate::{Cpu, Gpu, Machine};
pub(crate) use absorb::{is_view, stored_as, with_epilogue};
pub(crate) use group::by_row;
pub(crate) use guards::known_of;
pub(crate) use inline::{Types, evaluated_at, is_contraction, read_once, scaled, substitutable, through_view};
use odc_ir::core::{Block, Dim, Loc, Ranges, Sym, Symbol, Value, counted};
use odc_ir::tensor::{self, Func, Module, Op, Operation, Schedule};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
pub use why::{Refusal, Way, Why, refusals};

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
    cpu: Cpu,
}

const OUTPUT: usize = usize::MAX;

impl Work {
    fn new(mut func: Func, ranges: Ranges, symbols: BTreeMap<Sym, Symbol>, machine: &Machine) -> Self {
        let (gpu, cpu) = (machine.gpu(), machine.cpu().unwrap_or(Cpu::BASELINE));
        let ops: Vec<_> = std::mem::take(&mut func.body.ops).into_iter().map(Some).collect();
        let said = |(v, size): (Value, Dim)| Some((v, counted(&symbols, &size)?.clone()));
        let counts = func.sizes().filter_map(said).collect();
        let mut w = Work { ops, users: vec![], func, ranges, symbols, counts, gpu, cpu };
        w.count_users();
        w
    }

    fn place(&self) -> Place<'_> {
        Place { ranges: &self.ranges, symbols: &self.symbols, cpu: self.cpu }
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

/// Who decides what becomes one kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Arm {
    /// Nobody: a kernel an op.
    Alone,
    /// What is always better, in order of execution.
    Greedy,
    /// Costs, over all that could be: never worse than greedy by the cost model.
    #[default]
    Choose,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub arm: Arm,
    /// Rules that [`Arm::Choose`] may use.
    pub groups: Vec<Group>,
    pub rates: Rates,
}

impl Default for Options {
    fn default() -> Self {
        Options { arm: Arm::default(), groups: Group::ALL.to_vec(), rates: Rates::CPU }
    }
}

/// A choice counts from half a percent on: predictions are no finer. Of forms that are nearer to each other the one of fewest dispatches
/// is taken: sizes that are only known at run time are most often small.
pub const WORTH: f64 = 0.995;

/// What [`Arm::Choose`] decided for one function.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub func: String,
    /// `None` where there is nothing to weigh: what data sizes keeps the order that it was given in.
    pub search: Option<Report>,
    /// Predicted nanoseconds of the dispatches, as greedy fusion forms them and as the search does.
    pub greedy: f64,
    pub chosen: f64,
    /// The dispatches of these.
    pub dispatches: [usize; 2],
    /// How often two products and what is between them became one kernel.
    pub attention: usize,
    /// How often a product became part of the one that reads it in its epilogue.
    pub gates: usize,
}

impl Decision {
    /// Was the search's result taken? Differences that the cost model cannot see are not worth another form of as many dispatches.
    pub fn taken(&self) -> bool {
        let [greedy, chosen] = self.dispatches;
        self.chosen < self.greedy * WORTH || chosen < greedy && self.chosen * WORTH <= self.greedy
    }
}

/// Groups the ops of every function into dispatches, as the machine wants them. Choices are made for CPUs only: fusion for GPUs is
/// greedy.
pub fn fuse_for(module: &mut Module, machine: &Machine, options: &Options) -> Vec<Decision> {
    let cpu = machine.cpu().unwrap_or(Cpu::BASELINE);
    let (ranges, symbols) = (module.ranges(), module.symbols.clone());
    let work = |f: Func| Work::new(f, ranges.clone(), symbols.clone(), machine);
    let time = |module: &Module, func: &Func| func_time(module, func, cpu, &options.rates);
    let mut decisions = vec![];
    for f in 0..module.funcs.len() {
        let func = std::mem::replace(&mut module.funcs[f], Func::new(""));
        if options.arm == Arm::Alone {
            let mut w = work(func);
            remove_dead(&mut w);
            module.funcs[f] = form(w, Groups::Alone);
            continue;
        }
        let mut greedy = work(func.clone());
        greedy.merge();
        let mut merged = greedy.into_func();
        module.funcs[f] = form(work(merged.clone()), Groups::Rows);
        if options.arm != Arm::Choose || machine.gpu().is_some() {
            continue;
        }
        let greedy = time(module, &module.funcs[f]);
        let count = dispatch_count(&module.funcs[f]);
        let name = module.funcs[f].name.clone();
        let mut d = Decision { func: name, search: None, greedy, chosen: greedy, dispatches: [count; 2], attention: 0, gates: 0 };
        let place = Place { ranges: &ranges, symbols: &symbols, cpu };
        let found = egraph::choose(&func, &merged, &place, &options.groups, &options.rates);
        let mut forms: Vec<_> = found
            .into_iter()
            .map(|(other, search)| {
                let formed = form(work(other.clone()), Groups::Rows);
                (time(module, &formed), dispatch_count(&formed), other, search, formed)
            })
            .collect();
        let least = forms.iter().map(|f| f.0).fold(greedy, f64::min);
        let far = |time: f64| time * WORTH > least;
        forms.sort_by(|a, b| far(a.0).cmp(&far(b.0)).then(a.1.cmp(&b.1)).then(a.0.total_cmp(&b.0)));
        if let Some((time, count, other, search, formed)) = forms.into_iter().next() {
            (d.chosen, d.dispatches[1], d.search) = (time, count, Some(search));
            if d.taken() {
                merged = other;
                module.funcs[f] = formed;
            }
        }
        let mut on = vec![];
        for join in [Group::Attention, Group::Gate].into_iter().filter(|g| options.groups.contains(g)) {
            on.push(join);
            let formed = form(work(merged.clone()), Groups::Products(&on));
            // What stays in scratch also needs no place in the arena: no loss is enough.
            let fewer = dispatch_count(&module.funcs[f]).saturating_sub(dispatch_count(&formed));
            if fewer == 0 || time(module, &formed) > time(module, &module.funcs[f]) {
                on.pop();
                continue;
            }
            module.funcs[f] = formed;
            // Attention joins three dispatches.
            if join == Group::Attention { d.attention = fewer / 2 } else { d.gates = fewer }
        }
        decisions.push(d);
    }
    decisions
}

/// Groups the ops of every function into dispatches, greedily.
pub fn fuse(module: &mut Module) {
    fuse_for(module, &Machine::CPU, &Options { arm: Arm::Greedy, ..Options::default() });
}

/// What becomes one dispatch of ops that were merged before.
enum Groups<'a> {
    /// Every op.
    Alone,
    /// Stages that share rows.
    Rows,
    /// These, and where they are switched on the products before and after them, and products that others read in their epilogues.
    Products(&'a [Group]),
}

fn form(mut w: Work, how: Groups<'_>) -> Func {
    gpu::limit_operands(&mut w);
    if !w.counts.is_empty() {
        w.count_users();
    }
    let groups = match how {
        Groups::Alone => group::alone(&w),
        Groups::Rows => group::group(&w),
        Groups::Products(on) => {
            let mut groups = group::group(&w);
            if on.contains(&Group::Attention) {
                groups = w.join_attention(groups);
            }
            if on.contains(&Group::Gate) {
                groups = w.join_gates(groups);
            }
            groups
        }
    };
    wrap(w, &groups)
}

impl Work {
    /// Greedy merging, until nothing changes.
    fn merge(&mut self) {
        loop {
            let before = self.ops.iter().flatten().count();
            absorb::absorb(self);
            inline::inline(self);
            remove_dead(self);
            if self.ops.iter().flatten().count() == before {
                break;
            }
        }
    }

    fn into_func(mut self) -> Func {
        self.func.body.ops = self.ops.into_iter().flatten().collect();
        self.func
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
