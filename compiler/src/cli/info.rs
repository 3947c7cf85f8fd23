//! `odc info`: what an artifact wants, gives and costs, without running it. With `--memory` also a model, which is compiled for it.

use super::model::{compile_plainly, is_artifact};
use super::{control, print, print_json};
use crate::dims::DimArg;
use crate::problem::{Failure, Problem};
use crate::report::Memory;
use crate::show;
use odc_format::{ArtifactView, Command, Device, FormatError, Language, Manifest, Slot, TargetProgram, TensorInfo};
use odc_runtime::{Artifact, LoadError};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Show what an artifact wants, gives and costs
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  odc info model.odc
  odc info model.odc --dim batch=8 --dim seq=128      exact memory at these sizes
  odc info model.odc --memory --dim seq=128           the peak, and what is alive there
  odc info model.odc --json")]
pub struct Args {
    /// An artifact; with --memory it may be a model
    artifact: PathBuf,
    /// Only this target
    #[arg(short, long, value_name = "TARGET")]
    target: Option<String>,
    /// The size of a dim, for exact memory
    #[arg(long, value_name = "N=4")]
    dim: Vec<DimArg>,
    /// The arena at its fullest: what is alive there, and how near the arena is to the least that this order needs
    #[arg(long)]
    memory: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    if args.memory && !is_artifact(&args.artifact) {
        let compiled = compile_plainly(&args.artifact, args.target.as_deref())?;
        return memory(compiled.manifest(), &args.dim, args.json);
    }
    // Mapped where this machine can run it, read otherwise.
    match Artifact::open(&args.artifact) {
        Ok(a) => {
            let mut manifest = a.manifest().clone();
            manifest.targets.insert(0, a.target().clone());
            show(args, &manifest, a.weight_bytes() as u64)
        }
        Err(LoadError::NoTarget { .. }) => {
            let bytes = std::fs::read(&args.artifact).map_err(|e| Problem::unreadable(&args.artifact, e))?;
            let view = ArtifactView::parse(&bytes)?;
            show(args, &view.manifest, view.weights().len() as u64)
        }
        Err(LoadError::Format(FormatError::NotAnArtifact)) => {
            let e = FormatError::NotAnArtifact;
            Err(Failure::new(
                crate::Exit::Device,
                Problem::new(e.code(), format!("{}: {e}", args.artifact.display())).help("`odc check` looks into ONNX models"),
            ))
        }
        Err(e) => Err(e.into()),
    }
}

/// The memory of every program.
pub(super) fn memory(m: &Manifest, dims: &[DimArg], as_json: bool) -> Result<(), Failure> {
    let given = sizes(m, dims)?;
    let overflow = || Problem::usage("the sizes overflow 64 bits").help("give smaller ones with --dim");
    let all = m.targets.iter().map(|t| Memory::new(m, t, &given).ok_or_else(overflow)).collect::<Result<Vec<_>, _>>()?;
    if as_json {
        return print_json(&json!({ "name": m.name, "targets": all.iter().map(Memory::json).collect::<Vec<_>>() }));
    }
    all.iter().try_for_each(|memory| print(memory.text()))
}

/// Values of all slots under the given dims; `None` where one is missing.
fn values(m: &Manifest, dims: &[DimArg]) -> Result<Vec<Option<i64>>, Failure> {
    Ok(m.shape_program.evaluate_at(&sizes(m, dims)?))
}

/// The given dims, which the model's bounds allow.
pub(super) fn sizes(m: &Manifest, dims: &[DimArg]) -> Result<Vec<(Slot, i64)>, Failure> {
    let mut known = vec![];
    for d in dims {
        let names = || m.symbols.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
        let s = m.symbols.iter().find(|s| s.name == d.name);
        let s =
            s.ok_or_else(|| Problem::usage(format!("there is no dim `{}`", d.name)).help(format!("the model's dims are: {}", names())))?;
        let size = d.size().map_err(Failure::usage)?;
        if size < s.lo || size > s.hi || size % s.multiple_of.max(1) != 0 {
            return Err(Failure::usage(format!("dim `{}` is {size}, the model wants {}", d.name, bounds(s))));
        }
        known.push((s.slot, size));
    }
    Ok(known)
}

