//! Strings: numbers in the module's table, which graph ops move, compare and look up.

use crate::net::{Net, int, list, text, words};
use odc_ir::core::{DType, Scalar, TensorValue};
use odc_ir::graph::{Module, interp};
use odc_onnx::proto::{DataType, TensorProto};
use odc_onnx::{Code, Fixed};

fn constant(name: &str, dims: &[i64], texts: &[&'static str]) -> TensorProto {
    let string_data = texts.iter().map(|t| t.as_bytes().into()).collect();
    TensorProto {
        name: Some(name.into()),
        data_type: Some(DataType::String as i32),
        dims: dims.to_vec(),
        string_data,
        ..Default::default()
    }
}

/// Texts by the table, others by numbers past its end.
fn numbers(m: &Module, texts: &[&str]) -> TensorValue {
    let number = |t: &&str| m.strings.iter().position(|s| s == t).unwrap_or(m.strings.len() + 7) as i64;
    let data = texts.iter().map(number).map(Scalar::Int).collect();
    TensorValue { dtype: DType::Str, shape: vec![texts.len()], data }
}

fn run(n: &Net, texts: &[&str]) -> Vec<f64> {
    let m = n.module();
    interp::run(&m, &[("x".into(), numbers(&m, texts))]).unwrap()[0].to_f64()
}

fn texts(n: &Net, x: &[&str]) -> Vec<String> {
    let m = n.module();
    run(n, x).iter().map(|k| m.strings.get(*k as usize).cloned().unwrap_or("?".into())).collect()
}

fn encoder(attributes: Vec<odc_onnx::proto::AttributeProto>) -> Net {
    Net::new(20).typed("x", DataType::String, &["n"]).node("LabelEncoder", &["x"], &["y"], attributes).of_domain("ai.onnx.ml").output("y")
}

#[test]
fn labels_are_looked_up_by_number() {
    let n = encoder(vec![words("keys_strings", &["b", "a", "b"]), list("values_int64s", &[10, 20, 30]), int("default_int64", -5)]);
    assert_eq!(run(&n, &["a", "b", "c", ""]), [20.0, 30.0, -5.0, -5.0]);
    let n = encoder(vec![words("keys_strings", &["a"]), words("values_strings", &["A"]), text("default_string", "none")]);
    assert_eq!(texts(&n, &["a", "q"]), ["A", "none"]);
    assert_eq!((n.params(), n.result()), (vec!["str[n]".into()], "str[n]".into()));
    let numbers = encoder(vec![list("keys_int64s", &[1]), list("values_int64s", &[1])]);
    assert!(numbers.error().contains("the keys are i64[1]"), "{}", numbers.error());
}

/// A string that only a later node knows is none of an earlier node's keys.
#[test]
fn the_table_grows_behind_a_look_up() {
    let n = encoder(vec![words("keys_strings", &["a"]), list("values_int64s", &[1])]);
    let n = n.weights([constant("late", &[1], &["z"])]).node("Equal", &["x", "late"], &["e"], vec![]).output("e");
    let m = n.module();
    let out = interp::run(&m, &[("x".into(), numbers(&m, &["z", "a"]))]).unwrap();
    assert_eq!((out[0].to_f64(), out[1].to_f64()), (vec![-1.0, 1.0], vec![1.0, 0.0]));
}

#[test]
fn strings_move_and_compare() {
    let n = Net::new(18)
        .typed("x", DataType::String, &["n"])
        .weights([constant("c", &[2], &["b", "ü"])])
        .node("Concat", &["x", "c"], &["y"], vec![int("axis", 0)])
        .output("y");
    assert_eq!(texts(&n, &["b", "other"]), ["b", "?", "b", "ü"]);
    let n = Net::new(18)
        .typed("x", DataType::String, &["n"])
        .node("OneHotEncoder", &["x"], &["y"], vec![words("cats_strings", &["p", "q"])])
        .of_domain("ai.onnx.ml")
        .output("y");
    assert_eq!(run(&n, &["q", "r"]), [0.0, 1.0, 0.0, 0.0]);
    for op in ["Add", "Less", "Max"] {
        let n = Net::new(18).typed("x", DataType::String, &["n"]).node(op, &["x", "x"], &["y"], vec![]).output("y");
        assert!(n.error().contains("str[n]"), "{}", n.error());
    }
}

#[test]
fn n_grams_of_strings() {
    let n = Net::new(18).typed("x", DataType::String, &["4"]).node(
        "TfIdfVectorizer",
        &["x"],
        &["y"],
        vec![
            words("pool_strings", &["a", "b", "a", "b"]),
            list("ngram_counts", &[0, 2]),
            list("ngram_indexes", &[0, 1, 2]),
            int("min_gram_length", 1),
            int("max_gram_length", 2),
            int("max_skip_count", 0),
            text("mode", "TF"),
        ],
    );
    assert_eq!(run(&n.output("y"), &["a", "b", "x", "a"]), [2.0, 1.0, 1.0]);
}

#[test]
fn new_strings_need_known_operands() {
    let net = || {
        Net::new(20)
            .typed("x", DataType::String, &["2"])
            .node("StringSplit", &["x"], &["p", "k"], vec![text("delimiter", "-")])
            .node("RegexFullMatch", &["p"], &["m"], vec![text("pattern", "[a-c]+")])
            .output("m")
    };
    let problems = net().import().unwrap_err();
    assert_eq!((problems[0].code, problems[0].inputs.as_slice()), (Code::UnsupportedUse, &["x".to_string()][..]));
    let mut n = net();
    let strings = vec!["ab-d-c".to_string(), "b".into()];
    n.options.fix.insert("x".into(), Fixed::Strings { dims: vec![2], strings });
    let out = interp::run(&n.module(), &[]).unwrap();
    assert_eq!((out[0].shape.as_slice(), out[0].to_f64()), (&[2, 3][..], vec![1.0, 0.0, 1.0, 1.0, 0.0, 0.0]));
    let a_number = Fixed::Numbers { dims: vec![2], numbers: vec![Scalar::Int(1); 2] };
    n.options.fix.insert("x".into(), a_number);
    assert!(n.error().contains("the model says strings"));
}

#[test]
fn a_string_is_no_size() {
    let n = Net::new(18).input("x", &["4"]).weights([constant("s", &[1], &["4"])]).node("Reshape", &["x", "s"], &["y"], vec![]).output("y");
    assert_eq!(n.codes(), [Code::DataDependentShape]);
}
