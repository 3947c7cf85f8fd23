//! Folding of constants.

use super::super::constants::strided;
use super::{finds, leaves, module};
use crate::canonicalise::canonicalise;
use odc_ir::core::{Const, DType, Scalar, assert_close};
use odc_ir::graph::interp;

#[test]
fn operations_on_constants_are_folded() {
    let c = ["f32[2, 3] = [f 1.0, f 2.0, f 3.0, f 4.0, f 5.0, f 6.0]"];
    let after = finds(
        "fold",
        &["binary"],
        &["f32[n, 2]"],
        &c,
        "%1 = constant {value = #0} : f32[2, 3]\n%2 = transpose {perm = [1, 0]} %1 : f32[3, 2]\n%3 = slice {starts = [2, 0], steps = [-2, 1]} %2 : f32[2, 2]
        %4 = concat {axis = 1} %3, %3 : f32[2, 4]\n%5 = reshape %4 : f32[8]\n%6 = unary {f = neg} %5 : f32[8]\n%7 = binary {f = mul} %6, %6 : f32[8]
        %8 = reduce {f = sum, axes = [0], keep = false} %7 : f32[]\n%9 = binary {f = add} %0, %8 : f32[n, 2]\nyield %9 \"y\"",
    );
    assert_eq!(after.consts.len(), 1);
    assert_eq!(after.consts[0].splat(), Some(Scalar::Float(2.0 * (9.0 + 36.0 + 1.0 + 16.0))));
}

#[test]
fn what_grows_or_depends_on_sizes_is_left() {
    let c = ["f32[1, 2] = [f 1.0, f 2.0]"];
    let body = "%1 = constant {value = #0} : f32[1, 2]\n%2 = expand %1 : f32[4096, 2]\n%3 = concat {axis = 0} %2, %0 : f32[n + 4096, 2]\nyield %3 \"y\"";
    leaves("fold", &["f32[n, 2]"], &c, body);
    let body = "%1 = dims {values = [n]} : i64[1]\n%2 = unary {f = neg} %1 : i64[1]\nyield %2 \"y\"";
    leaves("fold", &["f32[n, 2]"], &[], body);
    finds("fold", &[], &["f32[n, 2]"], &[], "%1 = dims {values = [3]} : i64[1]\n%2 = unary {f = neg} %1 : i64[1]\nyield %2 \"y\"");
    // An index outside stays an error of the run.
    let c = ["f32[2] = [f 1.0, f 2.0]", "i64[1] = [5]"];
    let mut m = module(
        &[],
        &c,
        "%0 = constant {value = #0} : f32[2]\n%1 = constant {value = #1} : i64[1]\n%2 = gather {axis = 0} %0, %1 : f32[1]\nyield %2 \"y\"",
    );
    assert!(!canonicalise(&mut m).found.contains_key("fold"));
    assert!(interp::run(&m, &[]).is_err());
}

#[test]
fn strided_copies_stay_within_their_bytes() {
    assert_eq!(strided(&[1, 2, 3, 4], 1, 3, &[-2], &[2]), Some(vec![4, 2]));
    assert_eq!(strided(&[1, 2, 3, 4], 1, 0, &[1, 2], &[2, 2]), Some(vec![1, 3, 2, 4]));
    assert_eq!(strided(&[1, 2, 3, 4], 1, 0, &[2], &[3]), None);
    assert_eq!(strided(&[1, 2], 1, 0, &[-1], &[2]), None);
    assert_eq!(strided(&[7, 8], 2, 0, &[], &[]), Some(vec![7, 8]));
}

#[test]
fn big_weights_are_transposed_by_bytes() {
    let (rows, columns) = (700i64, 900i64);
    let mut m = module(
        &["f32[n, 2]"],
        &["f32[2] = [f 0.0, f 0.0]"],
        "%1 = constant {value = #0} : f32[2]\n%2 = reshape %1 : f32[1, 2]\nyield %2 \"y\"",
    );
    let data = (0..rows * columns).map(|k| Scalar::Float(k as f64));
    m.consts[0] = Const::from_scalars(DType::F32, &[rows, columns], data);
    let f = &mut m.funcs[0];
    f.types[1] = odc_ir::core::TensorType::of(DType::F32, &[rows, columns]);
    f.types[2] = odc_ir::core::TensorType::of(DType::F32, &[columns, rows]);
    f.body.ops[1].op = odc_ir::graph::Op::Transpose { perm: vec![1, 0] };
    let before = m.clone();
    assert_eq!(canonicalise(&mut m).found.get("fold"), Some(&1));
    assert_eq!(m.consts[0].get(rows as usize + 1).unwrap().as_f64(), (columns + 1) as f64);
    let feed = super::inputs(&m);
    assert_close(&interp::run(&m, &feed).unwrap()[0], &interp::run(&before, &feed).unwrap()[0], 0.0, 0.0).unwrap();
}
