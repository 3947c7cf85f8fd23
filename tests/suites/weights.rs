//! Weights stored as f16 (`--weights f16`): half the bytes, the same dispatches, results as near as the rounding is; and constants
//! that stay as they are.

use crate::gpu::models::{model, parse};
use odc::{AnyModule, AnyTarget, Compiled, Options, Weights, compile_graph};
use odc_ir::core::{Const, DType, Scalar, TensorValue};
use odc_ir::{graph, program};
use odc_runtime::{Artifact, SessionOptions};
use odc_tests::choices::Choices;
use odc_tests::generate::inputs;
use odc_tests::pipeline;

fn compile(m: &graph::Module, target: &str, weights: Weights) -> Compiled {
    let targets = vec![AnyTarget::parse(target).expect(target)];
    compile_graph(m.clone(), &Options { targets, weights, threads: 1, ..Options::default() }).unwrap_or_else(|e| panic!("{e}\n{m}"))
}

/// Constants' elements as `f` of what they were.
fn with_constants(mut m: graph::Module, f: impl Fn(f64) -> f64) -> graph::Module {
    for c in &mut m.consts {
        *c = Const::from_scalars(DType::F32, &c.shape, c.scalars().map(|x| Scalar::Float(f(x.as_f64())).wrap(DType::F32)));
    }
    m
}

fn near(got: &TensorValue, want: &TensorValue, what: &str) {
    assert_eq!((got.dtype, &got.shape), (want.dtype, &want.shape), "{what}");
    let largest = want.data.iter().map(|x| x.as_f64().abs()).fold(0.0, f64::max);
    for (g, w) in got.data.iter().zip(&want.data) {
        let off = (g.as_f64() - w.as_f64()).abs();
        assert!(off <= 2e-3 * largest, "{what}: {} instead of {}", g.as_f64(), w.as_f64());
    }
}

#[test]
fn half_the_bytes_and_no_dispatch_more() {
    for name in ["matmul_bias_relu", "conv3x3", "gemv", "gather"] {
        // Numbers that f16 must round.
        let m = with_constants(model(name), |x| x * 0.123_456_7);
        let mut c = Choices::from_seed(3, 4000);
        let binding = inputs::binding(&mut c, &m.symbols);
        let any = AnyModule::Graph(m.clone());
        let given = inputs::inputs(&mut c, &any.inputs(), &binding).expect("inputs");
        let want = any.run(&given).expect("the graph runs");
        for target in ["cpu", "wgsl", "spirv:f16+subgroups", "metal:f16"] {
            let what = format!("{name} for {target}");
            let (whole, half) = (compile(&m, target, Weights::Model), compile(&m, target, Weights::F16));
            assert!(whole.compressed().is_none());
            let report = half.compressed().expect("a report");
            assert!(report.halved == 1 && report.kept.is_empty(), "{what}: {report:?}");
            assert!(report.largest_error > 1e-5 && report.largest_error < 1e-3, "{what}: {report:?}");
            assert_eq!(report.from_bytes, 2 * report.to_bytes, "{what}");
            assert_eq!(half.summary().dispatches, whole.summary().dispatches, "{what}\n{}", half.program());
            let bytes = |c: &Compiled| c.summary().weight_bytes as f64;
            assert!(bytes(&half) < 0.6 * bytes(&whole), "{what}: {} of {}", bytes(&half), bytes(&whole));
            let got = program::run(half.program(), &given).unwrap_or_else(|e| panic!("{what}: {e}\n{}", half.program()));
            for ((_, want), got) in want.iter().zip(&got) {
                near(got, want, &what);
            }
            assert!(half.kernel_texts().is_ok(), "{what}");
            if target == "cpu" {
                let artifact = Artifact::from_bytes(half.artifact_bytes().expect("an artifact")).expect("it opens");
                let mut session = artifact.session(SessionOptions::threads(1)).expect("a session");
                let types: Vec<DType> = want.iter().map(|(_, v)| v.dtype).collect();
                let got = pipeline::run(&mut session, &given, &types).unwrap_or_else(|e| panic!("{what}: {e}"));
                for ((_, want), (_, got)) in want.iter().zip(&got) {
                    near(got, want, &what);
                }
            }
        }
    }
}

/// What `m`'s constants of 1024 elements and more became: how many are halved, why others stay.
fn fate(m: &graph::Module) -> (usize, Vec<&'static str>) {
    let compiled = compile(m, "wgsl", Weights::F16);
    let report = compiled.compressed().expect("a report");
    (report.halved, report.kept.keys().copied().collect())
}

#[test]
fn what_rounding_would_spoil_stays() {
    let scaled = |by: f64| fate(&with_constants(model("gather"), |x| x * by));
    assert_eq!(scaled(0.1), (1, vec![]));
    assert_eq!(scaled(20_000.5), (0, vec!["not a number, or too large for f16"]));
    assert_eq!(scaled(1e-8), (0, vec!["too small for f16"]));
    assert_eq!(scaled(1001.0), (0, vec!["whole numbers, of which f16 has none so large"]));
    assert_eq!(scaled(f64::NAN), (0, vec!["not a number, or too large for f16"]));
    // Infinities (of masks) are exact.
    assert_eq!(fate(&with_constants(model("gather"), |x| if x < 0.0 { f64::NEG_INFINITY } else { x * 0.1 })), (1, vec![]));
    // A bias or a norm is small.
    assert_eq!(fate(&model("group_norm")), (0, vec![]));
}

#[test]
fn only_factors_and_terms_are_rounded() {
    let of = |op: &str, dtype: &str| {
        let text = format!(
            "const #0 : f32[32, 64] = ?
  func @main(%0 \"x\": f32[32, 64]) {{
    %1 = constant {{value = #0}} : f32[32, 64]
    %2 = binary {{f = {op}}} %0, %1 : {dtype}[32, 64]
    yield %2 \"y\"
  }}"
        );
        fate(&with_constants(parse("binary", &text), |x| x * 0.1 + 0.7))
    };
    for f in ["add", "mul", "max"] {
        assert_eq!(of(f, "f32"), (1, vec![]), "{f}");
    }
    for (f, dtype) in [("div", "f32"), ("pow", "f32"), ("lt", "bool")] {
        assert_eq!(of(f, dtype), (0, vec!["read in a way that could magnify the error"]), "{f}");
    }
}
