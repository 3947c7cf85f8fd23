//! The interpreter against numbers that ONNX Runtime gave for the same operator (numpy where it has none). Each `.txt` holds
//! cases of one family: the op, its operands, and after `=` its result.

use super::*;
use crate::core::{Parser, Ranges, assert_close};
use crate::graph::{ArgFn, BinaryFn, CoordMode, NearestMode, PadMode, PoolKind, ReduceFn, ResizeMode, ScatterFn, UnaryFn, infer};

const CASES: &[(&str, &str)] = &[
    ("elementwise", include_str!("elementwise.txt")),
    ("linear", include_str!("linear.txt")),
    ("window", include_str!("window.txt")),
    ("reduce", include_str!("reduce.txt")),
    ("norm", include_str!("norm.txt")),
    ("movement", include_str!("movement.txt")),
    ("data", include_str!("data.txt")),
    ("resize", include_str!("resize.txt")),
];

/// `f32[2] 1 -inf`.
fn tensor(text: &str) -> TensorValue {
    let (ty, data) = text.split_once(']').unwrap();
    let (dtype, shape) = ty.split_once('[').unwrap();
    let dtype = DType::from_name(dtype).unwrap();
    let shape: Vec<usize> = shape.split(',').filter(|d| !d.trim().is_empty()).map(|d| d.trim().parse().unwrap()).collect();
    let number = |w: &str| if dtype.is_float() { Scalar::Float(w.parse().unwrap()) } else { Scalar::Int(w.parse().unwrap()) };
    TensorValue::new(dtype, shape, data.split_whitespace().map(|w| number(w).wrap(dtype)).collect()).unwrap()
}

fn op(text: &str) -> Op {
    let mut p = Parser::new(text);
    let mnemonic = p.ident().unwrap().to_string();
    Op::parse(&mnemonic, &mut p).unwrap_or_else(|| panic!("no op `{mnemonic}`")).unwrap()
}

fn type_of(t: &TensorValue) -> TensorType {
    TensorType::of(t.dtype, &t.shape.iter().map(|d| *d as i64).collect::<Vec<_>>())
}

fn check(case: &str, operands: &[TensorValue], expected: &TensorValue, consts: &[Const]) {
    let op = op(case);
    let types: Vec<TensorType> = operands.iter().map(type_of).collect();
    let ranges = Ranges::new();
    let cx = infer::Cx { consts, ranges: &ranges };
    infer::accepts(&op, &types.iter().collect::<Vec<_>>(), &[&type_of(expected)], &cx).unwrap_or_else(|e| panic!("{case}: typing: {e}"));
    let got = eval(&op, &operands.iter().collect::<Vec<_>>(), &type_of(expected), &Binding::default(), consts);
    let got = got.unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_close(&got, expected, 3e-6, 1e-6).unwrap_or_else(|e| panic!("{case}: {e}\n{:?}\n{:?}", got.to_f64(), expected.to_f64()));
}

#[test]
fn every_case_gives_the_known_result() {
    for (_, text) in CASES {
        let (mut case, mut operands) = ("", vec![]);
        for line in text.lines() {
            if let Some(result) = line.strip_prefix("  = ") {
                check(case, &operands, &tensor(result), &[]);
                operands.clear();
            } else if let Some(operand) = line.strip_prefix("  ") {
                operands.push(tensor(operand));
            } else {
                case = line;
            }
        }
        assert!(operands.is_empty(), "the last case has no result");
    }
}

#[test]
fn constants_and_dims() {
    let c = Const::from_scalars(DType::F32, &[2], [1.5, -2.0].map(Scalar::Float));
    check("constant {value = #0}", &[], &tensor("f32[2] 1.5 -2"), &[c]);
    check("dims {values = [7, 3]}", &[], &tensor("i64[2] 7 3"), &[]);
    check("dims {values = [7]}", &[], &tensor("f32[] 7"), &[]);
}

