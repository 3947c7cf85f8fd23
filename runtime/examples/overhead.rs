//! What the runtime itself costs: a model of 1000 dispatches whose kernel does nothing, on 1 to 4 threads.
//! `cargo run --release -p odc-runtime --example overhead`

use odc_format::*;
use odc_runtime::{Artifact, KernelFn, SessionOptions, TensorView};
use std::time::Instant;

#[cfg(target_arch = "x86_64")]
unsafe extern "sysv64" fn nothing(_: *const *mut u8, _: *const i64, _: *mut u8, _: i64, _: i64) {}
#[cfg(not(target_arch = "x86_64"))]
unsafe extern "C" fn nothing(_: *const *mut u8, _: *const i64, _: *mut u8, _: i64, _: i64) {}

static KERNELS: [KernelFn; 1] = [nothing];
const DISPATCHES: usize = 1000;

fn model(grid: i64) -> Result<Vec<u8>, FormatError> {
    let mut b = ShapeBuilder::new();
    let (zero, one, grid, bytes) = (b.constant(0), b.constant(1), b.constant(grid), b.constant(4));
    let place = BufferRef::Arena { offset: zero };
    let dispatch =
        Dispatch { kernel: 0, buffers: vec![BufferRef::Input(0), place, place], dims: vec![one; 4], bytes: vec![], grid, grain: one };
    let tensor = |name: &str| TensorInfo { name: name.into(), dtype: DType::F32, shape: vec![one], shape_text: vec!["1".into()] };
    let kernel = Kernel { name: "nothing".into(), offset: 0, len: 0, scratch_bytes: zero, source: vec![], gpu: None };
    let target = TargetProgram {
        target: "cpu".into(),
        device: Device::Cpu { arch: Arch::host().unwrap_or(Arch::X86_64), features: vec![] },
        code: Code::Linked,
        kernels: vec![kernel],
        commands: vec![Command::Dispatch(dispatch); DISPATCHES],
        outputs: vec![place],
        arena_bytes: bytes,
        peak_text: "4".into(),
        buffers: vec![],
    };
    let manifest = Manifest {
        name: "overhead".into(),
        producer: "by hand".into(),
        symbols: vec![],
        inputs: vec![tensor("x")],
        outputs: vec![tensor("y")],
        strings: vec![],
        shape_program: b.finish(),
        in_range: vec![],
        weights: vec![],
        digests: Digests::default(),
        targets: vec![target],
    };
    to_vec(&manifest, &[], &[])
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (what, grid) in [("on the caller only", 1), ("for all threads", 64)] {
        for threads in [1, 2, 4] {
            // SAFETY: the kernel is that of the model above.
            let artifact = unsafe { Artifact::from_static(model(grid)?.leak(), &KERNELS) }?;
            let mut session = artifact.session(SessionOptions::threads(threads))?;
            let mut times = Vec::new();
            for _ in 0..200 {
                let start = Instant::now();
                session.run(&[("x", TensorView::of(&[1], &[1.0f32]))])?;
                times.push(start.elapsed());
            }
            times.sort();
            let median = times.get(times.len() / 2).copied().unwrap_or_default();
            println!("{threads} threads, work {what}: {:.3} µs a dispatch", median.as_secs_f64() * 1e6 / DISPATCHES as f64);
        }
    }
    Ok(())
}
