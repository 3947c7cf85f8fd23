//! Contractions, convolutions, pools.

use super::{Case, Fill, case, check};

pub(super) fn cases() -> Vec<Case> {
    let mut v = contractions();
    v.extend(convolutions());
    v.extend(transposed());
    v.extend(pools());
    v
}

fn contractions() -> Vec<Case> {
    vec![
        case("matmul", &["f32[n, 4]", "f32[4, 3]"], "f32[n, 3]").at(&[&[("n", 5)], &[("n", 1)], &[("n", 0)]]),
        case("matmul", &["f32[2, 1, n, k]", "f32[3, k, 4]"], "f32[2, 3, n, 4]").at(&[&[("n", 2), ("k", 5)], &[("n", 1), ("k", 0)]]),
        case("matmul", &["f32[4]", "f32[4]"], "f32[]"),
        case("matmul", &["f32[4]", "f32[2, 4, 3]"], "f32[2, 3]"),
        case("matmul", &["f32[2, 3, 4]", "f32[4]"], "f32[2, 3]"),
        case("matmul", &["f16[3, 9]", "f16[9, 2]"], "f16[3, 2]"),
        case("matmul", &["i32[3, 4]", "i32[4, 2]"], "i32[3, 2]"),
        case("einsum {equation = \"bct,bcs->bts\"}", &["f32[2, 3, t]", "f32[2, 3, 4]"], "f32[2, t, 4]").at(&[&[("t", 5)]]),
        case("einsum {equation = \"ij,jk,k->i\"}", &["f32[2, 3]", "f32[3, 4]", "f32[4]"], "f32[2]"),
        case("einsum {equation = \"ii->i\"}", &["f32[3, 3]"], "f32[3]"),
        case("einsum {equation = \"ij->ji\"}", &["f32[2, 3]"], "f32[3, 2]"),
        case("einsum {equation = \"ij->\"}", &["f32[2, 3]"], "f32[]"),
        case("einsum {equation = \"i,j->ij\"}", &["f32[2]", "f32[3]"], "f32[2, 3]"),
    ]
    .into_iter()
    .map(|c| c.within(1e-5))
    .collect()
}

fn conv(attrs: &str, inputs: &[&str], result: &str) -> Case {
    case(&format!("conv {{{attrs}}}"), inputs, result).within(2e-5)
}

fn convolutions() -> Vec<Case> {
    let sizes: &[&[(&str, i64)]] = &[&[("h", 5)], &[("h", 4)], &[("h", 3)]];
    vec![
        conv(
            "strides = [1, 1], pads = [1, 1, 1, 1], dilations = [1, 1], group = 1",
            &["f32[2, 3, h, 5]", "f32[4, 3, 3, 3]", "f32[4]"],
            "f32[2, 4, h, 5]",
        )
        .at(sizes),
        conv(
            "strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], group = 1",
            &["f32[1, 3, h, 5]", "f32[2, 3, 1, 1]"],
            "f32[1, 2, h, 5]",
        )
        .at(sizes),
        conv(
            "strides = [2, 2], pads = [1, 1, 0, 1], dilations = [1, 1], group = 1",
            &["f32[1, 2, h, 7]", "f32[3, 2, 3, 3]"],
            "f32[1, 3, floordiv(h - 2, 2) + 1, 4]",
        )
        .at(sizes),
        conv("strides = [1], pads = [2, 2], dilations = [2], group = 2", &["f32[2, 4, h]", "f32[6, 2, 3]", "f32[6]"], "f32[2, 6, h]")
            .at(sizes),
        conv("strides = [1], pads = [1, 1], dilations = [1], group = 4", &["f32[1, 4, h]", "f32[4, 1, 3]"], "f32[1, 4, h]").at(sizes),
        conv("strides = [1], pads = [1, 1], dilations = [1], group = 3", &["f32[1, 3, h]", "f32[6, 1, 3]"], "f32[1, 6, h]").at(sizes),
        conv("strides = [1], pads = [0, 0], dilations = [1], group = 3", &["f32[1, 3, h]", "f32[3, 1, 1]"], "f32[1, 3, h]").at(sizes),
        conv("strides = [1], pads = [0, 0], dilations = [1], group = 1", &["f16[1, 3, h]", "f16[2, 3, 3]", "f16[2]"], "f16[1, 2, h - 2]")
            .at(sizes),
        conv(
            "strides = [1, 2, 1], pads = [1, 0, 0, 1, 0, 0], dilations = [1, 1, 1], group = 1",
            &["f32[1, 2, 2, 4, 3]", "f32[2, 2, 3, 2, 1]"],
            "f32[1, 2, 2, 2, 3]",
        ),
    ]
}

