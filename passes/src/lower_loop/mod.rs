//! Dispatches to kernels: each dispatch's region and schedule become one loop function. Templates: `loops` (nests over stages),
//! `gemm` (register tiles over direct or staged operands), `attention` (two of these and the rows between them) and `beside` (nests that share
//! nothing but the grid). The schedule decides; this only follows it.

mod attention;
mod beside;
mod emit;
mod expr;
pub(crate) mod flat;
mod gemm;
mod gpu;
pub(crate) mod lanes;
mod loops;
mod nest;
mod opaque;
mod scatter;
mod stage;

use crate::Machine;
use emit::Emit;
use flat::FlatOp;
use loops::Stage;
use odc_ir::core::{Dim, Range, Ranges, Sym, TensorType, Value};
use odc_ir::loops::{LoopType, Space};
use odc_ir::program::Kernel;
use odc_ir::tensor::{Axes, Block, Func, Module, Op, Operation, Schedule, Template};
use std::collections::BTreeMap;

#[derive(Debug, thiserror::Error)]
#[error("dispatch of {loc}: {message}")]
pub struct LowerError {
    pub loc: String,
    pub message: String,
}

/// The counter of the thread grid.
fn grid_sym() -> Sym {
    Sym::new("$grid")
}

/// The axes as functions of one flat position, each a symbol from here on.
fn define_axes(e: &mut Emit, axes: &Axes, flat: &Dim) {
    let (at, _) = flat::unflatten(axes, flat);
    for (s, n) in axes {
        let v = e.dim(&at[s]);
        e.define(s.clone(), v, Range { lo: Dim::ZERO, hi: Some(n - 1) });
    }
}

/// Lowers every dispatch for a machine, as its schedule says.
pub fn lower_for(module: &Module, machine: &Machine) -> Result<Vec<Kernel>, LowerError> {
    lower_with(module, matches!(machine, Machine::Gpu(_)))
}

/// Lowers every dispatch of the model's function, in order.
pub fn lower(module: &Module) -> Result<Vec<Kernel>, LowerError> {
    lower_with(module, false)
}

fn lower_with(module: &Module, gpu: bool) -> Result<Vec<Kernel>, LowerError> {
    let ranges = module.ranges();
    let mut kernels = vec![];
    for func in &module.funcs {
        let names = names(func);
        for op in &func.body.ops {
            if let Op::Dispatch { schedule } = &op.op {
                kernels.push(lower_dispatch(func, op, schedule, &names, &ranges, gpu)?);
            }
        }
    }
    Ok(kernels)
}

/// What all templates start from: the region, its types, and one pointer for each value that lives in memory.
struct Region<'a> {
    block: &'a Block,
    func: &'a Func,
    schedule: &'a Schedule,
    pointers: Vec<(Value, Value)>,
}

impl Region<'_> {
    fn types(&self, v: Value) -> TensorType {
        self.func.ty(v).clone()
    }
    fn pointer(&self, v: Value) -> Option<Value> {
        self.pointers.iter().find(|(x, _)| *x == v).map(|(_, p)| *p)
    }
    fn source_pointers(&self, op: &FlatOp) -> Option<Vec<Value>> {
        op.sources.iter().map(|s| self.pointer(s.value)).collect()
    }
    fn stage(&self, op: FlatOp) -> Option<Stage> {
        Some(Stage {
            pointers: self.source_pointers(&op)?,
            result: self.pointer(op.result)?,
            op,
            across: self.schedule.vector,
            groups: false,
        })
    }
}

fn lower_dispatch(
    func: &Func,
    op: &Operation,
    schedule: &Schedule,
    names: &BTreeMap<Value, String>,
    ranges: &Ranges,
    gpu: bool,
) -> Result<Kernel, LowerError> {
    let fail = |message: &str| LowerError { loc: op.loc.to_string(), message: message.into() };
    let [block] = op.regions.as_slice() else { return Err(fail("a dispatch has one region")) };
    let mut e = Emit::new("kernel", ranges.clone());
    let mut region = Region { block, func, schedule, pointers: vec![] };
    let outer = op.operands.iter().chain(&op.results);
    for (v, outer) in block.args.iter().chain(&block.yields).zip(outer) {
        let name = names.get(outer).map_or("buffer", String::as_str);
        let p = e.buffer(LoopType::Ptr(func.ty(*v).dtype, Space::Global), name);
        region.pointers.push((*v, p));
    }
    let grid = match schedule.template {
        _ if gpu => gpu::lower(&mut e, &mut region),
        Template::Loops if block.ops.iter().any(|o| matches!(o.op, Op::Scatter { .. })) => scatter::lower(&mut e, &region),
        Template::Loops => nest::lower(&mut e, &mut region),
        Template::Beside => beside::lower(&mut e, &region),
        Template::Gemm => gemm::lower(&mut e, &mut region),
        Template::Attention => attention::lower(&mut e, &mut region),
        // Only chosen for GPUs.
        Template::Rows | Template::Gemv => None,
    };
    let grid = grid.ok_or_else(|| fail("its region does not fit its schedule"))?;
    let grid = e.reveal(&grid);
    let (mut kernel, dims, scratch_bytes) = e.finish();
    if gpu {
        crate::gpu::align(&mut kernel, &dims);
    }
    kernel.name = kernel_name(block, schedule);
    Ok(Kernel { func: kernel, dims, grid, grain: schedule.grain.clone(), scratch_bytes, note: note(block, func, schedule) })
}

/// What people would call each value: the model's inputs and outputs by their names, constants and results by their nodes.
fn names(func: &Func) -> BTreeMap<Value, String> {
    let mut names = BTreeMap::new();
    for op in &func.body.ops {
        let (node, what) = match op.op {
            Op::Constant { .. } => (op.loc.0.first(), " constant"),
            _ => (op.loc.0.last(), ""),
        };
        let node = node.map_or("value", |n| n.rsplit('/').next().unwrap_or(n));
        names.extend(op.results.iter().map(|r| (*r, format!("{node}{what}"))));
    }
    names.extend(func.body.args.iter().copied().zip(func.param_names.iter().cloned()));
    names.extend(func.body.yields.iter().copied().zip(func.result_names.iter().cloned()));
    names
}

/// What the kernel computes and how, for people.
fn note(block: &Block, func: &Func, schedule: &Schedule) -> String {
    let mut text = String::new();
    odc_ir::core::Attr::print(schedule, &mut text);
    let shapes = |vs: &[Value]| vs.iter().map(|v| func.ty(*v).to_string()).collect::<Vec<_>>().join(", ");
    format!("({}) -> ({}) {text}", shapes(&block.args), shapes(&block.yields))
}

fn kernel_name(block: &Block, schedule: &Schedule) -> String {
    let what = match block.ops.as_slice() {
        _ if schedule.template == Template::Gemm => "gemm",
        _ if schedule.template == Template::Attention => "attention",
        _ if schedule.template == Template::Beside => "maps",
        [op] => match op.op {
            Op::Map { .. } => "map",
            Op::Reduce { .. } => "reduce",
            Op::Scatter { .. } => "scatter",
            Op::Constant { .. } | Op::View {} | Op::Dispatch { .. } | Op::If { .. } | Op::Loop { .. } => "copy",
        },
        _ => "rows",
    };
    what.into()
}
