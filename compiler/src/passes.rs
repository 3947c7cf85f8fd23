//! Passes by name, for `odc opt` and the tests. A pass listed here goes through every test of every pass: on random modules its
//! result must verify, and mean what the module meant before.

use crate::progress::silent;
use crate::{AnyModule, AnyTarget, build};
use odc_ir::core::{Func, Level, Module};
use odc_ir::{graph, loops, program, tensor};
use odc_passes::{Machine, beside, canonicalise, expand, fuse, join, lower_loop, lower_tensor, merge, plan, schedule, unroll};

/// What a pass takes and gives.
#[derive(Clone, Copy)]
enum Run {
    Graph(fn(&mut graph::Module)),
    GraphIfPossible(fn(&mut graph::Module) -> Result<(), String>),
    GraphToTensor(fn(&graph::Module) -> Result<tensor::Module, String>),
    Tensor(fn(&mut tensor::Module)),
    TensorToLoop(fn(&tensor::Module) -> Result<loops::Module, String>),
    Loop(fn(&mut loops::Module)),
    TensorToProgram(fn(&tensor::Module) -> Result<program::Program, String>),
}

pub struct Pass {
    pub name: &'static str,
    pub about: &'static str,
    run: Run,
}

impl Pass {
    /// The levels that it takes and gives.
    pub fn levels(&self) -> (&'static str, &'static str) {
        match self.run {
            Run::Graph(_) | Run::GraphIfPossible(_) => ("graph", "graph"),
            Run::GraphToTensor(_) => ("graph", "tensor"),
            Run::Tensor(_) => ("tensor", "tensor"),
            Run::TensorToLoop(_) => ("tensor", "loop"),
            Run::Loop(_) => ("loop", "loop"),
            Run::TensorToProgram(_) => ("tensor", "program"),
        }
    }

    pub fn apply(&self, module: AnyModule) -> Result<AnyModule, String> {
        let mut out = match (self.run, module) {
            (Run::Graph(f), AnyModule::Graph(mut m)) => {
                f(&mut m);
                AnyModule::Graph(m)
            }
            (Run::GraphIfPossible(f), AnyModule::Graph(mut m)) => {
                f(&mut m)?;
                AnyModule::Graph(m)
            }
            (Run::GraphToTensor(f), AnyModule::Graph(m)) => AnyModule::Tensor(f(&m)?),
            (Run::Tensor(f), AnyModule::Tensor(mut m)) => {
                f(&mut m);
                AnyModule::Tensor(m)
            }
            (Run::TensorToLoop(f), AnyModule::Tensor(m)) => AnyModule::Loop(f(&m)?),
            (Run::TensorToProgram(f), AnyModule::Tensor(m)) => AnyModule::Program(f(&m)?),
            (Run::Loop(f), AnyModule::Loop(mut m)) => {
                f(&mut m);
                AnyModule::Loop(m)
            }
            (
                Run::Graph(_)
                | Run::GraphIfPossible(_)
                | Run::GraphToTensor(_)
                | Run::Tensor(_)
                | Run::TensorToLoop(_)
                | Run::Loop(_)
                | Run::TensorToProgram(_),
                m,
            ) => {
                return Err(format!("`{}` takes {} IR, this is {} IR", self.name, self.levels().0, m.level()));
            }
        };
        out.renumber();
        Ok(out)
    }
}

const LOWER_TENSOR: Pass = Pass {
    name: "lower_tensor",
    about: "graph ops as structured ops over named axes",
    run: Run::GraphToTensor(|m| lower_tensor::lower(m).map_err(|e| e.to_string())),
};
const SCHEDULE: Pass =
    Pass { name: "schedule", about: "a schedule for each dispatch; constant operands packed", run: Run::Tensor(schedule::schedule) };
const PLAN: Pass = Pass {
    name: "plan",
    about: "all dispatches as kernels, in order, and their memory",
    run: Run::TensorToProgram(|m| {
        let mut kernels = lower_loop::lower(m).map_err(|e| e.to_string())?;
        kernels.iter_mut().for_each(|k| expand::expand(&mut k.func));
        plan::plan(m, kernels).map_err(|e| e.to_string())
    }),
};

