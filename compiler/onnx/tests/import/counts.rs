//! Sizes that data decides: symbols with bounds, and results that say their values.

use crate::net::{Net, floats, int, one};
use odc_ir::core::{DType, Scalar, TensorValue};
use odc_ir::graph::interp;
use odc_onnx::proto::DataType;

fn run(net: &Net, x: &[f32]) -> Vec<Vec<f64>> {
    let x = TensorValue::from_f32(&[x.len()], x).unwrap();
    interp::run(&net.module(), &[("x".into(), x)]).unwrap().iter().map(TensorValue::to_f64).collect()
}

#[test]
fn counts_are_symbols_with_bounds() {
    let net = one(13, "NonZero", &["n"], vec![], vec![]);
    let m = net.module();
    assert_eq!(net.result(), "i64[1, u0]");
    let u0 = m.symbols.iter().find(|(s, _)| s.name() == "u0").unwrap().1;
    assert!(u0.is_count() && u0.most.as_ref().unwrap().to_string() == "n");
    assert_eq!(m.main().unwrap().result_names, ["y", "= u0"]);
    assert_eq!(run(&net, &[0.0, 2.0, 0.0, -1.0]), [[1.0, 3.0]]);
    assert_eq!(run(&net, &[0.0]), [[0.0; 0]]);
}

#[test]
fn unique_orders_and_counts() {
    let x = [3.0, 1.0, 3.0, 2.0, 1.0, 3.0];
    let net = |sorted| {
        let n = Net::new(11).input("x", &["n"]).node("Unique", &["x"], &["y", "i", "v", "c"], vec![int("sorted", sorted)]);
        n.output("y").output("i").output("v").output("c")
    };
    let want = [vec![1.0, 2.0, 3.0], vec![1.0, 3.0, 0.0], vec![2.0, 0.0, 2.0, 1.0, 0.0, 2.0], vec![2.0, 1.0, 3.0]];
    assert_eq!(run(&net(1), &x), want);
    let want = [vec![3.0, 1.0, 2.0], vec![0.0, 1.0, 3.0], vec![0.0, 1.0, 0.0, 2.0, 1.0, 0.0], vec![3.0, 2.0, 1.0]];
    assert_eq!(run(&net(0), &x), want);
}

/// What is known of a count holds only if the data agrees.
#[test]
fn counts_that_must_be_sizes_are_checked() {
    let net = Net::new(13)
        .input("x", &["n"])
        .typed("k", DataType::Float, &["2"])
        .weights([floats("w", &[2], &[1.0, 2.0])])
        .node("Greater", &["x", "zero"], &["m"], vec![])
        .weights([floats("zero", &[], &[0.0])])
        .node("Compress", &["x", "m"], &["c"], vec![])
        .node("Add", &["c", "w"], &["y"], vec![])
        .output("y");
    let m = net.module();
    assert!(m.main().unwrap().result_names.contains(&"= 2".to_string()), "{m}");
    let k = TensorValue::filled(DType::F32, &[2], Scalar::Float(0.0)).unwrap();
    let run = |x: &[f32]| interp::run(&m, &[("x".into(), TensorValue::from_f32(&[x.len()], x).unwrap()), ("k".into(), k.clone())]);
    assert_eq!(run(&[-1.0, 5.0, 7.0]).unwrap()[0].to_f32(), [6.0, 9.0]);
    let e = run(&[-1.0, 5.0, -7.0]).unwrap_err().to_string();
    assert!(e.contains('2') && e.contains('1'), "{e}");
}
