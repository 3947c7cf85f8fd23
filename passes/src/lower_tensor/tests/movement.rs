//! Moving, picking, placing and resampling elements, and elements made from positions.

use super::{Case, Fill, case, check};
use odc_ir::graph::{CoordMode, NearestMode, PadMode, ScatterFn};

pub(super) fn cases() -> Vec<Case> {
    let mut v = moves();
    v.extend(positions());
    v.extend(picks());
    v.extend(places());
    v.extend(resizes());
    v
}

fn moves() -> Vec<Case> {
    let sizes: &[&[(&str, i64)]] = &[&[("n", 4)], &[("n", 2)]];
    let mut v = vec![
        case("transpose {perm = [2, 0, 1]}", &["f32[2, n, 3]"], "f32[3, 2, n]").at(&[&[("n", 5)], &[("n", 1)], &[("n", 0)]]),
        case("transpose {perm = [1, 0]}", &["i8[2, 3]"], "i8[3, 2]"),
        case("reshape", &["f32[2, n, 3]"], "f32[n, 6]").at(sizes),
        case("reshape", &["bool[4]"], "bool[2, 1, 2]"),
        case("expand", &["f32[3, 1]"], "f32[2, 3, 4]"),
        case("expand", &["f32[n, 1]"], "f32[n, 4]").at(sizes),
        case("slice {starts = [1, 0], steps = [2, 1]}", &["f32[6, n]"], "f32[2, n - 1]").at(sizes),
        case("slice {starts = [n - 1], steps = [-1]}", &["i64[n]"], "i64[n]").at(&[&[("n", 4)], &[("n", 1)]]),
        case("slice {starts = [5], steps = [-2]}", &["f32[6]"], "f32[3]"),
        case("concat {axis = 1}", &["f32[2, n]", "f32[2, 3]", "f32[2, 1]"], "f32[2, n + 4]").at(&[&[("n", 2)], &[("n", 0)]]),
        case("concat {axis = 0}", &["i64[n, 2]", "i64[0, 2]", "i64[n, 2]"], "i64[2*n, 2]").at(sizes),
        case("concat {axis = 0}", &["f32[3]"], "f32[3]"),
        case("tile", &["f32[2, n]"], "f32[4, 3*n]").at(sizes),
        case("trilu {upper = true, k = 1}", &["f32[2, 3, 4]"], "f32[2, 3, 4]"),
        case("trilu {upper = true, k = -1}", &["f32[4, 3]"], "f32[4, 3]"),
        case("trilu {upper = false, k = 1}", &["i64[3, n]"], "i64[3, n]").at(sizes),
        case("trilu {upper = false, k = -2}", &["bool[4, 3]"], "bool[4, 3]"),
    ];
    for mode in PadMode::ALL {
        let pad = |before: &str, x: &str, y: &str| case(&format!("pad {{mode = {mode}, before = {before}}}"), &[x], y);
        v.push(pad("[1, 0]", "f32[3, 2]", "f32[5, 3]"));
        v.push(pad("[2]", "f32[n]", "f32[n + 3]").at(&[&[("n", 4)], &[("n", 5)]]));
        v.push(pad("[-1]", "i64[5]", "i64[5]"));
    }
    v.push(case("pad {mode = constant, before = [n]}", &["f32[n]", "f32[]"], "f32[3*n]").at(sizes));
    v.push(case("pad {mode = constant, before = [-1]}", &["f16[4]", "f16[1]"], "f16[2]"));
    v
}

fn positions() -> Vec<Case> {
    vec![
        case("dims {values = [2, 3]}", &[], "i64[2]"),
        case("dims {values = [7]}", &[], "i32[]"),
        // An operand gives the symbol its origin; the op itself takes none.
        case("range", &["f32[]", "f32[]"], "f32[5]"),
        case("range", &["i64[]", "i64[]"], "i64[4]"),
        case("range", &["f16[]", "f16[]"], "f16[4]"),
        case("one_hot {axis = 1}", &["i64[n, 2]", "f32[2]"], "f32[n, 4, 2]").fill(0, Fill::Ints(-5, 5)).at(&[&[("n", 3)], &[("n", 0)]]),
        case("one_hot {axis = 0}", &["i32[3]", "bool[2]"], "bool[4, 3]"),
    ]
}

fn picks() -> Vec<Case> {
    vec![
        case("suppress", &["f32[1, 5, 4]", "f32[1, 2, 5]", "f32[]", "f32[]"], "i64[1, 2, 5]")
            .fill(0, Fill::Values(&[0.0, 0.0, 4.0, 4.0, 0.0, 0.0, 4.0, 3.0, 5.0, 5.0, 6.0, 6.0, 1.0, 0.0, 4.0, 4.0, 5.0, 5.0, 6.0, 7.0]))
            .fill(1, Fill::Values(&[0.5, 0.75, 0.625, 0.5, 0.0625]))
            .fill(2, Fill::Values(&[0.5]))
            .fill(3, Fill::Values(&[0.125])),
        case("gather {axis = 0}", &["f32[4, 3]", "i64[n, 2]"], "f32[n, 2, 3]").fill(1, Fill::Ints(-4, 3)).at(&[&[("n", 3)], &[("n", 0)]]),
        case("gather {axis = 1}", &["f32[2, n]", "i32[3]"], "f32[2, 3]").fill(1, Fill::Ints(-4, 3)).at(&[&[("n", 4)], &[("n", 6)]]),
        case("gather {axis = 1}", &["i64[2, 5]", "i64[]"], "i64[2]").fill(1, Fill::Ints(-5, 4)),
        case("gather_elements {axis = 1}", &["f32[2, 4]", "i64[2, 3]"], "f32[2, 3]").fill(1, Fill::Ints(-4, 3)),
        case("gather_elements {axis = 0}", &["f32[5, 3]", "i64[2, 2]"], "f32[2, 2]").fill(1, Fill::Ints(-5, 4)),
        case("gather_nd {batch_dims = 0}", &["f32[3, 3, 2]", "i64[n, 2]"], "f32[n, 2]").fill(1, Fill::Ints(-3, 2)).at(&[&[("n", 4)]]),
        case("gather_nd {batch_dims = 1}", &["f32[2, 3, 4]", "i64[2, 1]"], "f32[2, 4]").fill(1, Fill::Ints(-3, 2)),
        case("gather_nd {batch_dims = 0}", &["i64[4]", "i64[3, 1]"], "i64[3]").fill(1, Fill::Ints(0, 3)),
    ]
}

