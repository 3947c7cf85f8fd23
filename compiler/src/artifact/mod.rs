//! Programs and their kernels' code as the parts of an artifact: sizes as shape code, weights once each, every name and bound
//! that the runtime checks.

mod sizes;
mod target;
mod weights;

use crate::kernels::Codes;
use crate::problem::Problem;
use crate::target::AnyTarget;
use bytes::Bytes;
use odc_format::{Check, Condition, DType, Digests, InRange, Manifest, ShapeProgram, SymbolInfo};
use odc_ir::core::{Dim, Sym, Value, counted};
use odc_ir::graph;
use odc_ir::program::{Command, Program, ShapeCode};
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
    let said = |s: &Sym| model.commands.iter().any(|c| matches!(c, Command::Size { size, .. } if size.as_sym() == Some(s)));
    for (s, facts) in model.symbols.iter().filter(|(s, f)| f.origin.is_some() || f.is_count() && said(s)) {
        let (lo, hi) = (facts.lo, facts.hi.unwrap_or(i64::MAX));
        symbols.push(SymbolInfo { name: s.to_string(), lo, hi, multiple_of: facts.multiple_of, slot: sizes.slot(&Dim::sym(s.name()))? });
    }
    let inputs = model.inputs.iter().map(|p| sizes.port(p)).collect::<Result<Vec<_>, _>>()?;
    let outputs = model.outputs.iter().map(|(p, _)| sizes.port(p)).collect::<Result<Vec<_>, _>>()?;
    let (mut checks, mut seen) = (vec![], BTreeSet::new());
    for c in targets.iter().flat_map(|t| &t.program.checks).filter(|c| seen.insert(c.size.clone())) {
        checks.push(Check { condition: Condition::AtLeast(sizes.slot(&c.size)?, 0), what: c.what.clone() });
    }
    checks.extend(size_checks(model, &mut sizes)?);
    let mut in_range = vec![];
    for r in &model.in_range {
        let input = model.inputs.iter().position(|p| p.name == r.input);
        let input = input.ok_or_else(|| Problem::new("ODC0331", format!("a range is of `{}`, which is no input", r.input)))?;
        let ranges = r.ranges.iter().map(|(lo, hi)| Ok((sizes.slot(lo)?, sizes.slot(hi)?))).collect::<Result<_, Problem>>()?;
        in_range.push(InRange { input: input as u32, ranges, what: r.what.clone() });
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
        strings: vec![],
        shape_program: ShapeProgram { instrs: sizes.0.instrs().iter().map(instr).collect(), checks },
        in_range,
        digests: if gpu { weights.digests(&infos, &sections) } else { Digests::default() },
        weights: infos,
        targets: programs,
    };
    Ok(Parts { manifest, code: sections, weights: weights.list.into_iter().map(|(_, bytes)| bytes).collect() })
}

/// Says which inputs and outputs are strings, which programs know as numbers, and what the numbers stand for.
pub fn add_strings(manifest: &mut Manifest, graph: &graph::Module) {
    manifest.strings.clone_from(&graph.strings);
    let Some(main) = graph.main() else { return };
    let is_text = |(v, _): &(&Value, &String)| main.types.get(v.index()).is_some_and(|t| t.dtype == odc_ir::core::DType::Str);
    let named = main.body.args.iter().zip(&main.param_names).chain(main.body.yields.iter().zip(&main.result_names));
    let names: BTreeSet<&str> = named.filter(is_text).map(|(_, name)| name.as_str()).collect();
    for t in manifest.inputs.iter_mut().chain(&mut manifest.outputs).filter(|t| names.contains(t.name.as_str())) {
        t.dtype = DType::Str;
    }
}

/// What must hold of the sizes that data says: bounds of those that are new, equality with those that are known.
fn size_checks(model: &Program, sizes: &mut Sizes) -> Result<Vec<Check>, Problem> {
    let said = model.commands.iter().filter_map(|c| if let Command::Size { size, .. } = c { Some(size) } else { None });
    let mut checks = vec![];
    for (index, size) in said.enumerate() {
        let facts = counted(&model.symbols, size).and_then(|s| model.symbols.get(s));
        let value = sizes.said(index as u32, facts.and_then(|f| f.most.as_ref()).unwrap_or(size))?;
        let what = match facts.and_then(|f| Some((f.lo, f.most.as_ref()?))) {
            Some((lo, most)) => {
                let what = format!("the data-dependent size {size} must be within {lo}..={most}");
                checks.push(Check { condition: Condition::AtLeast(value, lo), what: what.clone() });
                let most = sizes.slot(most)?;
                let least = sizes.least(value, most);
                checks.push(Check { condition: Condition::Equal(least, value), what });
                continue;
            }
            None => format!("a data-dependent size must be {size}"),
        };
        let want = sizes.slot(size)?;
        checks.push(Check { condition: Condition::Equal(value, want), what });
    }
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use crate::{Options, compile_graph};
    use odc_format::DType;
    use odc_ir::core::{no_blobs, parse_module};
    use odc_runtime::{Artifact, SessionOptions, TensorView};

    const MODEL: &str = r#"graph module "labels" {
  string #0 = ""
  string #1 = "cat"
  string #2 = "über \"dog\""
  dim n in 1.. from "x" 0
  const #0 : str[2] = [2, 1]
  func @main(%0 "x": str[n], %1 "at": i64[n]) {
    %2 = constant {value = #0} : str[2]
    %3 = gather {axis = 0} %2, %1 : str[n]
    %4 = binary {f = eq} %0, %3 : bool[n]
    yield %0 "x again", %3 "label", %4 "same"
  }
}
"#;

    #[test]
    fn strings_from_text_to_text() {
        let graph = parse_module(MODEL, &no_blobs).unwrap();
        assert_eq!(graph.to_string(), MODEL);
        let compiled = compile_graph(graph, &Options::default()).unwrap();
        assert!(!compiled.program().to_string().contains("str"), "programs know numbers only");
        let artifact = Artifact::from_bytes(compiled.artifact_bytes().unwrap()).unwrap();
        let types: Vec<_> = artifact.manifest().outputs.iter().map(|t| t.dtype).collect();
        assert_eq!(types, [DType::Str, DType::Str, DType::Bool]);
        let mut session = artifact.session(SessionOptions::threads(1)).unwrap();
        let mut strings = artifact.strings();
        let x = strings.numbers(&["cat", "fox", "cat"]).unwrap();
        let at = TensorView::of(&[3], &[1i64, 1, 0]);
        let out = session.run(&[("x", TensorView::of_strings(&[3], &x)), ("at", at)]).unwrap();
        let text = |name| strings.texts(&out.get(name).unwrap()).unwrap();
        assert_eq!(text("x again"), ["cat", "fox", "cat"]);
        assert_eq!(text("label"), ["cat", "cat", "über \"dog\""]);
        assert_eq!(out.get("same").unwrap().data, [1, 0, 0]);
        let wrong = session.run(&[("x", TensorView::of(&[3], &x)), ("at", at)]).err().unwrap();
        assert_eq!(wrong.to_string(), "input \"x\" is i32, the model wants x: str[n]");
    }
}
