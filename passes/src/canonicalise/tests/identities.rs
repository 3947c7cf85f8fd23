//! Ops that change nothing disappear.

use super::{finds, leaves};

#[test]
fn neutral_operands() {
    let c = ["f32[] = [f 0.0]", "f32[] = [f 1.0]", "f32[2] = [f 0.0, f 0.0]"];
    let body = "%1 = constant {value = #0} : f32[]\n%2 = constant {value = #1} : f32[]\n%3 = binary {f = add} %1, %0 : f32[n, 2]
        %4 = binary {f = mul} %3, %2 : f32[n, 2]\n%5 = binary {f = div} %4, %2 : f32[n, 2]\n%6 = unary {f = exp} %5 : f32[n, 2]\nyield %6 \"y\"";
    finds("identity", &["unary"], &["f32[n, 2]"], &c, body);
    let body = "%1 = constant {value = #2} : f32[2]\n%2 = binary {f = add} %0, %1 : f32[n, 2]\nyield %2 \"y\"";
    leaves("identity", &["f32[n, 1]"], &c, body);
    let body = "%1 = constant {value = #0} : f32[]\n%2 = binary {f = sub} %1, %0 : f32[n, 2]\nyield %2 \"y\"";
    leaves("identity", &["f32[n, 2]"], &c, body);
}

#[test]
fn doubled_functions() {
    let twice = |f: &str| format!("%1 = unary {{f = {f}}} %0 : f32[n]\n%2 = unary {{f = {f}}} %1 : f32[n]\nyield %2 \"y\"");
    finds("double", &[], &["f32[n]"], &[], &twice("neg"));
    finds("double", &["unary"], &["f32[n]"], &[], &twice("relu"));
    leaves("double", &["f32[n]"], &[], &twice("tanh"));
}

#[test]
fn casts() {
    let chain = |a: &str, b: &str, c: &str| (format!("{a}[n]"), format!("%1 = cast %0 : {b}[n]\n%2 = cast %1 : {c}[n]\nyield %2 \"y\""));
    let (p, body) = chain("i32", "i64", "i32");
    finds("cast", &[], &[&p], &[], &body);
    let (p, body) = chain("bool", "i64", "f32");
    finds("cast", &["cast"], &[&p], &[], &body);
    let (p, body) = chain("f32", "i32", "f32");
    leaves("cast", &[&p], &[], &body);
    let (p, body) = chain("i64", "f32", "i64");
    leaves("cast", &[&p], &[], &body);
}

#[test]
fn selections() {
    let c = ["bool[] = [true]", "bool[2] = [true, false]"];
    let body =
        |k: usize, s: &str| format!("%2 = constant {{value = #{k}}} : bool[{s}]\n%3 = select %2, %0, %1 : f32[n, 2]\nyield %3 \"y\"");
    finds("select", &[], &["f32[n, 2]", "f32[n, 2]"], &c, &body(0, ""));
    leaves("select", &["f32[n, 2]", "f32[n, 2]"], &c, &body(1, "2"));
    // The value must not be smaller than the result.
    leaves("select", &["f32[n, 1]", "f32[n, 2]"], &c, &body(0, ""));
}

#[test]
fn powers() {
    let body =
        "%1 = constant {value = #0} : f32[]\n%2 = unary {f = abs} %0 : f32[n]\n%3 = binary {f = pow} %2, %1 : f32[n]\nyield %3 \"y\"";
    for (e, ops) in [("2.0", vec!["unary", "binary"]), ("3.0", vec!["unary", "binary", "binary"]), ("0.5", vec!["unary", "unary"])] {
        finds("pow", &ops, &["f32[n]"], &[&format!("f32[] = [f {e}]")], body);
    }
    leaves("pow", &["f32[n]"], &["f32[] = [f 2.5]"], body);
}

#[test]
fn divisions() {
    let body = "%1 = constant {value = #0} : f32[]\n%2 = binary {f = div} %0, %1 : f32[n]\nyield %2 \"y\"";
    let after = finds("divide by power of two", &["binary"], &["f32[n]"], &["f32[] = [f 8.0]"], body);
    assert_eq!(after.consts[0].get(0).unwrap().as_f64(), 0.125);
    leaves("divide by power of two", &["f32[n]"], &["f32[] = [f 3.0]"], body);
    let body = "%1 = constant {value = #0} : f32[]\n%2 = binary {f = div} %1, %0 : f32[n]\nyield %2 \"y\"";
    finds("reciprocal", &["unary"], &["f32[n]"], &["f32[] = [f 1.0]"], body);
    leaves("reciprocal", &["f32[n]"], &["f32[] = [f 2.0]"], body);
}

#[test]
fn subtractions_of_constants_are_additions() {
    let body = "%1 = constant {value = #0} : f32[2]\n%2 = binary {f = sub} %0, %1 : f32[n, 2]\nyield %2 \"y\"";
    finds("subtract constant", &["binary"], &["f32[n, 2]"], &["f32[2] = [f 1.0, f -2.0]"], body);
    let body = "%2 = binary {f = sub} %0, %1 : f32[n, 2]\nyield %2 \"y\"";
    leaves("subtract constant", &["f32[n, 2]", "f32[2]"], &[], body);
}

#[test]
fn equal_operations_merge_and_dead_ones_go() {
    let body = "%1 = unary {f = exp} %0 : f32[n]\n%2 = unary {f = exp} %0 : f32[n]\n%3 = unary {f = tanh} %0 : f32[n]
        %4 = binary {f = add} %1, %2 : f32[n]\nyield %4 \"y\"";
    finds("common subexpression", &["unary", "binary"], &["f32[n]"], &[], body);
    let body = "%1 = softmax {axis = 0, log = false} %0 : f32[n, 2]\n%2 = softmax {axis = 1, log = false} %0 : f32[n, 2]
        %3 = binary {f = add} %1, %2 : f32[n, 2]\nyield %3 \"y\"";
    leaves("common subexpression", &["f32[n, 2]"], &[], body);
}
