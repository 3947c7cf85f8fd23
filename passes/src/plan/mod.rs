//! Planning: a module of dispatches and their kernels becomes a program. Equal kernels are stored once, dispatches are ordered,
//! results that may overwrite a dying operand do, and every buffer gets its place in one arena whose size is an expression.
//!
//! Deterministic; inputs and constants are read where they are, and an output that is a view of one refers to it.

mod alias;
mod body;
mod dedup;
mod in_place;
mod most;
mod order;
mod pack;
mod peak;
mod report;
mod split;
mod stack;
mod values;

pub use peak::{peak, planned};
pub use report::{LiveBuffer, MemoryReport, report, report_at};
pub use split::{SplitError, split_large};

use dedup::Kernels;
use odc_ir::core::{Binding, Const, ConstId, Dim, Ranges};
use odc_ir::loops::LoopType;
use odc_ir::program::{ALIGN, BufferRef, Check, Command, Kernel, Port, Program, Slot, sample_bindings};
use odc_ir::tensor::{Func, Module, Op};
use pack::Item;
use std::collections::BTreeMap;
use values::{Call, Graph, Place};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("the module has no function to plan")]
    NoFunction,
    #[error("{op} ({loc}) stands outside of any dispatch; only constants and views may: fuse the module first")]
    NotDispatched { op: String, loc: String },
    #[error("{op} ({loc}) uses {value}, which nothing before it defines")]
    Undefined { op: String, loc: String, value: String },
    #[error("{dispatches} dispatches but {kernels} kernels: one each is needed, in order")]
    KernelCount { dispatches: usize, kernels: usize },
    #[error("kernel @{kernel} of {loc} takes {found} {what}; its dispatch has {expected}")]
    KernelParams { kernel: String, loc: String, what: &'static str, found: usize, expected: usize },
    #[error("{op} ({loc}) calls a function that does not exist or calls itself")]
    Callee { op: String, loc: String },
    #[error("{op} ({loc}): control flow that the target cannot run was left in the program")]
    Control { op: String, loc: String },
    #[error("a tensor that lies in one buffer with others ({loc}) {what}: copy it first")]
    Part { loc: String, what: String },
    #[error("the sizes of {what} overflow 64 bits or are too complex to plan with")]
    Size { what: String },
}

/// The least bytes that a binding takes: what the runtimes pad theirs to (`gpu/plan.rs`, `web/src/memory.ts`), which know no passes.
const BINDING: i64 = 16;

/// How a machine wants its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlanOptions {
    /// Every place in the arena starts at a multiple of it, itself a multiple of [`ALIGN`].
    pub align: i64,
    /// May a result take over the memory of an operand that dies?
    pub in_place: bool,
    /// Do outputs lie outside of the arena, each in memory of its own?
    pub outputs_apart: bool,
    /// Are buffers bound by range and mode? Then equal kernels with different modes are two, none is bound twice in one dispatch, and
    /// dispatches say how large each buffer is.
    pub split_access: bool,
}

impl PlanOptions {
    pub const CPU: PlanOptions = PlanOptions { align: ALIGN, in_place: true, outputs_apart: false, split_access: false };
    /// Offsets of bindings are multiples of 256, and what a dispatch writes it may not bind twice.
    pub const GPU: PlanOptions = PlanOptions { align: 256, in_place: false, outputs_apart: true, split_access: true };
}

/// Plans the first function of `module` and those that it calls for a CPU; `kernels` holds one for each dispatch of all functions,
/// in order.
pub fn plan(module: &Module, kernels: Vec<Kernel>) -> Result<Program, PlanError> {
    plan_with(module, kernels, &PlanOptions::CPU)
}

/// Plans the first function of `module` and those that it calls; `kernels` holds one for each dispatch of all functions, in order.
pub fn plan_with(module: &Module, kernels: Vec<Kernel>, options: &PlanOptions) -> Result<Program, PlanError> {
    let main = module.main().ok_or(PlanError::NoFunction)?;
    let ranges = module.ranges();
    let mut checks: Vec<Check> = vec![];
    let mut of: BTreeMap<&str, Vec<Kernel>> = BTreeMap::new();
    let count = kernels.len();
    let mut rest = kernels.into_iter();
    let mut dispatches = 0;
    for f in &module.funcs {
        let n = f.body.ops.iter().filter(|o| matches!(o.op, Op::Dispatch { .. })).count();
        dispatches += n;
        of.insert(&f.name, rest.by_ref().take(n).collect());
        for c in values::checks(&Graph::new(module, f)?, &ranges) {
            if !checks.iter().any(|k| k.size == c.size) {
                checks.push(c);
            }
        }
    }
    if dispatches != count {
        return Err(PlanError::KernelCount { dispatches, kernels: count });
    }
    let samples = sample_bindings(&module.symbols, &checks);
    let mut planner = Planner { module, of, ranges, samples, options: *options, ..Planner::new(module) };
    let f = planner.func(main, options.outputs_apart, 0)?;

    let mut p = Program::new(&module.name);
    p.symbols.clone_from(&module.symbols);
    p.checks = checks;
    p.in_range.clone_from(&module.in_range);
    p.consts = planner.consts;
    p.kernels = planner.distinct.funcs;
    p.notes = planner.distinct.notes;
    (p.commands, p.slots, p.arena_bytes) = (f.commands, f.slots, f.arena_bytes);
    (p.inputs, p.outputs) = (f.inputs, f.outputs);
    Ok(p)
}

