//! Decomposed activations and norms become one op, and near misses do not.

use super::{finds, leaves};

const C: [&str; 8] = [
    "f32[] = [f 1.0]",
    "f32[] = [f 1.4142135381698608]",
    "f32[] = [f 0.5]",
    "f32[] = [f 0.044715]",
    "f32[] = [f 0.7978845608]",
    "f32[] = [f 3.0]",
    "f32[] = [f 6.0]",
    "f32[] = [f 0.0]",
];

/// Constants %10 to %17, then the lines given.
fn with_constants(body: &str) -> String {
    let load: String = (0..8).map(|k| format!("%{} = constant {{value = #{k}}} : f32[]\n", 10 + k)).collect();
    load + body
}

#[track_caller]
fn one(rule: &str, body: &str) {
    finds(rule, &["unary"], &["f32[n, 4]"], &C, &with_constants(body));
}

#[track_caller]
fn none(rule: &str, body: &str) {
    leaves(rule, &["f32[n, 4]"], &C, &with_constants(body));
}

#[test]
fn sigmoid_silu_mish() {
    one(
        "sigmoid",
        "%1 = unary {f = neg} %0 : f32[n, 4]\n%2 = unary {f = exp} %1 : f32[n, 4]\n%3 = binary {f = add} %10, %2 : f32[n, 4]\n%4 = binary {f = div} %10, %3 : f32[n, 4]\nyield %4 \"y\"",
    );
    none(
        "sigmoid",
        "%2 = unary {f = exp} %0 : f32[n, 4]\n%3 = binary {f = add} %10, %2 : f32[n, 4]\n%4 = binary {f = div} %10, %3 : f32[n, 4]\nyield %4 \"y\"",
    );
    one("silu", "%1 = unary {f = sigmoid} %0 : f32[n, 4]\n%2 = binary {f = mul} %1, %0 : f32[n, 4]\nyield %2 \"y\"");
    none("silu", "%1 = unary {f = sigmoid} %0 : f32[n, 4]\n%2 = binary {f = mul} %1, %1 : f32[n, 4]\nyield %2 \"y\"");
    one(
        "mish",
        "%1 = unary {f = softplus} %0 : f32[n, 4]\n%2 = unary {f = tanh} %1 : f32[n, 4]\n%3 = binary {f = mul} %0, %2 : f32[n, 4]\nyield %3 \"y\"",
    );
    none(
        "mish",
        "%1 = unary {f = softplus} %0 : f32[n, 4]\n%2 = unary {f = tanh} %1 : f32[n, 4]\n%3 = binary {f = mul} %1, %2 : f32[n, 4]\nyield %3 \"y\"",
    );
}

#[test]
fn hard_swish() {
    let clamp =
        "%1 = binary {f = add} %0, %15 : f32[n, 4]\n%2 = binary {f = max} %1, %17 : f32[n, 4]\n%3 = binary {f = min} %2, %16 : f32[n, 4]\n";
    one(
        "hard swish",
        &format!("{clamp}%4 = binary {{f = mul}} %0, %3 : f32[n, 4]\n%5 = binary {{f = div}} %4, %16 : f32[n, 4]\nyield %5 \"y\""),
    );
    one(
        "hard swish",
        &format!("{clamp}%4 = binary {{f = div}} %3, %16 : f32[n, 4]\n%5 = binary {{f = mul}} %4, %0 : f32[n, 4]\nyield %5 \"y\""),
    );
    one(
        "hard swish",
        "%1 = hard_sigmoid {alpha = 0.1666666716337204, beta = 0.5} %0 : f32[n, 4]\n%2 = binary {f = mul} %0, %1 : f32[n, 4]\nyield %2 \"y\"",
    );
    none(
        "hard swish",
        &format!("{clamp}%4 = binary {{f = mul}} %0, %3 : f32[n, 4]\n%5 = binary {{f = div}} %4, %15 : f32[n, 4]\nyield %5 \"y\""),
    );
    none(
        "hard swish",
        "%1 = hard_sigmoid {alpha = 0.2, beta = 0.5} %0 : f32[n, 4]\n%2 = binary {f = mul} %0, %1 : f32[n, 4]\nyield %2 \"y\"",
    );
}

