//! Kernels through the backend of a target, on several threads with the results in order, so that threads change nothing but
//! the time.

use crate::problem::Problem;
use crate::progress::Report;
use odc_backend::{Backend, BackendError, KernelCode, Target, TextKind};
use odc_cranelift::Cranelift;
use odc_ir::program::Program;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A kernel as the backend sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelText {
    pub name: String,
    pub target: String,
    pub clif: String,
    pub asm: String,
}

/// All kernels' code, or all kernels' problems.
pub fn compile(program: &Program, target: &Target, threads: usize, report: Report<'_>) -> Result<Vec<KernelCode>, Vec<Problem>> {
    let kernels = &program.kernels;
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<KernelCode, BackendError>)>> = Mutex::new(Vec::with_capacity(kernels.len()));
    let work = || {
        let take = || {
            let k = next.fetch_add(1, Ordering::Relaxed);
            kernels.get(k).map(|kernel| (k, kernel))
        };
        while let Some((k, kernel)) = take() {
            let code = Cranelift.compile(kernel, target);
            // Only a panic of another worker poisons the lock, and that ends the scope as well.
            if let Ok(mut done) = done.lock() {
                done.push((k, code));
                report("compiling kernels", done.len(), kernels.len());
            }
        }
    };
    std::thread::scope(|s| {
        for _ in 1..threads.min(kernels.len()) {
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

fn problem(program: &Program, kernel: usize, e: &BackendError) -> Problem {
    let code = match e {
        BackendError::Unsupported { .. } => "ODC0400",
        BackendError::Limit { .. } => "ODC0401",
        BackendError::Malformed { .. } => "ODC0402",
        BackendError::Codegen { .. } => "ODC0403",
    };
    Problem::new(code, e).at(program.kernel_loc(kernel as u32).to_string())
}

pub fn texts(program: &Program, targets: &[Target]) -> Result<Vec<KernelText>, Vec<Problem>> {
    let (mut texts, mut problems) = (vec![], vec![]);
    for target in targets {
        for (k, kernel) in program.kernels.iter().enumerate() {
            let text = |kind| Cranelift.text(kernel, target, kind);
            match text(TextKind::Clif).and_then(|clif| Ok((clif, text(TextKind::Asm)?))) {
                Ok((clif, asm)) => texts.push(KernelText { name: kernel.name.clone(), target: target.name.clone(), clif, asm }),
                Err(e) => problems.push(problem(program, k, &e)),
            }
        }
    }
    if problems.is_empty() { Ok(texts) } else { Err(problems) }
}
