//! Inputs whose values are given when compiling, and the faults that name the inputs which would have to be.

use crate::net::Net;
use odc_ir::core::Scalar;
use odc_onnx::proto::DataType;
use odc_onnx::{Code, Fixed};

fn numbers(dims: &[u64], ints: &[i64]) -> Fixed {
    Fixed::Numbers { dims: dims.to_vec(), numbers: ints.iter().map(|v| Scalar::Int(*v)).collect() }
}

fn sum(axes: Option<Fixed>) -> Net {
    let net = Net::new(18).input("x", &["n", "3", "4"]).typed("axes", DataType::Int64, &["k"]);
    let mut net = net.node("Abs", &["axes"], &["a"], vec![]).node("ReduceSum", &["x", "a"], &["y"], vec![]).output("y");
    net.options.fix.extend(axes.map(|v| ("axes".into(), v)));
    net
}

#[test]
fn a_fixed_input_is_a_constant_and_no_input() {
    let net = Net::new(13).input("x", &["n", "6"]).typed("shape", DataType::Int64, &["2"]).node("Reshape", &["x", "shape"], &["y"], vec![]);
    let mut net = net.output("y");
    net.options.fix.insert("shape".into(), numbers(&[2], &[-1, 2]));
    assert_eq!((net.params(), net.result()), (vec!["f32[n, 6]".into()], "f32[3*n, 2]".into()));
}

#[test]
fn faults_name_the_inputs_behind() {
    let faults = sum(None).import().unwrap_err();
    assert_eq!((faults[0].code, faults[0].inputs.as_slice()), (Code::DataDependentShape, &["axes".to_string()][..]));
    assert!(faults[0].help.as_ref().unwrap().contains("--fix axes="), "{:?}", faults[0]);
    // A large input has a part in it: nothing to fix.
    let net = Net::new(18).input("x", &["3", "4"]).typed("big", DataType::Int64, &["100"]).node("ReduceSum", &["x", "big"], &["y"], vec![]);
    assert!(net.output("y").import().unwrap_err()[0].inputs.is_empty());
}

#[test]
fn values_that_do_not_fit_are_refused() {
    for (dims, ints) in [(&[][..], &[1][..]), (&[1, 1], &[1])] {
        assert_eq!(sum(Some(numbers(dims, ints))).codes(), [Code::BadFix, Code::DataDependentShape]);
    }
    let mut net = sum(None);
    net.options.fix.insert("axis".into(), numbers(&[], &[1]));
    assert_eq!(net.codes(), [Code::BadFix, Code::DataDependentShape]);
    let half = Fixed::Numbers { dims: vec![1], numbers: vec![Scalar::Float(0.5)] };
    assert!(sum(Some(half)).import().unwrap_err()[0].message.contains("0.5 is no i64"));
}
