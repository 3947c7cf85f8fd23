//! Kernels through the backend of a target, on several threads with the results in order, so that threads change nothing but
//! the time.

use crate::problem::Problem;
use crate::progress::Report;
use crate::show;
use crate::target::AnyTarget;
use odc_backend::{Backend, BackendError, Codegen, GpuBackend, GpuCode, GpuKernel, GpuTarget, KernelCode, Language, Target, TextKind};
use odc_ir::core::Dim;
use odc_ir::program::{Command, Program};
use odc_spirv::Spirv;
use odc_wgsl::Wgsl;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What makes code for a CPU.
fn cpu(target: &Target) -> &'static (dyn Backend + Sync) {
    match target.codegen {
        #[cfg(feature = "llvm")]
        Codegen::Llvm => &odc_llvm::Llvm,
        // No such target is made without the feature.
        #[cfg(not(feature = "llvm"))]
        Codegen::Llvm => &odc_cranelift::Cranelift,
        Codegen::Cranelift => &odc_cranelift::Cranelift,
    }
}

/// All kernels of a program for one target, in order.
#[derive(Debug)]
pub enum Codes {
    Cpu(Vec<KernelCode>),
    Gpu(Vec<GpuCode>),
}

/// A kernel as a backend shows it to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelText {
    pub name: String,
    pub target: String,
    /// `clif`, `ll`, `asm`, `wgsl`, `msl` or `spvasm`.
    pub language: &'static str,
    pub text: String,
}

/// All kernels' code, or all kernels' problems.
pub fn compile(program: &Program, target: &AnyTarget, threads: usize, report: Report<'_>) -> Result<Codes, Vec<Problem>> {
    match target {
        AnyTarget::Cpu(t) => in_parallel(program, threads, report, |k| match program.kernels.get(k) {
            Some(kernel) => cpu(t).compile(kernel, t),
            None => Err(no_kernel(k)),
        })
        .map(Codes::Cpu),
        AnyTarget::Gpu(t) => in_parallel(program, threads, report, |k| gpu_code(program, k, t)).map(Codes::Gpu),
    }
}

fn in_parallel<T: Send>(
    program: &Program,
    threads: usize,
    report: Report<'_>,
    compile: impl Fn(usize) -> Result<T, BackendError> + Sync,
) -> Result<Vec<T>, Vec<Problem>> {
    let n = program.kernels.len();
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<T, BackendError>)>> = Mutex::new(Vec::with_capacity(n));
    let work = || {
        let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|k| *k < n);
        while let Some(k) = take() {
            let code = compile(k);
            // Only a panic of another worker poisons the lock, and that ends the scope as well.
            if let Ok(mut done) = done.lock() {
                done.push((k, code));
                report("compiling kernels", done.len(), n);
            }
        }
    };
    std::thread::scope(|s| {
        for _ in 1..threads.min(n) {
            s.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(k, _)| *k);
    let (mut codes, mut problems) = (vec![], vec![]);
    for (k, code) in done {
        match code {
            Ok(code) => codes.push(code),
            Err(e) => problems.push(problem(program, k, &e)),
        }
    }
    if problems.is_empty() { Ok(codes) } else { Err(problems) }
}

fn no_kernel(k: usize) -> BackendError {
    BackendError::Malformed { kernel: k.to_string(), what: "the program has no such kernel".into() }
}

fn problem(program: &Program, kernel: usize, e: &BackendError) -> Problem {
    let code = match e {
        BackendError::Unsupported { .. } => "ODC0400",
        BackendError::Limit { .. } => "ODC0401",
        BackendError::Malformed { .. } => "ODC0402",
        BackendError::Codegen { .. } => "ODC0403",
    };
    let p = Problem::new(code, e).at(program.kernel_loc(kernel as u32).to_string());
    match e {
        BackendError::Limit { .. } => {
            p.help("give the target's real limits with --limits FILE.json; `odc targets --json` shows the fields")
        }
        _ => p,
    }
}

fn gpu_kernel(program: &Program, k: usize) -> Result<GpuKernel<'_>, BackendError> {
    let func = program.kernels.get(k).ok_or_else(|| no_kernel(k))?;
    Ok(GpuKernel { func, writable: program.kernel_access(k as u32), about: about(program, k as u32) })
}

fn gpu_code(program: &Program, k: usize, target: &GpuTarget) -> Result<GpuCode, BackendError> {
    backend(&gpu_kernel(program, k)?, target)
}

fn backend(kernel: &GpuKernel<'_>, target: &GpuTarget) -> Result<GpuCode, BackendError> {
    match target.language {
        Language::Spirv => Spirv.compile(kernel, target),
        Language::Wgsl => Wgsl.compile(kernel, target),
        // Metal's kernels are the WGSL ones, translated.
        Language::Metal => {
            let (wgsl, msl) = metal(kernel, target)?;
            Ok(GpuCode { name: msl.entry, bytes: msl.text.into_bytes(), workgroup: msl.workgroup, ..wgsl })
        }
    }
}