fn places() -> Vec<Case> {
    let mut v = vec![];
    for f in ScatterFn::ALL {
        let nd = format!("scatter_nd {{f = {f}}}");
        v.push(case(&nd, &["f32[4, 2]", "i64[n, 1]", "f32[n, 2]"], "f32[4, 2]").fill(1, Fill::Ints(-4, 3)).at(&[&[("n", 6)], &[("n", 0)]]));
        v.push(case(&nd, &["i64[3, 3]", "i64[2, 2, 2]", "i64[2, 2]"], "i64[3, 3]").fill(1, Fill::Ints(-3, 2)));
        let elements = format!("scatter_elements {{axis = 1, f = {f}}}");
        v.push(case(&elements, &["f32[2, 4]", "i64[2, 3]", "f32[2, 3]"], "f32[2, 4]").fill(1, Fill::Ints(-4, 3)));
        v.push(case(&elements, &["f16[2, 4]", "i64[1, 4]", "f16[1, 4]"], "f16[2, 4]").fill(1, Fill::Ints(-4, 3)));
    }
    v
}

fn resizes() -> Vec<Case> {
    let r = |mode: &str, coord: &str, nearest: &str, scales: &str, exclude: bool, x: &str, y: &str| {
        let op = format!(
            "resize {{mode = {mode}, coord = {coord}, nearest = {nearest}, scales = {scales}, cubic_a = -0.75, exclude_outside = {exclude}}}"
        );
        case(&op, &[x], y).within(2e-5)
    };
    let grow: &[&[(&str, i64)]] = &[&[("h", 3)], &[("h", 5)], &[("h", 1)]];
    let mut v = vec![];
    for coord in CoordMode::ALL {
        let coord = coord.name();
        for nearest in NearestMode::ALL {
            let n = nearest.name();
            v.push(r("nearest", coord, n, "[1.0, 2.0]", false, "f32[2, h]", "f32[2, 2*h]").at(grow));
            v.push(r("nearest", coord, n, "[1.0, 0.0]", false, "f32[2, h]", "f32[2, 3*h]").at(grow));
            v.push(r("nearest", coord, n, "[0.5]", false, "i64[6]", "i64[3]"));
            v.push(r("nearest", coord, n, "[1.5]", false, "f32[5]", "f32[7]"));
            v.push(r("nearest", coord, n, "[0.0]", false, "f32[5]", "f32[3]"));
        }
        for mode in ["linear", "cubic"] {
            for exclude in [false, true] {
                v.push(r(mode, coord, "floor", "[1.0, 1.0, 2.0, 2.0]", exclude, "f32[1, 2, h, 3]", "f32[1, 2, 2*h, 6]").at(grow));
                v.push(r(mode, coord, "floor", "[0.0, 0.0]", exclude, "f32[5, 4]", "f32[3, 7]"));
                v.push(r(mode, coord, "floor", "[2.4]", exclude, "f32[4]", "f32[9]"));
            }
        }
        v.push(r("linear", coord, "floor", "[2.0]", false, "f16[4]", "f16[8]"));
    }
    v
}

#[test]
fn by_index_maps() {
    check(moves());
}
#[test]
fn from_positions() {
    check(positions());
}
#[test]
fn by_indices() {
    check(picks());
}
#[test]
fn scattered() {
    check(places());
}
#[test]
fn resampled() {
    check(resizes());
}

/// Symbolic sizes as a tensor: `dims` has no operand, so the case gives it a neighbour that binds the symbol.
#[test]
fn symbolic_dims() {
    use odc_ir::core::{DType, Scalar, TensorValue, no_blobs, parse_module};
    let text = "graph module \"t\" {\n  dim n in 1.. from \"x\" 0\n  func @main(%0 \"x\": f32[n]) {\n    \
                %1 = dims {values = [2, n, n*n - 1]} : i64[3]\n    %2 = dims {values = [n + 4]} : f32[]\n    yield %1 \"a\", %2 \"b\"\n  }\n}\n";
    let m = parse_module::<odc_ir::graph::Graph>(text, &no_blobs).unwrap_or_else(|e| panic!("{e}"));
    let x = TensorValue::filled(DType::F32, &[5], Scalar::Int(0)).unwrap();
    let out = odc_ir::tensor::interp::run(&super::lower(&m).unwrap(), &[("x".into(), x)]).unwrap();
    assert_eq!((out[0].to_i64(), out[1].to_f32()), (vec![2, 5, 24], vec![9.0]));
}

/// Whole ratios stay exact index maps: no value is computed to index by.
#[test]
fn doubling_is_an_index_map() {
    let c = resizes().into_iter().find(|c| c.op.contains("asymmetric") && c.op.contains("nearest = floor")).unwrap();
    let text = super::lower(&c.module()).unwrap().to_string();
    assert!(text.contains("floordiv(i1, 2)") && !text.contains("@ e"), "{text}");
}
