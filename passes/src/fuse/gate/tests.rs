//! Two products in one kernel mean what they mean apart, at all edges of their tiles; and what stays apart.

use crate::egraph::Group;
use crate::fuse::{self, Options, dispatch_count};
use crate::{expand, lower_loop, lower_tensor, plan, schedule};
use bytes::Bytes;
use odc_ir::core::{DType, Scalar, TensorValue, assert_close, parse_module};
use odc_ir::{graph, program, tensor};

/// A gated layer of so many columns, `rows` of them a dim or a number; the gate is `silu` of one product times the other.
fn layer(rows: &str, columns: usize) -> String {
    let dim = if rows == "n" { "  dim n in 1.. from \"x\" 0\n" } else { "" };
    format!(
        r#"graph module "m" {{
{dim}  const #0 : f32[20, {columns}] = blob "{} 1"
  const #1 : f32[20, {columns}] = blob "{} 11"
  const #2 : f32[{columns}] = blob "{columns} 5"
  func @main(%0 "x": f32[{rows}, 20]) {{
    %1 = constant {{value = #0}} : f32[20, {columns}]
    %2 = constant {{value = #1}} : f32[20, {columns}]
    %3 = constant {{value = #2}} : f32[{columns}]
    %4 = matmul %0, %1 : f32[{rows}, {columns}] loc("up")
    %5 = binary {{f = add}} %4, %3 : f32[{rows}, {columns}] loc("bias")
    %6 = matmul %0, %2 : f32[{rows}, {columns}] loc("gate")
    %7 = unary {{f = sigmoid}} %6 : f32[{rows}, {columns}] loc("sigmoid")
    %8 = binary {{f = mul}} %6, %7 : f32[{rows}, {columns}] loc("silu")
    %9 = binary {{f = mul}} %8, %5 : f32[{rows}, {columns}] loc("gated")
    yield %9 "y"
  }}
}}
"#,
        20 * columns,
        20 * columns,
    )
}

/// So many numbers from a seed: `"480 11"`.
fn blob(name: &str) -> Option<Bytes> {
    let (n, seed) = name.split_once(' ')?;
    let (n, seed): (usize, usize) = (n.parse().ok()?, seed.parse().ok()?);
    Some((0..n).flat_map(|k| (((k * 7 + seed) % 19) as f32 / 16.0 - 0.5).to_le_bytes()).collect())
}

/// How many dispatches `text` becomes; with so many rows it means what the graph means.
fn dispatches(text: &str, all_rows: &[usize], options: &Options) -> usize {
    let g: graph::Module = parse_module(text, &blob).unwrap();
    let mut m = lower_tensor::lower(&g).unwrap();
    let decisions = fuse::fuse_for(&mut m, &crate::Machine::CPU, options);
    schedule::schedule(&mut m);
    m.funcs.iter_mut().for_each(|f| f.renumber());
    assert_eq!(tensor::verify(&m), [], "{m}");
    let mut kernels = lower_loop::lower(&m).unwrap();
    kernels.iter_mut().for_each(|k| expand::expand(&mut k.func));
    let p = plan::plan(&m, kernels).unwrap();
    for rows in all_rows {
        let value = |i: &[usize]| Scalar::Float((i[0] * 3 + i[1] * 5) as f64 % 13.0 / 8.0 - 0.75);
        let x = TensorValue::from_fn(DType::F32, &[*rows, 20], value).unwrap();
        let inputs = [("x".to_string(), x)];
        let want = graph::interp::run(&g, &inputs).unwrap();
        for found in [tensor::interp::run(&m, &inputs).unwrap(), program::run(&p, &inputs).unwrap()] {
            found.iter().zip(&want).for_each(|(x, y)| assert_close(x, y, 1e-5, 1e-5).unwrap_or_else(|e| panic!("{rows} rows: {e}\n{p}")));
        }
    }
    let n = dispatch_count(&m.funcs[0]);
    assert!((decisions[0].gates > 0) == (n == 1), "{decisions:?}");
    n
}

#[test]
fn a_product_goes_into_the_one_that_reads_it() {
    let all = Options::default();
    // Rows that fill tiles and rows that do not; one row has tiles of its own.
    assert_eq!(dispatches(&layer("n", 24), &[1, 3, 4, 5, 9], &all), 1);
    assert_eq!(dispatches(&layer("1", 32), &[1], &all), 1);
    assert_eq!(dispatches(&layer("6", 8), &[6], &all), 1);
}

#[test]
fn it_can_be_switched_off() {
    let groups = Group::ALL.iter().copied().filter(|g| *g != Group::Gate).collect();
    assert_eq!(dispatches(&layer("n", 24), &[5], &Options { groups, ..Options::default() }), 2);
}

#[test]
fn what_has_no_whole_tiles_or_other_readers_stays_apart() {
    let all = Options::default();
    assert_eq!(dispatches(&layer("n", 21), &[1, 5], &all), 2);
    let also_an_output = layer("n", 24).replace("yield %9 \"y\"", "yield %9 \"y\", %5 \"u\"");
    assert_eq!(dispatches(&also_an_output, &[1, 5], &all), 2);
    // An element of another place: a tile of the one is no tile of the other.
    let turned = layer("24", 24)
        .replace(
            "%9 = binary {f = mul} %8, %5 : f32[24, 24] loc(\"gated\")",
            "%9 = transpose {perm = [1, 0]} %5 : f32[24, 24] loc(\"turn\")\n    %10 = binary {f = mul} %8, %9 : f32[24, 24] loc(\"gated\")",
        )
        .replace("yield %9", "yield %10");
    assert_ne!(dispatches(&turned, &[24], &all), 1);
}
