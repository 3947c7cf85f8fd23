//! What the backend refuses, and how it says so.

mod kit;

use kit::*;
use odc_backend::{BackendError, GpuBackend, GpuTarget};
use odc_spirv::Spirv;

fn refused(outer: &str, body: &str, on: &str) -> BackendError {
    compile(&around(outer, body, false), on).expect_err("not supported")
}

#[test]
fn features_are_asked_for() {
    let body = "%30 = load %10, %2 : f32\n %31 = subgroup {f = add} %30 : f32\n store %11, %2, %31";
    let e = refused("", body, "spirv");
    assert!(matches!(&e, BackendError::Unsupported { .. }) && e.to_string().contains("-t spirv:subgroups"), "{e}");
    let e = compile(&around("", "yield", true).replace("yield\n      yield", "yield"), "spirv").expect_err("f16 memory");
    assert!(e.to_string().contains("-t spirv:f16"), "{e}");
    let code = compile(&around("", body, false), "spirv:subgroups").unwrap();
    assert_eq!(code.features, ["subgroups"]);
}

#[test]
fn what_a_pass_should_have_removed() {
    for (body, says) in [
        ("%30 = load %10, %2 : f32\n %31 = unary {f = tanh} %30 : f32\n store %11, %2, %31", "tanh"),
        ("%30 = load %10, %2 : f32\n %31 = binary {f = pow} %30, %30 : f32\n store %11, %2, %31", "pow"),
        ("%30 = load %10, %2 : f32\n %31 = cast %30 : f64\n %32 = cast %31 : f32\n store %11, %2, %32", "f64"),
        ("%30 = load %10, %2 : vec<f32, 8>\n store %11, %2, %30", "vec<f32, 8>"),
        ("%30 = bitcast %10 : ptr<i32, global>\n %31 = load %30, %2 : i32\n store %12, %2, %31", "pointer"),
        ("%30 = scratch %0 : ptr<f32, scratch>\n %31 = load %30, %0 : f32\n store %11, %2, %31", "scratch"),
        ("%30 = const {value = 5000000000} : index\n %31 = load %10, %30 : f32\n store %11, %2, %31", "5000000000"),
    ] {
        let e = refused("", body, "spirv");
        assert!(matches!(&e, BackendError::Unsupported { kernel, .. } if kernel == "k") && e.to_string().contains(says), "{e}");
    }
}

#[test]
fn limits() {
    let of = |e: BackendError| match e {
        BackendError::Limit { limit, needs, has, .. } => (limit, needs, has),
        e => panic!("{e}"),
    };
    let outer = "%5 = shared {dtype = f32, len = 4096} : ptr<f32, workgroup>\n %6 = shared {dtype = f32, len = 1} : ptr<f32, workgroup>";
    let e = refused(outer, "", "spirv");
    assert_eq!(of(e), ("maxComputeWorkgroupStorageSize", 16400, 16384));
    let wide = around("", "", false).replacen("value = 8", "value = 512", 1);
    assert_eq!(of(compile(&wide, "spirv").unwrap_err()), ("maxComputeInvocationsPerWorkgroup", 512, 256));
    let two = GpuTarget { limits: odc_backend::GpuLimits { storage_buffers: 3, ..Default::default() }, ..target("spirv") };
    let f = parse(&around("", "", false));
    assert_eq!(of(Spirv.compile(&kernel(&f), &two).unwrap_err()), ("maxStorageBuffersPerShaderStage", 4, 3));
}

#[test]
fn broken_kernels() {
    let bare = "func @k(%0 \"x\": ptr<f32, global>) {\n yield\n}";
    assert!(matches!(compile(bare, "spirv"), Err(BackendError::Malformed { .. })));
    let no_block = "func @k(%0 \"x\": ptr<f32, global>) {\n %1 = const {value = 0} : index\n %2 = const {value = 1} : index
        for {kind = grid} %1, %2, %2 (%3: index) {\n yield\n }\n yield\n}";
    let e = compile(no_block, "spirv").unwrap_err();
    assert!(e.to_string().contains("block loop"), "{e}");
    let many = around("", "%30 = const {value = 5000} : index\n for {kind = unrolled} %0, %30, %1 (%31: index) {\n yield\n }", false);
    let e = compile(&many, "spirv").unwrap_err();
    assert!(e.to_string().contains("unrolling 5000"), "{e}");
}

#[test]
fn matrices_have_the_device_s_shape() {
    let body = "%30 = const {value = f 0.0} : f32\n %31 = splat %30 : coop<f32, acc, 16, 8>
        %32 = coop_load %14, %0, %8 : coop<f16, a, 16, 16>\n %33 = coop_load %14, %0, %8 : coop<f16, b, 16, 8>
        %34 = coop_mma %32, %33, %31 : coop<f32, acc, 16, 8>\n coop_store %10, %0, %8, %34";
    let text = around("", body, true);
    let e = compile(&text, "spirv:coop").unwrap_err();
    assert!(e.to_string().contains("limits file"), "{e}");
    let e = compile(&text, "spirv:f16+subgroups").unwrap_err();
    assert!(e.to_string().contains("-t spirv:coop"), "{e}");
    let mut small = target("spirv:coop");
    small.limits.coop.f16 = [16, 8, 16];
    let code = Spirv.compile(&kernel(&parse(&text)), &small).unwrap();
    assert_eq!(code.features, ["shader-f16", "wgpu-cooperative-matrix", "cooperative-matrix:f16:16x8x16", "subgroup-size:32"]);
}
