//! What comes out of `translate`, and what it refuses.

use odc_metal::{MetalError, Msl, translate};

fn kernel(globals: &str, name: &str, body: &str) -> Result<Msl, MetalError> {
    translate(&format!("{globals}\n@compute @workgroup_size(8, 2, 1) fn {name}(@builtin(global_invocation_id) id: vec3<u32>) {{ {body} }}"))
}

const IN: &str = "@group(0) @binding(1) var<storage, read> a: array<f32>;";
const OUT: &str = "@group(0) @binding(4) var<storage, read_write> out: array<f32>;";

#[test]
fn bindings_are_buffer_indices() {
    let sizes = "struct Sizes { at: array<vec4<i32>, 2> } @group(0) @binding(7) var<uniform> sizes: Sizes;";
    let msl = kernel(&format!("{IN}{OUT}{sizes}"), "scale", "out[id.x] = a[id.x] * f32(sizes.at[1].z);").unwrap();
    assert_eq!((msl.entry.as_str(), msl.workgroup), ("scale", [8, 2, 1]));
    assert!(msl.text.starts_with("// language: metal2.4\n"));
    for part in ["device type_1 const& a [[buffer(1)]]", "device type_1& out [[buffer(4)]]", "constant Sizes& sizes [[buffer(7)]]"] {
        assert!(msl.text.contains(part), "no {part} in\n{}", msl.text);
    }
    for absent in ["buffer_sizes", "BufferSizes", "buffer(30)", "loop_bound", "DefaultConstructible"] {
        assert!(!msl.text.contains(absent), "{absent} in\n{}", msl.text);
    }
}

#[test]
fn functions_that_take_buffers_lose_the_sizes_too() {
    let helper = "fn at(i: u32) -> f32 { return a[i]; }";
    let msl = kernel(&format!("{IN}{OUT}{helper}"), "copy", "out[id.x] = at(id.x) + at(id.y);").unwrap();
    assert!(!msl.text.contains("izes") && msl.text.contains("at(id.x, a)"), "{}", msl.text);
}

#[test]
fn entry_names_are_those_of_the_text() {
    for (name, entry) in [("main", "main_"), ("kernel", "kernel_"), ("layer1", "layer1_"), ("conv_relu", "conv_relu")] {
        let msl = kernel(OUT, name, "out[0] = 1.0;").unwrap();
        assert_eq!(msl.entry, entry);
        assert!(msl.text.contains(&format!("kernel void {entry}(\n")), "{}", msl.text);
    }
}

#[test]
fn threadgroup_memory_is_in_the_order_of_the_arguments() {
    let shared = "var<workgroup> unused: array<f32, 99>; var<workgroup> tile: array<vec4<f32>, 9>; var<workgroup> flag: u32;";
    let msl = kernel(&format!("{OUT}{shared}"), "f", "flag = 1u; workgroupBarrier(); out[id.x] = tile[id.x].x + f32(flag);").unwrap();
    assert_eq!(msl.threadgroup_memory, [144, 16]);
    let (tile, flag) = (msl.text.find("& tile").unwrap(), msl.text.find("& flag").unwrap());
    assert!(tile < flag && !msl.text.contains("unused"));
}

#[test]
fn loops_and_memory_are_not_made_safe_again() {
    let shared = "var<workgroup> tile: array<f32, 64>;";
    let msl = kernel(&format!("{IN}{OUT}{shared}"), "f", "tile[id.x] = a[id.y]; workgroupBarrier(); out[id.x] = tile[id.x ^ 1u];").unwrap();
    assert!(!msl.text.contains("metal::min(") && !msl.text.contains(" < 64"), "{}", msl.text);
    assert_eq!(msl.text.matches("threadgroup_barrier").count(), 1, "{}", msl.text);
}

#[test]
fn the_line_that_browsers_want_is_read_over() {
    let text = format!("enable subgroups;\nenable f16;\n{OUT}");
    assert!(kernel(&text, "f", "out[id.x] = subgroupAdd(f32(f16(id.x)));").unwrap().text.contains("metal::simd_sum("));
}

#[test]
fn what_metal_lacks_is_refused() {
    let refused = |globals: &str, body: &str| kernel(globals, "f", body).map(|m| m.text).unwrap_err();
    assert_eq!(refused(OUT, "out[0] = f32(arrayLength(&out));"), MetalError::ArrayLength);
    assert!(matches!(refused(OUT, "out[0] = f32(f64(id.x));"), MetalError::Invalid { .. } | MetalError::Parse { .. }));
    assert!(matches!(refused(OUT, "out[0] = ;"), MetalError::Parse { .. }));
    assert!(matches!(refused("override n: u32 = 4;", ""), MetalError::Override { name } if name == "n"));
    let matrix = format!("enable wgpu_cooperative_matrix;\n{OUT}");
    let e = refused(&matrix, "let m = coopLoadT<coop_mat16x16<f32, C>>(&out[0], 16u); coopStoreT(m, &out[0], 16u);");
    assert_eq!(e, MetalError::MatrixShape { columns: 16, rows: 16 });
    for globals in [
        "@group(1) @binding(0) var<storage, read_write> out: array<f32>;",
        "@group(0) @binding(30) var<storage, read_write> out: array<f32>;",
        "@group(0) @binding(300) var<storage, read_write> out: array<f32>;",
    ] {
        assert!(matches!(refused(globals, "out[0] = 1.0;"), MetalError::Binding { .. }), "{globals}");
    }
    assert!(matches!(refused("@group(0) @binding(0) var t: texture_2d<f32>;", ""), MetalError::Binding { .. }));
}

#[test]
fn exactly_one_compute_entry_point() {
    let two = "@compute @workgroup_size(1) fn a() {} @compute @workgroup_size(1) fn b() {}";
    for (text, found) in [("", "0"), (two, "2"), ("@fragment fn f() {}", "`f`, a Fragment entry point")] {
        assert_eq!(translate(text), Err(MetalError::EntryPoints { found: found.into() }));
    }
}
