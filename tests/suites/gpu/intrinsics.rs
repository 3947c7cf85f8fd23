//! Products by what a machine has beyond a multiply-add, bytes by fours and matrices of a subgroup: random shapes mean the same as the
//! graph, through the interpreter with its race detector, and the same program without the machine's help gives the same numbers.

use super::{compiled, texts};
use odc::AnyModule;
use odc_ir::core::{DType, Scalar, TensorValue};
use odc_ir::{graph, program};
use odc_tests::choices::Choices;
use odc_tests::filetest::close;

/// `a * b` in `sum`, both of `dtype`; `turned`: `b` lies with its depth contiguous.
fn product(dtype: &str, sum: &str, [m, n, k]: [i64; 3], turned: bool) -> graph::Module {
    let (b, move_b) = match turned {
        true => (format!("[{n}, {k}]"), format!("%2 = transpose {{perm = [1, 0]}} %1 : {dtype}[{k}, {n}]")),
        false => (format!("[{k}, {n}]"), format!("%2 = reshape %1 : {dtype}[{k}, {n}]")),
    };
    let text = format!(
        r#"graph module "product" {{
  func @main(%0 "a": {dtype}[{m}, {k}], %1 "b": {dtype}{b}) {{
    {move_b}
    %3 = cast %0 : {sum}[{m}, {k}]
    %4 = cast %2 : {sum}[{k}, {n}]
    %5 = matmul %3, %4 : {sum}[{m}, {n}] loc("/MatMul")
    yield %5 "y"
  }}
}}"#
    );
    odc_ir::core::parse_module(&text, &odc_ir::core::no_blobs).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Some of each kind: whole tiles and parts of tiles.
pub fn products() -> Vec<graph::Module> {
    let shapes = [[64, 64, 64], [50, 37, 44], [130, 70, 33]];
    let kinds = [("f16", "f32"), ("i8", "i32"), ("u8", "i32")];
    shapes.iter().flat_map(|s| kinds.map(|(d, sum)| product(d, sum, *s, s[2] % 4 == 0))).collect()
}

fn given(c: &mut Choices, m: &graph::Module) -> Vec<(String, TensorValue)> {
    let element = |c: &mut Choices, d: DType| match d {
        DType::F16 => Scalar::Float(c.between(-16, 16) as f64 / 8.0),
        _ => Scalar::Int(c.between(-128, 255)).wrap(d),
    };
    let tensor = |c: &mut Choices, d: DType, shape: &[usize]| TensorValue::from_fn(d, shape, |_| element(c, d)).expect("a tensor");
    let params = AnyModule::Graph(m.clone()).inputs();
    params
        .into_iter()
        .map(|(name, t)| (name, tensor(c, t.dtype, &t.shape.iter().filter_map(|d| Some(d.as_const()? as usize)).collect::<Vec<_>>())))
        .collect()
}

/// Runs the product on `target`, whose kernel has `op`, and on one without.
fn check(m: &graph::Module, target: &str, op: &str, seed: u64) {
    let c = compiled(m, &[target]);
    let text = c.program().to_string();
    assert!(text.contains(op), "{target} does without {op}:\n{text}");
    texts(&c);
    let given = given(&mut Choices::from_seed(seed, 100_000), m);
    let want = AnyModule::Graph(m.clone()).run(&given).expect("it runs");
    let got = program::run(c.program(), &given).unwrap_or_else(|e| panic!("{target}: {e}\n{text}"));
    close(&got[0], &want[0].1).unwrap_or_else(|e| panic!("{target}: {e}\n{text}"));
    let plain = compiled(m, &["wgsl"]);
    assert!(!plain.program().to_string().contains(op));
    let plain = program::run(plain.program(), &given).expect("it runs");
    close(&got[0], &plain[0]).unwrap_or_else(|e| panic!("{target} and wgsl: {e}"));
}

fn shape(c: &mut Choices, least: [i64; 3]) -> [i64; 3] {
    [0, 1, 2].map(|k| least[k] + if c.chance(30) { c.below(4) as i64 * 16 } else { c.below(70) as i64 })
}

#[test]
fn bytes_by_fours() {
    for seed in 0..12 {
        let mut c = Choices::from_seed(seed, 20);
        let (shape, turned) = (shape(&mut c, [5, 5, 16]), c.chance(50));
        let dtype = if c.chance(50) { "i8" } else { "u8" };
        for target in ["wgsl:dot", "spirv:dot"] {
            check(&product(dtype, "i32", shape, turned), target, "dot4", seed);
        }
    }
}

#[test]
fn matrices_of_halves_and_bytes() {
    for seed in 0..10 {
        let mut c = Choices::from_seed(seed, 20);
        let (shape, turned) = (shape(&mut c, [16, 16, 32]), c.chance(50));
        check(&product("f16", "f32", shape, turned), "spirv:coop", "coop_mma", seed);
        check(&product("i8", "i32", shape, turned), "spirv:coop", "coop_mma", seed);
    }
}

/// One whole kernel of each kind, to read in a diff, and what the artifact says that it needs.
#[test]
fn kernels() {
    let text = |m: &graph::Module, target: &str| {
        let c = compiled(m, &[target]);
        let odc_format::Device::Gpu { features, .. } = c.manifest().targets[0].device.clone() else { panic!("a GPU's program") };
        format!("{features:?}\n{}", texts(&c).into_iter().map(|k| k.text).collect::<Vec<_>>().join("\n"))
    };
    insta::assert_snapshot!("wgsl_dot", text(&product("u8", "i32", [64, 40, 96], true), "wgsl:dot"));
    insta::assert_snapshot!("spirv_coop", text(&product("f16", "f32", [32, 32, 32], true), "spirv:coop"));
    let metal = text(&product("i8", "i32", [64, 40, 96], true), "metal:dot");
    assert!(metal.contains("packed_char4"), "{metal}");
}
