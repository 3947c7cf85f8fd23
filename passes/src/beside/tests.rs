//! What lies side by side, what may not, and that it means the same.

use super::*;
use crate::fuse::{dispatch_count, fuse};
use crate::{lower_tensor, schedule};
use odc_ir::core::{DType, Scalar, TensorValue, assert_close, no_blobs, parse_module};
use odc_ir::{graph, loops, tensor};

/// Joined, scheduled, and run at both levels: the results of the graph.
fn joined(text: &str) -> Module {
    let g: graph::Module = parse_module(text, &no_blobs).unwrap();
    let mut m = lower_tensor::lower(&g).unwrap();
    fuse(&mut m);
    let before = dispatch_count(&m.funcs[0]);
    let fewer = best(&mut m);
    assert_eq!(dispatch_count(&m.funcs[0]) + fewer, before);
    schedule::schedule(&mut m);
    m.funcs.iter_mut().for_each(|f| f.renumber());
    assert_eq!(tensor::verify(&m), [], "{m}");
    let f = g.main().unwrap();
    let inputs: Vec<(String, TensorValue)> = f
        .param_names
        .iter()
        .zip(&f.body.args)
        .map(|(name, v)| {
            let shape: Vec<usize> = f.ty(*v).shape.iter().map(|d| d.as_const().unwrap() as usize).collect();
            let value = |i: &[usize]| Scalar::Float(i.iter().fold(3, |sum, k| sum * 5 + k) as f64 % 11.0 - 5.0);
            (name.clone(), TensorValue::from_fn(DType::F32, &shape, value).unwrap())
        })
        .collect();
    let want = graph::interp::run(&g, &inputs).unwrap();
    let close = |got: &[TensorValue]| got.iter().zip(&want).for_each(|(x, y)| assert_close(x, y, 1e-5, 1e-5).unwrap());
    close(&tensor::interp::run(&m, &inputs).unwrap());
    let kernels = crate::lower_loop::lower(&m).unwrap();
    for k in &kernels {
        assert_eq!(loops::verify_func(&k.func), [], "{:?}", k.func.name);
    }
    let program = plan::plan(&m, kernels).unwrap();
    close(&odc_ir::program::run(&program, &inputs).unwrap());
    m
}

fn count(text: &str) -> usize {
    dispatch_count(&joined(text).funcs[0])
}

const TWO: &str = r#"graph module "m" {
  func @main(%0 "x": f32[3, 40], %1 "y": f32[70, 300]) {
    %2 = unary {f = relu} %0 : f32[3, 40] loc("small")
    %3 = unary {f = neg} %1 : f32[70, 300] loc("large")
    yield %2 "a", %3 "b"
  }
}
"#;

#[test]
fn maps_that_do_not_depend_on_each_other_are_one_dispatch() {
    let m = joined(TWO);
    assert_eq!(dispatch_count(&m.funcs[0]), 1);
    let text = m.to_string();
    assert!(text.contains("template beside"), "{text}");
}

#[test]
fn what_both_read_is_bound_once() {
    let text = r#"graph module "m" {
  func @main(%0 "x": f32[3, 40]) {
    %1 = unary {f = relu} %0 : f32[3, 40] loc("one")
    %2 = unary {f = neg} %0 : f32[3, 40] loc("other")
    yield %1 "a", %2 "b"
  }
}
"#;
    let reads: Vec<usize> = joined(text).funcs[0].body.ops.iter().map(|o| o.operands.len()).collect();
    assert_eq!(reads, [1]);
}

/// The second waits for the first, if only through a view or another kernel.
#[test]
fn what_depends_on_the_first_stays_behind_it() {
    let chain = r#"graph module "m" {
  func @main(%0 "x": f32[8, 8], %1 "w": f32[8, 8]) {
    %2 = unary {f = erf} %0 : f32[8, 8] loc("first")
    %3 = matmul %2, %1 : f32[8, 8] loc("between")
    %4 = transpose {perm = [1, 0]} %3 : f32[8, 8] loc("turn")
    %5 = softmax {axis = 1, log = false} %4 : f32[8, 8] loc("soft")
    %6 = unary {f = exp} %1 : f32[8, 8] loc("apart")
    yield %2 "a", %5 "b", %6 "c"
  }
}
"#;
    let m = joined(chain);
    for op in &m.funcs[0].body.ops {
        let locs = op.loc.to_string();
        assert!(!(locs.contains("first") && locs.contains("apart")), "the product between reads the first: {m}");
    }
}

/// Two large values one after the other are one buffer's worth; side by side they are two.
#[test]
fn what_would_make_the_arena_larger_stays_apart() {
    let text = r#"graph module "m" {
  func @main(%0 "x": f32[64, 64], %1 "y": f32[64, 64]) {
    %2 = unary {f = erf} %0 : f32[64, 64] loc("first")
    %3 = reduce {f = sum, axes = [0], keep = false} %2 : f32[64] loc("columns")
    %4 = unary {f = erf} %1 : f32[64, 64] loc("second")
    %5 = reduce {f = sum, axes = [0], keep = false} %4 : f32[64] loc("columns too")
    yield %3 "a", %5 "b"
  }
}
"#;
    // The sums stand between: the first map has a reader before the second.
    assert_eq!(count(text), 4);
    let swapped = text
        .replace("    %3 = reduce {f = sum, axes = [0], keep = false} %2 : f32[64] loc(\"columns\")\n", "")
        .replace("    %5 =", "    %3 = reduce {f = sum, axes = [0], keep = false} %2 : f32[64] loc(\"columns\")\n    %5 =")
        .replace("%3", "%t")
        .replace("%4", "%3")
        .replace("%t", "%4");
    // Here none stands between; yet the planner would run the first sum before the second map.
    assert_eq!(count(&swapped), 4);
}
