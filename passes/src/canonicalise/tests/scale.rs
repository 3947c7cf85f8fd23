//! Scales and shifts move into weights.

use super::{finds, leaves};

const BN: [&str; 4] = ["f32[2] = [f 1.5, f -0.5]", "f32[2] = [f 0.25, f 1.0]", "f32[2] = [f 0.5, f -2.0]", "f32[2] = [f 4.0, f 0.5]"];
const LOAD: &str = "%1 = constant {value = #0} : f32[2]\n%2 = constant {value = #1} : f32[2]\n%3 = constant {value = #2} : f32[2]\n%4 = constant {value = #3} : f32[2]\n";

#[test]
fn batch_norm_is_a_scale_and_a_shift() {
    let body = format!("{LOAD}%5 = batch_norm {{epsilon = 0.01}} %0, %1, %2, %3, %4 : f32[n, 2, 4]\nyield %5 \"y\"");
    finds("batch norm", &["binary", "binary"], &["f32[n, 2, 4]"], &BN, &body);
    let body = "%2 = batch_norm {epsilon = 0.01} %0, %1, %1, %1, %1 : f32[n, 2, 4]\nyield %2 \"y\"";
    leaves("batch norm", &["f32[n, 2, 4]", "f32[2]"], &[], body);
}

#[test]
fn batch_norm_after_conv_goes_into_weights_and_bias() {
    let consts: Vec<&str> = BN.into_iter().chain(["f32[2, 1, 2] = [f 1.0, f -2.0, f 0.5, f 3.0]"]).collect();
    let conv = |rest: &str| {
        format!(
            "{LOAD}%5 = constant {{value = #4}} : f32[2, 1, 2]
        %6 = conv {{strides = [1], pads = [0, 1], dilations = [1], group = 2}} %0, %5 : f32[n, 2, 4]
        %7 = batch_norm {{epsilon = 0.01}} %6, %1, %2, %3, %4 : f32[n, 2, 4]\n{rest}"
        )
    };
    let after = finds("scale into weights", &["conv"], &["f32[n, 2, 4]"], &consts, &conv("yield %7 \"y\""));
    assert_eq!(after.consts.len(), 2, "old weights must go");
    leaves("scale into weights", &["f32[n, 2, 4]"], &consts, &conv("yield %6 \"x\", %7 \"y\""));
}

#[test]
fn transposed_convolutions_scale_by_result_channel() {
    // Two groups of two inputs and three outputs each: channel o = 3 * group + j.
    let weights: Vec<String> = (1..=12).map(|k| format!("f {k}.0")).collect();
    let weights = format!("f32[4, 3, 1] = [{}]", weights.join(", "));
    let scale = "f32[6, 1] = [f 1.5, f -2.0, f 0.5, f 4.0, f 3.0, f -0.25]";
    let body = "%1 = constant {value = #0} : f32[4, 3, 1]\n%2 = constant {value = #1} : f32[6, 1]
        %3 = conv_transpose {strides = [2], pads = [0, 0], dilations = [1], group = 2} %0, %1 : f32[n, 6, 5]
        %4 = binary {f = mul} %2, %3 : f32[n, 6, 5]\n%5 = binary {f = sub} %4, %2 : f32[n, 6, 5]\nyield %5 \"y\"";
    finds("scale into weights", &["conv_transpose"], &["f32[n, 4, 3]"], &[&weights, scale], body);
}

#[test]
fn matmul_with_bias_then_scale() {
    let c =
        ["f32[2, 2] = [f 1.0, f 2.0, f 3.0, f 4.0]", "f32[2] = [f 0.5, f -1.0]", "f32[] = [f 3.0]", "f32[3, 1] = [f 1.0, f 2.0, f 3.0]"];
    let head = "%1 = constant {value = #0} : f32[2, 2]\n%2 = constant {value = #1} : f32[2]\n%3 = constant {value = #2} : f32[]
        %4 = matmul %0, %1 : f32[3, 2]\n%5 = binary {f = add} %2, %4 : f32[3, 2]\n";
    let body = format!("{head}%6 = binary {{f = div}} %5, %3 : f32[3, 2]\nyield %6 \"y\"");
    finds("scale before bias", &["matmul", "binary"], &["f32[3, 2]"], &c, &body);
    // A factor by row is none by channel.
    let body = format!("{head}%6 = constant {{value = #3}} : f32[3, 1]\n%7 = binary {{f = mul}} %5, %6 : f32[3, 2]\nyield %7 \"y\"");
    leaves("scale before bias", &["f32[3, 2]"], &c, &body);
    leaves("scale into weights", &["f32[3, 2]"], &c, &body);
}

#[test]
fn shifts_go_into_the_bias() {
    let c = ["f32[2, 1, 1] = [f 1.0, f -2.0]", "f32[1, 2, 1] = [f 0.5, f 3.0]", "f32[1, 1, 4] = [f 1.0, f 2.0, f 3.0, f 4.0]"];
    let conv = "%1 = constant {value = #0} : f32[2, 1, 1]\n%2 = conv {strides = [1], pads = [0, 0], dilations = [1], group = 2} %0, %1 : f32[n, 2, 4]\n";
    let body = format!("{conv}%3 = constant {{value = #1}} : f32[1, 2, 1]\n%4 = binary {{f = add}} %2, %3 : f32[n, 2, 4]\nyield %4 \"y\"");
    finds("shift into bias", &["conv"], &["f32[n, 2, 4]"], &c, &body);
    let body = format!("{conv}%3 = constant {{value = #2}} : f32[1, 1, 4]\n%4 = binary {{f = add}} %2, %3 : f32[n, 2, 4]\nyield %4 \"y\"");
    leaves("shift into bias", &["f32[n, 2, 4]"], &c, &body);
}