fn transposed() -> Vec<Case> {
    let t = |attrs: &str, inputs: &[&str], result: &str| case(&format!("conv_transpose {{{attrs}}}"), inputs, result).within(2e-5);
    let sizes: &[&[(&str, i64)]] = &[&[("h", 3)], &[("h", 1)]];
    vec![
        t(
            "strides = [2, 2], pads = [0, 0, 0, 0], dilations = [1, 1], group = 1",
            &["f32[1, 3, h, 2]", "f32[3, 2, 2, 2]", "f32[2]"],
            "f32[1, 2, 2*h, 4]",
        )
        .at(sizes),
        // output_padding: elements past the last window
        t("strides = [2], pads = [0, 0], dilations = [1], group = 1", &["f32[1, 2, 3]", "f32[2, 2, 2]"], "f32[1, 2, 7]"),
        t("strides = [2], pads = [1, 1], dilations = [1], group = 1", &["f32[2, 2, h]", "f32[2, 3, 3]"], "f32[2, 3, 2*h - 1]").at(sizes),
        t("strides = [3], pads = [0, 0], dilations = [2], group = 2", &["f32[1, 4, h]", "f32[4, 2, 3]"], "f32[1, 4, 3*h + 2]").at(sizes),
        t("strides = [1], pads = [1, 1], dilations = [1], group = 3", &["f32[1, 3, h]", "f32[3, 2, 3]", "f32[6]"], "f32[1, 6, h]")
            .at(sizes),
        t("strides = [2], pads = [0, 0], dilations = [1], group = 2", &["f16[1, 2, h]", "f16[2, 1, 2]"], "f16[1, 2, 2*h]").at(sizes),
    ]
}

fn pools() -> Vec<Case> {
    let p = |attrs: &str, count: bool, x: &str, y: &str| {
        case(&format!("pool {{{attrs}, count_include_pad = {count}}}"), &[x], y).at(&[&[("h", 5)], &[("h", 6)], &[("h", 7)]])
    };
    let halves = "floordiv(h - 1, 2) + 1";
    // ceil mode: 2 * ceil((h - 2) / 2) + 2 may lie past the end
    let ceil = "floordiv(h - 1, 2) + 1";
    let mut v = vec![];
    for kind in ["max", "average"] {
        for count in [false, true] {
            let padded = format!("kind = {kind}, kernel = [3, 2], strides = [2, 2], pads = [1, 0, 1, 0], dilations = [1, 1]");
            v.push(p(&padded, count, "f32[1, 2, h, 4]", &format!("f32[1, 2, {halves}, 2]")));
            let ends = format!("kind = {kind}, kernel = [2], strides = [2], pads = [0, 0], dilations = [1]");
            v.push(p(&ends, count, "f32[2, 1, h]", &format!("f32[2, 1, {ceil}]")));
            let wide = format!("kind = {kind}, kernel = [2], strides = [1], pads = [1, 1], dilations = [2]");
            v.push(p(&wide, count, "f32[1, 2, h]", "f32[1, 2, h]"));
        }
    }
    v.push(p("kind = max, kernel = [2], strides = [2], pads = [0, 0], dilations = [1]", false, "i8[1, 2, h]", "i8[1, 2, floordiv(h, 2)]"));
    v.push(p(
        "kind = average, kernel = [2], strides = [2], pads = [0, 0], dilations = [1]",
        false,
        "f16[1, 2, h]",
        "f16[1, 2, floordiv(h, 2)]",
    ));
    v.push(
        p("kind = max, kernel = [2], strides = [1], pads = [1, 1], dilations = [1]", false, "f16[1, 2, h]", "f16[1, 2, h + 1]")
            .fill(0, Fill::Floats(-3.0, -1.0)),
    );
    v
}

#[test]
fn sums_of_products() {
    check(contractions());
}
#[test]
fn conv_and_groups() {
    check(convolutions());
}
#[test]
fn conv_transpose() {
    check(transposed());
}
#[test]
fn windows() {
    check(pools());
}

/// What the scheduler recognises: the body is a bare product of loads, and an upsampling contracts over channels alone.
#[test]
fn contractions_keep_their_form() {
    let text = |c: &Case| super::lower(&c.module()).unwrap().to_string();
    let bare = text(&convolutions().remove(1));
    assert!(bare.contains("e2 = binary mul e0 e1; => e2") && bare.contains("raxes = [(r0, 3)]"), "{bare}");
    let up = text(&transposed().remove(0));
    assert!(up.contains("raxes = [(r0, 3)]") && !up.contains("inside"), "{up}");
    let unpadded = text(&pools().pop().unwrap());
    assert!(unpadded.contains("inside"), "{unpadded}");
    let whole = text(&convolutions().remove(7));
    assert!(!whole.contains("inside"), "{whole}");
}