/// A row of the op table, or a word of an attribute, that no case has would be untested meaning.
#[test]
fn every_op_and_every_word_has_a_case() {
    let all: String = CASES.iter().map(|(_, t)| *t).collect();
    let has = |what: &str| all.lines().any(|l| l.starts_with(what));
    // Branches and loops call functions: tests/filetests/run has them.
    let own_test = ["constant", "dims", "if", "loop"];
    for row in Op::TABLE {
        let word = row.mnemonic;
        assert!(own_test.contains(&word) || all.lines().any(|l| l.split(' ').next() == Some(word)), "no case of {word}");
    }
    UnaryFn::ALL.iter().for_each(|f| assert!(has(&format!("unary {{f = {f}}}")), "no case of {f}"));
    BinaryFn::ALL.iter().for_each(|f| assert!(has(&format!("binary {{f = {f}}}")), "no case of {f}"));
    ReduceFn::ALL.iter().for_each(|f| assert!(has(&format!("reduce {{f = {f},")), "no case of {f}"));
    ArgFn::ALL.iter().for_each(|f| assert!(has(&format!("arg_reduce {{f = {f},")), "no case of {f}"));
    PoolKind::ALL.iter().for_each(|f| assert!(has(&format!("pool {{kind = {f},")), "no case of {f}"));
    PadMode::ALL.iter().for_each(|f| assert!(has(&format!("pad {{mode = {f},")), "no case of {f}"));
    ScatterFn::ALL.iter().for_each(|f| assert!(has(&format!("scatter_nd {{f = {f}}}")), "no case of {f}"));
    ScatterFn::ALL.iter().for_each(|f| assert!(has(&format!("scatter_elements {{axis = 1, f = {f}}}")), "no case of {f}"));
    ResizeMode::ALL.iter().for_each(|f| assert!(has(&format!("resize {{mode = {f},")), "no case of {f}"));
    for words in [
        CoordMode::ALL.iter().map(|f| format!("coord = {f},")).collect::<Vec<_>>(),
        NearestMode::ALL.iter().map(|f| format!("nearest = {f},")).collect(),
    ] {
        words.iter().for_each(|w| assert!(all.contains(w), "no case with {w}"));
    }
}

#[test]
fn an_index_outside_is_an_error_with_a_place() {
    let text = "graph module \"m\" {\n  func @main(%0 \"x\": f32[2], %1 \"i\": i64[1]) {\n    %2 = gather {axis = 0} %0, %1 : f32[1] loc(\"/Gather\")\n    yield %2 \"y\"\n  }\n}\n";
    let m: Module = core::parse_module(text, &core::no_blobs).unwrap();
    assert!(crate::graph::verify(&m).is_empty());
    let feed = |k: i64| [("x".to_string(), tensor("f32[2] 1 2")), ("i".to_string(), TensorValue::from_i64(&[1], &[k]).unwrap())];
    assert_eq!(run(&m, &feed(-1)).unwrap(), [tensor("f32[1] 2")]);
    assert_eq!(run(&m, &feed(2)).unwrap_err().to_string(), "gather (/Gather): index 2 is outside an axis of size 2");
}

#[test]
fn symbolic_sizes_are_bound_from_the_inputs() {
    let text = "graph module \"m\" {\n  dim n in 1..8 from \"x\" 0\n  func @main(%0 \"x\": f32[n, 2]) {\n    %1 = dims {values = [2*n]} : i64[1]\n    %2 = reshape %0 : f32[2*n]\n    yield %1 \"s\", %2 \"y\"\n  }\n}\n";
    let m: Module = core::parse_module(text, &core::no_blobs).unwrap();
    assert!(crate::graph::verify(&m).is_empty());
    let out = run(&m, &[("x".into(), tensor("f32[2, 2] 1 2 3 4"))]).unwrap();
    assert_eq!(out, [tensor("i64[1] 4"), tensor("f32[4] 1 2 3 4")]);
}

#[test]
fn the_verifier_finds_a_wrong_result_type() {
    let text = "graph module \"m\" {\n  func @main(%0 \"x\": f32[3, 2]) {\n    %1 = transpose {perm = [1, 0]} %0 : f32[3, 2] loc(\"/T\")\n    yield %1 \"y\"\n  }\n}\n";
    let m: Module = core::parse_module(text, &core::no_blobs).unwrap();
    let errors = crate::graph::verify(&m);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].message, "the result of transpose of f32[3, 2] is f32[2, 3], not f32[3, 2]");
}
