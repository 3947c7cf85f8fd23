//! The program for one machine: dispatches formed and scheduled for it, kernels lowered and made fit for it, memory planned as it
//! wants it. Targets with the same machine share it; the path forks here and nowhere else.

use crate::candidates::{self, Candidate, Formed};
use crate::flops;
use crate::passes;
use crate::pipeline::{CompileError, OptLevel, Options, Stage, Weights, bug, refuse, sound};
use crate::problem::Problem;
use crate::progress::Report;
use crate::spill::Spill;
use odc_ir::core::{Func, Level, Module, Unary};
use odc_ir::program::{Kernel, Program, verify_program};
use odc_ir::{graph, loops, tensor};
use odc_passes::egraph::Group;
use odc_passes::fuse::Arm;
use odc_passes::plan::{PlanOptions, SplitError};
use odc_passes::{Gpu, Machine, beside, canonicalise, compress, expand, fuse, gpu, join, lower_loop, plan, schedule, unroll};

/// What the targets of one machine share.
#[derive(Clone, Debug)]
pub struct Build {
    pub machine: Machine,
    /// Tensor IR, one structured op or a few for each graph op.
    pub tensor: tensor::Module,
    /// Tensor IR, fused into dispatches with their schedules.
    pub dispatches: tensor::Module,
    /// What was weighed to form them.
    pub decisions: Vec<fuse::Decision>,
    /// The forms that a memory budget was held against, that which was taken first.
    pub weighed: Vec<Candidate>,
    /// How many dispatches joined another only to share its launch.
    pub beside: usize,
    /// What became of large weights, if they were to be stored as f16.
    pub compressed: Option<compress::Report>,
    pub program: Program,
}

impl Build {
    pub(crate) fn new(graph: &graph::Module, machine: Machine, options: &Options, report: Report<'_>) -> Result<Build, CompileError> {
        if matches!(machine, Machine::Gpu(_)) {
            refuse(sizes_from_data(graph))?;
        }
        let level = options.level;
        let (formed, weighed) = match machine {
            Machine::Gpu(_) if level > OptLevel::O0 || graph.funcs.len() > 1 => {
                let mut graph = graph.clone();
                if graph.funcs.len() > 1 {
                    let help = "make the number of iterations known with --dim or --fix, or compile for cpu";
                    let refused = |e: unroll::UnrollError| CompileError::one(Problem::new("ODC0313", &e).at(&e.loc).help(help));
                    unroll::unroll(&mut graph).map_err(refused)?;
                    canonicalise::canonicalise(&mut graph);
                }
                candidates::best(&candidates::merged(graph)?.0, &machine, options, report)?
            }
            Machine::Cpu(_) | Machine::Gpu(_) => candidates::best(graph, &machine, options, report)?,
        };
        let Formed { tensor, mut dispatches, decisions } = formed;
        let compressed = (options.weights == Weights::F16).then(|| compress::compress(&mut dispatches));
        if level > OptLevel::O0 && machine.cpu().is_some() {
            join::best(&mut dispatches);
        }
        let chosen = level > OptLevel::O1 && options.fusion.arm == Arm::Choose && machine.cpu().is_some();
        let wanted = chosen && options.fusion.groups.contains(&Group::Beside);
        let beside = if wanted { beside::best(&mut dispatches) } else { 0 };
        // A GPU's schedule is how a dispatch becomes workgroups at all, not only how fast it is.
        if level > OptLevel::O0 || machine.cpu().is_none() {
            report("scheduling and packing weights", 0, 0);
            let spill = Spill::default();
            schedule::schedule_for(&mut dispatches, &machine, &|bytes| spill.keep(bytes));
        }
        passes::renumber(&mut dispatches);
        sound(Stage::Dispatches, tensor::verify(&dispatches))?;

        let program = program(&dispatches, &machine, report)?;
        refuse(verify_program(&program).into_iter().map(|e| bug(Stage::Program, e)).collect())?;
        candidates::keeps(&program, options.mem_budget, weighed.len())?;
        Ok(Build { machine, tensor, dispatches, decisions, weighed, beside, compressed, program })
    }

    /// The kernels as a module of their own.
    pub fn loops(&self) -> loops::Module {
        let mut m = loops::Module::new(&self.program.name);
        m.symbols.clone_from(&self.program.symbols);
        m.funcs.clone_from(&self.program.kernels);
        m
    }
}

/// What a GPU cannot run: it would have to wait for the number before it knows what to dispatch.
fn sizes_from_data<L: Level>(module: &Module<L>) -> Vec<Problem> {
    let said = module.main().into_iter().flat_map(|f| f.sizes().map(move |s| (f, s)));
    let problem = |(f, (v, size)): (&Func<L>, (_, _))| {
        let by = f.body.ops.iter().find(|o| o.results.contains(&v)).map_or_else(String::new, |o| o.loc.to_string());
        let size: odc_ir::core::Dim = size;
        Problem::new("ODC0313", format!("the size {size} depends on data, which GPU programs do not support"))
            .at(by)
            .help("compile the model for cpu, or cut it before this node and run the rest there")
    };
    said.map(problem).collect()
}

