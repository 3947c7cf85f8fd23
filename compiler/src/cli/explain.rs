//! `odc compile --explain`: why the result is as it is.

use super::{print, print_json};
use crate::Compiled;
use crate::dims::DimArg;
use crate::problem::{Failure, Problem};
use crate::report::{self, Memory};
use serde_json::json;

/// What to explain.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Explain {
    /// Which nodes are one dispatch, and why no two dispatches merged
    Fusion,
    /// The arena at its fullest, as `odc info --memory`
    Memory,
    /// What was recognised in the model, and what looks like it but was not
    Patterns,
}

pub fn explain(compiled: &Compiled, what: Explain, dims: &[DimArg], as_json: bool) -> Result<(), Failure> {
    let m = compiled.manifest();
    match what {
        Explain::Memory => super::info::memory(m, dims, as_json),
        Explain::Patterns if as_json => print_json(&report::patterns_json(compiled)),
        Explain::Patterns => print(report::patterns_text(compiled)),
        Explain::Fusion => {
            let given = super::info::sizes(m, dims)?;
            let overflow = || Problem::usage("the sizes overflow 64 bits").help("give smaller ones with --at");
            let mut all = vec![];
            for build in compiled.builds() {
                // The first of the targets that share the program.
                let shared = compiled.targets.iter().zip(&m.targets).find(|(t, _)| t.machine() == build.machine);
                let Some((target, program)) = shared else { continue };
                let memory = Memory::new(m, program, &given).ok_or_else(overflow)?;
                match as_json {
                    true => all.push(report::fusion_json(build, target, &memory)),
                    false => print(report::fusion_text(build, target, &memory))?,
                }
            }
            if as_json { print_json(&json!({ "name": m.name, "targets": all })) } else { Ok(()) }
        }
    }
}