/// A function's commands and places, with its own numbers of inputs, outputs, slots and locals.
struct FuncPlan {
    commands: Vec<Command>,
    slots: Vec<Slot>,
    arena_bytes: Dim,
    inputs: Vec<Port>,
    outputs: Vec<(Port, BufferRef)>,
    /// How many locals its loops define.
    locals: u32,
}

/// What all functions of a module share.
struct Planner<'m> {
    module: &'m Module,
    /// The kernels of each function, one for each dispatch, in order.
    of: BTreeMap<&'m str, Vec<Kernel>>,
    ranges: Ranges,
    samples: Vec<Binding>,
    options: PlanOptions,
    distinct: Kernels,
    consts: Vec<Const>,
    const_ids: BTreeMap<ConstId, ConstId>,
}

impl<'m> Planner<'m> {
    fn new(module: &'m Module) -> Self {
        Planner {
            module,
            of: BTreeMap::new(),
            ranges: Ranges::new(),
            samples: vec![],
            options: PlanOptions::CPU,
            distinct: Kernels::default(),
            consts: vec![],
            const_ids: BTreeMap::new(),
        }
    }

    /// Plans one function; with `outputs_apart` its results are written to `Output`s, which the caller puts somewhere.
    fn func(&mut self, func: &'m Func, outputs_apart: bool, depth: usize) -> Result<FuncPlan, PlanError> {
        let mut graph = Graph::new(self.module, func)?;
        if self.options.split_access
            && let Some(whole) = graph.made.iter().find(|m| !m.parts.is_empty())
        {
            return Err(PlanError::Part { loc: whole.note.clone(), what: "cannot be bound by range".into() });
        }
        let mut kernels = self.of.get(func.name.as_str()).cloned().unwrap_or_default().into_iter();
        check_kernels(&graph, kernels.as_slice())?;
        let mut kernel_of: Vec<Option<Kernel>> = graph.calls.iter().map(|c| if c.is_dispatch() { kernels.next() } else { None }).collect();
        // The bodies first: how much memory they want is one more item while they run.
        let mut bodies = BTreeMap::new();
        for (at, call) in graph.calls.iter().enumerate().filter(|(_, c)| !c.is_dispatch()) {
            bodies.insert(at, self.bodies(call, depth)?);
        }
        for at in 0..graph.calls.len() {
            match (kernel_of.get(at).and_then(Option::as_ref), bodies.get(&at)) {
                (Some(k), _) => graph.wait_for(at, k.dims.iter().chain([&k.grid, &k.grain, &k.scratch_bytes])),
                (None, Some(b)) => graph.wait_for(at, b.sizes().into_iter()),
                (None, None) => {}
            }
        }
        let order = order::order(&graph, self.samples.first());
        let apart = if outputs_apart { values::apart(&graph) } else { BTreeMap::new() };
        let storages = in_place::storages(&graph, &order, &self.ranges, &|v| !apart.contains_key(&v), self.options.in_place);
        let item = |s: &in_place::Storage| Item { bytes: self.taken(&s.bytes), start: s.start, end: s.end };
        let mut items: Vec<Item> = storages.iter().map(item).collect();

        let mut firsts = BTreeMap::new();
        for (position, at) in order.iter().enumerate() {
            let Some(body) = bodies.get(at) else { continue };
            firsts.insert(*at, items.len());
            items.extend(body.wants(&self.ranges).into_iter().map(|bytes| Item { bytes, start: position, end: position }));
        }
        let (offsets, arena_bytes) = pack_all(&items, &self.ranges, &self.samples, self.options.align)?;
        let notes = storages.iter().map(|s| s.notes.join(" | ")).chain(std::iter::repeat("of a loop or branch".into()));
        let places = items.iter().zip(&offsets).zip(notes);
        let slot =
            |((i, offset), note): ((&Item, &Dim), String)| Slot { offset: offset.clone(), bytes: i.bytes.clone(), within: None, note };
        let mut slots: Vec<Slot> = places.map(slot).collect();

        let mut slot_of = BTreeMap::new();
        for (k, s) in storages.iter().enumerate() {
            for v in &s.values {
                slot_of.insert(*v, k as u32);
            }
        }
        // Parts have slots of their own, within those of their wholes.
        let parts = || graph.made.iter().enumerate().filter(|(_, m)| m.within.is_some());
        slot_of.extend(parts().zip(slots.len() as u32..).map(|((v, _), k)| (v, k)));
        for (v, part) in parts() {
            let (root, offset) = graph.root(v);
            let around = part.within.as_ref().and_then(|(w, _)| slot_of.get(w));
            let begin = slot_of.get(&root).and_then(|k| offsets.get(*k as usize)).zip(around);
            let (begin, within) = begin.ok_or_else(|| missing(&func.name, "a part of a buffer"))?;
            slots.push(Slot { offset: begin + offset, bytes: part.bytes.clone(), within: Some(*within), note: part.note.clone() });
        }
        for id in graph.used_consts() {
            self.constant(id);
        }
        let const_ids = self.const_ids.clone();
        let buffer = |place: &Place| match place {
            Place::Input(k) => Some(BufferRef::Input(*k)),
            Place::Const(id) => const_ids.get(id).map(|id| BufferRef::Const { id: *id, offset: 0 }),
            Place::Made(v) => apart.get(v).map(|k| BufferRef::Output(*k)).or_else(|| slot_of.get(v).map(|k| BufferRef::Arena(*k))),
        };
        let missing = |what: &str| missing(&func.name, what);

        let mut f = FuncPlan { commands: vec![], slots, arena_bytes, inputs: vec![], outputs: vec![], locals: 0 };
        let sizes_of = |wanted: &dyn Fn(&Place) -> bool| {
            let sizes = graph.sizes.iter().filter(|(_, place)| wanted(place));
            let command = |(size, place): &(Dim, Place)| Some(Command::Size { size: size.clone(), from: buffer(place)? });
            sizes.map(command).collect::<Option<Vec<_>>>().ok_or_else(|| missing("a size"))
        };
        f.commands.extend(sizes_of(&|place| !matches!(place, Place::Made(_)))?);
        for at in order {
            let Some(call) = graph.calls.get(at) else { continue };
            let writes = call.writes.iter().map(|v| Place::Made(*v));
            let buffers: Option<Vec<_>> = call.reads.iter().copied().chain(writes).map(|b| buffer(&b)).collect();
            let buffers = buffers.ok_or_else(|| missing("a dispatch"))?;
            if let Some(kernel) = kernel_of.get_mut(at).and_then(Option::take) {
                f.commands.push(self.dispatch(&graph, call, kernel, buffers));
            } else if let Some((body, first)) = bodies.remove(&at).zip(firsts.get(&at)) {
                body.embed(&mut f, &graph, call, &buffers, *first).ok_or_else(|| missing("a loop or branch"))?;
            }
            f.commands.extend(sizes_of(&|place| matches!(place, Place::Made(v) if call.writes.contains(v)))?);
        }
        let port = |name: &String, ty: &odc_ir::core::TensorType| Port { name: name.clone(), ty: ty.clone() };
        f.inputs = graph.inputs.iter().map(|(n, ty)| port(n, ty)).collect();
        for (k, (name, ty, place)) in graph.outputs.iter().enumerate() {
            let mut at = buffer(place).ok_or_else(|| missing("an output"))?;
            let own = BufferRef::Output(k as u32);
            if outputs_apart && at != own {
                f.commands.push(Command::Copy { src: at, dst: own, bytes: ty.bytes() });
                at = own;
            }
            f.outputs.push((port(name, ty), at));
        }
        Ok(f)
    }