#[test]
fn gelu_in_three_orders() {
    let erf = "%1 = binary {f = div} %0, %11 : f32[n, 4]\n%2 = unary {f = erf} %1 : f32[n, 4]\n%3 = binary {f = add} %2, %10 : f32[n, 4]\n";
    for tail in [
        "%4 = binary {f = mul} %0, %3 : f32[n, 4]\n%5 = binary {f = mul} %4, %12 : f32[n, 4]\nyield %5 \"y\"",
        "%4 = binary {f = mul} %0, %12 : f32[n, 4]\n%5 = binary {f = mul} %4, %3 : f32[n, 4]\nyield %5 \"y\"",
        "%4 = binary {f = mul} %3, %12 : f32[n, 4]\n%5 = binary {f = mul} %0, %4 : f32[n, 4]\nyield %5 \"y\"",
    ] {
        one("gelu", &format!("{erf}{tail}"));
    }
    none("gelu", &format!("{erf}%4 = binary {{f = mul}} %3, %12 : f32[n, 4]\n%5 = binary {{f = mul}} %2, %4 : f32[n, 4]\nyield %5 \"y\""));
    none("gelu", &format!("{erf}%4 = binary {{f = mul}} %3, %14 : f32[n, 4]\n%5 = binary {{f = mul}} %0, %4 : f32[n, 4]\nyield %5 \"y\""));
}

