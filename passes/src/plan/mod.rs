//! Planning: a module of dispatches and their kernels becomes a program. Equal kernels are stored once, dispatches are ordered,
//! results that may overwrite a dying operand do, and every buffer gets its place in one arena whose size is an expression.
//!
//! Deterministic; inputs and constants are read where they are, and an output that is a view of one refers to it.

mod alias;
mod dedup;
mod in_place;
mod most;
mod order;
mod pack;
mod report;
mod split;
mod stack;
mod values;

pub use report::{LiveBuffer, MemoryReport, report, report_at};
pub use split::{SplitError, split_large};

use dedup::Kernels;
use odc_ir::core::{Binding, ConstId, Dim, Ranges};
use odc_ir::loops::LoopType;
use odc_ir::program::{ALIGN, BufferRef, Command, Kernel, Port, Program, Slot, sample_bindings};
use odc_ir::tensor::Module;
use pack::Item;
use std::collections::BTreeMap;
use values::{Graph, Place};

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
    #[error("the sizes of {what} overflow 64 bits or are too complex to plan with")]
    Size { what: String },
}

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

/// Plans the first function of `module` for a CPU; `kernels` holds one for each dispatch, in order.
pub fn plan(module: &Module, kernels: Vec<Kernel>) -> Result<Program, PlanError> {
    plan_with(module, kernels, &PlanOptions::CPU)
}

/// Plans the first function of `module`; `kernels` holds one for each dispatch, in order.
pub fn plan_with(module: &Module, kernels: Vec<Kernel>, options: &PlanOptions) -> Result<Program, PlanError> {
    let mut graph = Graph::new(module)?;
    check_kernels(&graph, &kernels)?;
    for (at, k) in kernels.iter().enumerate() {
        graph.wait_for(at, k.dims.iter().chain([&k.grid, &k.grain, &k.scratch_bytes]));
    }
    let ranges = module.ranges();
    let checks = values::checks(&graph, &ranges);
    let samples = sample_bindings(&module.symbols, &checks);
    let order = order::order(&graph, samples.first());
    let apart = if options.outputs_apart { values::apart(&graph) } else { BTreeMap::new() };
    let storages = in_place::storages(&graph, &order, &ranges, &|v| !apart.contains_key(&v), options.in_place);
    let items: Vec<Item> = storages.iter().map(|s| Item { bytes: s.bytes.clone(), start: s.start, end: s.end }).collect();
    let (offsets, arena_bytes) = pack_all(&items, &ranges, &samples, options.align)?;

    let mut p = Program::new(&module.name);
    p.symbols.clone_from(&module.symbols);
    p.checks = checks;
    p.arena_bytes = arena_bytes;
    p.slots = storages.iter().zip(offsets).map(|(s, offset)| Slot { offset, bytes: s.bytes.clone(), note: s.notes.join(" | ") }).collect();
    let mut slot_of = BTreeMap::new();
    for (k, s) in storages.iter().enumerate() {
        for v in &s.values {
            slot_of.insert(*v, k as u32);
        }
    }
    let mut consts: BTreeMap<ConstId, ConstId> = BTreeMap::new();
    let used = graph.used_consts();
    for (id, c) in used.iter().filter_map(|id| Some((*id, module.constant(*id)?))) {
        consts.insert(id, ConstId(p.consts.len() as u32));
        p.consts.push(c.clone());
    }
    let buffer = |place: &Place| match place {
        Place::Input(k) => Some(BufferRef::Input(*k)),
        Place::Const(id) => consts.get(id).map(|id| BufferRef::Const { id: *id, offset: 0 }),
        Place::Made(v) => apart.get(v).map(|k| BufferRef::Output(*k)).or_else(|| slot_of.get(v).map(|k| BufferRef::Arena(*k))),
    };
    let missing = |what: &str| PlanError::Undefined { op: what.into(), loc: module.name.clone(), value: "a buffer".into() };

    let sizes_of = |wanted: &dyn Fn(&Place) -> bool| {
        let sizes = graph.sizes.iter().filter(|(_, place)| wanted(place));
        let command = |(size, place): &(Dim, Place)| Some(Command::Size { size: size.clone(), from: buffer(place)? });
        sizes.map(command).collect::<Option<Vec<_>>>().ok_or_else(|| missing("a size"))
    };
    p.commands.extend(sizes_of(&|place| !matches!(place, Place::Made(_)))?);
    let mut distinct = Kernels::default();
    let mut calls: Vec<Option<Kernel>> = kernels.into_iter().map(Some).collect();
    for at in order {
        let (Some(call), Some(kernel)) = (graph.calls.get(at), calls.get_mut(at).and_then(Option::take)) else { continue };
        let writes = call.writes.iter().map(|v| Place::Made(*v));
        let buffers: Option<Vec<_>> = call.reads.iter().copied().chain(writes).map(|b| buffer(&b)).collect();
        let mut buffers = buffers.ok_or_else(|| missing("a dispatch"))?;
        let (mut func, mut reads, mut bytes, mut access) = (kernel.func, call.reads.len(), vec![], vec![]);
        if options.split_access {
            bytes = call.op.operands.iter().chain(&call.op.results).map(|v| graph.bytes(*v)).collect();
            reads -= alias::bind_once(&mut func, &mut buffers, &mut bytes, reads);
            access = buffers.iter().map(BufferRef::is_written).collect();
        }
        p.commands.push(Command::Dispatch {
            kernel: distinct.add(func, kernel.note, access, &call.op.loc),
            buffers,
            reads: reads as u32,
            dims: kernel.dims,
            grid: kernel.grid,
            grain: kernel.grain,
            scratch: values::planned(&module.symbols, &kernel.scratch_bytes),
            bytes,
            loc: call.op.loc.clone(),
        });
        p.commands.extend(sizes_of(&|place| matches!(place, Place::Made(v) if call.writes.contains(v)))?);
    }
    p.kernels = distinct.funcs;
    p.notes = distinct.notes;
    let port = |name: &String, ty: &odc_ir::core::TensorType| Port { name: name.clone(), ty: ty.clone() };
    p.inputs = graph.inputs.iter().map(|(n, ty)| port(n, ty)).collect();
    for (k, (name, ty, place)) in graph.outputs.iter().enumerate() {
        let mut at = buffer(place).ok_or_else(|| missing("an output"))?;
        let own = BufferRef::Output(k as u32);
        if options.outputs_apart && at != own {
            p.commands.push(Command::Copy { src: at, dst: own, bytes: ty.bytes() });
            at = own;
        }
        p.outputs.push((port(name, ty), at));
    }
    Ok(p)
}

fn check_kernels(graph: &Graph, kernels: &[Kernel]) -> Result<(), PlanError> {
    if graph.calls.len() != kernels.len() {
        return Err(PlanError::KernelCount { dispatches: graph.calls.len(), kernels: kernels.len() });
    }
    for (call, k) in graph.calls.iter().zip(kernels) {
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
    let prover = most::Prover::new(ranges);
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
    // Per mille of what is alive, summed over the samples.
    let waste = |total: &Dim| {
        bounds.iter().fold(0i128, |sum, (b, least)| {
            let bytes = b.eval(total).map_or(i128::from(i64::MAX), i128::from);
            sum + bytes * 1000 / i128::from((*least).max(1))
        })
    };
    candidates.into_iter().min_by_key(|(_, total)| waste(total)).ok_or_else(too_complex)
}

#[cfg(test)]
mod tests;
