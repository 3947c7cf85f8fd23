//! An artifact as files that people and other programs read: a manifest in JSON with numbers where sizes are known and formulas where
//! not, each kernel in a file of its own, the weights in one. See `docs/metal.md` for an app that runs such a folder.

use crate::kernels::{self, KernelText};
use crate::output::{file_name, make_folder, write_bytes, write_file};
use crate::pipeline::Compiled;
use crate::problem::Problem;
use crate::target::AnyTarget;
use odc_backend::Language;
use odc_format::{Device, TargetProgram};
use odc_ir::core::Dim;
use odc_ir::program::{BufferRef, Command, Port, Program};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// What `grid` of n workgroups is in each direction.
const MAX_GRID_X: i64 = 65535;

/// Writes the folder; with several targets one folder in it for each, beside the weights that they share.
pub fn explode(compiled: &Compiled, folder: &Path) -> Result<(), Vec<Problem>> {
    let one = |p: Problem| vec![p];
    make_folder(folder).map_err(one)?;
    let infos = &compiled.manifest().weights;
    write_file(&folder.join("weights.bin"), |w| {
        let mut at = 0u64;
        for (info, bytes) in infos.iter().zip(compiled.weights()) {
            while at < info.offset {
                w.write_all(&[0])?;
                at += 1;
            }
            w.write_all(bytes)?;
            at += info.len;
        }
        Ok(())
    })
    .map_err(one)?;
    let several = compiled.targets.len() > 1;
    for (k, target) in compiled.targets.iter().enumerate() {
        let (Some(made), Some(build)) = (compiled.manifest().targets.get(k), compiled.builds().find(|b| b.machine == target.machine()))
        else {
            continue;
        };
        let to = if several { folder.join(file_name(target.name())) } else { folder.to_path_buf() };
        make_folder(&to.join("kernels")).map_err(one)?;
        let files = kernel_files(compiled, &build.program, target, made, k)?;
        for f in &files {
            write_bytes(&to.join(&f.path), &f.bytes).map_err(one)?;
        }
        let weights = if several { "../weights.bin" } else { "weights.bin" };
        let manifest = manifest(compiled, &build.program, target, made, &files, weights)?;
        let text = serde_json::to_string_pretty(&manifest).map_err(|e| one(Problem::new("ODC0391", e)))?;
        write_bytes(&to.join("manifest.json"), (text + "\n").as_bytes()).map_err(one)?;
    }
    Ok(())
}

struct File {
    /// The kernel that it holds; `None` for a text beside it.
    kernel: Option<usize>,
    path: String,
    bytes: Vec<u8>,
}

fn kernel_files(compiled: &Compiled, p: &Program, target: &AnyTarget, made: &TargetProgram, at: usize) -> Result<Vec<File>, Vec<Problem>> {
    let section = compiled.code().get(at).map_or(&[][..], Vec::as_slice);
    let bytes = |k: &odc_format::Kernel| {
        let range = usize::try_from(k.offset).ok().zip(usize::try_from(k.len).ok()).and_then(|(o, n)| Some(o..o.checked_add(n)?));
        range.and_then(|r| section.get(r)).unwrap_or_default().to_vec()
    };
    let suffix = match target {
        AnyTarget::Cpu(_) => "bin",
        AnyTarget::Gpu(t) => match t.language {
            Language::Wgsl => "wgsl",
            Language::Spirv => "spv",
            Language::Metal => "metal",
        },
    };
    let mut files = vec![];
    let mut taken = BTreeSet::new();
    for (k, kernel) in made.kernels.iter().enumerate() {
        let mut name = file_name(&kernel.name);
        // Entry points are cut short, so that several modules may share a name; some file systems do not tell cases apart.
        if !taken.insert(name.to_lowercase()) {
            name = format!("{name}-{k}");
            taken.insert(name.to_lowercase());
        }
        files.push(File { kernel: Some(k), path: format!("kernels/{name}.{suffix}"), bytes: bytes(kernel) });
    }
    // What is not text gets one beside it.
    for KernelText { name, language, text, .. } in kernels::texts(p, target)? {
        if matches!(language, "asm" | "spvasm") {
            files.push(File { kernel: None, path: format!("kernels/{}.{language}", file_name(&name)), bytes: text.into_bytes() });
        }
    }
    Ok(files)
}

