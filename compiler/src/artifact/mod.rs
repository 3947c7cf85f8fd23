//! Programs and their kernels' code as the parts of an artifact: sizes as shape code, weights once each, every name and bound
//! that the runtime checks.

mod sizes;
mod target;
mod weights;

use crate::kernels::Codes;
use crate::problem::Problem;
use crate::target::AnyTarget;
use bytes::Bytes;
use odc_format::{Check, Condition, Digests, Manifest, ShapeProgram, SymbolInfo};
use odc_ir::core::Dim;
use odc_ir::program::{Program, ShapeCode};
use sizes::{Sizes, instr};
use std::collections::BTreeSet;
use target::Assembly;
use weights::Weights;

/// What the artifact is written from.
#[derive(Debug)]
pub struct Parts {
    pub manifest: Manifest,
    /// One section a target.
    pub code: Vec<Vec<u8>>,
    /// In the order of the manifest.
    pub weights: Vec<Bytes>,
}

/// One target's program with its kernels' code, in the order of the program's kernels.
pub struct TargetCode<'a> {
    pub target: &'a AnyTarget,
    pub program: &'a Program,
    pub code: Codes,
}

/// Puts the parts together. All programs are of one model: they have the same inputs, outputs and symbols.
pub fn assemble(targets: &[TargetCode<'_>]) -> Result<Parts, Problem> {
    let model = targets.first().ok_or_else(|| Problem::usage("there is no target to compile for"))?.program;
    let mut sizes = Sizes(ShapeCode::new(model));
    let mut weights = Weights::default();
    targets.iter().for_each(|t| weights.add(t.program));
    let infos = weights.infos()?;

    let mut symbols = vec![];
    for (s, facts) in model.symbols.iter().filter(|(_, f)| f.origin.is_some()) {
        let (lo, hi) = (facts.lo, facts.hi.unwrap_or(i64::MAX));
        symbols.push(SymbolInfo { name: s.to_string(), lo, hi, multiple_of: facts.multiple_of, slot: sizes.slot(&Dim::sym(s.name()))? });
    }
    let inputs = model.inputs.iter().map(|p| sizes.port(p)).collect::<Result<Vec<_>, _>>()?;
    let outputs = model.outputs.iter().map(|(p, _)| sizes.port(p)).collect::<Result<Vec<_>, _>>()?;
    let (mut checks, mut seen) = (vec![], BTreeSet::new());
    for c in targets.iter().flat_map(|t| &t.program.checks).filter(|c| seen.insert(c.size.clone())) {
        checks.push(Check { condition: Condition::AtLeast(sizes.slot(&c.size)?, 0), what: c.what.clone() });
    }
    let (mut programs, mut sections) = (vec![], vec![]);
    for (k, t) in targets.iter().enumerate() {
        let mut a = Assembly { at: k, program: t.program, weights: &weights, sizes: &mut sizes };
        let (program, section) = a.program(t.target, &t.code, sections.len() as u32)?;
        programs.push(program);
        sections.push(section);
    }
    let gpu = targets.iter().any(|t| t.target.gpu().is_some());
    let manifest = Manifest {
        name: model.name.clone(),
        producer: concat!("odc ", env!("CARGO_PKG_VERSION")).into(),
        symbols,
        inputs,
        outputs,
        shape_program: ShapeProgram { instrs: sizes.0.instrs().iter().map(instr).collect(), checks },
        digests: if gpu { weights.digests(&infos, &sections) } else { Digests::default() },
        weights: infos,
        targets: programs,
    };
    Ok(Parts { manifest, code: sections, weights: weights.list.into_iter().map(|(_, bytes)| bytes).collect() })
}