/// Kernels and plan for dispatches with their schedules.
pub(crate) fn program(dispatches: &tensor::Module, machine: &Machine, report: Report<'_>) -> Result<Program, CompileError> {
    report("lowering to loops", 0, 0);
    let failed = |e: lower_loop::LowerError| CompileError::one(Problem::new("ODC0310", &e).at(&e.loc));
    let mut kernels = lower_loop::lower_for(dispatches, machine).map_err(failed)?;
    match machine {
        Machine::Cpu(_) => {
            kernels.iter_mut().for_each(|k| expand::expand(&mut k.func));
            report("planning memory", 0, 0);
            plan::plan(dispatches, kernels).map_err(unplanned)
        }
        Machine::Gpu(gpu) => {
            refuse(sizes_from_data(dispatches))?;
            legalise(dispatches, &mut kernels, gpu, report)?;
            report("planning memory", 0, 0);
            let mut program = plan::plan_with(dispatches, kernels, &PlanOptions::GPU).map_err(unplanned)?;
            split(&mut program, gpu)?;
            Ok(program)
        }
    }
}

fn unplanned(e: plan::PlanError) -> CompileError {
    match &e {
        plan::PlanError::Control { loc, .. } => {
            let help = "make the number of iterations known with --dim, or compile for cpu";
            CompileError::one(Problem::new("ODC0313", &e).at(loc).help(help))
        }
        _ => CompileError::one(Problem::new("ODC0320", e)),
    }
}

/// Types and ops that every GPU has, and barriers where invocations depend on each other; verified after each step.
fn legalise(dispatches: &tensor::Module, kernels: &mut [Kernel], machine: &Gpu, report: Report<'_>) -> Result<(), CompileError> {
    report("making kernels fit for GPUs", 0, 0);
    let calls = dispatches.funcs.iter().flat_map(|f| &f.body.ops).filter(|o| matches!(o.op, tensor::Op::Dispatch { .. }));
    let mut problems = vec![];
    for (kernel, call) in kernels.iter_mut().zip(calls) {
        let flops = flops::of(call);
        if flops.as_const() != Some(0) && !flops.is_poison() {
            let line = if kernel.note.is_empty() { "" } else { "\n" };
            kernel.note.push_str(&format!("{line}{}", flops::text(&flops)));
        }
        if let Err(list) = prepare(&mut kernel.func, machine) {
            problems.extend(list.into_iter().map(|p| p.at(call.loc.to_string())));
        }
    }
    refuse(problems)
}

fn prepare(f: &mut loops::Func, machine: &Gpu) -> Result<(), Vec<Problem>> {
    // Every GPU language has these; the others become arithmetic.
    expand::expand_for(f, &|u| matches!(u, Unary::Exp | Unary::Log));
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
    plan::split_large(program, machine.binding_bytes).map_err(|e| {
        let loc = match &e {
            SplitError::TooLarge { loc, .. } | SplitError::NoKernel { loc, .. } => loc.clone(),
        };
        let help = "give the target's real limits with --limits FILE.json, or make the dim smaller with --dim";
        CompileError::one(Problem::new("ODC0401", e).at(loc).help(help))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::silent;
    use odc_ir::core::{Builder, Const, DType, Func, Scalar, TensorType, TensorValue};
    use odc_ir::program;

    /// `sum over columns of (table[ids] * 2)`: a table and an intermediate value that are larger than a binding.
    fn lookup() -> graph::Module {
        let mut m = graph::Module::new("lookup");
        let table = m.add_const(Const::from_scalars(DType::F32, &[64, 40], (0..64 * 40).map(|k| Scalar::Float(f64::from(k % 37)))));
        let two = m.add_const(Const::from_scalars(DType::F32, &[1], [Scalar::Float(2.0)]));
        let mut f = Func::new("main");
        let ids = f.param("ids", TensorType::of(DType::I64, &[16]));
        let mut b = Builder::new(&mut f);
        let constant = |b: &mut Builder<graph::Graph>, value, shape: &[i64]| {
            b.op1(graph::Op::Constant { value }, &[], TensorType::of(DType::F32, shape))
        };
        let (table, two) = (constant(&mut b, table, &[64, 40]), constant(&mut b, two, &[1]));
        let rows = b.op1(graph::Op::Gather { axis: 0 }, &[table, ids], TensorType::of(DType::F32, &[16, 40]));
        let twice = b.op1(graph::Op::Binary { f: graph::BinaryFn::Mul }, &[rows, two], TensorType::of(DType::F32, &[16, 40]));
        b.finish(&[("y".into(), twice)]);
        m.funcs.push(f);
        m
    }

    #[test]
    fn what_is_larger_than_a_binding_is_split() {
        let Machine::Gpu(gpu) = crate::AnyTarget::parse("wgsl").unwrap().machine() else { panic!("a GPU") };
        let ids = TensorValue::from_fn(DType::I64, &[16], |i| Scalar::Int((i[0] as i64 * 7) % 64)).unwrap();
        let given = [("ids".to_string(), ids)];
        let m = lookup();
        let want = graph::interp::run(&m, &given).unwrap();
        let whole = Build::new(&m, Machine::Gpu(gpu), &Options::default(), &silent).unwrap();
        assert_eq!(program::run(&whole.program, &given).unwrap(), want);
        let small = Machine::Gpu(Gpu { binding_bytes: 4096, ..gpu });
        let split = Build::new(&m, small, &Options::default(), &silent).unwrap();
        assert_eq!(program::run(&split.program, &given).unwrap(), want);
        let buffers = |b: &Build| match &b.program.commands[..] {
            [program::Command::Dispatch { buffers, .. }] => buffers.len(),
            other => panic!("{other:?}"),
        };
        // 64 rows of 160 bytes are three parts of 4096 bytes.
        assert_eq!(buffers(&split), buffers(&whole) + 2, "{}", split.program);
        let tiny = Machine::Gpu(Gpu { binding_bytes: 64, ..gpu });
        let e = Build::new(&m, tiny, &Options::default(), &silent).unwrap_err().to_string();
        assert!(e.contains("ODC0401") && e.contains("ids"), "{e}");
    }
}