fn manifest(
    compiled: &Compiled,
    p: &Program,
    target: &AnyTarget,
    made: &TargetProgram,
    files: &[File],
    weights: &str,
) -> Result<Value, Vec<Problem>> {
    let m = compiled.manifest();
    let index: Vec<_> = p.consts.iter().map(|c| c.hash()).map(|h| m.weights.iter().position(|w| w.hash == h)).collect();
    let gpu = target.gpu().is_some();
    let mut list = vec![];
    for (k, kernel) in made.kernels.iter().enumerate() {
        let mut entry = Map::new();
        let file = files.iter().find(|f| f.kernel == Some(k)).map(|f| f.path.as_str());
        entry.insert("name".into(), json!(kernel.name));
        entry.insert("file".into(), json!(file));
        entry.insert("nodes".into(), json!(kernel.source));
        if let Some(g) = &kernel.gpu {
            entry.insert("workgroup".into(), json!(g.workgroup));
            let access = |a: &odc_format::Access| if *a == odc_format::Access::Read { "read" } else { "read_write" };
            entry.insert("access".into(), json!(g.access.iter().map(access).collect::<Vec<_>>()));
            entry.insert("threadgroup_memory".into(), json!(kernels::threadgroup_memory(p, k, target)?));
        } else {
            entry.insert("scratch_bytes".into(), number(&p.kernel_scratch(k as u32)));
        }
        list.push(Value::Object(entry));
    }
    let place = |b: &BufferRef| match b {
        BufferRef::Input(k) => json!({ "input": k }),
        BufferRef::Output(k) => json!({ "output": k }),
        BufferRef::Local(k) => json!({ "local": k }),
        BufferRef::Arena(k) => json!({ "arena": p.slot(*k).map(|s| number(&s.offset)) }),
        BufferRef::Const { id, offset } => json!({ "weight": index.get(id.0 as usize), "offset": offset }),
    };
    let command = |c: &Command| match c {
        Command::Dispatch { kernel, buffers, dims, grid: n, bytes, .. } => json!({
            "kernel": kernel, "buffers": buffers.iter().map(place).collect::<Vec<_>>(), "bytes": bytes.iter().map(number).collect::<Vec<_>>(),
            "dims": dims.iter().map(number).collect::<Vec<_>>(), "grid": if gpu { grid(n) } else { number(n) },
        }),
        Command::Size { size, from } => json!({ "size": size.to_string(), "from": place(from) }),
        Command::Copy { src, dst, bytes } => json!({ "copy": place(src), "to": place(dst), "bytes": number(bytes) }),
        Command::If { condition, .. } => json!({ "if": place(condition) }),
        Command::Else => json!("else"),
        Command::Loop(l) => json!({
            "loop": number(&l.trips), "limit": l.limit.as_ref().map(place), "iteration": l.iteration.as_ref().map(place),
            "while": l.condition.as_ref().map(|c| json!({ "initial": place(&c.initial), "place": place(&c.place) })),
            "carried": l.carried.iter().map(|c| json!({ "initial": place(&c.initial), "result": place(&c.result),
                "spare": place(&c.spare), "bytes": number(&c.bytes) })).collect::<Vec<_>>(),
            "moving": l.moving.iter().map(|m| json!({ "base": place(&m.base), "step": number(&m.step) })).collect::<Vec<_>>(),
        }),
        Command::End => json!("end"),
    };
    let port = |port: &Port| json!({ "name": port.name, "dtype": port.ty.dtype.to_string(), "shape": port.ty.shape.iter().map(number).collect::<Vec<_>>() });
    let (features, limits) = match &made.device {
        Device::Cpu { features, .. } => (features, Value::Null),
        Device::Gpu { features, limits, .. } => (features, json!(limits)),
    };
    let dim = |s: &odc_format::SymbolInfo| json!({ "name": s.name, "lo": s.lo, "hi": (s.hi != i64::MAX).then_some(s.hi), "multiple_of": s.multiple_of });
    Ok(json!({
        "name": m.name, "producer": m.producer, "target": target.name(), "features": features, "limits": limits,
        "dims": m.symbols.iter().map(dim).collect::<Vec<_>>(),
        "inputs": p.inputs.iter().map(port).collect::<Vec<_>>(), "outputs": p.outputs.iter().map(|(o, _)| port(o)).collect::<Vec<_>>(),
        "output_places": p.outputs.iter().map(|(_, b)| place(b)).collect::<Vec<_>>(),
        "arena_bytes": number(&p.arena_bytes), "weights_file": weights,
        "weights": m.weights.iter().map(|w| json!({ "offset": w.offset, "len": w.len })).collect::<Vec<_>>(),
        "kernels": list, "commands": p.commands.iter().map(command).collect::<Vec<_>>(),
    }))
}

/// A number, or a formula of the dims.
fn number(d: &Dim) -> Value {
    d.as_const().map_or_else(|| json!(d.to_string()), |n| json!(n))
}

/// Workgroups in each direction.
fn grid(n: &Dim) -> Value {
    match n.as_const() {
        Some(n) => {
            let x = n.clamp(1, MAX_GRID_X);
            json!([x, (n.max(0) + x - 1) / x, 1])
        }
        None => {
            let n = n.to_string();
            json!([format!("min({n}, {MAX_GRID_X})"), format!("ceildiv({n}, min({n}, {MAX_GRID_X}))"), 1])
        }
    }
}
