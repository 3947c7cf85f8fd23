//! `odc check`: what is in a model, and everything in it that odc cannot import, with the names of the nodes.

use super::{print, print_json};
use crate::dims::DimArg;
use crate::fix::{self, FixArg};
use crate::pipeline::import;
use crate::problem::{Exit, Failure, Problem};
use crate::{CompileError, Options, show};
use odc_ir::graph;
use odc_onnx::Model;
use odc_onnx::proto::GraphProto;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Look into a model and list every problem
#[derive(clap::Args)]
#[command(after_help = "\
Exit code 0 if the model can be imported, 2 if not.

Examples:
  odc check model.onnx
  odc check model.onnx --dim batch=1 --json")]
pub struct Args {
    /// An ONNX model
    model: PathBuf,
    /// Fix a dim of the model (N=4) or bound it ("N in 1..128")
    #[arg(long, value_name = "DIM")]
    dim: Vec<DimArg>,
    /// Give an input its value: axes=[0,2] or pads=@pads.npy
    #[arg(long, value_name = "NAME=VALUE")]
    fix: Vec<FixArg>,
    /// One JSON object: signature, ops, parameters, problems
    #[arg(long)]
    pub json: bool,
}

/// What the file holds, whether it can be compiled or not.
#[derive(Default)]
struct Content {
    nodes: usize,
    ops: BTreeMap<String, usize>,
    parameters: u64,
    opset: Option<i64>,
    producer: String,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let mut content = Content::default();
    let dims = args.dim.iter().map(|d| (d.name.clone(), d.text.clone())).collect();
    let options = Options { dims, fix: fix::values(&args.fix)?, ..Options::default() };
    let imported = match Model::open(&args.model) {
        Ok(model) => {
            content.opset = model.opset("");
            content.producer = format!("{} {}", model.proto.producer_name(), model.proto.producer_version()).trim().into();
            if let Some(g) = &model.proto.graph {
                count(g, &mut content);
            }
            import(&model, &options)
        }
        Err(e) => Err(CompileError::Import(vec![e.into()])),
    };
    let (module, failure) = match imported {
        Ok(m) => (Some(m), None),
        Err(e) => (None, Some(Failure::from(e))),
    };
    let problems = failure.map(|f| f.problems).unwrap_or_default();
    let ok = module.is_some();
    if args.json {
        print_json(&report(&content, module.as_ref(), &problems))?;
    } else {
        text(&args.model.display().to_string(), &content, module.as_ref(), &problems)?;
    }
    // The problems are the result, and told already.
    if ok { Ok(()) } else { Err(Failure { exit: Exit::Import, problems: vec![] }) }
}

fn count(g: &GraphProto, c: &mut Content) {
    let constants = g.node.iter().filter(|n| n.op_type() == "Constant").flat_map(|n| n.attribute.iter().filter_map(|a| a.t.as_ref()));
    for t in g.initializer.iter().chain(constants) {
        let n = t.dims.iter().try_fold(1u64, |n, d| n.checked_mul(u64::try_from(*d).ok()?));
        c.parameters = c.parameters.saturating_add(n.unwrap_or(0));
    }
    for node in &g.node {
        c.nodes += 1;
        let name = match node.domain() {
            "" | "ai.onnx" => node.op_type().to_string(),
            domain => format!("{domain}.{}", node.op_type()),
        };
        *c.ops.entry(name).or_default() += 1;
        for a in &node.attribute {
            a.g.iter().chain(&a.graphs).for_each(|g| count(g, c));
        }
    }
}

/// Name and type of inputs and outputs.
fn signature(m: &graph::Module) -> [Vec<(String, String)>; 2] {
    let Some(f) = m.main() else { return [vec![], vec![]] };
    let port = |(name, v): (&String, odc_ir::core::Value)| (name.clone(), f.ty(v).to_string());
    [f.param_names.iter().zip(f.body.args.iter().copied()).map(port).collect(), f.outputs().map(port).collect()]
}

fn report(c: &Content, m: Option<&graph::Module>, problems: &[Problem]) -> Value {
    let mut v = json!({
        "ok": m.is_some(), "opset": c.opset, "producer": c.producer, "nodes": c.nodes, "ops": c.ops, "parameters": c.parameters,
        "problems": problems,
    });
    if let (Some(m), Some(o)) = (m, v.as_object_mut()) {
        let typed = |list: &[(String, String)]| list.iter().map(|(n, t)| json!({ "name": n, "type": t })).collect::<Vec<_>>();
        let [inputs, outputs] = signature(m);
        let dim = |(s, k): (&odc_ir::core::Sym, &odc_ir::core::Symbol)| json!({ "name": s.name(), "lo": k.lo, "hi": k.hi });
        o.insert("inputs".into(), typed(&inputs).into());
        o.insert("outputs".into(), typed(&outputs).into());
        o.insert("dims".into(), m.symbols.iter().map(dim).collect::<Vec<_>>().into());
    }
    v
}

fn text(name: &str, c: &Content, m: Option<&graph::Module>, problems: &[Problem]) -> Result<(), Failure> {
    let opset = c.opset.map_or("no opset".into(), |v| format!("opset {v}"));
    print(format!(
        "{name}: {} nodes, {opset}, {} parameters ({} as f32)",
        c.nodes,
        c.parameters,
        show::bytes(c.parameters.saturating_mul(4))
    ))?;
    let mut ops: Vec<_> = c.ops.iter().collect();
    ops.sort_by_key(|(name, n)| (std::cmp::Reverse(**n), *name));
    print(format!("  ops: {}", ops.iter().map(|(name, n)| format!("{n} {name}")).collect::<Vec<_>>().join(", ")))?;
    if let Some(m) = m {
        let [inputs, outputs] = signature(m);
        for (kind, list) in [("input", inputs), ("output", outputs)] {
            list.iter().try_for_each(|(n, t)| print(format!("  {kind} {n}: {t}")))?;
        }
        for (s, k) in &m.symbols {
            print(format!("  dim {s} in {}..{}", k.lo, k.hi.map_or(String::new(), |h| h.to_string())))?;
        }
        return print("  can be imported");
    }
    problems.iter().try_for_each(print)?;
    print(format!("{} problems", problems.len()))
}
