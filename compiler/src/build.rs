//! The program for one machine: dispatches formed and scheduled for it, kernels lowered and made fit for it, memory planned as it
//! wants it. Targets with the same machine share it; the path forks here and nowhere else.

use crate::passes;
use crate::pipeline::{CompileError, OptLevel, Stage, bug, refuse, sound};
use crate::problem::Problem;
use crate::progress::Report;
use odc_ir::core::Loc;
use odc_ir::program::{Kernel, Program, verify_program};
use odc_ir::{graph, loops, tensor};
use odc_passes::plan::{PlanOptions, SplitError};
use odc_passes::{Gpu, Machine, expand, fuse, gpu, lower_loop, lower_tensor, merge, plan, schedule};

/// What the targets of one machine share.
#[derive(Clone, Debug)]
pub struct Build {
    pub machine: Machine,
    /// Tensor IR, one structured op or a few for each graph op.
    pub tensor: tensor::Module,
    /// Tensor IR, fused into dispatches with their schedules.
    pub dispatches: tensor::Module,
    pub program: Program,
}

impl Build {
    pub(crate) fn new(graph: &graph::Module, machine: Machine, level: OptLevel, report: Report<'_>) -> Result<Build, CompileError> {
        report("lowering to tensor ops", 0, 0);
        let failed = |e: lower_tensor::LowerError| CompileError::one(Problem::new("ODC0300", &e).at(&e.loc));
        let tensor = match machine {
            Machine::Gpu(_) if level > OptLevel::O0 => {
                let mut graph = graph.clone();
                merge::merge(&mut graph);
                passes::renumber(&mut graph);
                sound(Stage::Canonical, graph::verify(&graph))?;
                lower_tensor::lower(&graph)
            }
            Machine::Cpu | Machine::Gpu(_) => lower_tensor::lower(graph),
        };
        let tensor = tensor.map_err(failed)?;
        sound(Stage::Tensor, tensor::verify(&tensor))?;

        report("forming dispatches", 0, 0);
        let mut dispatches = tensor.clone();
        fuse::fuse_for(&mut dispatches, &machine);
        if level > OptLevel::O0 {
            report("scheduling and packing weights", 0, 0);
            schedule::schedule_for(&mut dispatches, &machine);
        }
        passes::renumber(&mut dispatches);
        sound(Stage::Dispatches, tensor::verify(&dispatches))?;

        report("lowering to loops", 0, 0);
        let failed = |e: lower_loop::LowerError| CompileError::one(Problem::new("ODC0310", &e).at(&e.loc));
        let mut kernels = lower_loop::lower_for(&dispatches, &machine).map_err(failed)?;
        let program = match machine {
            Machine::Cpu => {
                kernels.iter_mut().for_each(|k| expand::expand(&mut k.func));
                report("planning memory", 0, 0);
                plan::plan(&dispatches, kernels).map_err(unplanned)?
            }
            Machine::Gpu(gpu) => {
                legalise(&dispatches, &mut kernels, &gpu, report)?;
                report("planning memory", 0, 0);
                let mut program = plan::plan_with(&dispatches, kernels, &PlanOptions::GPU).map_err(unplanned)?;
                split(&mut program, &gpu)?;
                program
            }
        };
        refuse(verify_program(&program).into_iter().map(|e| bug(Stage::Program, e)).collect())?;
        Ok(Build { machine, tensor, dispatches, program })
    }

    /// The kernels as a module of their own.
    pub fn loops(&self) -> loops::Module {
        let mut m = loops::Module::new(&self.program.name);
        m.symbols.clone_from(&self.program.symbols);
        m.funcs.clone_from(&self.program.kernels);
        m
    }
}

fn unplanned(e: plan::PlanError) -> CompileError {
    CompileError::one(Problem::new("ODC0320", e))
}

/// Types and ops that every GPU has, and barriers where invocations depend on each other; verified after each step.
fn legalise(dispatches: &tensor::Module, kernels: &mut [Kernel], machine: &Gpu, report: Report<'_>) -> Result<(), CompileError> {
    report("making kernels fit for GPUs", 0, 0);
    let calls = dispatches.funcs.iter().flat_map(|f| &f.body.ops).filter(|o| matches!(o.op, tensor::Op::Dispatch { .. }));
    let locs: Vec<&Loc> = calls.map(|o| &o.loc).collect();
    let mut problems = vec![];
    for (k, kernel) in kernels.iter_mut().enumerate() {
        let at = locs.get(k).map_or(String::new(), |l| l.to_string());
        match prepare(&mut kernel.func, machine) {
            Ok(()) => {}
            Err(list) => problems.extend(list.into_iter().map(|p| p.at(&at))),
        }
    }
    refuse(problems)
}

fn prepare(f: &mut loops::Func, machine: &Gpu) -> Result<(), Vec<Problem>> {
    expand::expand(f);
    verified(f)?;
    gpu::barriers(f).map_err(|e| vec![Problem::new("ODC0312", e)])?;
    verified(f)?;
    gpu::legalise(f, &gpu::Features { f16: machine.f16 }).map_err(|e| vec![Problem::new("ODC0311", e)])?;
    verified(f)
}

fn verified(f: &loops::Func) -> Result<(), Vec<Problem>> {
    let errors: Vec<_> = loops::verify_func(f).into_iter().map(|e| bug(Stage::Loop, e)).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Constants and places that are larger than a binding become several.
fn split(program: &mut Program, machine: &Gpu) -> Result<(), CompileError> {
    let mut kernel = |_: &loops::Func, _: &[usize], _: u64| Err("no pass splits its bindings".to_string());
    plan::split_large(program, machine.binding_bytes, &mut kernel).map_err(|e| {
        let loc = match &e {
            SplitError::TooLarge { loc, .. } | SplitError::Kernel { loc, .. } => loc.clone(),
        };
        let help = "give the target's real limits with --limits FILE.json, or make the dim smaller with --dim";
        CompileError::one(Problem::new("ODC0401", e).at(loc).help(help))
    })
}
