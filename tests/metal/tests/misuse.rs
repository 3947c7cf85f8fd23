//! What the shim refuses: divergent meetings, missing buffers, types that Metal lacks.

use odc_metal_shim::{Binding, Dispatch, Order, ShimError, ShimKernel, ShimKernels};

fn msl(arguments: &str, body: &str) -> String {
    format!(
        "#include <metal_stdlib>\nusing metal::uint;\ntypedef float type_1[1];\nkernel void f(\n  uint l [[thread_index_in_threadgroup]]\n, \
         device type_1& out [[buffer(0)]]\n{arguments}) {{\n{body}\n}}\n"
    )
}

fn dispatch(groups: u32, threads: u32) -> Dispatch<'static> {
    Dispatch { grid: [groups, 1, 1], threads: [threads, 1, 1], threadgroup_memory: &[], order: Order::Descending }
}

fn run(msl: &str, threads: u32) -> Result<Vec<u8>, ShimError> {
    let mut out = vec![0; 512];
    ShimKernel::build(msl, "f")?.run(&mut [&mut out], dispatch(2, threads))?;
    Ok(out)
}

fn run_error(body: &str) -> String {
    match run(&msl("", body), 64) {
        Err(ShimError::Run { text, .. }) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn divergent_barriers_are_named() {
    let e = run_error("if (l < 40u) { metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup); }");
    assert!(e.starts_with("divergent threadgroup barrier: thread") && e.contains("returned") && e.contains("(line 8)"), "{e}");
    let e = run_error(
        "if (l < 40u) {\n metal::threadgroup_barrier(metal::mem_flags::mem_none);\n } else {\n metal::threadgroup_barrier(metal::mem_flags::mem_none);\n }",
    );
    assert!(e.contains("thread 0 is at a threadgroup barrier (line 9), thread 40 is at a threadgroup barrier (line 11)"), "{e}");
}

#[test]
fn divergent_simd_operations_are_named() {
    let e = run_error("if (l != 35u) { out[l] = metal::simd_sum(1.0f); }");
    assert!(e.starts_with("divergent SIMD operation: thread 63") && e.contains("thread 35 is returned"), "{e}");
    // Whole SIMD-groups may part.
    let out = run(&msl("", "if (l < 32u) { out[l] = metal::simd_sum(1.0f); }"), 64).unwrap();
    assert_eq!(out[..4], 32f32.to_le_bytes());
}

#[test]
fn a_kernel_runs_again_after_a_divergent_run() {
    let text = msl("", "if (l == 0u || out[0] > 0.5f) { metal::threadgroup_barrier(metal::mem_flags::mem_none); }\nout[l] = 2.0f;");
    let kernel = ShimKernel::build(&text, "f").unwrap();
    let mut out = vec![0u8; 64];
    let go = |out: &mut Vec<u8>| kernel.run(&mut [out], dispatch(1, 8));
    assert!(go(&mut out).is_err());
    out[..4].copy_from_slice(&1f32.to_le_bytes());
    go(&mut out).unwrap();
    assert_eq!(out[28..32], 2f32.to_le_bytes());
}

#[test]
fn types_that_metal_lacks_do_not_compile() {
    for body in ["double x = 1.0; out[l] = x;", "metal::simdgroup_float16x16 m = {};", "metal::float5 v = {};"] {
        let e = run(&msl("", body), 1).unwrap_err();
        assert!(matches!(e, ShimError::Compile { .. }), "{body}: {e:?}");
    }
    // The built-in exists, but not with this type.
    let text = msl("", "out[l] = 1.0f;").replace("uint l", "metal::uint4 l").replace("[l]", "[0]");
    assert!(matches!(run(&text, 1).unwrap_err(), ShimError::Compile { .. }));
}

#[test]
fn missing_buffers_and_bad_sizes_are_errors() {
    let text = msl(", device type_1 const& a [[buffer(1)]]\n", "out[l] = a[l];");
    let e = run(&text, 1).unwrap_err().to_string();
    assert!(e.contains("buffer 1, and nothing is bound there"), "{e}");
    let e = run(&msl(", threadgroup type_1& t\n", "out[l] = 1.0f;"), 1).unwrap_err().to_string();
    assert!(e.contains("threadgroup memory 0: the kernel needs 4 bytes, 0 are set"), "{e}");
    let e = run(&msl("", "out[l] = 1.0f;"), 2000).unwrap_err().to_string();
    assert!(e.contains("a threadgroup of 2000 threads"), "{e}");
}

/// As an artifact runs: many kernels, one memory, several buffers in it, memory that is not aligned.
#[test]
fn kernels_share_a_memory() {
    let texts: Vec<String> =
        (0..20).map(|k| msl(", device type_1 const& a [[buffer(1)]]\n", &format!("out[l] = a[l] + {k}.0f;"))).collect();
    let kernels: Vec<(&str, &str)> = texts.iter().map(|t| (t.as_str(), "f")).collect();
    let kernels = ShimKernels::build(&kernels).unwrap();
    let mut storage = vec![0u8; 1025];
    let arena = &mut storage[1..];
    for k in 0..20 {
        let at = |index, offset| Binding { index, memory: 0, offset };
        let (from, to) = (k % 2 * 512, (k + 1) % 2 * 512);
        kernels.run(k, &mut [arena], &[at(0, to), at(1, from)], dispatch(1, 4)).unwrap();
    }
    assert_eq!(arena[..16], [190f32.to_le_bytes(); 4].concat());
    let wrong = kernels.run(0, &mut [arena], &[Binding { index: 0, memory: 0, offset: 3 }], dispatch(1, 1));
    assert!(matches!(wrong, Err(ShimError::Binding { .. })));
    assert!(matches!(kernels.run(20, &mut [arena], &[], dispatch(1, 1)), Err(ShimError::Binding { .. })));
}