    /// What a value of `bytes` takes in the arena. One without elements takes a place too where it is bound by range: a binding is
    /// never empty, and two that overlap may not be in one dispatch.
    fn taken(&self, bytes: &Dim) -> Dim {
        let may_be_empty = self.options.split_access && !self.ranges.lt(&Dim::from(0), bytes);
        if may_be_empty { bytes.max_with(&Dim::from(BINDING)) } else { bytes.clone() }
    }

    fn constant(&mut self, id: ConstId) {
        if let Some(c) = self.module.constant(id).filter(|_| !self.const_ids.contains_key(&id)) {
            self.const_ids.insert(id, ConstId(self.consts.len() as u32));
            self.consts.push(c.clone());
        }
    }

    fn dispatch(&mut self, graph: &Graph, call: &Call, kernel: Kernel, mut buffers: Vec<BufferRef>) -> Command {
        let (mut func, mut reads, mut bytes, mut access) = (kernel.func, call.reads.len(), vec![], vec![]);
        if self.options.split_access {
            bytes = call.op.operands.iter().chain(&call.op.results).map(|v| graph.bytes(*v)).collect();
            reads -= alias::bind_once(&mut func, &mut buffers, &mut bytes, reads);
            access = buffers.iter().map(BufferRef::is_written).collect();
        }
        Command::Dispatch {
            kernel: self.distinct.add(func, kernel.note, access, &call.op.loc),
            buffers,
            reads: reads as u32,
            dims: kernel.dims,
            grid: kernel.grid,
            grain: kernel.grain,
            scratch: values::planned(&self.module.symbols, &kernel.scratch_bytes),
            bytes,
            loc: call.op.loc.clone(),
        }
    }
}