fn metal(kernel: &GpuKernel<'_>, target: &GpuTarget) -> Result<(GpuCode, odc_metal::Msl), BackendError> {
    let wgsl = Wgsl.compile(kernel, target)?;
    let failed = |e: odc_metal::MetalError| BackendError::Codegen { kernel: wgsl.name.clone(), what: e.to_string() };
    let mut msl = odc_metal::translate(&String::from_utf8_lossy(&wgsl.bytes)).map_err(failed)?;
    // The translation drops comments. A backslash at a line's end would continue it.
    let plain = |line: &String| line.replace(|c: char| c.is_control() || c == '\\', " ");
    let about: String = kernel.about.iter().map(|line| format!("// {}\n", plain(line).trim_end())).collect();
    msl.text.insert_str(0, &about);
    Ok((wgsl, msl))
}

/// Bytes of each threadgroup argument of a Metal kernel, which an app sets; nothing elsewhere.
pub fn threadgroup_memory(program: &Program, k: usize, target: &AnyTarget) -> Result<Vec<u32>, Vec<Problem>> {
    match target {
        AnyTarget::Gpu(t) if t.language == Language::Metal => {
            let of = gpu_kernel(program, k).and_then(|kernel| metal(&kernel, t));
            of.map(|(_, msl)| msl.threadgroup_memory).map_err(|e| vec![problem(program, k, &e)])
        }
        AnyTarget::Gpu(_) | AnyTarget::Cpu(_) => Ok(vec![]),
    }
}

/// Names of nodes that a comment lists.
const NODES: usize = 8;

/// What a reader of the kernel's text wants to know: the ONNX nodes, how it works, what it moves.
fn about(program: &Program, k: u32) -> Vec<String> {
    let mut lines = vec![];
    let nodes = program.kernel_loc(k).0;
    let mut names: Vec<&str> = nodes.iter().take(NODES).map(|n| &**n).collect();
    let more = format!("and {} more", nodes.len().saturating_sub(NODES));
    if nodes.len() > NODES {
        names.push(&more);
    }
    if !names.is_empty() {
        lines.push(names.join(", "));
    }
    if !program.note(k).is_empty() {
        lines.extend(program.note(k).lines().map(String::from));
    }
    let first = program.commands.iter().find_map(|c| match c {
        Command::Dispatch { kernel, reads, bytes, .. } if *kernel == k => Some(bytes.split_at_checked(*reads as usize)?),
        _ => None,
    });
    if let Some((reads, writes)) = first {
        let sum = |list: &[Dim]| list.iter().fold(Dim::ZERO, |s, d| s + d);
        lines.push(format!("reads {}, writes {}", bytes(&sum(reads)), bytes(&sum(writes))));
    }
    lines
}

fn bytes(d: &Dim) -> String {
    match d.as_const().and_then(|n| u64::try_from(n).ok()) {
        Some(n) => show::bytes(n),
        None => format!("{d} bytes"),
    }
}

/// What a backend shows of each kernel.
pub fn texts(program: &Program, target: &AnyTarget) -> Result<Vec<KernelText>, Vec<Problem>> {
    let (mut texts, mut problems) = (vec![], vec![]);
    for k in 0..program.kernels.len() {
        match texts_of(program, k, target) {
            Ok(list) => texts.extend(list),
            Err(e) => problems.push(problem(program, k, &e)),
        }
    }
    if problems.is_empty() { Ok(texts) } else { Err(problems) }
}

fn texts_of(program: &Program, k: usize, target: &AnyTarget) -> Result<Vec<KernelText>, BackendError> {
    let text = |language, name: &str, text| KernelText { name: name.into(), target: target.name().into(), language, text };
    match target {
        AnyTarget::Cpu(t) => {
            let f = program.kernels.get(k).ok_or_else(|| no_kernel(k))?;
            let of = |kind| cpu(t).text(f, t, kind);
            Ok(vec![text(t.codegen.ir(), &f.name, of(TextKind::Ir)?), text("asm", &f.name, of(TextKind::Asm)?)])
        }
        AnyTarget::Gpu(t) => {
            let kernel = gpu_kernel(program, k)?;
            let name = &kernel.func.name;
            let utf8 = |code: GpuCode| String::from_utf8_lossy(&code.bytes).into_owned();
            Ok(vec![match t.language {
                Language::Wgsl => text("wgsl", name, utf8(backend(&kernel, t)?)),
                Language::Metal => text("msl", name, utf8(backend(&kernel, t)?)),
                Language::Spirv => text("spvasm", name, Spirv.text(&kernel, t)?),
            }])
        }
    }
}
