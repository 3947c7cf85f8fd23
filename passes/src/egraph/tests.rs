//! Where choosing differs from greedy fusion, and that it means the same.

use super::*;
use crate::fuse::{self, Arm, Decision, Options, dispatch_count};
use crate::lower_tensor;
use odc_ir::core::{DType, Scalar, TensorValue, assert_close, no_blobs, parse_module};
use odc_ir::{graph, tensor};

/// The same module with dispatches formed greedily and by choice, which must mean the same.
fn both(text: &str) -> (usize, usize, Vec<Decision>) {
    let g: graph::Module = parse_module(text, &no_blobs).unwrap();
    let plain = lower_tensor::lower(&g).unwrap();
    let form = |arm| {
        let mut m = plain.clone();
        let decisions = fuse::fuse_for(&mut m, &crate::Machine::CPU, &Options { arm, ..Options::default() });
        m.funcs.iter_mut().for_each(|f| f.renumber());
        assert_eq!(tensor::verify(&m), [], "{m}");
        (m, decisions)
    };
    let f = g.main().unwrap();
    let inputs: Vec<(String, TensorValue)> = f
        .param_names
        .iter()
        .zip(&f.body.args)
        .enumerate()
        .map(|(n, (name, v))| {
            let shape: Vec<usize> = f.ty(*v).shape.iter().map(|d| d.as_const().unwrap() as usize).collect();
            let value = |i: &[usize]| Scalar::Float((i.iter().sum::<usize>() * 7 + n * 3) as f64 % 11.0 - 5.0);
            (name.clone(), TensorValue::from_fn(DType::F32, &shape, value).unwrap())
        })
        .collect();
    let (greedy, _) = form(Arm::Greedy);
    let (chosen, decisions) = form(Arm::Choose);
    let want = graph::interp::run(&g, &inputs).unwrap();
    for m in [&greedy, &chosen] {
        for (x, y) in tensor::interp::run(m, &inputs).unwrap().iter().zip(&want) {
            assert_close(x, y, 1e-5, 1e-5).unwrap();
        }
    }
    (dispatch_count(&greedy.funcs[0]), dispatch_count(&chosen.funcs[0]), decisions)
}

/// A cheap map that two kernels read, one along columns: greedy fusion stores it as it is.
const SHARED: &str = r#"graph module "m" {
  func @main(%0 "x": f32[64, 256], %1 "y": f32[256, 64]) {
    %2 = unary {f = relu} %0 : f32[64, 256] loc("shared")
    %3 = reduce {f = sum, axes = [0], keep = false} %2 : f32[256] loc("columns")
    %4 = transpose {perm = [1, 0]} %2 : f32[256, 64] loc("turn")
    %5 = binary {f = add} %4, %1 : f32[256, 64] loc("add")
    yield %3 "a", %5 "b"
  }
}
"#;

#[test]
fn what_costs_least_together_is_chosen() {
    let (_, _, decisions) = both(SHARED);
    let [d] = decisions.as_slice() else { panic!("{decisions:?}") };
    let search = d.search.as_ref().unwrap();
    assert!(d.taken() && d.chosen < d.greedy && search.changed > 0, "{d:?}");
    assert!(search.fired.contains_key("recompute"), "{d:?}");
}

#[test]
fn rules_can_be_switched_off() {
    let g: graph::Module = parse_module(SHARED, &no_blobs).unwrap();
    let mut m = lower_tensor::lower(&g).unwrap();
    let groups = Group::ALL.iter().copied().filter(|g| *g != Group::Recompute).collect();
    let decisions = fuse::fuse_for(&mut m, &crate::Machine::CPU, &Options { groups, ..Options::default() });
    assert!(decisions.iter().all(|d| !d.search.as_ref().unwrap().fired.contains_key("recompute")), "{decisions:?}");
    let mut m = lower_tensor::lower(&g).unwrap();
    let [d] = fuse::fuse_for(&mut m, &crate::Machine::CPU, &Options { groups: vec![], ..Options::default() }).try_into().unwrap();
    assert_eq!((d.search.as_ref().unwrap().changed, d.taken()), (0, false));
}

/// An expensive one stays shared.
#[test]
fn what_is_expensive_is_stored() {
    let (greedy, chosen, _) = both(&SHARED.replace("f = relu", "f = erf"));
    assert_eq!((greedy, chosen), (3, 3));
}

/// The same choice whatever order the ops were numbered in.
#[test]
fn independent_ops_in_another_order_are_chosen_alike() {
    let swapped = SHARED
        .replace("%3 = reduce {f = sum, axes = [0], keep = false} %2 : f32[256] loc(\"columns\")\n", "")
        .replace(
            "%5 = binary {f = add} %4, %1 : f32[256, 64] loc(\"add\")\n",
            "%5 = binary {f = add} %4, %1 : f32[256, 64] loc(\"add\")\n    %3 = reduce {f = sum, axes = [0], keep = false} %2 : f32[256] loc(\"columns\")\n",
        )
        // Numbers are given in order of definition.
        .replace("%3", "%t")
        .replace("%4", "%3")
        .replace("%5", "%4")
        .replace("%t", "%5");
    let (_, chosen, decisions) = both(&swapped);
    let (_, first, given) = both(SHARED);
    assert_eq!(chosen, first);
    assert_eq!(decisions[0].chosen, given[0].chosen);
}

/// What is computed over two axes, and appended to what was there before: a cache of rotated keys. The concat reads it in place.
#[test]
fn what_counts_two_axes_in_one_is_computed_inside_a_concat() {
    let cache = r#"graph module "m" {
  func @main(%0 "past": f32[2, 60, 16], %1 "x": f32[2, 40, 16], %2 "scale": f32[40, 2, 8], %3 "shift": f32[40, 2, 8]) {
    %4 = reshape %1 : f32[2, 40, 2, 8] loc("halves")
    %5 = binary {f = mul} %4, %2 : f32[2, 40, 2, 8] loc("scaled")
    %6 = binary {f = add} %5, %3 : f32[2, 40, 2, 8] loc("shifted")
    %7 = unary {f = abs} %6 : f32[2, 40, 2, 8] loc("abs")
    %8 = unary {f = sqrt} %7 : f32[2, 40, 2, 8] loc("root")
    %9 = reshape %8 : f32[2, 40, 16] loc("whole")
    %10 = concat {axis = 1} %0, %9 : f32[2, 100, 16] loc("cache")
    yield %10 "present"
  }
}
"#;
    let (greedy, chosen, decisions) = both(cache);
    assert_eq!((greedy, chosen), (2, 1), "{decisions:?}");
}