/// In the order of the pipeline: each takes the newest module of its level.
pub const PASSES: &[Pass] = &[
    Pass {
        name: "canonicalise",
        about: "directed rewrites that are always better",
        run: Run::Graph(|m| drop(canonicalise::canonicalise(m))),
    },
    LOWER_TENSOR,
    Pass { name: "fuse", about: "structured ops into dispatches, greedily", run: Run::Tensor(fuse::fuse) },
    Pass { name: "join", about: "concats as views into one buffer", run: Run::Tensor(|m| _ = join::join(m, &|_| true)) },
    SCHEDULE,
    Pass {
        name: "lower_loop",
        about: "each dispatch as a kernel",
        run: Run::TensorToLoop(|m| {
            let kernels = lower_loop::lower(m).map_err(|e| e.to_string())?;
            let mut out: loops::Module = m.next_level();
            out.consts.clear();
            out.funcs = kernels.into_iter().map(|k| k.func).collect();
            for (k, f) in out.funcs.iter_mut().enumerate() {
                f.name = format!("{}_{k}", f.name);
            }
            Ok(out)
        }),
    },
    Pass {
        name: "expand",
        about: "transcendental functions as polynomials",
        run: Run::Loop(|m| m.funcs.iter_mut().for_each(expand::expand)),
    },
    PLAN,
];

/// The way of `-O2`: dispatches are chosen, not formed greedily.
pub const CHOICE_PASSES: &[Pass] = &[
    LOWER_TENSOR,
    Pass {
        name: "choose",
        about: "structured ops into the dispatches that cost least together",
        run: Run::Tensor(|m| drop(fuse::fuse_for(m, &Machine::CPU, &Default::default()))),
    },
    Pass { name: "beside", about: "maps that do not depend on each other as one dispatch", run: Run::Tensor(|m| _ = beside::best(m)) },
    SCHEDULE,
    PLAN,
];

/// The GPU's way from the graph to the program, likewise in order.
pub const GPU_PASSES: &[Pass] = &[
    Pass {
        name: "unroll",
        about: "loops and branches as straight code",
        run: Run::GraphIfPossible(|m| unroll::unroll(m).map_err(|e| format!("ODC0313: {e}"))),
    },
    Pass { name: "merge", about: "products of one tensor with several weights as one", run: Run::Graph(|m| _ = merge::merge(m)) },
    LOWER_TENSOR,
    Pass {
        name: "fuse_gpu",
        about: "structured ops into dispatches for GPUs",
        run: Run::Tensor(|m| drop(fuse::fuse_for(m, &gpu(), &Default::default()))),
    },
    Pass {
        name: "schedule_gpu",
        about: "a schedule for each dispatch on a GPU",
        run: Run::Tensor(|m| schedule::schedule_for(m, &gpu(), &bytes::Bytes::from)),
    },
    Pass {
        name: "plan_gpu",
        about: "all dispatches as GPU kernels, in order, and their memory",
        run: Run::TensorToProgram(|m| build::program(m, &gpu(), &silent).map_err(|e| e.to_string())),
    },
];

/// What every WebGPU device is.
fn gpu() -> Machine {
    AnyTarget::parse("wgsl").map_or(Machine::CPU, |t| t.machine())
}

/// Passes leave gaps in the numbers of values, and text has none.
pub fn renumber<L: Level>(m: &mut Module<L>) {
    m.funcs.iter_mut().for_each(Func::renumber);
}

/// Every pass by its name.
pub fn all() -> impl Iterator<Item = &'static Pass> {
    let known = |p: &&Pass| PASSES.iter().all(|q| q.name != p.name);
    PASSES.iter().chain(CHOICE_PASSES.iter().chain(GPU_PASSES).filter(known))
}

/// Applies the pass of that name.
pub fn apply(name: &str, module: AnyModule) -> Result<AnyModule, String> {
    let known = || all().map(|p| p.name).collect::<Vec<_>>().join(", ");
    let pass = all().find(|p| p.name == name).ok_or_else(|| format!("there is no pass `{name}`; there are {}", known()))?;
    pass.apply(module)
}