fn bounds(s: &odc_format::SymbolInfo) -> String {
    let hi = if s.hi == i64::MAX { String::new() } else { s.hi.to_string() };
    let multiple = if s.multiple_of > 1 { format!(", a multiple of {}", s.multiple_of) } else { String::new() };
    format!("{}..{hi}{multiple}", s.lo)
}

fn dispatches(t: &TargetProgram) -> usize {
    t.commands.iter().filter(|c| matches!(c, Command::Dispatch(_))).count()
}

fn code_bytes(t: &TargetProgram) -> u64 {
    t.kernels.iter().map(|k| k.len).sum()
}

fn show(args: &Args, m: &Manifest, weight_bytes: u64) -> Result<(), Failure> {
    let mut m = m.clone();
    if let Some(name) = &args.target {
        // A GPU program has its whole name, one for a CPU does not; a language alone is all of its programs.
        let name = crate::AnyTarget::parse(name).map_or(name.clone(), |t| if t.gpu().is_some() { t.name().into() } else { "cpu".into() });
        let has = m.targets.iter().map(|t| t.target.clone()).collect::<Vec<_>>().join(", ");
        m.targets.retain(|t| t.target == name || t.target.split(':').next() == Some(&name));
        if m.targets.is_empty() {
            return Err(Problem::usage(format!("the artifact has no program for `{name}`")).help(format!("it has: {has}")).into());
        }
    }
    let m = &m;
    if args.memory {
        return memory(m, &args.dim, args.json);
    }
    let slots = values(m, &args.dim)?;
    let at = |s: Slot| slots.get(s.index()).copied().flatten();
    if args.json { print_json(&json(&args.artifact, m, weight_bytes, &at)) } else { text(&args.artifact, m, weight_bytes, &at) }
}

fn file_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}

fn device(t: &TargetProgram) -> &'static str {
    match &t.device {
        Device::Cpu { arch, .. } => arch.name(),
        Device::Gpu { language: Language::Wgsl, .. } => "GPUs, in WGSL",
        Device::Gpu { language: Language::Spirv, .. } => "GPUs, in SPIR-V",
        Device::Gpu { language: Language::Msl, .. } => "Apple GPUs, in Metal",
    }
}

fn features(t: &TargetProgram) -> &[String] {
    match &t.device {
        Device::Cpu { features, .. } | Device::Gpu { features, .. } => features,
    }
}

/// The most that one thread of any kernel needs.
fn scratch(t: &TargetProgram, at: &dyn Fn(Slot) -> Option<i64>) -> Option<i64> {
    t.kernels.iter().try_fold(0, |most, k| Some(at(k.scratch_bytes)?.max(most)))
}

/// What the device must have, in WebGPU's terms.
fn limits(t: &TargetProgram) -> Option<&odc_format::GpuLimits> {
    match &t.device {
        Device::Gpu { limits, .. } => Some(limits),
        Device::Cpu { .. } => None,
    }
}

/// GPU memory of a session, byte for byte, where all dims are known and this build knows GPUs.
#[cfg(feature = "gpu")]
fn gpu_memory(m: &Manifest, t: &TargetProgram, at: &dyn Fn(Slot) -> Option<i64>) -> Option<odc_runtime::gpu::GpuMemory> {
    limits(t)?;
    let known = m.symbols.iter().map(|s| Some((s.name.as_str(), at(s.slot)?))).collect::<Option<Vec<_>>>()?;
    odc_runtime::gpu::memory_at(m, t, &known)
}

