//! GPU kernels without a GPU: what forms random graphs take, that they mean the same on the program's interpreter with its race
//! detector, the text of chosen kernels, that nothing but the model decides it, and what Tint and spirv-val say where they are installed.

mod forms;
mod groups;
mod intrinsics;
mod kernels;
mod limits;
mod meaning;
pub mod models;
mod stable;
mod tools;

use odc::{AnyTarget, Compiled, KernelText, Options, compile_graph};
use odc_ir::graph;

/// Compiled for these targets, the way the command does it.
fn compiled(m: &graph::Module, targets: &[&str]) -> Compiled {
    let targets = targets.iter().map(|t| AnyTarget::parse(t).expect(t)).collect();
    compile_graph(m.clone(), &Options { targets, threads: 1, ..Options::default() }).unwrap_or_else(|e| panic!("{e}\n{m}"))
}

fn texts(c: &Compiled) -> Vec<KernelText> {
    c.kernel_texts().unwrap_or_else(|e| panic!("{e:?}"))
}