#[test]
fn gelu_by_tanh() {
    let tail = "%6 = unary {f = tanh} %5 : f32[n, 4]\n%7 = binary {f = add} %10, %6 : f32[n, 4]\n%8 = binary {f = mul} %0, %12 : f32[n, 4]\n%9 = binary {f = mul} %8, %7 : f32[n, 4]\nyield %9 \"y\"";
    let inner = |cubic: usize| {
        format!("%1 = binary {{f = pow}} %0, %15 : f32[n, 4]\n%2 = binary {{f = mul}} %1, %{cubic} : f32[n, 4]\n%3 = binary {{f = add}} %0, %2 : f32[n, 4]
        %5 = binary {{f = mul}} %3, %14 : f32[n, 4]\n{tail}")
    };
    one("gelu tanh", &inner(13));
    none("gelu tanh", &inner(12));
    let bracket =
        "%1 = binary {f = mul} %0, %0 : f32[n, 4]\n%2 = binary {f = mul} %13, %1 : f32[n, 4]\n%3 = binary {f = add} %2, %10 : f32[n, 4]
        %4 = binary {f = mul} %0, %14 : f32[n, 4]\n%5 = binary {f = mul} %4, %3 : f32[n, 4]\n";
    one("gelu tanh", &format!("{bracket}{tail}"));
}

#[test]
fn softmax_by_hand() {
    let body = |sum: usize| {
        format!("%1 = reduce {{f = max, axes = [1], keep = true}} %0 : f32[n, 1]\n%2 = binary {{f = sub}} %0, %1 : f32[n, 4]\n%3 = unary {{f = exp}} %2 : f32[n, 4]
        %4 = reduce {{f = sum, axes = [1], keep = true}} %{sum} : f32[n, 1]\n%5 = binary {{f = div}} %3, %4 : f32[n, 4]\n")
    };
    finds("softmax", &["softmax"], &["f32[n, 4]"], &[], &(body(3) + "yield %5 \"y\""));
    leaves("softmax", &["f32[n, 4]"], &[], &(body(0) + "yield %5 \"y\""));
    let after = finds("log softmax", &["softmax"], &["f32[n, 4]"], &[], &(body(3) + "%6 = unary {f = log} %5 : f32[n, 4]\nyield %6 \"y\""));
    assert!(after.to_string().contains("log = true"));
    leaves("log softmax", &["f32[n, 4]"], &[], &(body(3) + "%6 = unary {f = log} %5 : f32[n, 4]\nyield %5 \"p\", %6 \"y\""));
}

const NORM: [&str; 4] =
    ["f32[] = [f 0.001]", "f32[4] = [f 1.0, f 2.0, f -1.0, f 0.5]", "f32[4] = [f 0.5, f 0.0, f 3.0, f -0.5]", "f32[] = [f 2.0]"];
const LOAD: &str = "%20 = constant {value = #0} : f32[]\n%21 = constant {value = #1} : f32[4]\n%22 = constant {value = #2} : f32[4]\n%23 = constant {value = #3} : f32[]\n";

#[test]
fn layer_norm_by_hand() {
    let body = |axis: usize, mean: &str| {
        format!("{LOAD}%1 = reduce {{f = mean, axes = [{axis}], keep = true}} %0 : f32[{mean}]\n%2 = binary {{f = sub}} %0, %1 : f32[n, 3, 4]
        %3 = binary {{f = pow}} %2, %23 : f32[n, 3, 4]\n%4 = reduce {{f = mean, axes = [{axis}], keep = true}} %3 : f32[{mean}]
        %5 = binary {{f = add}} %4, %20 : f32[{mean}]\n%6 = unary {{f = sqrt}} %5 : f32[{mean}]\n%7 = binary {{f = div}} %2, %6 : f32[n, 3, 4]
        %8 = binary {{f = mul}} %21, %7 : f32[n, 3, 4] loc(\"/Mul\")\n%9 = binary {{f = add}} %8, %22 : f32[n, 3, 4] loc(\"/Add\")\nyield %9 \"y\"")
    };
    let after = finds("layer norm", &["layer_norm"], &["f32[n, 3, 4]"], &NORM, &body(2, "n, 3, 1"));
    assert_eq!(after.main().unwrap().body.ops.last().unwrap().loc.to_string(), "/Mul + /Add");
    leaves("layer norm", &["f32[n, 3, 4]"], &NORM, &body(1, "n, 1, 4"));
}

#[test]
fn rms_norm_by_hand() {
    let head = "%3 = binary {f = pow} %0, %23 : f32[n, 4]\n%4 = reduce {f = mean, axes = [1], keep = true} %3 : f32[n, 1]
        %5 = binary {f = add} %4, %20 : f32[n, 1]\n%6 = unary {f = sqrt} %5 : f32[n, 1]\n";
    let tail = |x: usize| {
        format!(
            "%7 = unary {{f = reciprocal}} %6 : f32[n, 1]\n%8 = binary {{f = mul}} %{x}, %7 : f32[n, 4]\n%9 = binary {{f = mul}} %21, %8 : f32[n, 4]\nyield %9 \"y\""
        )
    };
    finds("norm scale", &["rms_norm"], &["f32[n, 4]"], &NORM, &format!("{LOAD}{head}{}", tail(0)));
    leaves("layer norm", &["f32[n, 4]"], &NORM, &format!("{LOAD}{head}{}", tail(3)));
}

#[test]
fn a_norm_that_is_used_twice_keeps_its_scale_outside() {
    let head = "%3 = layer_norm {axis = 1, epsilon = 0.001} %0, %1 : f32[n, 4]\n%4 = binary {f = add} %3, %2 : f32[n, 4]\n";
    finds("norm bias", &["layer_norm"], &["f32[n, 4]", "f32[4]", "f32[4]"], &[], &format!("{head}yield %4 \"y\""));
    leaves("norm bias", &["f32[n, 4]", "f32[4]", "f32[4]"], &[], &format!("{head}yield %3 \"x\", %4 \"y\""));
    leaves("norm bias", &["f32[n, 4]", "f32[4]", "f32[1]"], &[], &format!("{head}yield %4 \"y\""));
}

#[test]
fn group_norm_by_hand() {
    let c = [
        "f32[2] = [f 1.0, f 1.0]",
        "f32[2] = [f 0.0, f 0.0]",
        "f32[4, 1] = [f 1.0, f 2.0, f -1.0, f 0.5]",
        "f32[1, 4, 1] = [f 0.5, f 0.0, f 3.0, f -0.5]",
    ];
    let body = |back: &str, end: &str| {
        format!(
            "%20 = constant {{value = #0}} : f32[2]\n%21 = constant {{value = #1}} : f32[2]\n%22 = constant {{value = #2}} : f32[4, 1]
        %23 = constant {{value = #3}} : f32[1, 4, 1]\n%1 = reshape %0 : f32[n, 2, 6]
        %2 = group_norm {{groups = 0, epsilon = 0.001}} %1, %20, %21 : f32[n, 2, 6]\n%3 = reshape %2 : f32[{back}]
        %4 = binary {{f = mul}} %3, %22 : f32[n, 4, 3]\n%5 = binary {{f = add}} %4, %23 : f32[n, 4, 3]\n{end}"
        )
    };
    let after = finds("group norm bias", &["group_norm"], &["f32[n, 4, 3]"], &c, &body("n, 4, 3", "yield %5 \"y\""));
    assert!(after.to_string().contains("groups = 2"), "{after}");
    leaves("group norm bias", &["f32[n, 4, 3]"], &c, &body("n, 4, 3", "yield %4 \"x\", %5 \"y\""));
    // Another shape than before is no group norm.
    leaves("group norm", &["f32[n, 12, 1]"], &c, &body("n, 4, 3", "yield %5 \"y\""));
}
