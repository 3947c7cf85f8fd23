//! Passes by name, as file tests and the suites know them. A pass listed here goes through every test of every pass: on random
//! modules its result must verify, and mean what the module meant before.

use crate::level::AnyModule;

/// A pass of one level: `None` for modules of another.
type Run = fn(&AnyModule) -> Option<Result<AnyModule, String>>;

pub struct Pass {
    pub name: &'static str,
    run: Run,
}

/// In the order of the pipeline: each takes what the one before it gives.
pub const PASSES: &[Pass] = &[
    Pass { name: "lower_tensor", run: |m| on_graph(m, |g| odc_passes::lower_tensor::lower(g).map(AnyModule::Tensor).map_err(text)) },
    Pass { name: "fuse", run: |m| on_tensor(m, |t| odc_passes::fuse::fuse(t)) },
    Pass { name: "schedule", run: |m| on_tensor(m, |t| odc_passes::schedule::schedule(t)) },
    Pass { name: "plan", run: plan },
];

/// Kernels and plan in one step: neither is a module without the other.
fn plan(m: &AnyModule) -> Option<Result<AnyModule, String>> {
    let AnyModule::Tensor(t) = m else { return None };
    let program = odc_passes::lower_loop::lower(t).map_err(text).and_then(|kernels| odc_passes::plan::plan(t, kernels).map_err(text));
    Some(program.map(AnyModule::Program))
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

fn on_graph(m: &AnyModule, f: impl Fn(&odc_ir::graph::Module) -> Result<AnyModule, String>) -> Option<Result<AnyModule, String>> {
    match m {
        AnyModule::Graph(g) => Some(f(g)),
        AnyModule::Tensor(_) | AnyModule::Loop(_) | AnyModule::Program(_) => None,
    }
}

/// A pass that changes the module in place.
fn on_tensor(m: &AnyModule, f: impl Fn(&mut odc_ir::tensor::Module)) -> Option<Result<AnyModule, String>> {
    match m {
        AnyModule::Tensor(t) => {
            let mut t = t.clone();
            f(&mut t);
            Some(Ok(AnyModule::Tensor(t)))
        }
        AnyModule::Graph(_) | AnyModule::Loop(_) | AnyModule::Program(_) => None,
    }
}

impl Pass {
    /// `None` if the pass takes another level.
    pub fn apply(&self, m: &AnyModule) -> Option<Result<AnyModule, String>> {
        (self.run)(m)
    }
}

pub fn apply(name: &str, m: &AnyModule) -> Result<AnyModule, String> {
    let known = || PASSES.iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
    let pass = PASSES.iter().find(|p| p.name == name).ok_or_else(|| format!("unknown pass `{name}`; known are {}", known()))?;
    pass.apply(m).unwrap_or_else(|| Err(format!("{name} takes no {} module", m.level())))
}