fn missing(func: &str, what: &str) -> PlanError {
    PlanError::Undefined { op: what.into(), loc: func.into(), value: "a buffer".into() }
}

fn check_kernels(graph: &Graph, kernels: &[Kernel]) -> Result<(), PlanError> {
    for (call, k) in graph.calls.iter().filter(|c| c.is_dispatch()).zip(kernels) {
        let is = |t: &LoopType, pointer: bool| if pointer { matches!(t, LoopType::Ptr(..)) } else { matches!(t, LoopType::Index) };
        let count = |pointer| k.func.body.args.iter().filter(|a| k.func.types.get(a.index()).is_some_and(|t| is(t, pointer))).count();
        for (what, found, expected) in
            [("buffers", count(true), call.reads.len() + call.writes.len()), ("dims", count(false), k.dims.len())]
        {
            if found != expected {
                return Err(PlanError::KernelParams { kernel: k.func.name.clone(), loc: call.op.loc.to_string(), what, found, expected });
            }
        }
        if k.dims.iter().chain([&k.grid, &k.grain, &k.scratch_bytes]).any(Dim::is_poison) {
            return Err(PlanError::Size { what: format!("kernel @{} ({})", k.func.name, call.op.loc) });
        }
    }
    Ok(())
}

/// Offsets and the arena's size. Numbers are packed exactly. With symbols, several packings are made, each right at all sizes, and
/// the one that stays closest to what is alive at the sampled sizes wins.
fn pack_all(items: &[Item], ranges: &Ranges, samples: &[Binding], align: i64) -> Result<(Vec<Dim>, Dim), PlanError> {
    let too_complex = || PlanError::Size { what: "the buffers".into() };
    if items.iter().any(|i| i.bytes.is_poison()) {
        return Err(too_complex());
    }
    if let Some(sizes) = items.iter().map(|i| i.bytes.as_const()).collect::<Option<Vec<_>>>() {
        let packed = pack::pack(items, &sizes, align).ok_or_else(too_complex)?;
        return Ok((packed.offsets.into_iter().map(Dim::from).collect(), Dim::from(packed.total)));
    }
    let prover = most::Prover::new(ranges, samples);
    let mut candidates = vec![];
    let mut bounds = vec![];
    for b in samples {
        let Ok(sizes) = items.iter().map(|i| b.eval(&i.bytes)).collect::<Result<Vec<i64>, _>>() else { continue };
        bounds.push((b, pack::lower_bound(items, &sizes, align)));
        if let Some(packed) = pack::pack(items, &sizes, align) {
            candidates.extend(stack::stack(items, &packed.offsets, &prover, align));
        }
    }
    let sizes = bounds.first().and_then(|(b, _)| items.iter().map(|i| b.eval(&i.bytes).ok()).collect::<Option<Vec<i64>>>());
    candidates.extend(stack::slots(items, &sizes.unwrap_or_else(|| vec![0; items.len()]), &prover, align));
    // Per mille of what is alive, summed over the samples; those of few bytes count less.
    let waste = |total: &Dim| {
        bounds.iter().fold(0i128, |sum, (b, least)| {
            let bytes = b.eval(total).map_or(i128::from(i64::MAX), i128::from);
            let digits = i128::from((*least).max(1).ilog2());
            sum.saturating_add(bytes.saturating_mul(1000 * digits) / i128::from((*least).max(1)))
        })
    };
    candidates.into_iter().min_by_key(|(_, total)| waste(total)).ok_or_else(too_complex)
}

#[cfg(test)]
mod tests;
