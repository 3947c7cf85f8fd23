//! The same model gives the same kernels: again, with more threads, beside other targets, and beside parts that it has nothing to do with.

use super::models::{model, parse};
use super::{compiled, texts};
use crate::carried_models;
use odc::{AnyTarget, Options, compile};

fn bytes(name: &str, targets: &[&str], threads: usize) -> Vec<u8> {
    let targets = targets.iter().map(|t| AnyTarget::parse(t).expect(t)).collect();
    let options = Options { targets, threads, ..Options::default() };
    let c = compile(carried_models::model(name).join("model.onnx"), &options).unwrap_or_else(|e| panic!("{name}: {e}"));
    c.artifact_bytes().expect("an artifact")
}

#[test]
fn two_compilations_give_identical_bytes() {
    let all = ["wgsl", "spirv:f16+subgroups", "metal", "cpu:x86-64-v3"];
    for name in ["ppocrv2_cls", "magika_v3_3"] {
        let one = bytes(name, &all, 1);
        assert!(bytes(name, &all, 2) == one, "{name}: other bytes with two threads");
        assert!(bytes(name, &all, 1) == one, "{name}: other bytes the second time");
    }
}

#[test]
fn targets_do_not_change_each_other() {
    let m = model("layer_norm");
    let of = |targets: &[&str], target: &str| {
        texts(&compiled(&m, targets)).into_iter().filter(|k| k.target == target).map(|k| k.text).collect::<Vec<_>>()
    };
    let alone = of(&["wgsl"], "wgsl");
    assert!(!alone.is_empty());
    assert_eq!(of(&["spirv:subgroups", "wgsl", "cpu"], "wgsl"), alone);
    assert_eq!(of(&["wgsl", "metal"], "wgsl"), alone);
}

const ALONE: &str = r#"dim n in 1..64 from "x" 0
  const #0 : f32[32, 48] = ?
  func @main(%0 "x": f32[n, 32]) {
    %1 = constant {value = #0} : f32[32, 48]
    %2 = matmul %0, %1 : f32[n, 48] loc("/fc")
    %3 = unary {f = gelu} %2 : f32[n, 48] loc("/gelu")
    %4 = softmax {axis = 1, log = false} %3 : f32[n, 48] loc("/softmax")
    yield %4 "y"
  }"#;

/// The same with a branch of its own before, between and behind.
const BESIDE: &str = r#"dim m in 1..9 from "z" 0
  dim n in 1..64 from "x" 0
  const #0 : f32[8, 8] = ?
  const #1 : f32[32, 48] = ?
  func @main(%0 "z": f32[m, 8], %1 "x": f32[n, 32]) {
    %2 = constant {value = #0} : f32[8, 8]
    %3 = matmul %0, %2 : f32[m, 8] loc("/other/fc")
    %4 = constant {value = #1} : f32[32, 48]
    %5 = matmul %1, %4 : f32[n, 48] loc("/fc")
    %6 = reduce {f = mean, axes = [1], keep = false} %3 : f32[m] loc("/other/mean")
    %7 = unary {f = gelu} %5 : f32[n, 48] loc("/gelu")
    %8 = softmax {axis = 1, log = false} %7 : f32[n, 48] loc("/softmax")
    %9 = unary {f = tanh} %6 : f32[m] loc("/other/tanh")
    yield %8 "y", %9 "w"
  }"#;

#[test]
fn an_unrelated_branch_leaves_kernels_alone() {
    let of = |name: &str, text: &str| texts(&compiled(&parse(name, text), &["wgsl"])).into_iter().map(|k| k.text).collect::<Vec<_>>();
    let (alone, beside) = (of("alone", ALONE), of("beside", BESIDE));
    assert!(!alone.is_empty() && beside.len() > alone.len());
    for text in &alone {
        assert!(beside.contains(text), "no kernel of the larger graph is this one:\n{text}\nthere are\n{}", beside.join("\n"));
    }
}
