//! `odc check`: what is in a model, and everything in it that odc cannot import, with the names of the nodes.

use super::model::CompileArgs;
use super::{print, print_json};
use crate::estimate::Estimate;
use crate::pipeline::{import, plan_for};
use crate::problem::{Exit, Failure, Problem};
use crate::{CompileError, show};
use odc_ir::graph;
use odc_onnx::Model;
use odc_onnx::proto::GraphProto;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Look into a model and list every problem, without compiling it
#[derive(clap::Args)]
#[command(after_help = "\
With -t the model is also scheduled and its memory planned for each target, which takes longer and says what a target cannot do.
Exit code 0 if nothing is wrong, 2 if the model cannot be imported, 3 if a target cannot run it.

Examples:
  odc check model.onnx
  odc check model.onnx --dim batch=1 --json
  odc check model.onnx -t cpu,wgsl")]
pub struct Args {
    /// An ONNX model
    model: PathBuf,
    #[command(flatten)]
    compile: CompileArgs,
    /// One JSON object: signature, ops, parameters, costs, problems, targets
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

/// What one target makes of the model.
struct Verdict {
    target: String,
    plan: Result<Plan, Vec<Problem>>,
}

struct Plan {
    dispatches: usize,
    kernels: usize,
    /// A formula of the dims.
    arena: String,
    /// At the dims' least sizes.
    arena_at: Option<u64>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let mut content = Content::default();
    let options = args.compile.options()?;
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
    let (module, refused) = match imported {
        Ok(m) => (Some(m), None),
        Err(e) => (None, Some(Failure::from(e))),
    };
    let problems = refused.as_ref().map_or_else(Vec::new, |f| f.problems.clone());
    let mut verdicts = vec![];
    if let (Some(m), false) = (&module, args.compile.target.is_empty()) {
        for target in &options.targets {
            let plan = plan_for(m, target, &options).map(|b| Plan {
                dispatches: b.program.dispatch_count(),
                kernels: b.program.kernels.len(),
                arena: b.program.arena_bytes.to_string(),
                arena_at: Estimate::of(m).size(&b.program.arena_bytes),
            });
            verdicts.push(Verdict { target: target.name().into(), plan: plan.map_err(|e| Failure::from(e).problems) });
        }
    }
    if args.json {
        print_json(&report(&content, module.as_ref(), &problems, &verdicts))?;
    } else {
        text(&args.model.display().to_string(), &content, module.as_ref(), &problems)?;
        verdicts.iter().try_for_each(verdict)?;
    }
    // The problems are the result, and told already.
    let told = |exit| Err(Failure { exit, problems: vec![] });
    match refused {
        Some(f) => told(f.exit),
        None if verdicts.iter().any(|v| v.plan.is_err()) => told(Exit::Compile),
        None => Ok(()),
    }
}

fn verdict(v: &Verdict) -> Result<(), Failure> {
    match &v.plan {
        Ok(p) => {
            let arena = p.arena_at.map_or_else(|| format!("{} bytes", p.arena), show::bytes);
            print(format!("  {}: can run it, {} dispatches of {} kernels, arena {arena}", v.target, p.dispatches, p.kernels))
        }
        Err(problems) => {
            print(format!("  {}: cannot run it", v.target))?;
            problems.iter().try_for_each(print)
        }
    }
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

fn report(c: &Content, m: Option<&graph::Module>, problems: &[Problem], verdicts: &[Verdict]) -> Value {
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
        let e = Estimate::of(m);
        let costs = json!({ "macs": e.macs.to_string(), "weight_bytes": e.weight_bytes, "at": e.at, "macs_at": e.macs_at,
            "activation_bytes_at": e.activation_bytes_at });
        o.insert("costs".into(), costs);
        let verdict = |v: &Verdict| match &v.plan {
            Ok(p) => json!({ "target": v.target, "ok": true, "dispatches": p.dispatches, "kernels": p.kernels, "arena": p.arena,
                "arena_at": p.arena_at }),
            Err(problems) => json!({ "target": v.target, "ok": false, "problems": problems }),
        };
        o.insert("targets".into(), verdicts.iter().map(verdict).collect::<Vec<_>>().into());
    }
    v
}

fn costs(e: &Estimate) -> Result<(), Failure> {
    let known = |v: Option<u64>, f: &dyn Fn(u64) -> String| v.map_or_else(|| "unknown".into(), f);
    let at: Vec<_> = e.at.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let at = if at.is_empty() { String::new() } else { format!(" at {}", at.join(", ")) };
    print(format!(
        "  costs{at}: {} multiply-adds, {} of weights, at most {} of values at a time",
        known(e.macs_at, &|n| n.to_string()),
        show::bytes(e.weight_bytes),
        known(e.activation_bytes_at, &show::bytes),
    ))
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
        costs(&Estimate::of(m))?;
        return print("  can be imported");
    }
    problems.iter().try_for_each(print)?;
    print(format!("{} problems", problems.len()))
}
