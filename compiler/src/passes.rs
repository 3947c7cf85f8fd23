//! Passes by name, for `odc opt`, over modules of any level.

use odc_ir::core::{Blobs, Const, Func, Level, Module, ParseError, VerifyError, level_name, parse_module};
use odc_ir::{graph, loops, tensor};
use odc_passes::{canonicalise, expand, fuse, lower_loop, lower_tensor, schedule};
use std::fmt;

/// A module of whatever level its text says.
#[derive(Clone, PartialEq, Debug)]
pub enum AnyModule {
    Graph(graph::Module),
    Tensor(tensor::Module),
    Loop(loops::Module),
}

impl AnyModule {
    pub fn parse(text: &str, blobs: Blobs<'_>) -> Result<AnyModule, ParseError> {
        match level_name(text).as_deref() {
            Some("tensor") => parse_module(text, blobs).map(AnyModule::Tensor),
            Some("loop") => parse_module(text, blobs).map(AnyModule::Loop),
            // The graph parser says what a module begins with.
            _ => parse_module(text, blobs).map(AnyModule::Graph),
        }
    }
    pub fn level(&self) -> &'static str {
        match self {
            AnyModule::Graph(_) => "graph",
            AnyModule::Tensor(_) => "tensor",
            AnyModule::Loop(_) => "loop",
        }
    }
    pub fn consts(&self) -> &[Const] {
        match self {
            AnyModule::Graph(m) => &m.consts,
            AnyModule::Tensor(m) => &m.consts,
            AnyModule::Loop(m) => &m.consts,
        }
    }
    pub fn verify(&self) -> Vec<VerifyError> {
        match self {
            AnyModule::Graph(m) => graph::verify(m),
            AnyModule::Tensor(m) => tensor::verify(m),
            AnyModule::Loop(m) => loops::verify(m),
        }
    }
}

impl fmt::Display for AnyModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnyModule::Graph(m) => m.fmt(f),
            AnyModule::Tensor(m) => m.fmt(f),
            AnyModule::Loop(m) => m.fmt(f),
        }
    }
}

/// What a pass takes and gives.
#[derive(Clone, Copy)]
enum Run {
    Graph(fn(&mut graph::Module)),
    GraphToTensor(fn(&graph::Module) -> Result<tensor::Module, String>),
    Tensor(fn(&mut tensor::Module)),
    TensorToLoop(fn(&tensor::Module) -> Result<loops::Module, String>),
    Loop(fn(&mut loops::Module)),
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
            Run::Graph(_) => ("graph", "graph"),
            Run::GraphToTensor(_) => ("graph", "tensor"),
            Run::Tensor(_) => ("tensor", "tensor"),
            Run::TensorToLoop(_) => ("tensor", "loop"),
            Run::Loop(_) => ("loop", "loop"),
        }
    }
}

/// In the order of the pipeline.
pub const PASSES: &[Pass] = &[
    Pass {
        name: "canonicalise",
        about: "directed rewrites that are always better",
        run: Run::Graph(|m| drop(canonicalise::canonicalise(m))),
    },
    Pass {
        name: "lower_tensor",
        about: "graph ops as structured ops over named axes",
        run: Run::GraphToTensor(|m| lower_tensor::lower(m).map_err(|e| e.to_string())),
    },
    Pass { name: "fuse", about: "structured ops into dispatches", run: Run::Tensor(fuse::fuse) },
    Pass { name: "schedule", about: "a schedule for each dispatch; constant operands packed", run: Run::Tensor(schedule::schedule) },
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
];

/// Passes leave gaps in the numbers of values, and text has none.
pub fn renumber<L: Level>(m: &mut Module<L>) {
    m.funcs.iter_mut().for_each(Func::renumber);
}

/// Applies the pass of that name.
pub fn apply(name: &str, module: AnyModule) -> Result<AnyModule, String> {
    let known = || PASSES.iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
    let pass = PASSES.iter().find(|p| p.name == name).ok_or_else(|| format!("there is no pass `{name}`; there are {}", known()))?;
    match (pass.run, module) {
        (Run::Graph(f), AnyModule::Graph(mut m)) => {
            f(&mut m);
            renumber(&mut m);
            Ok(AnyModule::Graph(m))
        }
        (Run::GraphToTensor(f), AnyModule::Graph(m)) => f(&m).map(AnyModule::Tensor),
        (Run::Tensor(f), AnyModule::Tensor(mut m)) => {
            f(&mut m);
            renumber(&mut m);
            Ok(AnyModule::Tensor(m))
        }
        (Run::TensorToLoop(f), AnyModule::Tensor(m)) => f(&m).map(AnyModule::Loop),
        (Run::Loop(f), AnyModule::Loop(mut m)) => {
            f(&mut m);
            renumber(&mut m);
            Ok(AnyModule::Loop(m))
        }
        (Run::Graph(_) | Run::GraphToTensor(_) | Run::Tensor(_) | Run::TensorToLoop(_) | Run::Loop(_), m) => {
            Err(format!("`{name}` takes {} IR, this is {} IR", pass.levels().0, m.level()))
        }
    }
}
