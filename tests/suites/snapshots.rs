//! What each stage makes of two small models, and the code of their kernels, as text to read in a diff. To take over a change:
//! `INSTA_UPDATE=always cargo test -p odc-tests snapshots`.

use odc::AnyModule;
use odc::passes::PASSES;
use odc_backend::{Backend, Target, TextKind};
use odc_cranelift::Cranelift;
use odc_ir::core::no_blobs;

/// A layer with bias and activation: the epilogue of a contraction.
const FC: &str = r#"
graph module "fc" {
  dim n in 1..64 from "x" 0
  const #0 : f32[4, 8] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31]
  const #1 : f32[8] = [0, 1, 2, 3, 4, 5, 6, 7]
  func @main(%0 "x": f32[n, 4]) {
    %1 = constant {value = #0} : f32[4, 8]
    %2 = constant {value = #1} : f32[8]
    %3 = matmul %0, %1 : f32[n, 8] loc("/fc/MatMul")
    %4 = binary {f = add} %3, %2 : f32[n, 8] loc("/fc/Add")
    %5 = unary {f = relu} %4 : f32[n, 8] loc("/Relu")
    yield %5 "y"
  }
}"#;

/// Statistics by rows, a residual, and a transposed result.
const NORM: &str = r#"
graph module "norm" {
  dim n in 1..64 from "x" 0
  const #0 : f32[16] = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
  func @main(%0 "x": f32[n, 16]) {
    %1 = constant {value = #0} : f32[16]
    %2 = rms_norm {axis = 1, epsilon = 1e-5} %0, %1 : f32[n, 16] loc("/norm")
    %3 = binary {f = add} %2, %0 : f32[n, 16] loc("/Add")
    %4 = transpose {perm = [1, 0]} %3 : f32[16, n] loc("/Transpose")
    yield %4 "y"
  }
}"#;

/// Every stage by name, then the kernels as Cranelift IR.
fn stages(model: &str) -> Vec<(&'static str, String)> {
    let mut at = AnyModule::parse(model, &no_blobs).expect("the model parses");
    let mut out = vec![];
    // Kernels are shown in the program.
    for pass in PASSES.iter().filter(|p| p.levels().1 != "loop") {
        at = pass.apply(at).expect(pass.name);
        out.push((pass.name, at.to_string()));
    }
    let AnyModule::Program(p) = &at else { panic!("the pipeline ends with a program") };
    let target = Target::parse("cpu:x86-64-v3").expect("a target");
    let clif: Vec<String> = p.kernels.iter().map(|k| Cranelift.text(k, &target, TextKind::Ir).expect(&k.name)).collect();
    out.push(("clif", clif.join("\n")));
    out
}

#[test]
fn fc() {
    for (stage, text) in stages(FC) {
        insta::assert_snapshot!(format!("fc_{stage}"), text);
    }
}

#[test]
fn norm() {
    for (stage, text) in stages(NORM) {
        insta::assert_snapshot!(format!("norm_{stage}"), text);
    }
}
