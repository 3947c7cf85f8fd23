//! Attention in one kernel means what its ops mean, at all edges of its blocks.

use crate::fuse::{self, Options};
use crate::{expand, lower_loop, lower_tensor, plan, schedule};
use odc_ir::core::{DType, Scalar, TensorValue, assert_close, no_blobs, parse_module};
use odc_ir::{graph, program, tensor};

/// How many dispatches of `text` are attention; with these shapes of its inputs the program means what the graph means.
fn check(text: &str, all_shapes: &[[Vec<usize>; 4]]) -> (usize, String) {
    let g: graph::Module = parse_module(text, &no_blobs).unwrap();
    let mut m = lower_tensor::lower(&g).unwrap();
    fuse::fuse_for(&mut m, &crate::Machine::CPU, &Options::default());
    schedule::schedule(&mut m);
    m.funcs.iter_mut().for_each(|f| f.renumber());
    assert_eq!(tensor::verify(&m), [], "{m}");
    let mut kernels = lower_loop::lower(&m).unwrap();
    kernels.iter_mut().for_each(|k| expand::expand(&mut k.func));
    let p = plan::plan(&m, kernels).unwrap();
    for shapes in all_shapes {
        let value = |n: usize, shape: &[usize]| {
            let at = |i: &[usize]| i.iter().fold(n * 5, |sum, k| sum * 3 + k * 7) % 23;
            TensorValue::from_fn(DType::F32, shape, |i| Scalar::Float(at(i) as f64 / 11.0 - 1.0)).unwrap()
        };
        let names = &g.main().unwrap().param_names;
        let inputs: Vec<_> = names.iter().zip(shapes).enumerate().map(|(n, (name, s))| (name.clone(), value(n, s))).collect();
        let want = graph::interp::run(&g, &inputs).unwrap();
        for found in [tensor::interp::run(&m, &inputs).unwrap(), program::run(&p, &inputs).unwrap()] {
            found.iter().zip(&want).for_each(|(x, y)| assert_close(x, y, 1e-5, 1e-5).unwrap_or_else(|e| panic!("{shapes:?}: {e}\n{p}")));
        }
    }
    let text = m.to_string();
    (text.matches("template attention").count(), text)
}

/// Queries, keys and values of several heads, with a mask; the result has the heads behind the rows.
fn heads(b: &str, n: &str, s: &str) -> String {
    let dims = ["b", "n", "s"].into_iter().zip([b, n, s]).zip([("q", 0), ("q", 2), ("k", 2)]);
    let dims: String =
        dims.filter(|((name, d), _)| name == d).map(|((d, _), (x, k))| format!("  dim {d} in 1.. from \"{x}\" {k}\n")).collect();
    format!(
        r#"graph module "m" {{
{dims}  func @main(%0 "q": f32[{b}, 3, {n}, 20], %1 "k": f32[{b}, 3, {s}, 20], %2 "v": f32[{b}, 3, {s}, 12], %3 "mask": f32[1, 1, {n}, {s}]) {{
    %4 = transpose {{perm = [0, 1, 3, 2]}} %1 : f32[{b}, 3, 20, {s}] loc("turn")
    %5 = matmul %0, %4 : f32[{b}, 3, {n}, {s}] loc("scores")
    %6 = binary {{f = add}} %5, %3 : f32[{b}, 3, {n}, {s}] loc("mask")
    %7 = softmax {{axis = 3, log = false}} %6 : f32[{b}, 3, {n}, {s}] loc("softmax")
    %8 = matmul %7, %2 : f32[{b}, 3, {n}, 12] loc("values")
    %9 = transpose {{perm = [0, 2, 1, 3]}} %8 : f32[{b}, {n}, 3, 12] loc("heads")
    yield %9 "y"
  }}
}}
"#
    )
}

fn shapes(b: usize, n: usize, s: usize) -> [Vec<usize>; 4] {
    [vec![b, 3, n, 20], vec![b, 3, s, 20], vec![b, 3, s, 12], vec![1, 1, n, s]]
}

#[test]
fn rows_and_keys_of_any_number() {
    let all = [shapes(1, 1, 1), shapes(2, 5, 3), shapes(1, 33, 40), shapes(1, 70, 9)];
    assert_eq!(check(&heads("b", "n", "s"), &all).0, 1);
}

/// More rows than are in scratch at a time, and so few heads that their rows are several items.
#[test]
fn blocks_and_items() {
    for rows in [136, 150] {
        let (count, text) = check(&heads("1", &rows.to_string(), "40"), &[shapes(1, rows, 40)]);
        assert!(count == 1 && text.contains("block [128, 128]"), "{text}");
    }
    let (count, text) = check(&heads("b", "150", "40"), &[shapes(1, 150, 40)]);
    assert!(count == 1 && text.contains("block [128, 256]"), "{text}");
}

/// What another op reads must be in memory, and a product of products has no stages between: kernels as before.
#[test]
fn what_is_not_attention() {
    let text = heads("1", "5", "4");
    for other in [text.replace("yield %9 \"y\"", "yield %9 \"y\", %7 \"probabilities\""), text.replace("matmul %7, %2", "matmul %6, %2")] {
        assert_eq!(check(&other, &[shapes(1, 5, 4)]).0, 0);
    }
}

/// Values of two columns have no tile: three kernels, of which the first has one.
#[test]
fn without_tiles_nothing_is_joined() {
    let text = heads("b", "n", "s").replace("12", "2");
    let all = [[1, 4, 5], [2, 9, 3]].map(|[b, n, s]| [vec![b, 3, n, 20], vec![b, 3, s, 20], vec![b, 3, s, 2], vec![1, 1, n, s]]);
    let (count, text) = check(&text, &all);
    assert_eq!((count, text.matches("template gemm").count()), (0, 1), "{text}");
}
