//! Movements compose, cancel and vanish.

use super::{finds, leaves};

#[test]
fn moves_that_do_nothing() {
    let body = "%1 = transpose {perm = [0, 1]} %0 : f32[n, 2]\n%2 = reshape %1 : f32[n, 2]\n%3 = slice {starts = [0, 0], steps = [1, 1]} %2 : f32[n, 2]
        %4 = concat {axis = 0} %3 : f32[n, 2]\n%5 = pad {mode = edge, before = [0, 0]} %4 : f32[n, 2]\n%6 = unary {f = exp} %5 : f32[n, 2]\nyield %6 \"y\"";
    finds("no-op move", &["unary"], &["f32[n, 2]"], &[], body);
    let body = "%1 = slice {starts = [1], steps = [-1]} %0 : f32[2]\nyield %1 \"y\"";
    leaves("no-op move", &["f32[2]"], &[], body);
}

#[test]
fn transposes_join() {
    let body = "%1 = transpose {perm = [1, 2, 0]} %0 : f32[2, 4, n]\n%2 = transpose {perm = [1, 2, 0]} %1 : f32[4, n, 2]\nyield %2 \"y\"";
    let after = finds("transpose", &["transpose"], &["f32[n, 2, 4]"], &[], body);
    assert!(after.to_string().contains("perm = [2, 0, 1]"), "{after}");
    let body = "%1 = transpose {perm = [1, 0]} %0 : f32[2, n]\n%2 = transpose {perm = [1, 0]} %1 : f32[n, 2]\nyield %2 \"y\"";
    finds("transpose", &[], &["f32[n, 2]"], &[], body);
    let body = "%1 = transpose {perm = [1, 0, 2]} %0 : f32[1, n, 2]\nyield %1 \"y\"";
    finds("transpose", &["reshape"], &["f32[n, 1, 2]"], &[], body);
    let body = "%1 = transpose {perm = [2, 1, 0]} %0 : f32[2, 1, n]\nyield %1 \"y\"";
    leaves("transpose", &["f32[n, 1, 2]"], &[], body);
}

#[test]
fn reshapes_join() {
    let body = "%1 = reshape %0 : f32[6*n]\n%2 = reshape %1 : f32[2, 3*n]\nyield %2 \"y\"";
    finds("reshape of reshape", &["reshape"], &["f32[n, 6]"], &[], body);
    let body = "%1 = reshape %0 : f32[2, 3*n]\n%2 = transpose {perm = [1, 0]} %1 : f32[3*n, 2]\n%3 = reshape %2 : f32[6*n]\nyield %3 \"y\"";
    leaves("reshape of reshape", &["f32[n, 6]"], &[], body);
}

#[test]
fn slices_join() {
    let body = "%1 = slice {starts = [5], steps = [-1]} %0 : f32[5]\n%2 = slice {starts = [1], steps = [2]} %1 : f32[2]\nyield %2 \"y\"";
    let after = finds("slice of slice", &["slice"], &["f32[7]"], &[], body);
    assert!(after.to_string().contains("starts = [4], steps = [-2]"), "{after}");
    let body =
        "%1 = slice {starts = [5], steps = [-1]} %0 : f32[5]\n%2 = slice {starts = [1], steps = [2]} %1 : f32[2]\nyield %1 \"a\", %2 \"y\"";
    leaves("slice of slice", &["f32[7]"], &[], body);
}

#[test]
fn slices_of_concats() {
    let joined = "%2 = concat {axis = 1} %0, %1 : f32[n, 5]\n";
    let body = format!("{joined}%3 = slice {{starts = [0, 3], steps = [1, 1]}} %2 : f32[n, 2]\nyield %3 \"y\"");
    finds("slice of concat", &["slice"], &["f32[n, 2]", "f32[n, 3]"], &[], &body);
    let body = format!("{joined}%3 = slice {{starts = [0, 0], steps = [1, 1]}} %2 : f32[n, 2]\nyield %3 \"y\"");
    finds("slice of concat", &[], &["f32[n, 2]", "f32[n, 3]"], &[], &body);
    let body = format!("{joined}%3 = slice {{starts = [0, 1], steps = [1, 1]}} %2 : f32[n, 2]\nyield %3 \"y\"");
    leaves("slice of concat", &["f32[n, 2]", "f32[n, 3]"], &[], &body);
}

#[test]
fn concats_join() {
    let body = "%1 = concat {axis = 1} %0, %0 : f32[n, 4]\n%2 = concat {axis = 1} %1, %0 : f32[n, 6]\nyield %2 \"y\"";
    finds("concat of concat", &["concat"], &["f32[n, 2]"], &[], body);
    let body = "%1 = concat {axis = 1} %0, %0 : f32[n, 4]\n%2 = concat {axis = 0} %1, %1 : f32[2*n, 4]\nyield %2 \"y\"";
    leaves("concat of concat", &["f32[n, 2]"], &[], body);
}

#[test]
fn broadcasting_needs_no_expand() {
    let body = "%2 = expand %1 : f32[n, 4]\n%3 = binary {f = add} %0, %2 : f32[n, 4]\nyield %3 \"y\"";
    finds("broadcast without expand", &["binary"], &["f32[n, 4]", "f32[4]"], &[], body);
    let body = "%2 = expand %1 : f32[n, 4]\n%3 = binary {f = add} %0, %2 : f32[n, 4]\nyield %3 \"y\"";
    leaves("broadcast without expand", &["f32[n, 1]", "f32[1, 1]"], &[], body);
}

#[test]
fn reducing_ones_is_a_reshape() {
    let body = "%1 = reduce {f = mean, axes = [1], keep = false} %0 : f32[n, 4]\nyield %1 \"y\"";
    finds("reduce of ones", &["reshape"], &["f32[n, 1, 4]"], &[], body);
    leaves("reduce of ones", &["f32[n, 2, 4]"], &[], body);
    let body = "%1 = reduce {f = l2, axes = [1], keep = false} %0 : f32[n, 4]\nyield %1 \"y\"";
    leaves("reduce of ones", &["f32[n, 1, 4]"], &[], body);
}

/// Rotary embedding over the halves of the last axis; what turns otherwise stays.
#[test]
fn rotary_embeddings() {
    let body = |start: usize, first: &str| {
        format!(
            "%3 = binary {{f = mul}} %0, %1 : f32[n, 2, 4]\n%4 = slice {{starts = [0, 0, 0], steps = [1, 1, 1]}} %0 : f32[n, 2, 2]
        %5 = slice {{starts = [0, 0, {start}], steps = [1, 1, 1]}} {first} : f32[n, 2, 2]\n%6 = unary {{f = neg}} %5 : f32[n, 2, 2]
        %7 = concat {{axis = 2}} %6, %4 : f32[n, 2, 4]\n%8 = binary {{f = mul}} %7, %2 : f32[n, 2, 4]
        %9 = binary {{f = add}} %3, %8 : f32[n, 2, 4]\nyield %9 \"y\""
        )
    };
    let left = ["reshape", "reshape", "reshape", "slice", "binary", "binary", "binary", "binary", "reshape"];
    let params = ["f32[n, 2, 4]", "f32[2, 4]", "f32[n, 2, 4]"];
    finds("rotary embedding", &left, &params, &[], &body(2, "%0"));
    finds("rotary embedding", &left, &["f32[n, 2, 4]", "f32[2, 4]", "f32[n, 1, 1]"], &[], &body(2, "%0"));
    leaves("rotary embedding", &params, &[], &body(1, "%0"));
    leaves("rotary embedding", &params, &[], &body(2, "%2"));
}
