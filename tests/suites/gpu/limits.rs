//! Targets with the limits of weak devices: results stay the same, or a problem says which limit is in the way.

use super::models::{MODELS, model, parse};
use odc::{AnyModule, AnyTarget, CompileError, Compiled, GpuLimits, Options, compile_graph};
use odc_ir::core::Dim;
use odc_ir::graph;
use odc_ir::program::{self, Command};
use odc_tests::choices::Choices;
use odc_tests::filetest::close;
use odc_tests::generate::inputs;

pub fn with_limits(limits: GpuLimits) -> AnyTarget {
    match AnyTarget::parse("wgsl") {
        Ok(AnyTarget::Gpu(t)) => AnyTarget::Gpu(odc::GpuTarget { limits, ..t }),
        other => panic!("{other:?}"),
    }
}

/// Few buffers, small ones, small workgroups with little memory.
pub fn tight() -> AnyTarget {
    with_limits(GpuLimits { storage_buffers: 4, binding_bytes: 2048, invocations: 64, workgroup_bytes: 4096, ..GpuLimits::default() })
}

fn compile(m: &graph::Module, limits: GpuLimits) -> Result<Compiled, CompileError> {
    compile_graph(m.clone(), &Options { targets: vec![with_limits(limits)], threads: 1, ..Options::default() })
}

/// The program's results are the graph's, and its bindings are no larger than they may be.
fn right(m: &graph::Module, compiled: &Compiled, limits: GpuLimits) {
    let mut c = Choices::from_seed(7, 4000);
    let binding = inputs::binding(&mut c, &m.symbols);
    let any = AnyModule::Graph(m.clone());
    let given = inputs::inputs(&mut c, &any.inputs(), &binding).expect("inputs");
    let want = any.run(&given).expect("the graph runs");
    let got = program::run(compiled.program(), &given).unwrap_or_else(|e| panic!("{e}\n{}", compiled.program()));
    for ((name, want), got) in want.iter().zip(&got) {
        close(got, want).unwrap_or_else(|e| panic!("{}: `{name}`: {e}", m.name));
    }
    for command in &compiled.program().commands {
        if let Command::Dispatch { buffers, bytes, .. } = command {
            assert!(buffers.len() <= limits.storage_buffers as usize, "{}: {} buffers", m.name, buffers.len());
            let size = |d: &Dim| binding.eval(d).expect("a size") as u64;
            assert!(bytes.iter().all(|d| size(d) <= limits.binding_bytes), "{}: {bytes:?}", m.name);
        }
    }
}

const LARGE: &str = r#"dim n in 1..8 from "x" 0
  const #0 : f32[128, 300] = ?
  const #1 : f32[300, 5] = ?
  func @main(%0 "x": f32[n, 128]) {
    %1 = constant {value = #0} : f32[128, 300]
    %2 = constant {value = #1} : f32[300, 5]
    %3 = matmul %0, %1 : f32[n, 300] loc("/up")
    %4 = unary {f = relu} %3 : f32[n, 300] loc("/relu")
    %5 = matmul %4, %2 : f32[n, 5] loc("/down")
    %6 = softmax {axis = 1, log = false} %5 : f32[n, 5] loc("/softmax")
    yield %6 "y"
  }"#;

#[test]
fn weights_larger_than_a_binding() {
    let limits = GpuLimits { binding_bytes: 64 << 10, ..GpuLimits::default() };
    let m = parse("large", LARGE);
    // 150 KiB of weights.
    let compiled = compile(&m, limits).unwrap_or_else(|e| panic!("{e}"));
    right(&m, &compiled, limits);
    let whole = compile(&m, GpuLimits::default()).unwrap_or_else(|e| panic!("{e}"));
    right(&m, &whole, GpuLimits::default());
    assert_ne!(compiled.program().to_string(), whole.program().to_string(), "nothing was split");
}

/// A map of more values than a kernel may bind is cut in two, and the second part reads none of the first one's.
#[test]
fn more_values_than_buffers() {
    for n in [8, 9, 20] {
        let list = |f: &dyn Fn(i64) -> String| (0..n).map(f).collect::<Vec<_>>().join(", ");
        let (params, operands) = (list(&|k| format!("%{k} \"x{k}\": f32[1, 8, 4]")), list(&|k| format!("%{k}")));
        let text = format!(
            r#"func @main({params}) {{
    %{n} = concat {{axis = 0}} {operands} : f32[{n}, 8, 4]
    yield %{n} "y"
  }}"#
        );
        let m = parse("concat", &text);
        right(&m, &compile(&m, GpuLimits::default()).unwrap_or_else(|e| panic!("{n}: {e}")), GpuLimits::default());
    }
}

#[test]
fn few_buffers() {
    let mut made = 0;
    for (name, _) in MODELS {
        let limits = GpuLimits { storage_buffers: 3, ..GpuLimits::default() };
        let m = model(name);
        match compile(&m, limits) {
            Ok(compiled) => {
                right(&m, &compiled, limits);
                made += 1;
            }
            Err(e) => {
                let text = e.to_string();
                let clear = ["ODC0401", "storage buffers", "--limits"].iter().all(|w| text.contains(w));
                assert!(clear, "{name}: {text}");
            }
        }
    }
    assert!(made >= 5, "only {made} models are made with three buffers");
}

#[test]
fn small_workgroups() {
    for (name, _) in MODELS {
        let limits = GpuLimits { invocations: 64, workgroup_bytes: 2048, ..GpuLimits::default() };
        let m = model(name);
        match compile(&m, limits) {
            Ok(compiled) => right(&m, &compiled, limits),
            Err(e) => assert!(e.to_string().contains("ODC0401"), "{name}: {e}"),
        }
    }
}