fn json(path: &Path, m: &Manifest, weight_bytes: u64, at: &dyn Fn(Slot) -> Option<i64>) -> Value {
    let tensor = |t: &TensorInfo| json!({ "name": t.name, "dtype": t.dtype.name(), "shape": t.shape_text, "shape_at_dims": t.shape.iter().map(|s| at(*s)).collect::<Vec<_>>() });
    let tensors = |list: &[TensorInfo]| list.iter().map(tensor).collect::<Vec<_>>();
    let dim = |s: &odc_format::SymbolInfo| json!({ "name": s.name, "lo": s.lo, "hi": (s.hi != i64::MAX).then_some(s.hi), "multiple_of": s.multiple_of, "value": at(s.slot) });
    let target = |t: &TargetProgram| {
        let v = json!({
            "target": t.target, "device": device(t), "features": features(t), "dispatches": dispatches(t), "code_bytes": code_bytes(t),
            "arena_formula": t.peak_text, "arena_bytes": at(t.arena_bytes), "scratch_bytes_per_thread": scratch(t, at),
            "kernels": t.kernels.iter().map(|k| json!({ "name": k.name, "bytes": k.len, "nodes": k.source, "workgroup": k.gpu.as_ref().map(|g| g.workgroup) })).collect::<Vec<_>>(),
            "limits": limits(t), "control": control::bodies(t, at).iter().map(control::Body::json).collect::<Vec<_>>(),
        });
        #[cfg(feature = "gpu")]
        let v = with_gpu_memory(v, gpu_memory(m, t, at));
        v
    };
    let first = m.targets.first();
    json!({
        "name": m.name, "producer": m.producer, "format": odc_format::FORMAT_VERSION, "file_bytes": file_bytes(path),
        "inputs": tensors(&m.inputs), "outputs": tensors(&m.outputs), "strings": m.strings.len(), "dims": m.symbols.iter().map(dim).collect::<Vec<_>>(),
        "targets": m.targets.iter().map(target).collect::<Vec<_>>(),
        "kernels": first.map_or(0, |t| t.kernels.len()), "dispatches": first.map_or(0, dispatches), "weight_bytes": weight_bytes,
        "arena_formula": first.map(|t| &t.peak_text), "arena_bytes": first.and_then(|t| at(t.arena_bytes)),
    })
}

#[cfg(feature = "gpu")]
fn with_gpu_memory(mut v: Value, memory: Option<odc_runtime::gpu::GpuMemory>) -> Value {
    if let (Some(o), Some(g)) = (v.as_object_mut(), memory) {
        let parts = json!({ "total": g.total(), "weights": g.weights, "arena": g.arena, "inputs": g.inputs, "outputs": g.outputs, "sizes": g.dims });
        o.insert("gpu_memory".into(), parts);
    }
    v
}

fn text(path: &Path, m: &Manifest, weight_bytes: u64, at: &dyn Fn(Slot) -> Option<i64>) -> Result<(), Failure> {
    print(format!("{}: {} made by {}, {}", path.display(), m.name, m.producer, show::bytes(file_bytes(path))))?;
    for (kind, list) in [("input ", &m.inputs), ("output", &m.outputs)] {
        for t in list {
            print(format!("  {kind}  {}: {}[{}]", t.name, t.dtype, t.shape_text.join(", ")))?;
        }
    }
    if !m.strings.is_empty() {
        print(format!("  strings {} that the model knows", m.strings.len()))?;
    }
    for s in &m.symbols {
        let value = at(s.slot).map_or(String::new(), |v| format!(" = {v}"));
        print(format!("  dim     {} in {}{value}", s.name, bounds(s)))?;
    }
    print(format!("  weights {}", show::bytes(weight_bytes)))?;
    for t in &m.targets {
        let with = if features(t).is_empty() { String::new() } else { format!(" with {}", features(t).join(" ")) };
        print(format!("  target  {} for {}{with}", t.target, device(t)))?;
        print(format!("    {} dispatches of {} kernels, {} of code", dispatches(t), t.kernels.len(), show::bytes(code_bytes(t))))?;
        for body in control::bodies(t, at) {
            print(format!("      {}", body.text()))?;
        }
        let bytes = at(t.arena_bytes).map(|v| format!("{v} bytes"));
        print(match bytes {
            Some(b) if t.peak_text.parse::<i64>().is_ok() => format!("    arena {b}"),
            Some(b) => format!("    arena {b} = {}", t.peak_text),
            None => format!("    arena {} bytes (give --dim for a number)", t.peak_text),
        })?;
        if let Some(l) = limits(t) {
            print(format!(
                "    needs {} storage buffers of at most {}, workgroups of {} invocations with {} bytes",
                l.storage_buffers,
                show::bytes(l.binding_bytes),
                l.invocations,
                l.workgroup_bytes
            ))?;
            #[cfg(feature = "gpu")]
            if let Some(g) = gpu_memory(m, t, at) {
                print(format!(
                    "    GPU memory {} bytes: weights {}, arena {}, inputs {}, outputs {}, sizes {}",
                    g.total(),
                    g.weights,
                    g.arena,
                    g.inputs,
                    g.outputs,
                    g.dims
                ))?;
            }
        } else if let Some(s) = scratch(t, at) {
            print(format!("    scratch {s} bytes a thread"))?;
        }
    }
    Ok(())
}
